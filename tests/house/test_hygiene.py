"""Tests see no credentials and no network, and a test that leaves something behind fails."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


def test_no_credential_or_configuration_of_this_machine_is_visible():
    names = re.compile(
        r"^(AWS|AZURE|GCS|GOOGLE|MINIO|B2|SPACES|WEBDAV|MGS|XDG)_|^SSL_CERT|CA_BUNDLE|_PROXY$", re.IGNORECASE
    )
    assert [name for name in os.environ if names.search(name)] == []


def test_home_is_an_empty_folder(home):
    assert Path.home() == home
    assert not any(path.name in {".aws", ".azure", ".config", ".netrc"} for path in home.iterdir())


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("0.0.0.0", 0), ("2001:db8::1", 443)])
def test_the_network_is_out_of_reach(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as one, pytest.raises(RuntimeError, match="loopback"):
        one.connect(address)


def test_no_name_is_looked_up():
    with pytest.raises(RuntimeError, match="loopback"):
        socket.getaddrinfo("storage.example", 443)


def test_loopback_works():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


@pytest.fixture
def run_one(tmp_path):
    """Runs one test body under the project's own conftest, in a process of its own."""

    def run(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
        shutil.copy(CONFTEST, tmp_path / "conftest.py")
        # No grace: these bodies never clean up.
        text = (tmp_path / "conftest.py").read_text()
        (tmp_path / "conftest.py").write_text(re.sub(r"^GRACE = .*$", "GRACE = 0.05", text, flags=re.MULTILINE))
        (tmp_path / "test_one.py").write_text(
            f"import os, subprocess, threading, time\nkept = []\ndef test_it(tmp_path):\n    {body}\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "test_one.py"]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
        )

    return run


def test_what_is_left_behind_is_noticed(run_one):
    """A thread, a descriptor, a process: each fails its own test."""
    result = run_one(
        "threading.Thread(target=time.sleep, args=(9,), daemon=True, name='idler').start()\n"
        "def test_two(tmp_path):\n    kept.append(open(__file__))\n"
        "def test_three(tmp_path):\n    kept.append(subprocess.Popen(['sleep', '9']))"
    )
    assert result.returncode == 1
    for name, word in (("it", "thread idler"), ("two", "descriptor"), ("three", "process")):
        assert f"test_{name} left behind: {word}" in result.stdout


def test_credentials_are_scrubbed_before_anything_is_collected(run_one):
    names = ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "https_proxy", "MGS_CONFIG", "AWS_CA_BUNDLE"]
    result = run_one(f"assert not set({names!r}) & set(os.environ)", **dict.fromkeys(names, "canary"))
    assert result.returncode == 0, result.stdout


def test_a_tree_of_a_thousand_levels_can_be_removed_with_the_run(run_one, tmp_path):
    """pytest's own clean-up of old folders stops at the recursion limit; what is too deep goes first."""
    body = (
        "where = os.open('.', os.O_RDONLY)\n    os.chdir(os.environ['DEEP'])\n"
        "    for _ in range(1500):\n        os.mkdir('d')\n        os.chdir('d')\n    os.fchdir(where)\n    os.close(where)"
    )
    deep = tmp_path / "base" / "kept"
    options = f"--basetemp={tmp_path / 'base'}"
    result = run_one(f"os.mkdir(os.environ['DEEP'])\n    {body}", DEEP=str(deep), PYTEST_ADDOPTS=options)
    assert result.returncode == 0, result.stdout
    depth = sum(1 for _ in os.walk(deep))
    assert 10 < depth < 100
