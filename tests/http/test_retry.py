"""When a request is sent again: the table row by row, the waits, and the loops with a clock that jumps."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import errors, on_event, scope
from mediagit_storage.http.batch import Sent
from mediagit_storage.http.faults import FaultKind, TransferFault, error_for
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import PiecesBody, Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import (
    Attempt,
    GiveUp,
    Job,
    Repair,
    Retry,
    RetryPolicy,
    Rules,
    Situation,
    Traits,
    decide,
    parse_retry_after,
    run,
)
from mediagit_storage.http.retry_batch import run_all
from mediagit_storage.http.transport import Transport
from mediagit_storage.testing.scripted_server import Receive, Repeat, Reset, ScriptedServer, answer

POLICY = RetryPolicy()
UNSAFE = Traits(idempotent=False)


def half() -> float:
    return 0.5


SAFE = Traits()


def decided(traits: Traits = SAFE, policy: RetryPolicy = POLICY, **situation):
    return decide(Situation(**{"attempt": 1, "elapsed": 0.0, **situation}), traits, policy, half)


# ---- the table


@pytest.mark.parametrize("status", [200, 201, 204, 206, 207, 304, 307])
def test_good_answers_are_taken(status):
    assert decided(status=status) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 411, 412, 413, 416, 422, 501, 505, 507])
@pytest.mark.parametrize(
    "code", [None, "NoSuchKey", "AccessDenied", "PreconditionFailed", "SignatureDoesNotMatch", "Whatever"]
)
def test_never(status, code):
    assert isinstance(decided(status=status, code=code), GiveUp)


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("traits", [Traits(), UNSAFE])
def test_refusals_are_repeated_whatever_the_request(status, traits):
    assert isinstance(decided(traits, status=status), Retry)


@pytest.mark.parametrize("status", [500, 502, 504, 509, 520, 599])
def test_failures_are_repeated_when_that_is_safe(status):
    assert isinstance(decided(status=status), Retry)
    assert isinstance(decided(UNSAFE, status=status), GiveUp)


@pytest.mark.parametrize(
    "code", ["SlowDown", "RequestTimeout", "ThrottlingException", "ServerBusy", "rateLimitExceeded"]
)
@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_vendors_slow_down(status, code):
    assert isinstance(decided(UNSAFE, status=status, code=code), Retry)


def test_an_error_inside_of_a_200():
    assert isinstance(decided(status=200, code="InternalError"), Retry)
    assert isinstance(decided(UNSAFE, status=200, code="InternalError"), GiveUp)
    assert isinstance(decided(status=200, code="AccessDenied"), GiveUp)


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_conflicts_of_conditions(code):
    assert isinstance(decided(Traits(conditional=True), status=409, code=code), Retry)
    assert isinstance(decided(status=409, code=code), GiveUp)


@pytest.mark.parametrize("code", [None, "BucketAlreadyExists", "BlobAlreadyExists"])
def test_other_conflicts_are_answers(code):
    assert isinstance(decided(Traits(conditional=True), status=409, code=code), GiveUp)


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("idempotent", [False, True])
def test_faults(kind, sent, idempotent):
    unsent = {FaultKind.NAME, FaultKind.CONNECT, FaultKind.CONNECT_TIMEOUT, FaultKind.PROXY, FaultKind.TLS}
    broken = {FaultKind.LOST, FaultKind.TRUNCATED, FaultKind.PROTOCOL, FaultKind.IDLE, FaultKind.TOTAL, FaultKind.TLS}
    again = (kind in unsent and not sent) or (kind in broken and idempotent)
    decision = decided(Traits(idempotent=idempotent), fault=kind, sent=sent)
    assert isinstance(decision, Retry if again else GiveUp)


@pytest.mark.parametrize(
    ("code", "status", "traits", "repair"),
    [
        ("RequestTimeTooSkewed", 403, Traits(), Repair.CLOCK),
        ("RequestTimeTooSkewed", 403, UNSAFE, Repair.CLOCK),
        ("ExpiredToken", 400, Traits(), Repair.CREDENTIALS),
        (None, 401, Traits(refreshable=True), Repair.CREDENTIALS),
    ],
)
def test_repairs_happen_once_and_at_once(code, status, traits, repair):
    assert decided(traits, status=status, code=code) == Retry(0.0, f"after repairing {repair}", repair)
    # Even when no ordinary attempt is left.
    assert isinstance(decided(traits, RetryPolicy(attempts=1), status=status, code=code), Retry)
    again = decided(traits, status=status, code=code, repaired=frozenset({repair}))
    assert isinstance(again, GiveUp)


def test_a_body_that_is_gone_ends_it():
    assert decided(status=503, rewindable=False) == GiveUp("the body can be read only once")
    assert decided(status=200, rewindable=False) is None
    assert isinstance(decided(status=403, code="ExpiredToken", rewindable=False), GiveUp)


def test_attempts_are_counted():
    assert isinstance(decided(status=503, attempt=2), Retry)
    assert decided(status=503, attempt=3) == GiveUp("3 attempts were made")
    assert isinstance(decided(policy=RetryPolicy(attempts=1), status=503), GiveUp)


def test_the_total_time():
    policy = RetryPolicy(attempts=99, base=1, cap=1, total=10)
    assert isinstance(decided(policy=policy, status=503, elapsed=9.5), Retry)
    assert isinstance(decided(policy=policy, status=503, elapsed=9.6), GiveUp)
    assert isinstance(decided(policy=RetryPolicy(total=None), status=503, elapsed=1e9), Retry)


def test_the_scopes_time():
    assert isinstance(decided(status=503, retry_after=5, time_left=5.0), GiveUp)
    assert isinstance(decided(status=503, retry_after=5, time_left=5.1), Retry)


# ---- waits


def test_waits_double_up_to_the_cap():
    policy = RetryPolicy(attempts=99, base=1, cap=10, total=None)
    delays = [decided(policy=policy, status=503, attempt=n).delay for n in range(1, 8)]
    assert delays == [0.5, 1, 2, 4, 5, 5, 5]


@given(st.integers(1, 5000), st.floats(0, 0.999), st.floats(0, 100), st.floats(0, 100))
def test_full_jitter_stays_in_its_bounds(attempt, number, base, extra):
    policy = RetryPolicy(attempts=10_000, base=base, cap=base + extra, total=None)
    decision = decide(Situation(attempt, 0.0, status=503), Traits(), policy, lambda: number)
    assert 0 <= decision.delay <= policy.cap


def test_jitter_is_there():
    numbers = iter([0.1, 0.9])
    one, other = (decide(Situation(1, 0.0, status=503), Traits(), POLICY, lambda: next(numbers)) for _ in range(2))
    assert one.delay != other.delay


def test_a_server_that_asks_for_more_gets_more():
    assert decided(status=503, retry_after=7.0).delay == 7.0
    assert decided(status=503, retry_after=0.0).delay == 0.1
    assert isinstance(decided(status=503, retry_after=1000.0), GiveUp)


NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5", 5), (" 12 ", 12), ("Thu, 01 Jan 2026 12:00:30 GMT", 30), ("Thu, 01 Jan 2026 11:00:00 GMT", 0), ("Thu, 01 Jan 2026 12:00:10 -0000", 10),
     (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("\u0665", None), ("Thu, 99 Jan 2026 12:00:30 GMT", None), ("9" * 400, 999999999)],
)  # fmt: skip
def test_retry_after(text, seconds):
    assert parse_retry_after(text, NOW) == seconds


@given(st.text())
def test_retry_after_takes_any_text(text):
    got = parse_retry_after(text, NOW)
    assert got is None or got >= 0


@pytest.mark.parametrize("options", [{"attempts": 0}, {"base": -1}, {"base": 5, "cap": 1}, {"total": -1}])
def test_policies_that_make_no_sense(options):
    with pytest.raises(errors.ConfigError):
        RetryPolicy(**options)


# ---- the loop


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return int(NOW.timestamp() * 1e9)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time():
    return Time()


def rules(time: Time, **policy) -> Rules:
    return Rules(RetryPolicy(**policy), time, time.sleep, half)


def respond(status: int, *headers: tuple[str, str], attempts: int = 1, body: bytes = b""):
    return lambda request: Response(request, status, Headers.of(headers), [body], attempts=attempts)


def fail(kind: FaultKind, sent: int = 1):
    def raise_it(request):
        raise error_for(TransferFault(kind, "x", sent=sent), "https://h")

    return raise_it


class Fake:
    """Plays outcomes one after the other."""

    def __init__(self, *outcomes) -> None:
        self.outcomes = list(outcomes)
        self.built: list[Attempt] = []

    def build(self, attempt: Attempt) -> Request:
        self.built.append(attempt)
        return Request("PUT", "https://h/k?sig=canary", body=b"x")

    def send(self, request: Request) -> Response:
        return self.outcomes.pop(0)(request)

    def job(self, **more) -> Job:
        return Job(self.build, code_of=lambda response: response.body.decode() or None, **more)


def test_good_at_once(time):
    fake = Fake(respond(200))
    got = run(fake.job(), fake.send, rules(time))
    assert (got.response.status, got.attempts, got.maybe_done, time.slept) == (200, 1, False, [])


def test_again_until_it_works(time):
    fake = Fake(respond(503, ("Retry-After", "4")), fail(FaultKind.LOST), respond(200))
    got = run(fake.job(), fake.send, rules(time))
    assert (got.response.status, got.attempts, time.slept) == (200, 3, [4.0, 0.2])
    assert [each.number for each in fake.built] == [1, 2, 3]


def test_the_last_answer_is_returned(time):
    fake = Fake(*[respond(500)] * 3)
    got = run(fake.job(), fake.send, rules(time))
    assert (got.response.status, got.attempts) == (500, 3)
    assert fake.outcomes == []


def test_the_last_error_is_raised_with_what_was_tried(time):
    fake = Fake(*[fail(FaultKind.IDLE)] * 3)
    with pytest.raises(errors.StorageTimeoutError, match=r"\(3 attempts in 0\.3 s\)"):
        run(fake.job(), fake.send, rules(time))


def test_one_failure_says_nothing_of_attempts(time):
    fake = Fake(fail(FaultKind.CERTIFICATE, 0))
    with pytest.raises(errors.ConfigError) as caught:
        run(fake.job(), fake.send, rules(time))
    assert "attempts" not in str(caught.value)


def test_errors_that_are_not_the_transports_pass(time):
    def broken(request):
        raise OSError(28, "the user's")

    with pytest.raises(OSError, match="the user's") as caught:
        run(Fake(broken).job(), Fake(broken).send, rules(time))
    assert type(caught.value) is OSError
    assert time.slept == []


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (respond(500), True),
        (respond(503), True),
        (fail(FaultKind.LOST, 1), True),
        (fail(FaultKind.CONNECT, 0), False),
        (respond(429), False),
    ],
)
def test_whether_the_server_may_have_acted_before(time, before, expected):
    fake = Fake(before, respond(412))
    assert run(fake.job(), fake.send, rules(time)).maybe_done is expected


def test_libcurls_own_second_sending_counts(time):
    fake = Fake(respond(412, attempts=2))
    assert run(fake.job(), fake.send, rules(time)).maybe_done is True


def test_an_error_of_a_hook_is_no_fault_of_the_transfer(time):
    of_another = error_for(TransferFault(FaultKind.LOST, "of another server", sent=1), "http://other")

    def refresh(response):
        raise of_another

    fake = Fake(respond(401))
    with pytest.raises(errors.ConnectionLostError) as caught:
        run(fake.job(traits=Traits(refreshable=True), repairs={Repair.CREDENTIALS: refresh}), fake.send, rules(time))
    assert caught.value is of_another
    assert time.slept == []


def test_repairs(time):
    skew = respond(403, ("Date", "x"), body=b"RequestTimeTooSkewed")
    expired = respond(400, body=b"ExpiredToken")
    fake, done = Fake(skew, expired, respond(200)), []
    repairs = {Repair.CLOCK: lambda r: done.append("clock"), Repair.CREDENTIALS: lambda r: done.append("credentials")}
    got = run(fake.job(repairs=repairs), fake.send, rules(time))
    assert (got.response.status, got.attempts, done, sum(time.slept)) == (200, 1, ["clock", "credentials"], 0)
    assert fake.built[2].repaired == {Repair.CLOCK, Repair.CREDENTIALS}


def test_a_repair_that_does_not_help_is_not_repeated(time):
    skew = respond(403, body=b"RequestTimeTooSkewed")
    fake, done = Fake(skew, skew), []
    got = run(fake.job(repairs={Repair.CLOCK: done.append}), fake.send, rules(time))
    assert (got.response.status, len(done)) == (403, 1)


def test_a_repair_without_a_hook_is_none(time):
    fake = Fake(respond(403, body=b"RequestTimeTooSkewed"))
    assert run(fake.job(), fake.send, rules(time)).response.status == 403


def test_a_body_is_rewound(time):
    class Body:
        size, rewindable, rewound = 1, True, 0

        def read(self, count):
            return b""

        def rewind(self):
            self.rewound += 1

    body = Body()
    fake = Fake(respond(503), respond(200))
    run(Job(lambda attempt: Request("PUT", "https://h/k", body=body)), fake.send, rules(time))
    assert body.rewound == 1


def test_a_body_that_was_read_once_is_not_sent_again(time):
    body = PiecesBody(iter([b"x"]))
    body.read(1)
    fake = Fake(respond(503))
    got = run(Job(lambda attempt: Request("PUT", "https://h/k", body=body)), fake.send, rules(time))
    assert (got.response.status, got.attempts) == (503, 1)


def test_a_retry_is_told_without_secrets(time):
    fake, told = Fake(respond(503), respond(200)), []
    with on_event(told.append):
        run(fake.job(), fake.send, rules(time))
    (event,) = told
    assert event.kind == "retry"
    assert "503" in event.message
    assert "canary" not in event.message


def test_a_scope_ends_the_waiting():
    fake = Fake(respond(503, ("Retry-After", "60")))
    with scope(timeout=0.5):
        got = run(fake.job(), fake.send)
    assert got.response.status == 503


def test_cancelling_ends_the_waiting():
    import threading
    import time as real

    fake = Fake(respond(503, ("Retry-After", "60")))
    with scope() as inside:
        threading.Timer(0.1, inside.cancel).start()
        began = real.monotonic()
        with pytest.raises(errors.CancelledError):
            run(fake.job(), fake.send)
        assert real.monotonic() - began < 10


# ---- batches


def instantly(fakes: dict[str, list]):
    """A `send_all` that answers at once, from outcomes by path."""

    def send_all(requests):
        for item in requests:
            if item is None:
                continue
            if isinstance(item, Sent):
                yield item
                continue
            try:
                yield Sent(item, fakes[item.url[-1]].pop(0)(item), None)
            except errors.StorageError as error:
                yield Sent(item, None, error)

    return send_all


class Running(Time):
    """A clock on which a moment passes whenever it is asked."""

    def monotonic(self) -> float:
        self.now += 0.01
        return self.now


def jobs_for(names: str) -> dict[str, Job]:
    return {name: Job(lambda attempt, name=name: Request("GET", f"https://h/{name}")) for name in names}


def test_a_batch_repeats_each_on_its_own():
    outcomes = {
        "a": [respond(200)],
        "b": [respond(503), fail(FaultKind.LOST), respond(200)],
        "c": [respond(500)] * 3,
        "d": [fail(FaultKind.CERTIFICATE)],
        "e": [fail(FaultKind.LOST)] * 3,
    }
    jobs = jobs_for("abcde")
    results = {}
    for result in run_all(iter(jobs.values()), instantly(outcomes), Rules(clock=Running(), random=half)):
        name = next(name for name, job in jobs.items() if job is result.job)
        results[name] = result
    assert {name: r.retried.response.status for name, r in results.items() if r.retried} == {
        "a": 200,
        "b": 200,
        "c": 500,
    }
    assert results["b"].retried.attempts == 3
    assert results["b"].retried.maybe_done
    assert isinstance(results["d"].error, errors.ConfigError)
    assert "3 attempts" in str(results["e"].error)
    assert not any(outcomes.values())


def test_a_request_that_cannot_be_built_is_its_jobs_error():
    def broken(attempt):
        raise ValueError("no credentials")

    results = list(run_all(iter([Job(broken), *jobs_for("a").values()]), instantly({"a": [respond(200)]})))
    assert [str(each.error) if each.error else each.retried.response.status for each in results] == [
        "no credentials",
        200,
    ]


def test_a_hook_that_fails_is_its_jobs_error():
    def broken(response):
        raise ValueError("no new token")

    job = Job(jobs_for("a")["a"].build, code_of=lambda r: "ExpiredToken", repairs={Repair.CREDENTIALS: broken})
    (result,) = run_all(iter([job]), instantly({"a": [respond(400)]}))
    assert str(result.error) == "no new token"


def test_a_code_that_cannot_be_read_is_its_jobs_error():
    def broken(response):
        raise ValueError("no document")

    jobs = [Job(jobs_for("a")["a"].build, code_of=broken), *jobs_for("b").values()]
    results = list(run_all(iter(jobs), instantly({"a": [respond(200)], "b": [respond(200)]})))
    assert [str(each.error) if each.error else each.retried.response.status for each in results] == ["no document", 200]


def test_the_time_of_the_first_attempt_counts():
    (job,) = jobs_for("a").values()
    outcomes = {"a": [respond(503), fail(FaultKind.LOST), fail(FaultKind.LOST)]}
    clock = Running()
    before = clock.monotonic()
    (result,) = run_all(iter([job]), instantly(outcomes), Rules(clock=clock, random=half))
    assert before < job.began < before + 0.1
    assert float(str(result.error).partition("attempts in ")[2].partition(" s")[0]) > 0.1
    assert job.course is None, "it would keep the body of the request"


def test_nothing_to_do_and_nothing_now():
    assert list(run_all(iter([]), instantly({}))) == []
    feed = itertools.chain([None, None], jobs_for("a").values(), [None])
    assert len(list(run_all(feed, instantly({"a": [respond(200)]})))) == 1


def test_closing_closes_the_batch():
    closed = []

    def send_all(requests):
        try:
            for item in requests:
                yield Sent(item, respond(200)(item), None)
        finally:
            closed.append(True)

    running = run_all(iter(jobs_for("ab").values()), send_all)
    next(running)
    running.close()
    assert closed == [True]


def test_a_batch_over_a_real_connection():
    """Every second answer is a failure of some kind; in the end all are there, once."""
    bad = [Receive(), answer(503, b""), Receive(), answer(200, b"ok"), Receive(), Reset()]
    good = [Repeat([Receive(), answer(200, b"ok")])]
    quick = Rules(RetryPolicy(attempts=10, base=0.01, cap=0.05))
    with ScriptedServer(bad, bad, bad, good) as server, Transport(environ={}) as transport:
        jobs = [Job(lambda attempt, n=n: Request("GET", f"{server.url}/{n}")) for n in range(40)]
        results = list(run_all(iter(jobs), lambda requests: transport.send_all(requests, concurrency=4), quick))
    assert Counter(each.retried.response.body for each in results) == {b"ok": 40}
    assert {each.job for each in results} == {*jobs}
    assert any(each.retried.attempts > 1 for each in results)


def test_the_wait_of_one_does_not_hold_up_the_others():
    slow = [Receive(), answer(503, b"", [("Retry-After", "1")])]
    with ScriptedServer(slow, [Repeat([Receive(), answer(200, b"ok")])]) as server, Transport(environ={}) as transport:
        jobs = [Job(lambda attempt, n=n: Request("GET", f"{server.url}/{n}")) for n in range(30)]
        attempts = [
            each.retried.attempts for each in run_all(iter(jobs), lambda r: transport.send_all(r, concurrency=2))
        ]
    assert sorted(attempts) == [1] * 29 + [2]
    assert attempts[-1] == 2


def test_delays_are_not_negative_for_dates_in_the_past():
    late = (NOW - timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert parse_retry_after(late, NOW) == 0


# ---- what others raise within a transfer


class Breaking:
    """A source and a sink, one of whose methods raises the error of another transfer."""

    size = 5
    rewindable = True

    def __init__(self, where: str) -> None:
        self.where = where
        self.error = error_for(TransferFault(FaultKind.LOST, "of another server", sent=1), "http://other")

    def fail(self, here: str) -> None:
        if here == self.where:
            raise self.error

    def read(self, count: int) -> bytes:
        self.fail("read")
        return b"hello"

    def rewind(self) -> None:
        """Always possible."""

    def accepts(self, status: int, headers: Headers) -> bool:
        self.fail("accepts")
        return True

    def take(self, piece: bytes) -> None:
        self.fail("take")

    def finish(self) -> int:
        self.fail("finish")
        return 5

    def moved(self, count: int) -> None:
        self.fail("progress")


def sent_on(way: str, transport: Transport, job: Job, breaking: Breaking, chosen: Rules) -> Exception | None:
    """The error of one job, sent in such a way."""
    if way == "batch":
        [result] = run_all(iter([job]), transport.send_all, chosen)
        return result.error

    def streamed(request: Request) -> Response:
        with transport.stream(request, progress=breaking.moved) as stream:
            return Response(request, stream.status, stream.headers, list(stream))

    try:
        run(job, streamed if way == "stream" else lambda one: transport.send(one, progress=breaking.moved), chosen)
    except errors.StorageError as error:
        return error
    return None


@pytest.mark.parametrize("lost_before", [False, True])
@pytest.mark.parametrize(
    ("way", "where"),
    [
        *itertools.product(["send", "batch"], ["read", "accepts", "take", "finish"]),
        *itertools.product(["send", "stream"], ["read", "progress"]),
    ],
)
def test_what_a_source_a_sink_or_a_callback_raises_ends_it(time, way, where, lost_before):
    breaking, attempts = Breaking(where), []

    def build(attempt: Attempt) -> Request:
        attempts.append(attempt.number)
        if where == "read":
            body = b"first" if lost_before and attempt.number == 1 else breaking
            return Request("PUT", server.url + "/k", body=body, fresh_connection=True)
        return Request("GET", server.url + "/k", sink=None if way == "stream" or where == "progress" else breaking)

    script = [Receive(), answer(200, b"hello" * 100)]
    with ScriptedServer(*([[Receive(), Reset()]] if lost_before else []), script) as server, Transport() as transport:
        error = sent_on(way, transport, Job(build), breaking, rules(time, base=0.0))
    assert error is breaking.error
    assert error.message == "the connection to http://other broke (of another server)"
    assert attempts == ([1, 2] if lost_before else [1])
