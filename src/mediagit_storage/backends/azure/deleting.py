"""Deleting: one blob, version or snapshot, or 256 blobs in one request."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mediagit_storage.backend import Completion, DeleteOperation
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.reading import Reader
from mediagit_storage.backends.azure.shapes import condition_fields, version_query
from mediagit_storage.backends.azure.translate import read_failure, translate
from mediagit_storage.errors import BucketNotFoundError, IntegrityError, NotFoundError, StorageError
from mediagit_storage.http.call import Call, Condition, Fields
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.operations import Group
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.types import DeleteOptions

__all__ = ["BatchPart", "Deleter", "parse_batch"]

_BOUNDARY: Final = re.compile(r'boundary="?([^";\s]{1,200})"?').search


class Deleter:
    """Deletes from one container. ``snapshots`` says that a blob's snapshots go with it."""

    def __init__(self, client: AzureClient, reader: Reader, *, snapshots: bool) -> None:
        self._client = client
        self._reader = reader
        self._base: Fields = [("x-ms-delete-snapshots", "include")] if snapshots else []

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Remove a blob, version or snapshot."""
        if not self._client.address.holds(key) and options.missing_ok and options.if_match is None:
            return  # and must not delete the blob that the service would take it for
        call = self.call(key, options)
        self.done(call, options, self._client.send(call))

    def call(self, key: str, options: DeleteOptions) -> Call:
        """The DELETE of one blob, version or snapshot."""
        fields = condition_fields(if_match=options.if_match)
        if options.version is None:
            fields += self._base
        call = self._client.key_call("DELETE", key, version_query(options.version), fields)
        return call._replace(traits=Traits(conditional=options.if_match is not None))

    def done(self, call: Call, options: DeleteOptions, retried: Retried) -> None:
        """What became of it. Absence is a success, but not the container's, nor where somebody minds."""
        condition: Condition | None = "match" if options.if_match is not None else None
        response = retried.response
        gone = retried.maybe_done and response.status == 404
        try:
            self._client.check(response, call, condition=None if gone else condition)
        except BucketNotFoundError:
            raise
        except NotFoundError:
            # After a repeated request an absence is our own doing.
            if not options.missing_ok and not gone:
                raise

    # ---- many

    def groups(self, operation: DeleteOperation) -> bool:
        """Whether this one may go with others: nothing is special about it."""
        options = operation.options
        plain = options.missing_ok and options.if_match is None and options.version is None
        return plain and self._client.address.holds(operation.key)

    def group(self, operations: Sequence[DeleteOperation]) -> Group:
        """One request that removes them all."""
        client, boundary = self._client, f"batch_{secrets.token_hex(16)}"
        parts: list[str] = []
        for number, each in enumerate(operations):
            inner = Call("DELETE", client.address.path(each.key), "", self._base)
            query, fields = client.signing.sign_inside(inner)
            lines = [
                f"--{boundary}",
                "Content-Type: application/http",
                "Content-Transfer-Encoding: binary",
                f"Content-ID: {number}",
                "",
                f"DELETE {inner.path}{f'?{query}' if query else ''} HTTP/1.1",
                *(f"{name}: {value}" for name, value in fields),
                "Content-Length: 0",
                "",
                "",
            ]
            parts.append("\r\n".join(lines))
        body = f"{''.join(parts)}--{boundary}--\r\n".encode()
        kind: Fields = [("content-type", f"multipart/mixed; boundary={boundary}")]
        call = client.container_call("POST", [("comp", "batch")], kind, body)
        return Group(call, lambda retried: self._group_done(call, operations, retried))

    def _group_done(self, call: Call, operations: Sequence[DeleteOperation], retried: Retried) -> Iterator[Completion]:
        """What became of each. A key without an answer is a failure."""
        response = retried.response
        try:
            self._client.check(response, call, subject="bucket")
            answers = parse_batch(response.headers.get("content-type") or "", response.body)
        except StorageError as error:
            # Each item's error is given its own key.
            yield from (Completion(each, None, type(error)(error.message)) for each in operations)
            return
        for number, each in enumerate(operations):
            answer = answers.get(number)
            if answer is None:
                yield Completion(each, None, IntegrityError("the server did not say what became of this key"))
            else:
                yield Completion(each, None, self._verdict(answer))

    def _verdict(self, answer: BatchPart) -> StorageError | None:
        if 200 <= answer.status < 300:
            return None
        error = translate(read_failure(answer.status, answer.headers, answer.body))
        absent = isinstance(error, NotFoundError) and not isinstance(error, BucketNotFoundError)
        return None if absent else self._client.cleaned(error)


class BatchPart(NamedTuple):
    """The answer to one request of a batch."""

    status: int
    headers: Headers
    body: bytes


def parse_batch(content_type: str, body: bytes) -> dict[int, BatchPart]:
    """The answers of a batch by the numbers of their requests. Raises `IntegrityError` for what is no such answer."""
    found = _BOUNDARY(content_type)
    mark = b"--" + found[1].encode() if found is not None else b""
    if found is None or not body.rstrip().endswith(mark + b"--"):
        raise IntegrityError("the server's answer to a batch is none, or is cut off")
    answers: dict[int, BatchPart] = {}
    for part in body.split(mark)[1:-1]:
        outer, _, inner = part.strip(b"\r\n").partition(b"\r\n\r\n")
        head, _, rest = inner.partition(b"\r\n\r\n")
        number = Headers(outer.splitlines(keepends=True)).get("content-id") if b":" in outer else None
        lines = head.split(b"\r\n")
        status = lines[0][9:12]
        if not status.isdigit():
            raise IntegrityError("the server's answer to a batch has a part that is no answer")
        # A batch that fails as a whole may answer in one part without a number.
        place = int(number) if number is not None and number.isdigit() else len(answers)
        answers[place] = BatchPart(int(status), Headers([line + b"\r\n" for line in lines]), rest)
    return answers
