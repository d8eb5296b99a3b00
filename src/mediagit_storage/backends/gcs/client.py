"""Requests about one bucket of Google Cloud Storage, and what its answers mean."""

from __future__ import annotations

from typing import Final

from mediagit_storage.backends.gcs.names import bucket_path, check_written, object_path, upload_path
from mediagit_storage.backends.gcs.translate import proves_object, read_failure, translate
from mediagit_storage.errors import BucketNotFoundError, StorageError
from mediagit_storage.http.call import Call, Condition, Fields, Query, Subject
from mediagit_storage.http.client import HttpClient, Signing
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.http.transport import Transport

__all__ = ["JSON_FIELD", "GCSClient"]

#: What a request with a JSON body says about it.
JSON_FIELD: Final = ("content-type", "application/json; charset=utf-8")
#: What an answer that was cut off counts as: the request is repeated.
_CUT_OFF: Final = "internalError"


class GCSClient(HttpClient):
    """One bucket. ``content`` are the fields that requests about an object's content carry: a customer's key."""

    def __init__(
        self,
        origin: str,
        transport: Transport,
        rules: Rules,
        signing: Signing | None,
        *,
        bucket: str,
        user_project: str | None = None,
        content: Fields | None = None,
        source: Fields | None = None,
    ) -> None:
        super().__init__(origin, transport, rules, signing)
        self.bucket = bucket
        self.content: Fields = content or []
        #: The same key for what is copied.
        self.source: Fields = source or []
        #: What every request's query carries besides its own.
        self.payer: Query = [("userProject", user_project)] if user_project else []
        #: Whether any answer has shown that the bucket is there.
        self.bucket_seen = False
        self.upload_path = upload_path(bucket)
        self._payer_text = encode_query(self.payer)

    # ---- what every HTTP backend writes

    def code_of(self, response: Response) -> str | None:
        """The reason in a failed answer, for the rules of retrying."""
        if response.status < 400:
            return None
        if response.status == 404 and response.cut:
            # Half an answer proves nothing; the whole one may.
            return _CUT_OFF
        return read_failure(response.status, response.body).reason or None

    def error_of(
        self, response: Response, *, subject: Subject = "object", condition: Condition | None = None
    ) -> StorageError:
        """What a failed answer means."""
        failure = read_failure(response.status, response.body)
        if proves_object(failure):
            self.bucket_seen = True
        return translate(failure, subject=subject, condition=condition)

    # ---- calls

    def query(self, query: Query) -> str:
        """A query as it is sent, with the project that pays."""
        if not self._payer_text:
            return encode_query(query)
        return encode_query([*query, *self.payer])

    def bucket_call(self, method: str, suffix: str = "", query: Query = (), body: bytes | None = None) -> Call:
        """A call about the bucket itself, or with ``suffix`` ``/o`` about its objects."""
        fields = [JSON_FIELD] if body else []
        return Call(method, bucket_path(self.bucket) + suffix, self.query(query), fields, body)

    def object_call(self, method: str, key: str, query: Query = (), fields: Fields | None = None) -> Call:
        """A call about one object."""
        return Call(method, object_path(self.bucket, key), self.query(query), fields or [])

    def check_written(self, key: str) -> None:
        """Raise `InvalidKeyError` for a key that the service does not take."""
        check_written(key)

    def prove_bucket(self, error: StorageError) -> None:
        """Something is missing: raise `BucketNotFoundError` if it is the bucket. At most one request, until it is seen."""
        if self.bucket_seen:
            return
        response = self.send(self.bucket_call("GET", "/o", [("maxResults", "1"), ("fields", "kind")])).response
        if response.status == 404:
            found = self.error_of(response, subject="bucket")
            if isinstance(found, BucketNotFoundError):
                raise found from error
        self.bucket_seen = response.status in {200, 403}
