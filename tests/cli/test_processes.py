"""`mgs` as a process: pipes, terminals and signals."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MGS = [sys.executable, "-m", "mediagit_storage"]


def start(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen([*MGS, *map(str, arguments)], start_new_session=True, **options)


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_the_installed_command(tmp_path):
    command = Path(sys.executable).with_name("mgs")
    result = subprocess.run([command, "ls", tmp_path / "none"], capture_output=True, text=True)
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.startswith("mgs: ")


def test_bytes_go_through_unchanged(tmp_path):
    data = os.urandom(3_000_000)
    put = subprocess.run([*MGS, "put", "-", tmp_path / "x"], input=data, capture_output=True)
    assert put.returncode == 0, put.stderr
    assert put.stdout == b""
    got = subprocess.run([*MGS, "cat", tmp_path / "x"], capture_output=True)
    assert (got.returncode, got.stdout, got.stderr) == (0, data, b"")


@pytest.mark.parametrize("command", ["cat", "ls", "json"])
def test_a_reader_that_leaves_early_is_no_error(tmp_path, command):
    (tmp_path / "big").write_bytes(bytes(5_000_000))
    for number in range(3000):
        (tmp_path / f"a-long-name-that-fills-the-pipe-{number:050}").touch()
    arguments = {"cat": ["cat", tmp_path / "big"], "ls": ["ls", tmp_path], "json": ["ls", "--json", tmp_path]}
    process = start(*arguments[command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize(
    ("arguments", "closed", "code", "words"),
    [
        (["cp", "x", "y"], "<&- >&- 2>&-", 0, ""),
        (["cp", "x", "y"], ">&-", 0, "copied 1 object"),
        (["cat", "x"], ">&-", 1, "Bad file descriptor"),
        (["ls", "."], ">&-", 1, "Bad file descriptor"),
        (["put", "-", "y"], "<&-", 0, "stored 1 object"),
        (["ls", "nowhere"], ">&- 2>&-", 3, ""),
    ],
)
def test_without_standard_streams(tmp_path, arguments, closed, code, words):
    """What a daemon or cron may start: the work is done, and data that nobody can take is an error."""
    (tmp_path / "x").write_bytes(b"data")
    line = shlex.join([*MGS, *arguments])
    result = subprocess.run(["sh", "-c", f"exec {line} {closed}"], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "y").exists() == ("y" in arguments)


def wait_until(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_the_middle_of_a_copy(tmp_path, number, code):
    """Nothing half-written is left, neither under a key nor beside it, and what is there is complete."""
    (tmp_path / "from").mkdir()
    sizes = {f"{index:04}": 20_000 for index in range(3000)} | {"large": 400_000_000}
    for name, size in sizes.items():
        with (tmp_path / "from" / name).open("wb") as file:
            file.truncate(size)
    (tmp_path / "to").mkdir()
    process = start("cp", "-r", f"{tmp_path}/from/", f"{tmp_path}/to/", stderr=subprocess.PIPE, text=True)
    # Hidden while it is written: as soon as something is there, the copy is in its middle.
    wait_until(lambda: any((tmp_path / "to").rglob("*")))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1] == f"mgs: {'interrupted' if code == 130 else 'terminated'}"
    assert "Traceback" not in err
    left = everything(tmp_path / "to")
    assert left < set(sizes)
    assert all((tmp_path / "to" / name).stat().st_size == sizes[name] for name in left)
    assert everything(tmp_path / "from") == set(sizes)


def test_interrupted_while_waiting_for_standard_input(tmp_path):
    process = start("put", "-", tmp_path / "x", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"the beginning")
    process.stdin.flush()
    wait_until(lambda: any(tmp_path.rglob("*")))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == b"mgs: interrupted\n"
    process.stdin.close()
    process.stderr.close()
    assert everything(tmp_path) == set()


HANGING = """
import sys, time
from mediagit_storage.cli import main
from mediagit_storage.scope import current_scope
from mediagit_storage.tools import copying

def hang(self, task):
    print("begun", flush=True)
    while not current_scope().cancelled:
        time.sleep(0.005)
    print("cancelled", flush=True)
    time.sleep(3600)

for each in vars(copying).values():
    if isinstance(each, type) and "_one" in vars(each):
        each._one, each._travels_with_others = hang, lambda self, task: False
sys.argv = ["mgs", "cp", *sys.argv[1:]]
main.main()
"""


def test_a_second_interrupt_leaves_a_thread_that_hangs(tmp_path):
    (tmp_path / "x").write_bytes(b"data")
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING, tmp_path / "x", "memory://y/z"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        for word in ("begun", "cancelled"):
            assert process.stdout.readline() == f"{word}\n"
            process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "mgs: interrupted\n")
        assert process.returncode == 130
    finally:
        process.kill()


def on_a_terminal(*arguments: object, width: int = 100, **environment: str) -> tuple[int, str, str]:
    """Run with standard error on a terminal and standard output in a pipe: (code, output, what was drawn)."""
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    settings = {**inherited, "TERM": "xterm-256color", **environment}
    process = start(*arguments, stdout=subprocess.PIPE, stderr=follower, stdin=subprocess.DEVNULL, env=settings)
    os.close(follower)
    drawn = b""
    # The terminal is gone, as an error, once the process has ended.
    with contextlib.suppress(OSError):
        while piece := os.read(leader, 65536):
            drawn += piece
    os.close(leader)
    out = process.stdout.read().decode()
    process.stdout.close()
    return process.wait(), out, drawn.decode()


@pytest.fixture
def large(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(200_000_000)
    return tmp_path / "large"


def test_a_bar_on_a_terminal(large, tmp_path):
    code, out, drawn = on_a_terminal("cp", large, tmp_path / "copy")
    assert code == 0
    assert out == ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert "copy" in plain
    assert "MB/s" in plain
    assert "copied 1 object, 200 MB in" in plain.splitlines()[-1]


def test_a_bar_fits_into_a_narrow_terminal(large, tmp_path):
    _, _, drawn = on_a_terminal("cp", large, tmp_path / "copy", width=40)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    bars = [line for line in re.split(r"[\r\n]+", plain) if "━" in line]
    assert bars
    assert max(map(len, bars)) <= 40, bars


def test_no_colours_when_they_are_not_wanted(large, tmp_path):
    _, _, drawn = on_a_terminal("cp", large, tmp_path / "copy", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", drawn)


@pytest.mark.parametrize(("options", "environment"), [(["--quiet"], {}), (["--json"], {}), ([], {"TERM": "dumb"})])
def test_no_bar_where_it_is_not_wanted(large, tmp_path, options, environment):
    code, _, drawn = on_a_terminal("cp", *options, large, tmp_path / "copy", **environment)
    assert code == 0
    assert "\x1b" not in drawn
    assert "━" not in drawn


def test_no_bar_in_a_pipe(large, tmp_path):
    result = subprocess.run([*MGS, "cp", large, tmp_path / "copy"], capture_output=True, text=True)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of this program alone from /proc")
@pytest.mark.parametrize("command", ["cp", "get"])
def test_a_large_object_takes_little_memory(tmp_path, command):
    """Its size does not matter: 400 MB go through in less than 100 MiB, the interpreter included."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(400_000_000)
    code = (
        "import re, sys; from mediagit_storage.cli.main import run; code = run(sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, command, "-q", str(tmp_path / "large"), str(tmp_path / "copy")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(result.stdout) < 100 * 1024
