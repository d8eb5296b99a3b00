"""Batches of a backend: requests one after the other for one operation, clean-up, deletes in groups, threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    Content,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.ending import Pool
from mediagit_storage.errors import ConnectionLostError, NotFoundError, StorageError, UnsupportedError
from mediagit_storage.http.batch import Sent
from mediagit_storage.http.call import Call
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.operations import Group, Operations, Sending, Working, run_operations
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.source import BytesSource
from mediagit_storage.types import DeleteOptions, ObjectInfo

LIMITS = BatchLimits(concurrency=4, buffer_bytes=100)


class Wire:
    """Answers by path: a status, or an error to raise."""

    def __init__(self, answers):
        self.answers = answers
        self.seen = []

    def send(self, request):
        path = request.url.removeprefix("http://127.0.0.1")
        self.seen.append(f"{request.method} {path}")
        answer = self.answers.get(path, 200)
        if isinstance(answer, Exception):
            raise answer
        return Response(request, answer, Headers(()), [b""])

    def send_all(self, requests, **_):
        # Two travel at a time, and the older one arrives first.
        travelling, over = [], False
        while travelling or not over:
            while len(travelling) < 2 and not over:
                request = next(requests, self)
                over = request is self
                if request is None or over:
                    break
                travelling.append(request)
            if travelling:
                yield self.sent(travelling.pop(0))

    def sent(self, request):
        if isinstance(request, Sent):
            return request
        try:
            return Sent(request, self.send(request), None)
        except StorageError as error:
            return Sent(request, None, error)


class Client(HttpClient):
    def __init__(self, **answers):
        super().__init__("http://127.0.0.1", Wire({f"/{name}": each for name, each in answers.items()}), Rules())

    def code_of(self, response):
        return None

    def error_of(self, response, *, subject, condition):
        return NotFoundError(f"status {response.status}")


class Plain(Operations):
    """A put goes to a temporary name, is moved, and leaves nothing where that fails."""

    group_limit = 3

    def __init__(self, client):
        self.client = client
        self.threads = set()

    def read(self, operation):
        call = Call("GET", f"/{operation.key}")

        def finish(retried):
            self.client.check(retried.response, call)
            return Content(ObjectInfo(operation.key), b"", 0)

        return Sending(call, finish)

    def put(self, operation):
        key = operation.key
        put, move = Call("PUT", f"/tmp-{key}"), Call("MOVE", f"/{key}")

        def undo():
            self.client.send(Call("DELETE", f"/tmp-{key}"))

        def moved(retried):
            self.client.check(retried.response, move)
            return ObjectInfo(key)

        def stored(retried):
            self.client.check(retried.response, put)
            return Sending(move, moved, undo=undo)

        return Sending(put, stored, held=10, undo=undo)

    def stat(self, operation):
        def work():
            self.threads.add(threading.current_thread())
            return ObjectInfo(operation.key)

        return Working(work)

    def delete(self, operation):
        return Sending(Call("DELETE", f"/{operation.key}"), lambda _: None)

    def groups(self, operation):
        return operation.options.missing_ok

    def group(self, operations):
        keys = ",".join(each.key for each in operations)
        return Group(Call("POST", f"/{keys}"), lambda _: (Completion(each, None, None) for each in operations))


def carried_out(operations, *, client):
    plain = Plain(client)
    done = list(run_operations(client, plain, iter(operations), LIMITS))
    return {each.operation.key: each.error for each in done}, plain


def put(key):
    return PutOperation(key, BytesSource(b"x"))


def test_an_operation_may_need_two_requests():
    client = Client()
    errors, _ = carried_out([put("a"), put("b")], client=client)
    assert errors == {"a": None, "b": None}
    assert sorted(client.transport.seen) == ["MOVE /a", "MOVE /b", "PUT /tmp-a", "PUT /tmp-b"]


def test_a_bad_answer_is_its_own_operations_failure():
    errors, _ = carried_out([ReadOperation("a"), ReadOperation("b")], client=Client(a=404))
    assert type(errors["a"]) is NotFoundError
    assert errors["b"] is None


@pytest.mark.parametrize("where", ["tmp-a", "a"])
def test_what_gets_no_answer_is_cleaned_up(where):
    client = Client(**{where: ConnectionLostError("gone")})
    errors, _ = carried_out([put("a")], client=client)
    assert type(errors["a"]) is ConnectionLostError
    assert client.transport.seen[-1] == "DELETE /tmp-a"


def test_so_is_what_travels_when_the_batch_is_left():
    client = Client()
    feed = iter([put("a"), put("b")])
    with closing(run_operations(client, Plain(client), feed, LIMITS)) as batch:
        next(batch)
    assert client.transport.seen == ["PUT /tmp-a", "PUT /tmp-b", "MOVE /a", "DELETE /tmp-b"]


def test_and_when_the_wait_for_its_threads_is_interrupted(monkeypatch):
    def interrupted(pool, wait=True, *, cancel_futures=False):
        ThreadPoolExecutor.shutdown(pool, wait, cancel_futures=cancel_futures)
        raise KeyboardInterrupt

    monkeypatch.setattr(Pool, "shutdown", interrupted)
    client = Client()
    feed = iter([StatOperation("c"), put("a"), put("b")])
    batch = run_operations(client, Plain(client), feed, LIMITS)
    next(batch)
    next(batch)
    with pytest.raises(KeyboardInterrupt):
        batch.close()
    assert client.transport.seen[-1].startswith("DELETE /tmp-")


def test_deletes_go_in_groups_and_in_their_order():
    client = Client()
    deletes = [DeleteOperation(key) for key in "abcd"]
    single = DeleteOperation("e", DeleteOptions(missing_ok=False))
    errors, _ = carried_out([*deletes, single, DeleteOperation("f")], client=client)
    assert set(errors) == set("abcdef")
    assert client.transport.seen == ["POST /a,b,c", "POST /d", "DELETE /e", "POST /f"]


def test_what_blocks_runs_beside():
    errors, plain = carried_out([StatOperation("a"), ReadOperation("b")], client=Client())
    assert errors == {"a": None, "b": None}
    assert threading.current_thread() not in plain.threads


def test_what_runs_beside_is_bounded():
    """However long the feed: no more is begun than may run, and no more results wait than that."""
    waiting, begun, most = threading.Event(), 0, 0

    class Waiting(Plain):
        def stat(self, operation):
            nonlocal begun, most
            begun += 1
            most = max(most, begun)
            step = super().stat(operation)
            return Working(lambda: waiting.wait(60) and step.work())

    class Asking(Wire):
        def send_all(self, requests, **options):
            # Nothing ends before there is nothing to be done but wait.
            return super().send_all((each or waiting.set() for each in requests), **options)

    client = Client()
    client.transport = Asking({})
    feed = (StatOperation(str(number)) for number in range(40))
    for completion in run_operations(client, Waiting(client), feed, LIMITS):
        assert completion.error is None
        begun -= 1
    # Two travel at a time, here results of what is over.
    assert most <= LIMITS.concurrency + 2


def test_what_cannot_be_begun_is_a_failure_of_its_own():
    class Refusing(Plain):
        def put(self, operation):
            raise UnsupportedError("never")

    client = Client()
    done = list(run_operations(client, Refusing(client), iter([put("a"), ReadOperation("b")]), LIMITS))
    assert [type(each.error) for each in done] == [UnsupportedError, type(None)]


def test_the_caller_s_own_errors_surface():
    def feed():
        yield ReadOperation("a")
        raise LookupError("mine")

    client = Client()
    with pytest.raises(LookupError, match="mine"):
        list(run_operations(client, Plain(client), feed(), LIMITS))
