"""What a person is told when something went wrong: what, and what to do about it; never a trace. Pure functions.

What the storage itself said goes to the log of the gateway and not into the page: it names hosts and accounts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mediagit_storage.errors import (
    AccessError,
    BucketNotFoundError,
    ClosedError,
    ConnectionLostError,
    IntegrityError,
    InvalidKeyError,
    KeyUnavailableError,
    NotFoundError,
    StorageTimeoutError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.serve.console.layout import Frame, icon, page
from mediagit_storage.serve.console.markup import Html, element
from mediagit_storage.serve.console.names import browse_url

__all__ = ["NOT_LISTED", "NO_SUCH_PAGE", "TOKEN_NEEDED", "Failure", "failure_of", "failure_page"]


class Failure(NamedTuple):
    """What happened, and what to do. ``again`` offers another try."""

    title: str
    advice: str
    again: bool = False


NO_SUCH_PAGE: Final = Failure(
    "There is no such page",
    "The address may be mistyped. Everything that is stored can be reached from the list of objects.",
)
NOT_LISTED: Final = Failure(
    "This gateway shows no lists",
    "It gives out single objects only. Whoever runs it can allow lists, and with them this console.",
)
TOKEN_NEEDED: Final = Failure(
    "This gateway wants its token",
    "Reload the page and give the token as the password; the name can be anything.",
    again=True,
)

#: The first that fits counts: the narrow ones stand before the wide.
_FAILURES: Final[tuple[tuple[type[Exception], Failure], ...]] = (
    (BucketNotFoundError, Failure("The storage is not there", "The bucket, container or folder behind this console does not exist. Whoever runs the gateway should look at its address, or make it with “mgs mb”.")),
    (NotFoundError, Failure("There is no such object", "It may have been moved or deleted, or never have existed under this name.")),
    (InvalidKeyError, Failure("No object can have this name", "The address may be mistyped.")),
    (UnauthenticatedError, Failure("The storage does not accept the gateway's credentials", "They may be missing, wrong or expired. Whoever runs the gateway should renew them; “mgs check” tells more.")),
    (AccessError, Failure("The storage does not allow this", "The gateway's credentials may not read this. Whoever runs the gateway can grant it; “mgs check” tells more.")),
    (ThrottledError, Failure("The storage asks to slow down", "Wait a little, then try again.", again=True)),
    (StorageTimeoutError, Failure("The storage takes too long to answer", "It may be busy, or the way to it may be slow. Try again in a moment; the health page shows whether it answers.", again=True)),
    (ConnectionLostError, Failure("The storage cannot be reached", "It may be down, or the network between may be. Try again in a moment. Whoever runs the gateway should see that the storage is running.", again=True)),
    (UnavailableError, Failure("The storage does not answer at the moment", "Try again in a moment. The health page shows whether it answers.", again=True)),
    (KeyUnavailableError, Failure("No key at hand opens this object", "It is encrypted for somebody else. Whoever runs the gateway can add the identity that opens it.")),
    (IntegrityError, Failure("This object is damaged", "What the storage holds is not what was stored. Restore it from a copy; “mgs verify” finds others.")),
    (UnsupportedError, Failure("This storage cannot do that", "What was asked for is not possible with this storage or with its layers.")),
    (ClosedError, Failure("The gateway is shutting down", "Try again when it runs again.", again=True)),
)  # fmt: skip

_UNKNOWN: Final = Failure(
    "Something went wrong here", "This should not happen. The log of the gateway says what it was.", again=True
)


def failure_of(error: Exception) -> Failure:
    """What to say about an error."""
    return next((failure for kind, failure in _FAILURES if isinstance(error, kind)), _UNKNOWN)


def failure_page(frame: Frame, failure: Failure, status: int, here: str) -> Html:
    """The whole page, for an answer with this HTTP ``status``. ``here`` is the address that failed, for another try."""
    again = element("a", {"class": "button primary", "href": here}, "Try again") if failure.again else None
    home = element("a", {"class": "button", "href": browse_url("")}, "All objects")
    health = element("a", {"class": "button", "href": "/-/health"}, "Health") if status >= 500 else None
    return page(
        frame,
        failure.title,
        None,
        element(
            "div",
            {"class": "empty failure"},
            icon("broken"),
            element("p", {"class": "status"}, f"Error {status}"),
            element("h1", {}, failure.title),
            element("p", {}, failure.advice),
            element("div", {"class": "actions"}, again, home, health),
        ),
    )
