"""One folder's listing, read while it arrives: a PROPFIND of depth 1, sorted by the bytes of the keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from mediagit_storage.backends.webdav.addressing import child_name
from mediagit_storage.backends.webdav.client import BROKEN, DavClient
from mediagit_storage.backends.webdav.multistatus import MultiStatus, Resource
from mediagit_storage.backends.webdav.temporary import is_hidden
from mediagit_storage.errors import IntegrityError
from mediagit_storage.events import Event, emit
from mediagit_storage.http.call import Call
from mediagit_storage.http.faults import fault_of
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import run
from mediagit_storage.keys import sort_key

__all__ = ["Child", "FolderReader", "Level"]


class Child(NamedTuple):
    """One file or folder in a folder; ``name`` ends with ``/`` for a folder, which is where its keys are sorted."""

    name: str
    resource: Resource


@dataclass(slots=True)
class Level:
    """What is in one folder: ``children`` sorted, ``hidden`` the unfinished uploads."""

    children: list[Child] = field(default_factory=list)
    hidden: list[Child] = field(default_factory=list)

    def add(self, name: str, resource: Resource) -> None:
        """Take in one more."""
        child = Child(f"{name}/" if resource.folder else name, resource)
        (self.hidden if is_hidden(name) else self.children).append(child)


class _EnoughError(Exception):
    """Ends the reading of a folder that has shown what was to be known."""


class FolderReader:
    """Lists folders of one storage. Thread-safe."""

    def __init__(self, client: DavClient) -> None:
        self._client = client

    def read(self, folder: str) -> Level | None:
        """All that is in a folder (``""`` or ``a/b/``). None where it is proven not to be there, or to be none."""
        level = Level()

        def begin() -> Callable[[str, Resource], None]:
            # A repeated request begins anew.
            level.children.clear()
            level.hidden.clear()
            return level.add

        if not self._each(folder, begin):
            return None
        level.children.sort(key=lambda child: sort_key(child.name))
        return level

    def is_used(self, folder: str) -> bool:
        """Whether there is any object below a folder. Reads no further than to the first one."""
        inner: list[str] = []

        def look(name: str, resource: Resource) -> None:
            if is_hidden(name):
                return
            if not resource.folder:
                raise _EnoughError
            inner.append(f"{folder}{name}/")

        def begin() -> Callable[[str, Resource], None]:
            inner.clear()
            return look

        try:
            self._each(folder, begin)
        except _EnoughError:
            return True
        return any(self.is_used(each) for each in inner)

    def _each(self, folder: str, begin: Callable[[], Callable[[str, Resource], None]]) -> bool:
        """Hand over the name of each child. ``begin`` is called before each attempt. False where there is no folder."""
        client = self._client
        path = client.base.path_of(folder)
        fields = [*client.propfind_fields, ("depth", "1")]
        call = Call("PROPFIND", path, fields=fields, body=client.question)
        segments = client.base.segments_of(folder)
        broken: list[IntegrityError] = []

        def send(request: Request) -> Response:
            broken.clear()
            try:
                return self._listed(request, segments, folder, begin)
            except IntegrityError as error:
                if fault_of(error) is not None:
                    raise
                # Some servers end a document that they cannot finish with an error in plain text.
                broken.append(error)
                return Response(request, 207, Headers(()), [])

        call = call._replace(code_of=lambda response: BROKEN if broken else client.code_of(response))
        response = run(client.job(call), send, client.rules).response
        if broken:
            raise broken[0]
        status = response.status
        if status == 207:
            client.base_seen = True
            return True
        if status in {404, 410}:
            return False
        if status in {400, 403, 405, 409} and folder and self._is_no_folder(folder):
            return False
        raise client.error_of(response, subject="object", condition=None)

    def _is_no_folder(self, folder: str) -> bool:
        found = self._client.look(folder.removesuffix("/"))
        return found is None or not found.folder

    def _listed(
        self,
        request: Request,
        segments: tuple[str, ...],
        folder: str,
        begin: Callable[[], Callable[[str, Resource], None]],
    ) -> Response:
        """Send the request and read its answer as it comes."""
        take = begin()
        own: list[Resource] = []

        def sort_out(resource: Resource) -> None:
            name = child_name(resource.href, segments)
            if name is None or resource.status >= 300:
                return
            if not name:
                own.append(resource)
            elif "/" in name or "\0" in name:
                emit(
                    Event("webdav.skipped", f"left out of the listing: {resource.href!r}: its name is no key's", folder)
                )
            else:
                take(name, resource)

        with self._client.transport.stream(request) as stream:
            if stream.status != 207:
                body = stream.read_error() if stream.status >= 400 else b""
                return Response(request, stream.status, stream.headers, [body], attempts=stream.attempts)
            reader = MultiStatus(sort_out)
            for piece in stream:
                reader.feed(piece)
            reader.close()
            response = Response(request, 207, stream.headers, [], attempts=stream.attempts)
        if own and not own[0].folder:
            # A file that was asked for as a folder answers for itself.
            return Response(request, 404, response.headers, [])
        return response
