"""Deleting: one object or version, or a thousand objects in one request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from mediagit_storage.backend import Completion, DeleteOperation
from mediagit_storage.backends.s3.answers import parse_bulk_delete
from mediagit_storage.backends.s3.checksums import checksum_fields
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.documents import bulk_delete
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.shapes import condition_fields
from mediagit_storage.backends.s3.translate import failure_of_item
from mediagit_storage.errors import BucketNotFoundError, IntegrityError, NotFoundError, StorageError
from mediagit_storage.hashing import new_hasher
from mediagit_storage.http.call import Call
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.http.xml import is_representable
from mediagit_storage.types import Checksum, DeleteOptions

__all__ = ["Deleter"]


class Deleter:
    """Deletes from one bucket."""

    def __init__(self, client: Client, reader: Reader) -> None:
        self._client = client
        self._reader = reader

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Remove an object or a version. Where a missing one is an error it is looked for first."""
        if not options.missing_ok and options.if_match is None:
            self._reader.stat(key, options.version)
        if options.if_match is None and not self._client.holds(key):
            return  # and must not delete the object that the server would take it for
        call = self.call(key, options)
        self.done(call, options, self._client.send(call))

    def call(self, key: str, options: DeleteOptions) -> Call:
        """The DELETE of one object or version."""
        client = self._client
        query = "" if options.version is None else encode_query([("versionId", options.version)])
        fields = [*client.payer, *condition_fields(if_match=options.if_match)]
        return Call("DELETE", client.path(key), query, fields, traits=Traits(conditional=options.if_match is not None))

    def done(self, call: Call, options: DeleteOptions, retried: Retried) -> None:
        """What became of it. Absence is a success, but not the bucket's, nor where a condition names the object."""
        condition = "match" if options.if_match is not None else None
        try:
            self._client.check(retried.response, call, condition=condition)  # type: ignore[arg-type]  # a literal
        except BucketNotFoundError:
            raise
        except NotFoundError:
            return
        except StorageError:
            if condition is not None and retried.maybe_done and retried.response.status == 404:
                return  # gone, by the first sending of this very request
            raise

    # ---- many

    def groups(self, operation: DeleteOperation) -> bool:
        """Whether this one may go with others: a key that XML can hold, and nothing special about it."""
        options = operation.options
        plain = options.missing_ok and options.if_match is None and options.version is None
        return plain and is_representable(operation.key) and self._client.holds(operation.key)

    def bulk_call(self, keys: Sequence[str]) -> Call:
        """One request that removes them all."""
        client = self._client
        body = bulk_delete((key, None) for key in keys)
        md5 = Checksum("md5", hashlib.md5(body, usedforsecurity=False).digest())
        digest = checksum_fields(client.service, md5)
        if not digest:
            # The service was said to take another one only.
            algorithm = next(iter(client.service.checksums))
            hasher = new_hasher(algorithm)
            hasher.update(body)
            digest = checksum_fields(client.service, Checksum(algorithm, hasher.digest()))
        fields = [*client.payer, *digest, ("content-type", "application/xml")]
        return Call("POST", client.address.bucket_path, "delete=", fields, body, code_of=client.code_in_document)

    def bulk_done(self, call: Call, group: Sequence[DeleteOperation], retried: Retried) -> Iterator[Completion]:
        """What became of each. A key without an answer is a failure."""
        try:
            self._client.check(retried.response, call, subject="bucket")
            answer = parse_bulk_delete(retried.response.body)
        except StorageError as error:
            yield from (Completion(each, None, _copied(error)) for each in group)
            return
        errors: dict[str, StorageError | None] = {key: None for key, _ in answer.deleted}
        for key, _, record in answer.failed:
            failed = self._client.cleaned(self._client.translated(failure_of_item(record)))
            errors[key] = None if isinstance(failed, NotFoundError) else failed
        for each in group:
            if each.key in errors:
                yield Completion(each, None, errors[each.key])
            else:
                yield Completion(each, None, IntegrityError("the server did not say what became of this key"))


def _copied(error: StorageError) -> StorageError:
    # Each item's error is given its own key.
    return type(error)(error.message)
