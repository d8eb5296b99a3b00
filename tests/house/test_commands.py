"""The commands of the project itself: make, the scripts, and the change log."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    # What the make around us hands down would make the one we start talk about folders.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True, timeout=100,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# ---- make ----------------------------------------------------------------------------------------------------------

COMMANDS = [
    "setup", "demo", "test", "test-servers", "matrix", "test-account", "unit", "test-NAME", "test-long", "fuzz", "format", "lint", "types", "contracts", "docs-check", "site",
    "face", "screenshots", "bench", "bench-s3", "bench-azure", "bench-gcs", "bench-webdav", "bench-layers", "bench-sync", "bench-plans", "bench-fsspec", "bench-aio", "bench-serve", "bench-emulators", "plan-billion", "servers", "emulators", "build", "clean", "help",
]  # fmt: skip


def test_make_alone_lists_every_command():
    result = run("make")
    assert result.returncode == 0
    assert {line.split()[0:2][1] for line in result.stdout.splitlines()} == set(COMMANDS)


def test_an_old_python_is_refused_clearly(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    program(tmp_path, "python-old", 'case "$1" in -V) echo Python 3.9.2;; *) exit 1;; esac')
    result = run("make", "setup", f"PYTHON={tmp_path}/python-old", cwd=tmp_path)
    assert result.returncode != 0
    assert "Python 3.11 or newer is needed" in result.stderr
    assert "3.9.2" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_missing_python_is_named(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    result = run("make", "setup", "PYTHON=python-of-nowhere", cwd=tmp_path)
    assert result.returncode != 0
    assert "python-of-nowhere is not installed" in result.stderr


def test_the_gate_ends_with_the_summary_of_pytest():
    """Nothing runs after pytest, so its own last line is the last line."""
    lines = [
        line for line in run("make", "-n", "--assume-old=.venv/.ready", "test").stdout.splitlines() if line.strip()
    ]
    assert "-m pytest" in lines[-1]
    assert '-m "not long"' in lines[-1]
    stages = ["ruff check", "ruff format --check", "mypy", "lint-imports", "interrogate", "emulators.py install"]
    stages.append("-m pytest")
    found = [next(i for i, line in enumerate(lines) if stage in line) for stage in stages]
    assert found == sorted(found)


@pytest.mark.parametrize(("where", "code"), [({"CI": ""}, 0), ({"CI": "true"}, 1)])
def test_a_server_that_cannot_be_installed_stops_only_a_run_that_has_to_be_whole(tmp_path, where, code):
    """People are told in one line, and go on without its tests."""
    script = (ROOT / "scripts" / "emulators.py").read_text()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "emulators.py").write_text(script)
    # A file where the servers would be installed.
    (tmp_path / ".cache").write_text("in the way")
    result = run(sys.executable, tmp_path / "scripts" / "emulators.py", "install", "moto", cwd=tmp_path, **where)
    assert result.returncode == code
    told = result.stderr.splitlines()
    assert told[0].startswith("NOT INSTALLED, its tests will be skipped: moto")
    assert len(told) == 1 + code


def test_the_gate_of_the_machine_is_the_gate_of_people(tmp_path):
    """`.ci/run` is `make test`, from any folder, without a terminal, and its failure is a failure."""
    program(tmp_path, "make", 'echo "make $* in $(pwd)"; exit 7')
    result = run(ROOT / ".ci" / "run", cwd=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 7
    assert result.stdout == f"make test in {ROOT}\n"


# ---- Debian packages -----------------------------------------------------------------------------------------------

PACKAGES = ROOT / "scripts" / "debian-packages.sh"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an ``id`` and an ``apt-get`` of ours; the latter writes down how it is called."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(
        tmp_path, "apt-get", f'echo "$*" >> {tmp_path}/calls; case "$1" in install) touch {tmp_path}/installed;; esac'
    )

    def as_user(number: int) -> Path:
        program(tmp_path, "id", f"echo {number}")
        return tmp_path

    return as_user


def test_what_is_there_is_not_installed_again(machine):
    folder = machine(0)
    assert run(PACKAGES, "the suite", "true", "some-package").returncode == 0
    assert not (folder / "calls").exists()


def test_root_installs_what_is_missing(machine):
    folder = machine(0)
    result = run(PACKAGES, "the suite", f"test -e {folder}/installed", "some-package")
    assert result.returncode == 0
    assert (folder / "calls").read_text().endswith("install -y -q --no-install-recommends some-package\n")


def test_others_are_told_loudly_which_suite_is_skipped(machine):
    folder = machine(1000)
    result = run(PACKAGES, "the suite", f"test -e {folder}/installed", "some-package")
    assert result.returncode == 3
    assert "SKIPPED: the suite" in result.stderr
    assert "apt-get install some-package" in result.stderr
    assert not (folder / "calls").exists()


# ---- the change log ------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path):
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "README.md").write_text("how\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changes\n\nWhat changed.\n\n## 0.1.0 (2026-01-02)\n\n### Added\n\n- All.\n"
    )
    return tmp_path


def changelog(log: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "scripts" / "changelog.py", *arguments, "--root", str(log))


def test_fragments_of_this_project_are_well_formed():
    result = changelog(ROOT, "check")
    assert result.returncode == 0, result.stderr


def test_a_release_moves_fragments_into_the_log(log):
    (log / "changelog.d" / "b.fixed.md").write_text("Mended.\n")
    (log / "changelog.d" / "a.added.md").write_text("New\nthing.\n")
    assert changelog(log, "release", "0.2.0", "--date", "2026-03-04").returncode == 0
    text = (log / "CHANGELOG.md").read_text()
    new = "## 0.2.0 (2026-03-04)\n\n### Added\n\n- New\n  thing.\n\n### Fixed\n\n- Mended.\n\n## 0.1.0"
    assert new in text
    assert [path.name for path in (log / "changelog.d").iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("name", "text"), [("x.md", "A."), ("x.better.md", "A."), ("x.added.md", "\n"), ("x.added.txt", "A.")]
)
def test_a_bad_fragment_is_refused(log, name, text):
    (log / "changelog.d" / name).write_text(text)
    result = changelog(log, "check")
    assert result.returncode == 1
    assert name in result.stderr


def test_a_release_without_news_is_refused(log):
    before = (log / "CHANGELOG.md").read_text()
    assert changelog(log, "release", "0.2.0", "--date", "2026-03-04").returncode == 1
    assert (log / "CHANGELOG.md").read_text() == before


# ---- the demo ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "folder"
    (top / "a" / "b").mkdir(parents=True)
    for name, data in {"a/b/one": b"1" * 1000, "a-": b"2", "a/empty": b"", "ü x": bytes(range(256))}.items():
        (top / name).write_bytes(data)
    (top / "link").symlink_to("a-")
    return top


def demo(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "scripts" / "demo.py", folder, COLUMNS="120", **environment)


def test_the_demo_ends_with_a_table(folder, tmp_path):
    (tmp_path / "tmp").mkdir()
    result = demo(folder, TMPDIR=str(tmp_path / "tmp"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 files, 1,257 bytes; 1 symbolic links" in result.stdout
    assert "all objects are identical" in result.stdout
    for step in ("store", "list", "verify", "restore", "compare"):
        assert re.search(rf"{step}\s.*\b4\b.*1,257", result.stdout), step
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("after", "damage", "word"),
    [
        ("cp", "truncate -s 999 store/a/b/one", "listing"),
        ("du", "printf 3 > store/a-", "a- is not what"),
        ("restore", "printf 3 > restored/a-", "a- was restored with other bytes"),
        ("restore", "touch restored/more", "has other files than the original, for example more"),
    ],
)
def test_the_demo_notices_damage(folder, tmp_path, after, damage, word):
    """A stand-in for ``mgs`` runs the real one, then damages what it wrote."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    real = Path(sys.executable).with_name("mgs")
    now = {"cp": '"$1" = cp', "du": '"$1" = du', "restore": "-d restored"}[after]
    program(
        tmp_path / "bin", "mgs", f'{real} "$@" || exit\ncd {tmp_path}/tmp/mgs-demo-*\nif [ {now} ]; then {damage}; fi'
    )
    code = (
        "import sys, pathlib, runpy; sys.argv = sys.argv[1:]; module = runpy.run_path(sys.argv[0]);"
        f"module['run'].__globals__['COMMAND'] = pathlib.Path({str(tmp_path / 'bin' / 'mgs')!r});"
        "sys.exit(module['main'](sys.argv[1:]))"
    )
    result = run(
        sys.executable, "-c", code, ROOT / "scripts" / "demo.py", folder, TMPDIR=str(tmp_path / "tmp"), COLUMNS="200"
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert word in result.stdout
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_demo_needs_a_folder_with_files(tmp_path):
    assert "is not a folder" in demo(tmp_path / "nowhere").stdout
    (tmp_path / "empty").mkdir()
    result = demo(tmp_path / "empty")
    assert result.returncode == 1
    assert "holds no files" in result.stdout
