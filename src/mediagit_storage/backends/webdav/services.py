"""What each WebDAV server can do, as data: one entry for each, held true by tests against the real ones.

==========================================  =======  ======  ========  =======  ========
what                                        apache   nginx   wsgidav   rclone   generic
==========================================  =======  ======  ========  =======  ========
PUT is atomic: all of it or nothing         yes      yes     no        no       no
MOVE with Overwrite: F is atomic            no       no      no        yes      no
MOVE of nothing still deletes its target    no       no      no        yes      maybe
ETag and time stay over a MOVE              yes      yes     yes       yes      maybe
names that begin with a dot are listed      yes      no      yes       yes      yes
a MOVE can go to names with ``?`` and ``;`` yes      yes     no        yes      yes
a listing waits for files being written     no       no      no        yes      no
==========================================  =======  ======  ========  =======  ========

Apache and nginx receive a body into a file of their own and rename that, so an object can be sent to its own name at
once. The others show what has arrived so far: there it is sent to a hidden name and moved.

Apache, nginx and WsgiDAV look whether the target of a MOVE is there and rename afterwards: of several writers at one
moment more than one may win (nginx with a single worker process cannot be overtaken, and its owner may say so). rclone
serves by Go's ``golang.org/x/net/webdav``, which locks source and target for each request, and answers others with 423.

rclone deletes the target of an overwriting MOVE before it looks at the source: sent twice, such a MOVE would delete
what the first one brought. There it is only sent again when its source was seen to be there still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.errors import ConfigError
from mediagit_storage.types import PresignMethod

__all__ = ["SERVICES", "Service", "adjusted", "capabilities_of", "guess_service", "service_named"]

#: What a dead property can hold: a server's storage classes are its own affair.
_KEPT: Final = ALL_ATTRIBUTES - {"storage_class"}
_NO_LINKS: Final[frozenset[PresignMethod]] = frozenset()


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of server. The defaults are the careful ones."""

    name: str
    title: str
    #: The start of the field ``Server`` in its answers, in lower case; empty where nothing tells it.
    says: str = ""
    #: Of many MOVEs with ``Overwrite: F`` to one target exactly one succeeds.
    create_only: bool = False
    #: ``If: <target> (["etag"])`` is honoured on MOVE, with nobody able to come between.
    conditional_writes: bool = False
    #: A PUT is seen whole or not at all, and one that breaks off changes nothing.
    atomic_put: bool = False
    #: A MOVE with ``Overwrite: T`` deletes its target even when its source is not there.
    deletes_for_nothing: bool = True
    #: ETag and time of modification are the same before and after a MOVE.
    keeps_etag: bool = False
    #: Files and folders whose names begin with a dot are listed like others.
    lists_dots: bool = True
    #: Characters that the field naming a MOVE's target cannot carry: the file would get another name.
    unmovable: str = ""
    #: A listing of a folder waits until nobody writes a file in it: uploads then lie in a folder of their own.
    uploads_apart: bool = False
    #: Takes a body of unknown length.
    chunked: bool = True
    #: The longest name of a file or folder, in bytes.
    max_segment: int = 255


_ALL: Final = (
    Service("generic", "this WebDAV server"),
    Service("apache", "Apache mod_dav", "apache", atomic_put=True, deletes_for_nothing=False, keeps_etag=True),
    Service("nginx", "nginx", "nginx", atomic_put=True, deletes_for_nothing=False, keeps_etag=True, lists_dots=False),
    Service("wsgidav", "WsgiDAV", "wsgidav", deletes_for_nothing=False, keeps_etag=True, unmovable="?;"),
    Service("rclone", "rclone", "rclone", create_only=True, keeps_etag=True, uploads_apart=True),
)

#: Every known server by its name.
SERVICES: Final[Mapping[str, Service]] = MappingProxyType({service.name: service for service in _ALL})


def service_named(name: str) -> Service:
    """The entry of that name. An unknown one is a `ConfigError` that lists the known ones."""
    found = SERVICES.get(name)
    if found is None:
        raise ConfigError(f"there is no WebDAV service {name!r} (known: {', '.join(SERVICES)})")
    return found


def adjusted(
    service: Service, *, create_only: bool | None, conditional_writes: bool | None, chunked: bool | None
) -> Service:
    """The entry as its user knows it better; None leaves a field as it is."""
    return replace(
        service,
        create_only=service.create_only if create_only is None else create_only,
        conditional_writes=service.conditional_writes if conditional_writes is None else conditional_writes,
        chunked=service.chunked if chunked is None else chunked,
    )


def guess_service(server_field: str | None) -> Service | None:
    """Which entry the field ``Server`` of an answer speaks for; None where it tells nothing."""
    text = (server_field or "").lower()
    return next((each for each in _ALL if each.says and text.startswith(each.says)), None)


def capabilities_of(service: Service, *, dead_properties: bool) -> Capabilities:
    """What a backend over such a server promises."""
    return Capabilities(
        if_absent=service.create_only,
        if_match=service.conditional_writes,
        read_conditions=True,
        # Made of time and size, by many servers of whole seconds; after a put the ETag is what a look shows.
        exact_etags=False,
        copy_if_absent=service.create_only,
        attributes=_KEPT if dead_properties else frozenset(),
        presign=_NO_LINKS,
        server_copy=True,
        # Between a look at the source and the MOVE it may go away, and such a server would then only delete.
        server_rename=not service.deletes_for_nothing,
        batch=True,
        pending_uploads=True,
        parallel_reads=True,
        nested_keys=False,
    )
