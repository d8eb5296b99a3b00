"""What goes wrong between a person and Azurite, each as its own error and exit code, in time; and `mgs` end to end."""

from __future__ import annotations

import os
import time
import urllib.request

import pytest

from mediagit_storage.backends.azure import AzureBackend, AzureConfig
from mediagit_storage.clock import SystemClock
from mediagit_storage.errors import AccessError, BucketNotFoundError, ConnectionLostError, NotFoundError
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.command_line import there_and_back
from mediagit_storage.testing.emulators.kinds import free_ports
from mediagit_storage.testing.emulators.raw_azure import call

WRONG = "d3JvbmcgY2FuYXJ5IGtleQ=="


def test_a_wrong_key(server, container, open_azure):
    store = Storage(open_azure(server, container, account_key=Secret(WRONG)))
    attempts = (
        lambda: store.get("k"), lambda: store.put("k", b"x"), lambda: [*store.list()], lambda: store.exists("k"),
        lambda: store.copy("k", "l"), store.create,
    )  # fmt: skip
    for attempt in attempts:
        # The service says AuthenticationFailed, Azurite AuthorizationFailure.
        with pytest.raises(AccessError) as caught:
            attempt()
        assert "check the account, its key" in str(caught.value)
        assert WRONG not in str(caught.value)
    assert any(finding.level == "failed" for finding in store.check())


def test_a_wrong_account(server, container, open_azure):
    store = Storage(open_azure(server, container, account="nobody", endpoint=f"{server.url}/nobody"))
    with pytest.raises(NotFoundError):
        store.get("k")


def test_a_wrong_container(server, open_azure):
    store = Storage(open_azure(server, "t-missing"))
    for attempt in (
        lambda: store.get("k"),
        lambda: store.put("k", b"x"),
        lambda: [*store.list()],
        lambda: store.exists("k"),
    ):
        with pytest.raises(BucketNotFoundError) as caught:
            attempt()
        assert "create it" in str(caught.value)
    assert [each.error.__class__ for each in store.delete_many(["k"])] == [BucketNotFoundError]
    assert any(finding.level == "failed" for finding in store.check())
    assert any("mgs mb" in finding.advice for finding in store.backend.check())


def test_nobody_in_particular(server, container, open_azure):
    store = Storage(open_azure(server, container, anonymous=True))
    with pytest.raises((NotFoundError, PermissionError)):
        store.get("k")


class Skewed(SystemClock):
    """A clock that is hours wrong."""

    def now_ns(self):
        return super().now_ns() + 3 * 3600 * 10**9


def test_a_clock_that_is_wrong_is_told(server, container):
    """Azurite takes any time; `check` tells of it all the same."""
    config = AzureConfig(
        container=container,
        account=server.access_key,
        endpoint=f"{server.url}/{server.access_key}",
        account_key=Secret(server.secret_key),
    )
    with Storage(AzureBackend(config, clock=Skewed())) as store:
        [finding] = [each for each in store.check() if each.name == "server clock"]
        assert (finding.level, "NTP" in finding.advice) == ("warning", True)


def test_no_server_there():
    [port] = free_ports(1)
    config = AzureConfig(
        container="pics",
        account="devstoreaccount1",
        endpoint=f"http://127.0.0.1:{port}/devstoreaccount1",
        connect_timeout=2.0,
        attempts=2,
        retry_base=0.01,
    )
    begin = time.monotonic()
    with Storage(AzureBackend(config)) as store, pytest.raises(ConnectionLostError, match="check address and port"):
        store.get("k")
    assert time.monotonic() - begin < 30


# ---- mgs


def test_a_folder_there_and_back(server, container, mgs, tmp_path):
    there_and_back(mgs, f"az://{container}", tmp_path)
    assert call(server, "GET", container, [("restype", "container"), ("comp", "list")]).body.count(b"<Name>") == 1


def test_exit_codes(container, mgs):
    url = f"az://{container}"
    assert mgs("cat", f"{url}/gone").code == 4
    assert mgs("ls", "az://t-missing-container/").code == 3
    assert mgs("cat", "az://t-missing-container/k").code == 3
    assert mgs("ls", f"{url}?nonsense=1").code == 2
    half = mgs("ls", f"{url}/", AZURE_STORAGE_CONNECTION_STRING="", AZURE_STORAGE_ACCOUNT="media")
    assert half.code == 2
    assert "AZURE_STORAGE_KEY" in half.err


def test_exit_code_of_a_wrong_key(server, container, mgs):
    text = server.environment()["AZURE_STORAGE_CONNECTION_STRING"].replace(server.secret_key, WRONG)
    result = mgs("ls", f"az://{container}/", AZURE_STORAGE_CONNECTION_STRING=text)
    assert result.code == 11
    assert WRONG not in result.out + result.err


def test_a_container_is_made(server, mgs):
    name = f"t-made-{os.urandom(6).hex()}"
    assert mgs("mb", f"az://{name}").code == 0
    assert call(server, "HEAD", name, [("restype", "container")]).status == 200


def test_a_link_on_standard_output(container, mgs):
    assert mgs("put", "-", f"az://{container}/k", stdin=b"data").code == 0
    link = mgs("presign", f"az://{container}/k", "--expires", "60").out.strip()
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"data"
