"""The gateway's own pages for machines: ``healthz``, ``readyz`` and ``metrics``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from mediagit_storage.serve.access import CHALLENGE
from mediagit_storage.serve.context import Context
from mediagit_storage.types import JSON

__all__ = ["service_routes"]

_FRESH = {"cache-control": "no-store"}


def service_routes(context: Context) -> list[BaseRoute]:
    """``/-/healthz`` and the others, each also at the root, where the gateway sends nothing else of that name."""

    async def healthz(_request: Request) -> Response:
        """The process is alive and its event loop turns: says nothing of the storage."""
        return PlainTextResponse("ok\n", headers=_FRESH)

    async def readyz(request: Request) -> Response:
        """200 when every backend that the storage needs answers, else 503. Who may list also reads which ones do not."""
        health = await context.health()
        document: dict[str, JSON] = {"ready": health.ready, "at": health.at.isoformat().replace("+00:00", "Z")}
        if context.may_list(request):
            told = context.may_know(request)
            document["backends"] = [
                {
                    "name": each.name,
                    "up": each.up,
                    "needed": each.needed,
                    "seconds": round(each.seconds, 4),
                    # It may name hosts, accounts and paths.
                    "detail": each.detail if told else "",
                }
                for each in health.backends
            ]
        return JSONResponse(document, 200 if health.ready else 503, headers=_FRESH)

    async def metrics(request: Request) -> Response:
        """Everything that was counted, for Prometheus."""
        if not context.may_list(request):
            context.gateway_metrics.refused("token")
            return PlainTextResponse("unauthorized\n", 401, headers={**_FRESH, "www-authenticate": CHALLENGE})
        kind, text = context.gateway_metrics.exposition()
        return Response(text, media_type=kind, headers=_FRESH)

    pages: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "healthz": healthz,
        "readyz": readyz,
        "metrics": metrics,
    }
    return [Route(f"{place}{name}", page) for name, page in pages.items() for place in ("/-/", "/")]
