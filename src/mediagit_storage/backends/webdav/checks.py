"""What `check` tells about a WebDAV storage: which server it is, what it can do, how much room there is. Only looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mediagit_storage.backends.webdav.client import DavClient
from mediagit_storage.backends.webdav.multistatus import parse_multistatus, propfind
from mediagit_storage.backends.webdav.services import Service, guess_service
from mediagit_storage.clock import Clock
from mediagit_storage.errors import StorageError
from mediagit_storage.http.call import Call
from mediagit_storage.http.checks import clock_findings
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["findings"]

_LITTLE: Final = 1024**3
_METHODS: Final = frozenset({"PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPFIND"})


def findings(client: DavClient, clock: Clock) -> Iterator[Finding]:
    """Never raises a `StorageError`: a failure is a finding."""
    yield _credentials(client)
    try:
        response = client.send(Call("OPTIONS", f"{client.base.path}/")).response
        yield _dav(response.status, response.headers)
        yield _service(client.service, response.headers.get("server"))
        yield from clock_findings(response.headers, clock, "set one of the clocks")
        yield from _quota(client)
    except StorageError as error:
        yield Finding("server", FindingLevel.FAILED, error.message)
        return
    yield _conditions(client.service)


def _credentials(client: DavClient) -> Finding:
    if client.signing is None:
        return Finding("credentials", FindingLevel.OK, "none: anonymous access")
    return Finding("credentials", FindingLevel.OK, "a user name and a password")


def _dav(status: int, headers: Headers) -> Finding:
    if status >= 400:
        return Finding("webdav", FindingLevel.WARNING, f"the server answers {status} to OPTIONS")
    classes = headers.get("dav")
    if classes is None:
        return Finding(
            "webdav", FindingLevel.WARNING, "the server does not say that it speaks WebDAV here", "check the URL"
        )
    allowed = {each.strip().upper() for each in (headers.get("allow") or "").split(",") if each.strip()}
    missing = sorted(_METHODS - allowed) if allowed and status == 200 else []
    if missing:
        # Apache lists what can be done with what is there now.
        return Finding("webdav", FindingLevel.OK, f"classes {classes}; not offered here: {', '.join(missing)}")
    return Finding("webdav", FindingLevel.OK, f"classes {classes}")


def _service(service: Service, says: str | None) -> Finding:
    guessed = guess_service(says)
    if guessed is not None and service.name == "generic":
        return Finding(
            "service",
            FindingLevel.OK,
            f"generic; the server calls itself {(says or '')[:60]!r}",
            f"if nothing stands between, service={guessed.name} makes writes quicker",
        )
    if guessed is not None and guessed.name != service.name:
        return Finding(
            "service",
            FindingLevel.WARNING,
            f"opened as {service.name}, but the server calls itself {(says or '')[:60]!r}",
            f"open it with service={guessed.name}, unless another server stands in front",
        )
    return Finding("service", FindingLevel.OK, service.name)


def _quota(client: DavClient) -> Iterator[Finding]:
    fields = [*client.propfind_fields, ("depth", "0")]
    body = propfind(attributes=False, quota=True)
    response = client.send(Call("PROPFIND", f"{client.base.path}/", fields=fields, body=body)).response
    if response.status != 207:
        yield Finding("server", FindingLevel.FAILED, f"the server answers {response.status} to PROPFIND")
        return
    found = next(iter(parse_multistatus(response.body)), None)
    if found is None or found.free is None:
        return
    used = "" if found.used is None else f", {found.used:,} used"
    if found.free < _LITTLE:
        yield Finding(
            "quota", FindingLevel.WARNING, f"{found.free:,} bytes left{used}", "free some space or ask for more"
        )
    else:
        yield Finding("quota", FindingLevel.OK, f"{found.free:,} bytes left{used}")


def _conditions(service: Service) -> Finding:
    able = [
        *(["create-only writes"] if service.create_only else []),
        *(["writes over a known object"] if service.conditional_writes else []),
    ]
    if able:
        return Finding("conditions", FindingLevel.OK, ", ".join(able))
    return Finding(
        "conditions",
        FindingLevel.OK,
        f"{service.title} is not known to make a MOVE with Overwrite: F atomic; conditional writes are refused",
        "if it does, set create_only=true",
    )
