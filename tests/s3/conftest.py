"""Buckets behind a server that plays scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.secrets import Secret


@pytest.fixture
def opened() -> Iterator[Callable[..., S3Backend]]:
    """Opens backends on a server, closed at the end."""
    with ExitStack() as stack:

        def build(url: str, **options: object) -> S3Backend:
            given = {
                "bucket": "bucket",
                "endpoint": url,
                "service": "aws",
                "access_key_id": Secret("AKEXAMPLE"),
                "secret_access_key": Secret("very-secret-key"),
                "retry_base": 0.001,
                "retry_cap": 0.002,
                "idle_timeout": 5,
                **options,
            }
            return stack.enter_context(closing(S3Backend.from_config(S3Config(**given))))

        yield build
