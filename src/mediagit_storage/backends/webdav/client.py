"""The requests of WebDAV about one storage, and the questions that reading, writing and listing have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from mediagit_storage.backends.webdav.addressing import Base, is_slashed, is_unholdable
from mediagit_storage.backends.webdav.auth import DavSigning
from mediagit_storage.backends.webdav.multistatus import Resource, parse_multistatus, propfind
from mediagit_storage.backends.webdav.services import Service
from mediagit_storage.backends.webdav.temporary import ENCODED_ATTEMPT, check_not_hidden, is_hidden
from mediagit_storage.backends.webdav.translate import missing_base, translate
from mediagit_storage.errors import (
    IntegrityError,
    InvalidKeyError,
    KeyConflictError,
    NotFoundError,
    StorageError,
)
from mediagit_storage.http.call import Call, Condition, Fields, Subject
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Job, Retried, Rules, Traits, run
from mediagit_storage.http.transport import Transport
from mediagit_storage.keys import parent_prefixes

__all__ = ["BROKEN", "LOCKED", "DavClient", "Destination", "in_the_way"]

Destination = Literal["absolute", "path"]

#: What the rules of retrying know a 423 by: somebody else is at it now, and it was not done.
_BUSY: Final = "ServerBusy"
#: The same for an answer that is no whole document.
BROKEN: Final = "InternalError"
LOCKED: Final = 423
#: So often a request that meets a lock is sent, each time with the retries of the rules.
_LOCK_ROUNDS: Final = 12
_MOVED: Final = frozenset({301, 302, 307, 308})
_ODD: Final = frozenset({400, 403, 405, 409})
_XML: Final = ("content-type", 'application/xml; charset="utf-8"')


class DavClient(HttpClient):
    """One storage on one server. Thread-safe."""

    def __init__(
        self,
        base: Base,
        service: Service,
        signing: DavSigning | None,
        transport: Transport,
        rules: Rules,
        *,
        dead_properties: bool,
        destination: Destination,
    ) -> None:
        super().__init__(base.origin, transport, rules, signing)
        self.base = base
        self.service = service
        self.signing = signing
        self.dead_properties = dead_properties
        self._destination = destination
        #: Whether any answer has shown that the folder of the storage is there.
        self.base_seen = False
        self.propfind_fields: Fields = [_XML]
        self.question = propfind(attributes=False)
        self._close_question = propfind(attributes=dead_properties)

    # ---- what the base class asks for

    def code_of(self, response: Response) -> str | None:
        """Only a lock has a meaning beyond its status."""
        return _BUSY if response.status == LOCKED else None

    def error_of(self, response: Response, *, subject: Subject, condition: Condition | None) -> StorageError:
        """By the table of statuses."""
        return translate(response, subject=subject, condition=condition)

    def request(self, call: Call) -> Request:
        """The first attempt at a call."""
        return self._attempt(call, 1)

    def job(self, call: Call) -> Job:
        """Each attempt at an upload has a name of its own: an earlier one may still be being written."""
        traits: Traits = call.traits._replace(refreshable=True) if self._refreshable else call.traits
        return Job(
            lambda attempt: self._attempt(call, attempt.number), traits, call.code_of or self.code_of, self._repairs
        )

    def _attempt(self, call: Call, number: int) -> Request:
        if call.method == "PUT" and ENCODED_ATTEMPT in call.path:
            call = call._replace(path=call.path.replace(ENCODED_ATTEMPT, str(number)))
        return super().request(call)

    # ---- keys

    def check_written(self, key: str) -> None:
        """Raise `InvalidKeyError` for a key that no file of this server can have."""
        if is_unholdable(key):
            raise InvalidKeyError("a path has no empty, '.' or '..' segment")
        if not key.isprintable() and any(ord(each) < 0x20 or ord(each) == 0x7F for each in key):
            raise InvalidKeyError("a path on a WebDAV server has no control characters")
        check_not_hidden(key)
        service = self.service
        if not service.lists_dots and any(each.startswith(".") for each in key.split("/")):
            raise InvalidKeyError(f"{service.title} does not list names that begin with a dot")
        if any(each in service.unmovable for each in key):
            raise InvalidKeyError(f"{service.title} cannot move a file to a name with any of {service.unmovable}")
        if not self.holds(key):
            longest = self.service.max_segment
            raise InvalidKeyError(f"a name between two '/' may have at most {longest} bytes of UTF-8 on this server")

    def holds(self, key: str) -> bool:
        """Whether no name on the way to a key is longer than the server's file system takes."""
        longest = self.service.max_segment
        if len(key) * 4 <= longest:
            return True
        return all(len(each.encode("utf-8", "surrogateescape")) <= longest for each in key.split("/"))

    def path(self, key: str) -> str:
        """The encoded path of a key. `NotFoundError` for one that no object can have."""
        if is_unholdable(key) or not self.holds(key) or any(is_hidden(segment) for segment in key.split("/")):
            raise NotFoundError("a WebDAV server cannot hold such a key, so there is no such object")
        return self.base.path_of(key)

    def destination(self, key: str) -> str:
        """The value of the field that names the target of a MOVE or COPY."""
        path = self.base.path_of(key)
        return path if self._destination == "path" else self.origin + path

    # ---- locks

    def send_patiently(self, call: Call) -> Retried:
        """Like `send`, and again for a while as long as somebody else has a lock."""
        for _ in range(_LOCK_ROUNDS - 1):
            retried = self.send(call)
            if retried.response.status != LOCKED:
                return retried
            self.rules.sleep(self.rules.random() * self.rules.policy.base)
        return self.send(call)

    def send_once(self, call: Call) -> Retried:
        """Send one time only, whatever comes back; but once more where the server only wanted to know who asks."""
        rules = replace(self.rules, policy=replace(self.rules.policy, attempts=1))
        return run(self.job(call), self.transport.send, rules)

    # ---- looking

    def look(self, key: str) -> Resource | None:
        """What is under a key (or a folder, where it ends with ``/``; the base for ``""``). None on proof of absence.

        One request; a few more where a server answers oddly for what lies below a file.
        """
        if not self.holds(key):
            return None
        path = self.base.path_of(key)
        response, found = self._looked(path)
        status = response.status
        if status == 207:
            self.base_seen = True
            first = next(iter(found), None)
            if first is None:
                raise IntegrityError("the server's answer names no resource")
            if first.status in {404, 410}:
                return None
            if first.status >= 300:
                raise self._odd(first.status, response)
            return first
        if status in {404, 410}:
            return None
        if self.is_redirect_to_folder(response):
            self.base_seen = True
            return Resource(path, folder=True)
        if status in _ODD and self.blocked_by(key) is not None:
            return None
        raise self.error_of(response, subject="object" if key else "bucket", condition=None)

    def is_redirect_to_folder(self, response: Response) -> bool:
        """Whether an answer only wants the ``/`` at the end of a folder's URL."""
        return response.status in _MOVED and is_slashed(response.headers.get("location"), response.request.url)

    def _odd(self, status: int, response: Response) -> StorageError:
        inner = Response(response.request, status, response.headers, [])
        return self.error_of(inner, subject="object", condition=None)

    def _looked(self, path: str) -> tuple[Response, list[Resource]]:
        """The answer to the question what is there, and what it tells. One that broke off is asked for again."""
        fields = [*self.propfind_fields, ("depth", "0")]
        call = Call("PROPFIND", path, fields=fields, body=self._close_question)
        response = self.send(call).response
        try:
            return response, _told(response)
        except IntegrityError:
            response = self.send(call._replace(code_of=self._code_in_document)).response
            return response, _told(response)

    def _code_in_document(self, response: Response) -> str | None:
        """A document that broke off counts as a failure of the server: some end it with an error in plain text."""
        if response.status == 207:
            try:
                parse_multistatus(response.body)
            except IntegrityError:
                return BROKEN
        return self.code_of(response)

    def blocked_by(self, key: str) -> str | None:
        """The folder above a key that is missing or is a file; None when all of them are folders."""
        for folder in parent_prefixes(key):
            found = self.look(folder.removesuffix("/"))
            if found is None or not found.folder:
                return folder
        return None

    def prove_base(self) -> None:
        """Raise `BucketNotFoundError` where the folder of the storage is missing; asked until it was seen once."""
        if self.base_seen:
            return
        found = self.look("")
        if found is None:
            raise missing_base()
        self.base_seen = True

    def absent(self) -> NotFoundError:
        """The error for an object whose absence is proven, once it is proven that the storage is there."""
        self.prove_base()
        return NotFoundError("the object is not there")

    # ---- folders

    def make_folder(self, folder: str) -> None:
        """Make a folder (``a/b/``), and those above it that are missing; what is there already is fine.

        Never makes the base. Raises `KeyConflictError` where a file is in the way. Safe against others doing the same.
        """
        if not folder:
            raise missing_base()
        refused = False
        for _ in range(_LOCK_ROUNDS):
            response = self.send_patiently(Call("MKCOL", self.base.path_of(folder))).response
            status = response.status
            # 405: something of that name is there; a file is found out by who wants to put something below it.
            if status in {200, 201, 405} or self.is_redirect_to_folder(response):
                return
            if status not in {400, 403, 404, 409, 500}:
                break
            parents = parent_prefixes(folder)
            missing = self._first_missing([*parents, folder])
            if missing is None:
                # Somebody made it at the same moment, which Apache answers with 403.
                return
            if missing == "":
                raise missing_base()
            if missing != folder:
                self.make_folder(parents[-1])
            elif refused:
                break
            else:
                # Its parent may have been made only after the server had looked.
                refused = True
        raise self.error_of(response, subject="object", condition=None)

    def _first_missing(self, folders: list[str]) -> str | None:
        """The outermost missing one, ``""`` for the base; `KeyConflictError` for a file in the way; None when all are there."""
        base = self.look("")
        if base is None:
            return ""
        for folder in folders:
            found = self.look(folder.removesuffix("/"))
            if found is None:
                return folder
            if not found.folder:
                raise in_the_way(folder)
        return None

    def create(self) -> None:
        """Make the base, and what is missing above it."""
        found = self.look("")
        if found is not None:
            return
        made = ""
        for path in self._base_paths():
            response = self.send_patiently(Call("MKCOL", path)).response
            made = path
            if response.status not in {200, 201, 405, 301, 403, 401, 409}:
                break
        found = self.look("")
        if found is None:
            raise self.error_of(response, subject="bucket", condition=None) if made else missing_base()

    def _base_paths(self) -> Iterator[str]:
        path = ""
        for segment in self.base.path.split("/")[1:]:
            path = f"{path}/{segment}"
            yield f"{path}/"

    # ---- removing

    def remove_file(self, path: str) -> None:
        """Remove one file by its path; one that is gone is fine. Only for what is known to be no folder."""
        self.check_gone(self.send_patiently(Call("DELETE", path)).response)

    def check_gone(self, response: Response) -> None:
        """Raise what an answer to a DELETE means, unless the thing is gone."""
        if response.status not in {404, 410}:
            self.check_plain(response)

    def check_plain(self, response: Response, *, condition: Condition | None = None) -> None:
        """Raise what an answer means that is no success; a 207 is one only where every part of it is."""
        status = response.status
        if status == 207:
            for each in parse_multistatus(response.body):
                if each.status >= 300:
                    raise self._odd(each.status, response)
            return
        if not 200 <= status < 300:
            raise self.error_of(response, subject="object", condition=condition)


def in_the_way(folder: str) -> KeyConflictError:
    """The error for a folder that would have to be where an object is."""
    return KeyConflictError(
        f"an object is where the folder {folder.removesuffix('/')!r} would have to be: a WebDAV server cannot hold"
        ' "a" beside "a/b"'
    )


def _told(response: Response) -> list[Resource]:
    return parse_multistatus(response.body) if response.status == 207 else []
