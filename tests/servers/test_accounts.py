"""The tests of real accounts, run as a user would, on servers of this machine that stand for the accounts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mediagit_storage.opening import open_storage
from mediagit_storage.testing.emulators import SERVERS, Running

ROOT = Path(__file__).parents[2]
#: Objects, parts, unfinished uploads, odd keys, and what would change a bucket.
SOME = (
    "overwrite_replaces or unfinished_uploads or cancelled_never or deleting_many or one_level or connection_info"
    " or creating_what or forked"
)
#: What a profile says of a server, where the environment alone cannot.
OPTIONS = {
    "moto": ["path_style = true", 'service = "aws"', 'checksum = "sha256"'],
    "seaweedfs": ["path_style = true", 'service = "seaweedfs"'],
    "rclone-webdav": ['service = "rclone"'],
}
#: The options of endpoint, user and secret.
NAMES = {"s3": ("endpoint", "access_key_id", "secret_access_key"), "webdav": ("url", "username", "password")}
#: A test that fails on the server, by a fault of the server's.
FAILING = {
    "moto": "raw_keys",
    "seaweedfs": "reading_is_liberal",
    "azurite": "characters_that_mean",
    "fake-gcs-server": "a_create_only_copy",
}


def run_pytest(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "tests/accounts", "-q", "-p", "no:cacheprovider", "--tb=line", *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=280
    )


def outcome(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many tests passed, failed and so on."""
    return {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error|skipped)", result.stdout)}


def profile(server: Running, url: str, folder: Path) -> dict[str, str]:
    """The environment of a user whose profile ``place`` is a bucket of the server."""
    if server.name not in OPTIONS:
        return server.environment()
    lines = ["[place]", f'url = "{url.rstrip("/")}"', *OPTIONS[server.name]]
    endpoint, *secret = NAMES[server.speaks]
    if server.speaks == "s3":
        lines.append(f'{endpoint} = "{server.url}"')
    for name, value in zip(secret, (server.access_key, server.secret_key), strict=True):
        (folder / name).write_text(value)
        lines.append(f'{name} = {{ file = "{folder / name}" }}')
    (folder / "profiles.toml").write_text("\n".join(lines) + "\n")
    return {"MGS_CONFIG": str(folder / "profiles.toml")}


def contents(place: str, environment: dict[str, str]) -> list[object]:
    """All that a place holds, as its listings and its list of unfinished uploads tell."""
    with open_storage(place, environ=environment) as store:
        can = store.capabilities
        found: list[object] = [*store.list(), *store.list_dir()]
        found += store.list(versions=True) if can.versions else []
        return found + ([*store.pending_uploads()] if can.pending_uploads else [])


def test_without_variables_there_are_no_such_tests():
    """None is collected, not one is skipped; the same without the one that a variable names."""
    result = run_pytest("--collect-only")
    assert result.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, result.stdout
    result = run_pytest("--collect-only", MGS_TEST_GCS_URL="gs://some-bucket")
    assert result.returncode == 0, result.stdout
    assert "TestGCSAccount" in result.stdout
    assert "TestS3Account" not in result.stdout


def test_no_other_test_gets_out(request):
    """The fixture that lifts the rules is refused outside of that folder."""
    with pytest.raises(pytest.fail.Exception, match="only the tests of accounts"):
        request.getfixturevalue("outside")


@pytest.mark.parametrize(
    ("server", "processes"),
    [
        pytest.param("moto", 1, marks=pytest.mark.long),
        ("seaweedfs", 2),
        ("azurite", 1),
        ("fake-gcs-server", 1),
        ("rclone-webdav", 1),
    ],
)
def test_a_run_leaves_a_place_as_it_was(server, processes, servers, tmp_path):
    """Whether its tests pass or fail, in one process or several; the neighbours of its folder stay, too."""
    found = servers(server)
    url = SERVERS[server].api.playground(found)
    environment = profile(found, url, tmp_path)
    top = "place:" if server in OPTIONS else url
    with open_storage(top, environ=environment) as store:
        for key in ("mgs-conformance-", "own/in/x", "x", "k"):
            store.put(key, key.encode())
    before = contents(top, environment)
    account = {f"MGS_TEST_{found.speaks.upper()}_URL": f"{top}own", **environment}
    # rclone's listings wait for what is being written.
    chosen = SOME.replace("unfinished_uploads or ", "") if server == "rclone-webdav" else SOME
    failing = server in FAILING
    chosen = f"{chosen} or {FAILING[server]}" if failing else chosen
    result = run_pytest("-k", chosen, f"-n{processes if processes > 1 else 0}", f"--basetemp={tmp_path}/run", **account)
    assert result.returncode == (pytest.ExitCode.TESTS_FAILED if failing else pytest.ExitCode.OK), result.stdout
    assert outcome(result)["passed"] >= 8
    assert outcome(result).get("failed", 0) == int(failing), result.stdout
    assert contents(top, environment) == before
