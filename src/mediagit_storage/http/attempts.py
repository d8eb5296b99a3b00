"""What is told of each HTTP request that went out, where somebody wants to know: one event of the kind ``http.attempt``.

An operation of a storage makes one or several of them; a request that is repeated is one each time. The URL is shown
without secrets.
"""

from __future__ import annotations

from mediagit_storage.events import HTTP_ATTEMPT, Event, emit
from mediagit_storage.http.exchange import Exchange

__all__ = ["tell_attempt"]


def tell_attempt(exchange: Exchange, error: BaseException | None) -> None:
    """Tell of a transfer that is over, before its handle carries another. Ask `details_wanted` first.

    Fields: ``method``; ``url`` without secrets; ``status``, None where no answer's head came; ``error``, the class of
    what it ended with; ``seconds`` from its begin to its end, for a stream with the pauses of its reader;
    ``sent_bytes`` and ``received_bytes`` of bodies; ``connections`` that it went out on: above 1, libcurl found the
    first one dead, at 0 none could be had.
    """
    request = exchange.request
    status = exchange.status or None
    seconds, sent, received = exchange.measured()
    failure = None if error is None else type(error).__name__
    shown = request.shown_url
    outcome = " ".join(str(each) for each in (status, failure) if each is not None)
    emit(
        Event(
            HTTP_ATTEMPT,
            f"{request.method} {shown}: {outcome} in {seconds:.3f} s, {sent:,} bytes sent, {received:,} received",
            None,
            {
                "method": request.method,
                "url": shown,
                "status": status,
                "error": failure,
                "seconds": seconds,
                "sent_bytes": sent,
                "received_bytes": received,
                "connections": exchange.sent,
            },
            detail=True,
        )
    )
