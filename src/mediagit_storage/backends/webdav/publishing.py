"""Giving an object its name: one MOVE, which a reader sees as a whole or not at all, and what may keep it from working.

``Overwrite: F`` is tried first, unless this storage has written the key before. A MOVE onto a folder with ``T`` would
delete everything in it (RFC 4918, 9.9.3), so ``T`` is only used right after the target was seen to be a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mediagit_storage.backends.webdav.client import DavClient, in_the_way
from mediagit_storage.backends.webdav.folders import FolderReader
from mediagit_storage.backends.webdav.multistatus import Resource
from mediagit_storage.backends.webdav.temporary import APART, temporary_key
from mediagit_storage.errors import (
    AlreadyExistsError,
    ConnectionLostError,
    KeyConflictError,
    PreconditionError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Retried
from mediagit_storage.keys import parent_prefixes

__all__ = ["Publisher", "temporary_namer"]

#: So often what keeps a MOVE from working is looked for and taken out of the way.
_ROUNDS: Final = 8
#: Answers that ask for patience.
_NOT_NOW: Final = frozenset({408, 423, 429})
#: A server says nothing while it copies from one of its file systems to another, in seconds.
_PATIENT: Final = 900.0
_KNOWN_FOLDERS: Final = 10_000
_KNOWN_FILES: Final = 10_000


class Publisher:
    """Moves within one storage. ``new_name`` makes the key of a temporary for a key. Thread-safe."""

    def __init__(self, client: DavClient, new_name: Callable[[str], str]) -> None:
        self._client = client
        self._new_name = new_name
        self._folders = FolderReader(client)
        #: Folders that were seen to be there. One that is removed by others is noticed when a MOVE fails.
        self._known: set[str] = set()
        #: Keys that were written: most likely they are there, so that a look comes before the first MOVE.
        self._files: set[str] = set()

    # ---- folders

    def ensure_folder(self, key: str) -> None:
        """Make the folder that an object lies in, unless it was seen before."""
        folder = key[: key.rfind("/") + 1]
        if not folder or folder in self._known:
            return
        self._client.make_folder(folder)
        if len(self._known) >= _KNOWN_FOLDERS:
            self._known.clear()
        self._known.update(parent_prefixes(key))

    def ensure_apart(self, temporary: str) -> None:
        """Make the folder that uploads lie in, where they lie apart."""
        folder = temporary[: temporary.rfind("/") + 1]
        if folder.endswith(APART) and folder not in self._known:
            self._client.make_folder(folder)
            self._known.add(folder)

    def forget_folders(self, key: str) -> None:
        """They may be gone."""
        folders = parent_prefixes(key)
        self._known.difference_update(folders)
        self._known.discard(f"{folders[-1] if folders else ''}{APART}")

    # ---- the move

    def publish(self, source: str, target: str, *, if_absent: bool, if_match: str | None) -> None:
        """Move a file to its key, over the object there unless a condition says no. Either all of it happens or nothing.

        Raises `AlreadyExistsError`, `PreconditionError`, `KeyConflictError`, and what the server says.
        """
        failure: StorageError | None = None
        for _ in range(_ROUNDS):
            response: Response | None = None
            there = None if if_absent or if_match is not None else self._written_before(target)
            if if_match is None and there is None:
                retried = self._move(source, target, overwrite=False)
                if self._is_done(retried, source):
                    self._remember(target)
                    return
                response = retried.response
            if response is None or response.status == 412:
                response = self._replace(source, target, response, there, if_absent=if_absent, if_match=if_match)
                if response is None:
                    self._remember(target)
                    return
            failure = self.make_way(source, target, response)
        raise failure or UnavailableError("others keep writing and deleting the object; try again")

    def _written_before(self, key: str) -> Resource | None:
        """The file under a key that was written before, as it is now; None for all others. At most one request."""
        if key not in self._files:
            return None
        # Whatever is found now, what follows finds out for itself the next time.
        self._files.discard(key)
        found = self._client.look(key)
        return None if found is None or found.folder else found

    def _remember(self, key: str) -> None:
        if len(self._files) >= _KNOWN_FILES:
            self._files.clear()
        self._files.add(key)

    def _replace(
        self,
        source: str,
        target: str,
        refusal: Response | None,
        found: Resource | None,
        *,
        if_absent: bool,
        if_match: str | None,
    ) -> Response | None:
        """Move over the object that is there, ``found`` where it was seen just now. None when that is done, else the
        answer that says what is in the way.
        """
        found = found or self._client.look(target)
        if if_match is not None and (found is None or found.folder or found.etag != if_match):
            self._client.prove_base()
            raise PreconditionError("the object is not the one that the condition names")
        if refusal is not None and (found is None or found.folder):
            return refusal
        if if_absent:
            raise AlreadyExistsError("an object is there already")
        retried = self._move_over(source, target, if_match)
        if retried is None or self._is_done(retried, source):
            return None
        if if_match is not None and retried.response.status == 412:
            raise PreconditionError("the object is not the one that the condition names")
        return retried.response

    def _is_done(self, retried: Retried, source: str) -> bool:
        """Whether a MOVE has worked. One that was sent twice may have worked the first time: its source is gone then."""
        response = retried.response
        if response.status in {200, 201, 204}:
            return True
        if response.status == 207:
            self._client.check_plain(response)
            return True
        return retried.maybe_done and response.status < 500 and self._client.look(source) is None

    def _move(self, source: str, target: str, *, overwrite: bool, if_match: str | None = None) -> Retried:
        client = self._client
        fields: Fields = [("destination", client.destination(target)), ("overwrite", "T" if overwrite else "F")]
        if if_match is not None:
            fields.append(("if", f'<{client.origin}{client.base.path_of(target)}> (["{if_match}"])'))
        call = Call("MOVE", client.base.path_of(source), fields=fields, idle_timeout=_PATIENT)
        if overwrite and client.service.deletes_for_nothing:
            # Sent a second time it would delete what the first one brought, also by libcurl on a dead connection.
            return client.send_once(call._replace(fresh_connection=True))
        return client.send_patiently(call)

    def _move_over(self, source: str, target: str, if_match: str | None) -> Retried | None:
        """The MOVE that overwrites. None when its answer got lost and it is seen to have worked."""
        client = self._client
        if not client.service.deletes_for_nothing:
            return self._move(source, target, overwrite=True, if_match=if_match)
        lost: StorageError = UnavailableError("the server does not answer; try again")
        for attempt in range(_ROUNDS):
            try:
                retried = self._move(source, target, overwrite=True, if_match=if_match)
            except UnavailableError as error:
                lost = error
            else:
                if retried.response.status < 500 and retried.response.status not in _NOT_NOW:
                    return retried
                lost = client.error_of(retried.response, subject="object", condition=None)
            # Whatever was answered: it is done when what was to be moved is no longer there.
            if client.look(source) is None:
                return None
            client.rules.sleep(client.rules.random() * client.rules.policy.base * 2.0**attempt)
        raise lost

    # ---- what was in the way

    def make_way(self, source: str | None, target: str, response: Response) -> StorageError:
        """Find out why a MOVE (or a PUT, without a source) did not work and see to it.

        Returns its error for when that does not help either. Raises what cannot be helped: `KeyConflictError`, a source
        that is gone, and what the server refuses.
        """
        client = self._client
        found = client.look(target)
        if found is not None and found.folder:
            self._give_way(target)
            return UnavailableError("a folder is in the way, and others keep using it; try again")
        blocked = client.blocked_by(target)
        if blocked is not None:
            self.forget_folders(target)
            if client.look(blocked.removesuffix("/")) is not None:
                raise in_the_way(blocked)
            self.ensure_folder(target)
            return UnavailableError("a folder on the way was removed meanwhile; try again")
        if source is not None and client.look(source) is None:
            raise ConnectionLostError("what was uploaded was removed before it got its name; try again")
        if response.status in {404, 409, 412, 423, 500}:
            # By now all is as it should be: somebody else was quicker.
            return client.error_of(response, subject="object", condition=None)
        raise client.error_of(response, subject="object", condition=None)

    def clear(self, key: str) -> None:
        """Remove an empty folder of the name of a key, if there is one."""
        found = self._client.look(key)
        if found is not None and found.folder:
            self._give_way(key)

    def _give_way(self, key: str) -> None:
        """Remove the empty folder that has the name of a key: aside first, so that nothing put there meanwhile is lost."""
        folder = f"{key}/"
        if self._is_occupied(folder):
            raise KeyConflictError(f'there are objects below {folder!r}: a WebDAV server cannot hold "a" beside "a/b"')
        self.forget_folders(f"{folder}x")
        client = self._client
        aside = f"{self._new_name(key)}/"
        fields: Fields = [("destination", client.destination(aside)), ("overwrite", "F")]
        response = client.send_patiently(Call("MOVE", client.base.path_of(folder), fields=fields)).response
        if response.status not in {200, 201, 204} and client.look(key) is not None:
            raise client.error_of(response, subject="object", condition=None)
        self._bring_back(aside, folder)
        # Where a listing is not all of it the folder stays, and `pending_uploads` shows it.
        if client.service.lists_dots and not self._is_occupied(aside):
            client.send_patiently(Call("DELETE", client.base.path_of(aside)))

    def _is_occupied(self, folder: str) -> bool:
        """Whether a file is anywhere below a folder: an object, or an upload that is to become one."""
        level = self._folders.read(folder)
        if level is None:
            return False
        files = [child for child in (*level.children, *level.hidden) if not child.resource.folder]
        return bool(files) or any(self._is_occupied(folder + child.name) for child in (*level.children, *level.hidden))

    def _bring_back(self, aside: str, folder: str) -> None:
        """Put objects that came into a folder at the last moment back where they were put."""
        level = self._folders.read(aside)
        if level is None:
            return
        for child in (*level.children, *level.hidden):
            if child.resource.folder:
                self._bring_back(aside + child.name, folder + child.name)
                continue
            self._client.make_folder(folder)
            response = self._move(aside + child.name, folder + child.name, overwrite=False).response
            if response.status >= 300 and response.status != 412:
                raise self._client.error_of(response, subject="object", condition=None)


def temporary_namer(client: DavClient, now_ns: Callable[[], int], random: Callable[[], str]) -> Callable[[str], str]:
    """What makes the key of a temporary that needs no number of an attempt."""

    def name(key: str) -> str:
        return temporary_key(key, now_ns(), random(), longest=client.service.max_segment, attempt="0")

    return name
