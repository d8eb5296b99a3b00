"""Deleting: one object or generation, or a hundred objects in one request; and bringing a deleted one back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from mediagit_storage.backend import Completion, DeleteOperation
from mediagit_storage.backends.gcs.client import GCSClient
from mediagit_storage.backends.gcs.multiparts import BATCH_PATH, Inner, batch_body, parse_batch
from mediagit_storage.backends.gcs.names import condition_query, generation_of, object_path
from mediagit_storage.backends.gcs.reading import GCSReader
from mediagit_storage.backends.gcs.translate import read_failure, translate
from mediagit_storage.errors import IntegrityError, NotFoundError, StorageError
from mediagit_storage.http.call import Call, Query
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.types import DeleteOptions

__all__ = ["Deleter"]


class Deleter:
    """Deletes from one bucket."""

    def __init__(self, client: GCSClient, reader: GCSReader) -> None:
        self._client = client
        self._reader = reader

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Remove an object or a generation; one request, and one to see what is missing when something is."""
        try:
            call = self.call(key, options)
        except NotFoundError:
            if options.missing_ok:
                return
            raise
        self.done(call, options, self._client.send(call))

    def call(self, key: str, options: DeleteOptions) -> Call:
        """The DELETE of one object or generation. A version that can be none is `NotFoundError`."""
        query: Query = condition_query(if_match=options.if_match)
        if options.version is not None:
            generation = generation_of(options.version)
            if generation is None:
                raise NotFoundError("no version of an object has such a name")
            query = [*query, ("generation", generation)]
        traits = Traits(conditional=options.if_match is not None)
        return self._client.object_call("DELETE", key, query)._replace(traits=traits)

    def done(self, call: Call, options: DeleteOptions, retried: Retried) -> None:
        """What became of it. Absence is a success unless asked, but never the bucket's own."""
        response = retried.response
        if 200 <= response.status < 300:
            self._client.bucket_seen = True
            return
        conditional = options.if_match is not None
        error = self._client.cleaned(self._client.error_of(response, condition="match" if conditional else None))
        if response.status == 404 and read_failure(404, response.body).documented:
            self._client.prove_bucket(error)
            # The first sending of this very request may have done it.
            if retried.maybe_done or (options.missing_ok and not conditional):
                return
        raise error

    # ---- many

    def groups(self, operation: DeleteOperation) -> bool:
        """Whether this one may go with others."""
        options = operation.options
        return options.missing_ok and options.version is None

    def group_call(self, operations: Sequence[DeleteOperation]) -> Call:
        """One request that removes them all."""
        client = self._client
        boundary = secrets.token_hex(16)
        calls = []
        for each in operations:
            query = client.query(condition_query(if_match=each.options.if_match))
            path = object_path(client.bucket, each.key)
            calls.append(("DELETE", f"{path}?{query}" if query else path))
        fields = [("content-type", f"multipart/mixed; boundary={boundary}")]
        return Call("POST", BATCH_PATH, "", fields, batch_body(calls, boundary, []))

    def group_done(self, call: Call, operations: Sequence[DeleteOperation], retried: Retried) -> Iterator[Completion]:
        """What became of each. What passes is tried once more by itself; a key without an answer is a failure."""
        response = retried.response
        try:
            self._client.check(response, call, subject="bucket")
            answers = {each.number: each for each in parse_batch(response.headers.get("content-type"), response.body)}
        except StorageError as error:
            # Each item's error is given its own key.
            yield from (Completion(each, None, type(error)(error.message)) for each in operations)
            return
        for number, operation in enumerate(operations):
            answer = answers.get(number)
            if answer is None:
                failure: Exception | None = IntegrityError("the server did not say what became of this key")
            else:
                failure = self._judged(operation, answer, maybe_done=retried.maybe_done)
            yield Completion(operation, None, failure)

    def _judged(self, operation: DeleteOperation, answer: Inner, *, maybe_done: bool) -> Exception | None:
        if 200 <= answer.status < 300:
            self._client.bucket_seen = True
            return None
        failure = read_failure(answer.status, answer.body)
        conditional = operation.options.if_match is not None
        error = self._client.cleaned(translate(failure, condition="match" if conditional else None))
        try:
            if answer.status == 404 and failure.documented:
                self._client.prove_bucket(error)
                return error if conditional and not maybe_done else None
            if error.retryable or answer.status == 401:
                self.delete(operation.key, operation.options)
                return None
        except StorageError as found:
            return found
        return error
