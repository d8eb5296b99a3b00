"""moto's server, which works on one request after the other: run by the Python of moto's own environment.

moto keeps everything in plain dictionaries and files, so that requests that come at once spoil each other (a read that
meets an overwrite is answered with 500). Bodies are received side by side; only the work waits for its turn.

    python moto_in_turn.py HOST PORT
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any


class InTurn:
    """A WSGI application whose requests wait for each other."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Receive the body, then have the request worked on alone."""
        received = environ["wsgi.input"]
        if not environ.get("wsgi.input_terminated"):
            body = received.read(int(environ.get("CONTENT_LENGTH") or 0))
        else:
            body = received.read()
        environ["wsgi.input"] = io.BytesIO(body)
        with self._turn:
            return [b"".join(self._application(environ, start_response))]


def main(host: str, port: int) -> None:
    """Serve until the process is ended."""
    # Not at the top: only the environment that this runs in has moto.
    from moto.moto_server.werkzeug_app import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import run_simple  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    os.environ["MOTO_PORT"] = str(port)
    application = DomainDispatcherApplication(create_backend_app)
    run_simple(host, port, InTurn(application), threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
