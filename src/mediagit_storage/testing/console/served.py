"""Gateways for a browser, in a process of their own: prints their addresses, and ends with its standard input.

``python -m mediagit_storage.testing.console.served TOKEN``; the token lets its holder write to the first of them.
"""

from __future__ import annotations

import json
import socket
import sys
from contextlib import ExitStack
from typing import Final

from prometheus_client import CollectorRegistry

import mediagit_storage as mgs
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.app import build
from mediagit_storage.serve.running import Listener, ListenOptions
from mediagit_storage.serve.settings import ServeSettings
from mediagit_storage.storage import Storage
from mediagit_storage.testing.console.samples import fill
from mediagit_storage.testing.wrappers import WithoutCapabilities

__all__ = ["main"]

_ANY_PORT: Final = ListenOptions(port=0)


def main(token: str) -> None:
    """A gateway over samples that may be written to, one whose storage replaces whatever is there, and a dead one."""
    store = mgs.open_storage("memory://media")
    fill(store)
    alive = build(store, ServeSettings(writable=True, token=Secret(token), title="media"), CollectorRegistry())
    plain = Storage(WithoutCapabilities(MemoryBackend(), "if_absent", "if_match", "delete_if_match", "versions"))
    careless = build(plain, ServeSettings(writable=True, token=Secret(token), title="careless"), CollectorRegistry())
    # Bound and not listened to: nobody else can come to listen there.
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))
    config = S3Config(
        bucket="gone",
        endpoint=f"http://127.0.0.1:{nobody.getsockname()[1]}",
        region="eu-west-1",
        access_key_id=Secret("nobody"),
        secret_access_key=Secret("nothing"),
        attempts=1,
    )
    dead = build(Storage(S3Backend.from_config(config)), ServeSettings(title="archive"), CollectorRegistry())
    with ExitStack() as stack:
        stack.enter_context(nobody)
        gateways = {"alive": alive, "careless": careless, "dead": dead}
        urls = {name: stack.enter_context(Listener(each, _ANY_PORT)).url for name, each in gateways.items()}
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
