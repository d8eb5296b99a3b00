"""Reading objects of Google Cloud Storage: what asks for them, and what the answers say."""

from __future__ import annotations

from typing import Final

from mediagit_storage.backend import Body, Content
from mediagit_storage.backends.gcs.client import GCSClient
from mediagit_storage.backends.gcs.digests import (
    HASH_FIELD,
    chosen_algorithm,
    hash_value,
    parse_hashes,
    stored_text,
    usable,
)
from mediagit_storage.backends.gcs.names import condition_query, generation_of, object_path
from mediagit_storage.backends.gcs.resources import ObjectResource, decode_object, to_info
from mediagit_storage.backends.gcs.shapes import attributes_of, hidden_of
from mediagit_storage.backends.gcs.translate import read_failure
from mediagit_storage.conditions import check_conditions
from mediagit_storage.errors import (
    BucketNotFoundError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.http.call import Call, Fields, Query
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import range_value
from mediagit_storage.http.reading import ANY_SIZE, HttpReader
from mediagit_storage.http.refusals import failed_condition
from mediagit_storage.http.response import Response
from mediagit_storage.types import WHOLE, Checksum, ObjectInfo, ReadOptions

__all__ = ["CameBackError", "GCSReader"]

#: How often a read begins again because the object came back.
_COMEBACKS: Final = 5
#: Objects that are stored compressed come as they are stored, ranges too: without it the service unpacks them.
_AS_STORED = ("accept-encoding", "gzip")


class CameBackError(UnavailableError):
    """An object was written while its absence was looked into: read it again."""


class GCSReader(HttpReader):
    """Reads from one bucket."""

    def __init__(self, client: GCSClient, *, verify: bool) -> None:
        super().__init__(client, verify=verify)
        self._client = client
        self._algorithm = chosen_algorithm()
        #: The fields and the query of a plain read, the same for all.
        self._fields: Fields = [_AS_STORED, *client.content]
        self._query = client.query([("alt", "media")])

    # ---- what every HTTP backend writes

    def call(self, key: str, options: ReadOptions) -> Call:
        """The GET of the bytes."""
        fields, query = self._fields, self._query
        wanted = range_value(options.range)
        if wanted is not None:
            fields = [*fields, ("range", wanted)]
        selected = _selected(options)
        if selected:
            query = self._client.query([("alt", "media"), *selected])
        return Call("GET", object_path(self._client.bucket, key), query, fields, max_body=ANY_SIZE)

    def info(self, key: str, headers: Headers, *, size: int | None = None) -> ObjectInfo:
        """What the fields of an answer say. `IntegrityError` where somebody on the way has unpacked the object."""
        generation = headers.get("x-goog-generation")
        if not generation:
            raise IntegrityError("the server sent an object without its generation")
        stored = headers.get("x-goog-stored-content-encoding")
        if stored == "gzip" and (headers.get("content-encoding") or "").lower() != "gzip":
            raise IntegrityError("the object was unpacked on the way: its bytes are not those that are stored")
        if size is None:
            text = headers.get("x-goog-stored-content-length") or headers.get("content-length")
            size = int(text) if text and text.isascii() and text.isdigit() else None
        modified = headers.get("last-modified")
        self._client.bucket_seen = True
        return ObjectInfo(
            key, size, size, None if modified is None else parse_http_date(modified), generation, generation
        )

    def checksum(self, headers: Headers) -> Checksum | None:
        """The digest of the whole object; composite objects have no MD5."""
        return usable(parse_hashes(headers.get(HASH_FIELD)), self._algorithm)

    def stat(self, key: str, version: str | None = None, *, options: ReadOptions | None = None) -> ObjectInfo:
        """Everything about one object; one request."""
        asked = options if options is not None else ReadOptions(version=version)
        call = self.stat_call(key, asked)
        return self.described(key, asked, call, self._client.send(call).response)

    def refuse(self, key: str, options: ReadOptions, call: Call, response: Response) -> None:
        """Raise what a failed read means. Absence is looked into until it is proven, and whose it is."""
        if response.status == 416 and options.range.offset is None:
            return
        if response.status == 404 and not read_failure(404, response.body).documented and "alt=media" in call.query:
            # Reads of content are refused in words that a proxy might use, too: the description is asked for.
            self.stat(key, options=options)
            raise CameBackError("the object was absent, and came back before that was proven")
        try:
            self._client.check(response, call, condition=failed_condition(response.status))
        except BucketNotFoundError:
            raise
        except NotFoundError as error:
            self._client.prove_bucket(error)
            raise
        raise IntegrityError(f"the server answered a read with status {response.status}")

    # ---- conditions hold for what came, too: not every server looks at them

    def content(self, key: str, options: ReadOptions, call: Call, response: Response) -> Content:
        """The same, if it is what the conditions name."""
        found = super().content(key, options, call, response)
        check_conditions(found.info.etag, options)
        return found

    def read(self, key: str, options: ReadOptions) -> Content:
        """The same, again when the object came back meanwhile."""
        for _ in range(_COMEBACKS):
            try:
                return super().read(key, options)
            except CameBackError:
                continue
        return super().read(key, options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same, if it is what the conditions name."""
        for _ in range(_COMEBACKS):
            try:
                body = super().stream(key, options)
                break
            except CameBackError:
                continue
        else:
            body = super().stream(key, options)
        try:
            check_conditions(body.info.etag, options)
        except PreconditionError:
            body.close()
            raise
        return body

    # ---- descriptions

    def stat_call(self, key: str, options: ReadOptions) -> Call:
        """The GET of an object's description."""
        return self._client.object_call("GET", key, _selected(options), self._client.content)

    def described(self, key: str, options: ReadOptions, call: Call, response: Response) -> ObjectInfo:
        """What the answer to such a call tells."""
        resource = self.resource(key, options, call, response)
        info = to_info(resource, key)
        info.attributes = attributes_of(resource)
        return info

    def resource(self, key: str, options: ReadOptions, call: Call, response: Response) -> ObjectResource:
        """The same as the service says it."""
        if response.status != 200:
            self.refuse(key, options, call, response)
        self._client.bucket_seen = True
        resource = decode_object(response.body)
        check_conditions(to_info(resource, key).etag, options)
        return resource

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """The digest of a whole object, as its description tells it; None where reads are not to be checked."""
        if not self._verified:
            return None
        call = self.stat_call(key, options)
        try:
            resource = self.resource(key, options, call, self._client.send(call).response)
        except StorageError:
            return None
        told = {name: text for name in ("crc32c", "md5") if (text := stored_text(resource, name))}
        return usable(parse_hashes(",".join(hash_value(name, text) for name, text in told.items())), self._algorithm)

    def look(self, key: str, version: str | None = None) -> ObjectResource:
        """An object's description as the service says it; one request."""
        options = ReadOptions(version=version)
        call = self.stat_call(key, options)
        return self.resource(key, options, call, self._client.send(call).response)

    def hidden(self, key: str) -> tuple[ObjectResource, dict[str, str]]:
        """The same, and the library's own entries in its metadata."""
        resource = self.look(key)
        return resource, hidden_of(resource)


def _selected(options: ReadOptions) -> Query:
    if (
        options.range is WHOLE
        and options.version is None
        and options.if_match is None
        and options.if_none_match is None
    ):
        return ()
    found = list(condition_query(if_match=options.if_match, if_none_match=options.if_none_match))
    if options.version is not None:
        generation = generation_of(options.version)
        if generation is None:
            raise NotFoundError("no version of an object has such a name")
        found.append(("generation", generation))
    return found
