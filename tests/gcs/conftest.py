"""Buckets behind a server that plays scripts, and a service account whose tokens come from another one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mediagit_storage.backends.gcs import GCSBackend, GCSConfig


@pytest.fixture
def opened() -> Iterator[Callable[..., GCSBackend]]:
    """Opens backends on a server that is taken for the service itself, closed at the end."""
    with ExitStack() as stack:

        def build(url: str, **options: object) -> GCSBackend:
            given = {
                "bucket": "bucket",
                "endpoint": url,
                "retry_base": 0.001,
                "retry_cap": 0.002,
                "idle_timeout": 5,
                **options,
            }
            return stack.enter_context(closing(GCSBackend.from_config(GCSConfig(**given))))

        yield build


@pytest.fixture(scope="session")
def private_key():
    """A key of 2,048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def account(tmp_path, private_key) -> Callable[..., str]:
    """Writes the file of a service account that asks ``token_uri`` for tokens; its path."""

    def write(token_uri: str = "http://127.0.0.1:1/token", **changes: object) -> str:
        pem = private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        info = {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key-id",
            "private_key": pem.decode(),
            "client_email": "robot@project.iam.gserviceaccount.com",
            "token_uri": token_uri,
            **changes,
        }
        path = tmp_path / "account.json"
        path.write_text(json.dumps({name: value for name, value in info.items() if value is not None}))
        return str(path)

    return write
