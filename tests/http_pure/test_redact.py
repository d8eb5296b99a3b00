"""What servers say again of a request."""

from __future__ import annotations

import pytest

from mediagit_storage.http.redact import redact_answer
from mediagit_storage.secrets import Secret


@pytest.mark.parametrize(
    "said",
    [
        "X-Amz-Signature=canary",
        "you sent Authorization: AWS4-HMAC-SHA256 canary=1,canary=2".replace("canary=1,canary=2", "Signature=canary"),
        "Authorization: Bearer canary.canary",
        "a bearer canary-canary is too old",
        "SharedKey account:canary=",
        "SharedKeyLite account:canary=",
        "SharedKey account canarycanary",
        "sv=2020&sig=canary%3D&se=2030",
        '"access_token": "canary"',
        "AccountKey=canary==;EndpointSuffix=x",
        "x-goog-signature='canary'",
    ],
)
def test_credentials_of_every_vendor_are_left_out(said):
    text = redact_answer(said)
    assert "canary" not in text
    assert "***" in text


def test_known_secrets_are_left_out_however_they_stand():
    assert redact_answer("no: canary!", [Secret("canary"), Secret("no")]) == "no: ***!"


@pytest.mark.parametrize(
    "said", ["the signature does not match", "Bearer token missing", "no authorization for this", "a design=1 x"]
)
def test_ordinary_words_stay(said):
    assert redact_answer(said) == said
