"""Containers behind a server that plays scripts and is taken for the service itself, not for an emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.azure import AzureBackend, AzureConfig
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.scripted_server import Receive, ScriptedServer

KEY = "c2VjcmV0LWNhbmFyeS1rZXk="


@pytest.fixture
def opened() -> Iterator[Callable[..., AzureBackend]]:
    """Opens backends on a server, closed at the end."""
    with ExitStack() as stack:

        def build(url: str, *, made=None, **options: object) -> AzureBackend:
            given = {
                "container": "pics",
                "account": "media",
                "endpoint": url,
                "service": "azure",
                "retry_base": 0.001,
                "retry_cap": 0.002,
                "idle_timeout": 5,
                **options,
            }
            if not {"sas_token", "identity", "anonymous", "connection_string"} & set(options):
                given["account_key"] = Secret(KEY)
            backend = AzureBackend(AzureConfig(**given), **(made or {}))
            return stack.enter_context(closing(backend))

        yield build


@pytest.fixture
def routed(play) -> Callable[..., tuple[Storage, ScriptedServer]]:
    """A storage whose server answers by what is asked: the first rule whose words are all in the request's head counts.

    The answer of a rule is a step, or a list of steps that are played in turn, the last one again and again.
    """

    class Routes:
        def __init__(self, rules):
            self.rules = [(words, list(step) if isinstance(step, list) else [step]) for words, step in rules]

        def play(self, conversation):
            head = conversation.server.received[-1].partition(b"\r\n\r\n")[0].decode("latin-1").lower()
            for words, steps in self.rules:
                if all(word.lower() in head for word in words.split()):
                    (steps.pop(0) if len(steps) > 1 else steps[0]).play(conversation)
                    return
            raise AssertionError(f"nobody answers {head}")

    def build(*rules, **options):
        return play((Receive(), Routes(rules)), **options)

    return build
