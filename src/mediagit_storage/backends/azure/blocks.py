"""Writing blobs in blocks, which are committed together; continued after a crash, dropped after a failure.

Blocks that are not committed belong to a key, not to an upload: whoever commits or writes a key discards all the others.
Their names begin with an id of the upload, so that writers cannot mix. What is never committed is dropped by the
service after a week, and asked to be dropped at once, which the emulator does.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Final, NamedTuple

from mediagit_storage.backends.azure.answers import parse_blocks, parse_list
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.reading import Reader
from mediagit_storage.backends.azure.services import BlockChecksum
from mediagit_storage.backends.azure.shapes import block_id, block_list, checksum_field, condition_fields, list_query
from mediagit_storage.backends.azure.translate import read_failure
from mediagit_storage.backends.azure.written import Written
from mediagit_storage.errors import IntegrityError, NotFoundError, StorageError
from mediagit_storage.hashing import crc64_at_hand
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.multipart import Part, PartPlan, Sizes
from mediagit_storage.http.parts import SourcePart, digester, file_parts
from mediagit_storage.http.retry import Traits
from mediagit_storage.http.uploading import FileParts, Parts, send_parts
from mediagit_storage.http.written import condition_of, remembered
from mediagit_storage.scope import current_scope
from mediagit_storage.source import Source
from mediagit_storage.types import JSON, ObjectInfo, PutOptions, ResumeState

__all__ = ["Blocks", "DiscardedError", "new_upload"]

#: Committing many blocks takes the service a while, in seconds.
_PATIENT: Final = 300.0
#: A delete on this condition never takes an object: every one was modified later.
_NEVER_AN_OBJECT: Final = ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT")


class DiscardedError(IntegrityError):
    """The blocks were gone when they were to be committed: somebody else wrote the key meanwhile."""


class _Resumed(NamedTuple):
    """An upload that an earlier run left: ``sent`` are numbers and sizes of the blocks that the service holds."""

    upload: str
    token: str
    plan: PartPlan
    sent: Mapping[int, int]


def new_upload() -> tuple[str, str]:
    """The id of an upload, for the names of its blocks, and the token by which its object is known again."""
    return secrets.token_hex(16), secrets.token_hex(16)


class Blocks:
    """Uploads in blocks to one container."""

    def __init__(
        self, client: AzureClient, reader: Reader, written: Written, sizes: Sizes, checksum: BlockChecksum | None
    ) -> None:
        self._client = client
        self._checksum = checksum
        self._reader = reader
        self._written = written
        self._sizes = sizes
        self._digest = digester("md5")

    @cached_property
    def algorithm(self) -> str:
        """The digest that blocks are sent with: CRC64 where the service compares it and its library is at hand, else MD5."""
        chosen = self._checksum
        if chosen is None:
            chosen = "crc64" if self._client.address.service.crc64 and crc64_at_hand() else "md5"
        return "crc64nvme" if chosen == "crc64" else "md5"

    # ---- sending

    def send(self, key: str, parts: Parts, options: PutOptions) -> ObjectInfo:
        """Send parts and commit them. Raises `DiscardedError` where another writer was quicker."""
        upload, token = new_upload()
        with remembered(None, {}, lambda: self.forget(key)):
            sent = self._send(key, parts, upload)
            return self.commit(key, upload, sent, options, token=token)

    def send_file(self, key: str, source: Source, upload: FileParts, options: PutOptions) -> ObjectInfo:
        """Send a file, only what is missing where an earlier run left some; what breaks off can be continued."""
        state = options.resume
        left = self._resumed(key, upload.plan, state)
        name, token = new_upload() if left is None else left[:2]
        plan, have = (upload.plan, {}) if left is None else left[2:]
        missing: list[Part] = []
        for each in plan.parts():
            if each.number in have:
                source.advance(each.length)
            else:
                missing.append(each)
        pieces = file_parts(source, upload.region, missing, self.algorithm)
        saved: dict[str, JSON] = {"upload": name, "token": token, "part_size": plan.part_size}
        with remembered(state, saved, lambda: self.forget(key), kept=left is not None):
            sent = self._send(key, Parts(pieces, plan.part_size, held=False), name, file=source)
            return self.commit(key, name, {**have, **sent}, options, token=token)

    def _send(self, key: str, parts: Parts, upload: str, *, file: Source | None = None) -> dict[int, int]:
        path = self._client.address.path(key)
        sent = send_parts(
            self._client,
            parts.parts,
            lambda part: self.block_call(path, upload, part),
            lambda part, _response: part.number,
            self._sizes,
            part_size=parts.part_size,
            held=parts.held,
            advance=None if file is None else file.advance,
        )
        if file is not None:
            file.finished()
        current_scope().check()
        return dict(sent)

    def block_call(self, path: str, upload: str, part: SourcePart) -> Call:
        """The Put Block of one part, with its digest."""
        query = encode_query([("comp", "block"), ("blockid", block_id(upload, part.number))])
        fields = [*self._client.writing, *([] if part.checksum is None else [checksum_field(part.checksum)])]
        return Call("PUT", path, query, fields, part.body())

    def commit(
        self, key: str, upload: str, blocks: Mapping[int, int], options: PutOptions, *, token: str
    ) -> ObjectInfo:
        """Make the blocks, numbers and sizes, an object, on condition if asked for."""
        client = self._client
        body = block_list(block_id(upload, number) for number in sorted(blocks))
        fields = [
            *self._written.fields(options, token),
            *condition_fields(if_absent=options.if_absent, if_match=options.if_match),
            ("content-md5", base64.b64encode(self._digest(body)).decode("ascii")),
            ("content-type", "application/xml"),
        ]
        traits = Traits(conditional=options.if_absent or options.if_match is not None)
        call = Call("PUT", client.address.path(key), "comp=blocklist", fields, body, traits, idle_timeout=_PATIENT)
        retried = client.send(call)
        response = retried.response
        if response.status == 201:
            return self._written.info(key, sum(blocks.values()), response.headers)
        if retried.maybe_done and response.status in {400, 404, 409, 412}:
            ours = self._written.ours(key, token)
            if ours is not None:
                return ours
        if read_failure(response.status, response.headers, response.body).code == "InvalidBlockList":
            raise DiscardedError("somebody else wrote the same key meanwhile, which discards what was sent")
        client.check(response, call, condition=condition_of(options))
        raise IntegrityError(f"the server answered a commit with status {response.status}")

    # ---- what waits on the server

    def uncommitted(self, key: str) -> list[tuple[str, int]]:
        """Names and sizes of the blocks that wait under a key; none where there is nothing at all."""
        client = self._client
        call = client.key_call("GET", key, [("comp", "blocklist"), ("blocklisttype", "uncommitted")])
        response = client.send(call).response
        if read_failure(response.status, response.headers, response.body).code == "BlobNotFound":
            return []
        client.check(response, call)
        return [(each.name, each.size) for each in parse_blocks(response.body)]

    def _resumed(self, key: str, plan: PartPlan, state: ResumeState | None) -> _Resumed | None:
        """The upload that an earlier run left, with the blocks that the service holds of it; None to begin anew."""
        if state is None:
            return None
        if state.abandoned() is not None:
            # Its blocks go with the next commit of the key.
            state.clear()
        saved = state.load()
        if saved is None:
            return None
        upload, token, part_size = saved.get("upload"), saved.get("token"), saved.get("part_size")
        if not isinstance(upload, str) or not isinstance(token, str) or not isinstance(part_size, int) or part_size < 1:
            return None
        same = PartPlan(plan.size, part_size)
        held: dict[int, int] = {}
        for name, size in self.uncommitted(key):
            begin, _, digits = name.rpartition("-")
            if begin == upload and digits.isdigit() and 1 <= int(digits) <= same.count:
                part = same.part(int(digits))
                if part.length == size:
                    held[part.number] = size
        return _Resumed(upload, token, same, held)

    def pending(self, key: str) -> ObjectInfo | None:
        """What a listing says of blocks that wait where there is no object; None where none wait."""
        query = list_query(key, include="uncommittedblobs", most=1)
        page = parse_list(self._client.expect(self._client.container_call("GET", query), subject="bucket").body)
        found = next((each for each in page.objects if each.key == key and not each.size), None)
        return None if found is None or self.is_object(key) else found

    def is_object(self, key: str) -> bool:
        """Whether a blob is there, which a listing with uncommitted ones does not tell."""
        try:
            self._reader.hidden(key)
        except NotFoundError:
            return False
        return True

    def forget(self, key: str) -> None:
        """Ask the service to drop the blocks of a key that has no object; one that cannot drops them after a week."""
        self._client.aside(lambda: self._drop(key))

    def _drop(self, key: str) -> None:
        call = self._client.key_call("DELETE", key, (), [_NEVER_AN_OBJECT])
        with contextlib.suppress(StorageError):
            # The failure that led here is what is told.
            self._client.send(call)

    def discard(self, key: str) -> None:
        """Drop the blocks of a key that has no object, at the cost of an empty object being there for a moment."""
        client = self._client
        if self.pending(key) is None:
            return
        fields: Fields = [("if-none-match", "*"), ("content-type", "application/xml"), *client.writing]
        path = client.address.path(key)
        call = Call("PUT", path, "comp=blocklist", fields, block_list(()), Traits(conditional=True))
        response = client.send(call).response
        if response.status in {409, 412}:
            return
        client.check(response, call)
        removal = client.key_call("DELETE", key, (), _same(response.headers.get("etag")))
        response = client.send(removal).response
        if response.status not in {404, 412}:
            client.check(response, removal)


def _same(etag: str | None) -> Fields:
    if etag is None:
        raise IntegrityError("the server made an object and gave no ETag for it")
    return condition_fields(if_match=etag)
