"""The page about health and numbers: drawn once by the server, kept live by a script. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from mediagit_storage.serve.console.layout import Frame, page
from mediagit_storage.serve.console.markup import Html, element
from mediagit_storage.serve.console.names import UNKNOWN
from mediagit_storage.serve.health import Health, Probed
from mediagit_storage.serve.metrics import Snapshot
from mediagit_storage.text import human_bytes, plural, printable
from mediagit_storage.types import JSON

__all__ = ["health_page", "status_of"]


class _Card(NamedTuple):
    name: str
    title: str


_CARDS: Final = (
    _Card("requests", "Requests"),
    _Card("errors", "Errors"),
    _Card("sent", "Sent"),
    _Card("received", "Received"),
    _Card("latency", "Storage answers in"),
)


def status_of(health: Health, counted: Snapshot) -> dict[str, JSON]:
    """What a script needs to keep the page live: counters since the start, and texts to be shown as they are.

    ``latency`` is in seconds: the slowest probe of a backend that is needed. ``errors`` are answers of 500 and more, and
    requests that were broken off.
    """
    return {
        "v": 1,
        "ready": health.ready,
        "state": _state(health),
        "uptime": counted.uptime,
        "requests": counted.requests,
        "errors": _errors(counted),
        "sent": counted.sent_bytes,
        "received": counted.received_bytes,
        "latency": _latency(health),
        "texts": dict(_texts(health, counted)),
        "backends": [{"name": printable(each.name), "up": each.up, "text": _how(each)} for each in health.backends],
    }


def health_page(frame: Frame, health: Health, counted: Snapshot) -> Html:
    """The whole page."""
    texts = _texts(health, counted)
    state = {"class": f"state {'up' if health.ready else 'down'}", "id": "state", "role": "status"}
    advice = None if health.ready else element("p", {"class": "note"}, _ADVICE)
    stale = element("p", {"class": "note", "id": "stale", "hidden": True, "role": "alert"}, _STALE)
    head = element("div", {"class": "titles"}, element("h1", {}, "Health"), element("p", state, _state(health)))
    return page(
        frame,
        "Health",
        "health",
        stale,
        element("div", {"class": "head"}, head),
        advice,
        element("div", {"class": "cards"}, *(_card(card, texts) for card in _CARDS)),
        _backends(health),
        _gateway(texts),
        script="health.js",
    )


_ADVICE: Final = (
    "What is stored is not lost: it cannot be reached at the moment. See that the storage is running and that this "
    "machine can reach it; “mgs check” tells what it finds, step by step."
)
_STALE: Final = "The gateway does not answer. The numbers are those from before; this page goes on trying."


def _state(health: Health) -> str:
    down = [each for each in health.backends if not each.up]
    if not health.ready:
        return "The storage does not answer" if len(health.backends) == 1 else "A part that is needed does not answer"
    return "Everything answers" if not down else f"It works; {plural(len(down), 'replica')} cannot be reached"


def _how(probed: Probed) -> str:
    """In words; what exactly the storage said is for the log and `mgs check`, since it can name hosts and accounts."""
    what = f"answers in {_seconds(probed.seconds)}" if probed.up else "does not answer"
    return what if probed.needed else f"{what} · replica"


def _latency(health: Health) -> float:
    return max((each.seconds for each in health.backends if each.needed), default=0.0)


def _errors(counted: Snapshot) -> int:
    return counted.statuses.get("5xx", 0) + counted.statuses.get("none", 0)


def _texts(health: Health, counted: Snapshot) -> Mapping[str, str]:
    return {
        "requests": f"{counted.requests:,} in all",
        "errors": f"{_errors(counted):,} in all · {counted.statuses.get('4xx', 0):,} refused",
        "sent": f"{human_bytes(counted.sent_bytes)} in all",
        "received": f"{human_bytes(counted.received_bytes)} in all",
        "latency": f"looked at {health.at:%H:%M:%S} UTC",
        "uptime": _duration(counted.uptime),
        "in-flight": f"{counted.in_flight:,}",
        "connections": f"{counted.connections:,}",
    }


def _card(card: _Card, texts: Mapping[str, str]) -> Html:
    line = element("polyline", {"points": ""})
    chart = {"viewBox": "0 0 100 30", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return element(
        "section",
        {"class": f"card {card.name}", "data-line": card.name},
        element("h2", {}, card.title),
        element("p", {"class": "now"}, UNKNOWN),
        element("p", {"class": "sum", "data-text": card.name}, texts[card.name]),
        element("svg", chart, element("polygon", {"points": ""}), line),
    )


def _backends(health: Health) -> Html:
    rows = [
        element(
            "tr",
            {"class": "up" if each.up else "down", "data-backend": printable(each.name)},
            element("th", {"scope": "row"}, printable(each.name)),
            element("td", {"class": "how"}, _how(each)),
        )
        for each in health.backends
    ]
    return element(
        "section",
        {"class": "panel"},
        element("h2", {}, "Storage"),
        element("table", {"class": "facts backends"}, *rows),
    )


def _gateway(texts: Mapping[str, str]) -> Html:
    rows = [
        element("tr", {}, element("th", {"scope": "row"}, title), element("td", {"data-text": name}, texts[name]))
        for name, title in (("uptime", "Running for"), ("in-flight", "Requests being answered"), ("connections", "Open connections"))
    ]  # fmt: skip
    return element(
        "section", {"class": "panel"}, element("h2", {}, "Gateway"), element("table", {"class": "facts"}, *rows)
    )


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])
