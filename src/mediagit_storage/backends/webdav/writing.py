"""Writing: an upload beside the object under a hidden name, a look at what arrived, and the MOVE that publishes it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from mediagit_storage.backends.webdav.client import DavClient
from mediagit_storage.backends.webdav.multistatus import Resource, parse_multistatus, proppatch
from mediagit_storage.backends.webdav.publishing import Publisher
from mediagit_storage.backends.webdav.reading import DavReader
from mediagit_storage.backends.webdav.temporary import ATTEMPT, ENCODED_ATTEMPT, temporary_key
from mediagit_storage.clock import Clock
from mediagit_storage.errors import (
    AlreadyExistsError,
    ConnectionLostError,
    IntegrityError,
    LimitExceededError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.parts import Pieces, small_source
from mediagit_storage.http.request import BodySource, FileBody, PiecesBody
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Retried
from mediagit_storage.scope import current_scope
from mediagit_storage.source import Source
from mediagit_storage.types import Attributes, BytesLike, CopyOptions, ObjectInfo, PutOptions

__all__ = ["DavWriter"]

#: What a stream is read into before it travels: most that come in pieces are small, and then have a length.
_FIRST: Final = 1024 * 1024
#: Files up to this size are read at once.
_SMALL: Final = 1024 * 1024
#: What servers answer to a PUT where a folder is missing or in the way.
_ODD: Final = frozenset({301, 302, 307, 308, 400, 403, 404, 405, 409, 500})
#: Characters that some servers read in the field that names the target otherwise than in a path.
_MISREAD: Final = frozenset("?;#%&+")
#: A server says nothing while it copies, in seconds.
_PATIENT: Final = 900.0
#: What attributes may take as a property: servers keep them in small databases.
_MAX_ATTRIBUTES: Final = 8 * 1024


class DavWriter:
    """Writes to one storage. Thread-safe."""

    def __init__(self, client: DavClient, reader: DavReader, publisher: Publisher, clock: Clock) -> None:
        self._client = client
        self._reader = reader
        self._publisher = publisher
        self._clock = clock

    # ---- put

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Upload under a hidden name, prove what arrived, publish. Whatever goes wrong, the upload is removed."""
        client = self._client
        client.check_written(key)
        if options.late_attributes is not None:
            raise UnsupportedError("attributes of a WebDAV storage are known before the content")
        attributes = _checked(options.attributes)
        conditional = options.if_absent or options.if_match is not None
        if client.service.atomic_put and not conditional and not client.dead_properties:
            return self._put_directly(key, source)
        if options.if_absent and source.buffer() is None:
            # What cannot succeed should not travel first.
            self._refuse_early(key)
        temporary = self.new_temporary(key)
        with self._cleaned(temporary) as used:
            self._publisher.ensure_folder(key)
            self._publisher.ensure_apart(temporary)
            size = self._upload(key, temporary, source, used)
            sent = used[-1]
            found = self._arrived(sent, size)
            if attributes is not None:
                self._keep(sent, attributes)
            current_scope().check()
            self._publisher.publish(sent, key, if_absent=options.if_absent, if_match=options.if_match)
            used.remove(sent)
        return self._written(key, found)

    def _put_directly(self, key: str, source: Source) -> ObjectInfo:
        """To its own name at once, on a server that shows nothing before it has everything.

        Properties that the object before it had would stay: only for storages that know none.
        """
        self._publisher.ensure_folder(key)
        if source.buffer() is None and not source.rewindable:
            self._publisher.clear(key)
        size = self._upload(key, key, source, [])
        return self._seen(key, Resource("", size=size))

    def _refuse_early(self, key: str) -> None:
        found = self._client.look(key)
        if found is not None and not found.folder:
            raise AlreadyExistsError("an object is there already")

    def new_temporary(self, key: str, *, attempt: str = ATTEMPT) -> str:
        """The key of a new temporary for a key."""
        longest = self._client.service.max_segment
        apart = self._client.service.uploads_apart
        return temporary_key(
            key, self._clock.now_ns(), secrets.token_hex(8), longest=longest, apart=apart, attempt=attempt
        )

    @contextmanager
    def _cleaned(self, temporary: str) -> Iterator[list[str]]:
        """Removes the temporaries in the list that it gives, however the block ends."""
        used: list[str] = []
        client = self._client

        def clean() -> None:
            for each in used:
                try:
                    client.remove_file(client.base.path_of(each))
                except StorageError:
                    # It stays, and `pending_uploads` shows it.
                    continue

        try:
            yield used
        except BaseException:
            used = used or [temporary.replace(ATTEMPT, "1")]
            client.aside(clean)
            raise
        if used:
            client.aside(clean)

    def _upload(self, key: str, temporary: str, source: Source, used: list[str]) -> int:
        """Send the content. ``used`` gets the names that it was sent to, the one that has it last."""
        data = small_source(source, _SMALL)
        if data is not None:
            return self._put_bytes(key, temporary, data, used)
        region = source.region()
        if region is not None:
            body = FileBody(region.descriptor, region.offset, region.size, admit=source.admit)
            self._put(key, temporary, body, used)
            source.finished()
            source.advance(region.size)
            return region.size
        pieces = Pieces(source.chunks())
        begin = pieces.take_all(_FIRST + 1)
        if len(begin) <= _FIRST:
            return self._put_bytes(key, temporary, begin, used)
        pieces.put_back(begin)
        del begin
        return self._put_stream(key, temporary, _chunks(pieces), source.size, used)

    def _put_bytes(self, key: str, temporary: str, data: BytesLike, used: list[str]) -> int:
        self._put(key, temporary, data if isinstance(data, bytes) else bytes(data), used)
        return len(data)

    def _put_stream(self, key: str, temporary: str, chunks: Iterator[bytes], size: int | None, used: list[str]) -> int:
        """A body that comes once. Its length is counted, since nobody else can tell it."""
        client = self._client
        if client.signing is not None and not client.signing.settled:
            # The server's way of asking who we are should not cost a body that cannot be sent again.
            client.look("")
            client.signing.settled = True
        counted = _Counted(chunks)
        if size is None and not client.service.chunked:
            return self._put_spooled(key, temporary, counted, used)
        body = PiecesBody(counted, size)
        try:
            self._put(key, temporary, body, used)
        except UnsupportedError:
            if size is not None or not body.rewindable:
                raise
            # Refused before anything was sent: the server wants to know the length.
            used.clear()
            return self._put_spooled(key, temporary, counted, used)
        if size is not None and counted.count != size:
            raise IntegrityError(f"the source gave {counted.count:,} bytes, and {size:,} were announced")
        return counted.count

    def _put_spooled(self, key: str, temporary: str, chunks: Iterator[bytes], used: list[str]) -> int:
        with tempfile.TemporaryFile(prefix="mgs-webdav-") as file:
            size = _filled(file, chunks)
            file.flush()
            self._put(key, temporary, FileBody(file.fileno(), 0, size), used)
        return size

    def _put(self, key: str, temporary: str, body: bytes | BodySource, used: list[str]) -> None:
        """One PUT, repeated under another name each time; once more when the folder turns out to be gone."""
        call = Call(
            "PUT",
            self._client.base.path_of(temporary),
            body=body,
            fresh_connection=not isinstance(body, bytes),
            # A refusal then comes before a body that cannot be sent twice.
            expect_continue=isinstance(body, PiecesBody),
        )
        response = self._sent(call, temporary, used).response
        if response.status in _ODD:
            self._client.prove_base()
            error = self._publisher.make_way(None, key, response)
            self._publisher.ensure_apart(temporary)
            if not isinstance(body, bytes):
                if not body.rewindable:
                    raise error
                body.rewind()
            response = self._sent_again(call, temporary, used)
        elif response.attempts > 1 and isinstance(body, bytes) and not self._client.service.atomic_put:
            # libcurl found the connection dead and sent it twice to one name: either may have been the last to write.
            response = self._sent_again(call, temporary, used)
        self._client.check_plain(response)

    def _sent_again(self, call: Call, temporary: str, used: list[str]) -> Response:
        """The same under names with more digits: those of before may still be being written."""
        path = call.path.replace(ENCODED_ATTEMPT, f"1{ENCODED_ATTEMPT}")
        again = call._replace(path=path, fresh_connection=True)
        return self._sent(again, temporary.replace(ATTEMPT, f"1{ATTEMPT}"), used).response

    def _sent(self, call: Call, temporary: str, used: list[str]) -> Retried:
        """Send an upload, each attempt under a name of its own: none is ever written twice."""
        before = [*used]
        attempts = self._client.rules.policy.attempts
        used[:] = [*before, *(temporary.replace(ATTEMPT, str(number)) for number in range(1, attempts + 1))]
        retried = self._client.send(call)
        used[:] = [*before, *(temporary.replace(ATTEMPT, str(number)) for number in range(1, retried.attempts + 1))]
        return retried

    def _arrived(self, temporary: str, size: int) -> Resource:
        """What the server has of an upload: `IntegrityError` unless that is all of it."""
        found = self._client.look(temporary)
        if found is None:
            self._client.prove_base()
            raise ConnectionLostError("what was uploaded is gone: somebody aborted the upload")
        if found.size is not None and found.size != size:
            raise IntegrityError(f"the server stored {found.size:,} bytes of {size:,}; nothing was published")
        return found._replace(size=size)

    def _keep(self, temporary: str, attributes: Attributes) -> None:
        """Give an unfinished upload its attributes. Every server that cannot keep them says so now."""
        response = self._client.send_patiently(
            Call(
                "PROPPATCH",
                self._client.base.path_of(temporary),
                fields=self._client.propfind_fields,
                body=proppatch(attributes),
            )
        ).response
        if response.status != 207:
            self._client.check_plain(response)
            return
        kept = self._client.look(temporary)
        refused = any(each.status >= 300 for each in parse_multistatus(response.body))
        if refused or kept is None or kept.kept is None:
            raise UnsupportedError("the server does not keep properties; open the storage with dead_properties=false")

    def _written(self, key: str, found: Resource) -> ObjectInfo:
        """What is known of a new object: from before it got its name, where the server leaves that as it is."""
        if not self._client.service.keeps_etag:
            return self._seen(key, found)
        return ObjectInfo(key, found.size, found.size, found.modified, found.etag)

    def _seen(self, key: str, written: Resource) -> ObjectInfo:
        """What the server tells of an object that was just written. Another writer's must not be taken for ours."""
        now = self._client.look(key)
        if now is None and not _MISREAD.isdisjoint(key):
            raise ConnectionLostError(
                "the object is not where it was just put: somebody deleted it, or the server takes its name for another"
            )
        ours = now is not None and not now.folder and now.size == written.size
        found = now if now is not None and ours else written._replace(etag=None)
        return ObjectInfo(key, found.size, found.size, found.modified, found.etag)

    # ---- copy and rename

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Let the server copy to a hidden name, then publish."""
        client = self._client
        client.check_written(target)
        info = self._reader.stat(source)
        options.require(info.etag)
        attributes = _checked(options.attributes)
        if source == target:
            if options.if_absent:
                raise AlreadyExistsError("an object is there already")
            if attributes is None and (
                options.attributes is None or not info.attributes or not info.attributes.named()
            ):
                return info
        temporary = self.new_temporary(target, attempt="0")
        with self._cleaned(temporary) as used:
            self._publisher.ensure_folder(target)
            self._publisher.ensure_apart(temporary)
            used.append(temporary)
            self._copied(source, target, temporary)
            found = self._arrived(temporary, self._size_of(temporary, info))
            if options.attributes is not None and client.dead_properties:
                self._keep(temporary, options.attributes)
            current_scope().check()
            self._publisher.publish(temporary, target, if_absent=options.if_absent, if_match=None)
            used.remove(temporary)
        return self._written(target, found)

    def _size_of(self, temporary: str, info: ObjectInfo) -> int:
        """The size that a copy has to have. A source that was overwritten meanwhile is copied as it is now."""
        found = self._client.look(temporary)
        if found is not None and found.size is not None and found.size != info.size:
            now = self._reader.stat(info.key)
            if now.etag != info.etag and now.size is not None:
                return now.size
        return info.size or 0

    def _copied(self, source: str, target: str, temporary: str) -> None:
        client = self._client
        # To the same hidden name each time: nobody else writes there, and every attempt brings the same.
        fields: Fields = [("destination", client.destination(temporary)), ("overwrite", "T"), ("depth", "0")]
        call = Call("COPY", client.path(source), fields=fields, idle_timeout=_PATIENT)
        response = client.send_patiently(call).response
        if response.status in {403, 404, 409, 500}:
            self._reader.stat(source)
            self._publisher.forget_folders(target)
            self._publisher.ensure_folder(target)
            self._publisher.ensure_apart(temporary)
            response = client.send_patiently(call).response
        client.check_plain(response)

    def rename(self, source: str, target: str, *, if_absent: bool) -> ObjectInfo:
        """One MOVE of what was seen to be a file."""
        self._client.check_written(target)
        self._reader.stat(source)
        found = self._client.look(source)
        if found is None or found.folder:
            raise self._client.absent()
        self._publisher.ensure_folder(target)
        try:
            self._publisher.publish(source, target, if_absent=if_absent, if_match=None)
        except ConnectionLostError:
            # Somebody else removed or renamed the source.
            self._reader.stat(source)
            raise
        return self._written(target, found)


class _Counted:
    """Passes pieces on and counts their bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._chunks)
        self.count += len(piece)
        return piece


def _chunks(pieces: Pieces) -> Iterator[bytes]:
    while piece := pieces.take_all(1):
        yield piece


def _filled(file: IO[bytes], chunks: Iterator[bytes]) -> int:
    size = 0
    for piece in chunks:
        size += file.write(piece)
    return size


def _checked(attributes: Attributes | None) -> Attributes | None:
    """Attributes that are to be kept, None for none. `LimitExceededError` for more than a server takes."""
    if attributes is None or not attributes.named():
        return None
    if len(proppatch(attributes)) > _MAX_ATTRIBUTES:
        raise LimitExceededError(f"attributes may take at most {_MAX_ATTRIBUTES:,} bytes on a WebDAV server")
    return attributes
