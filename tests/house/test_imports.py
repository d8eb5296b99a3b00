"""Who may import whom, what importing costs, and that importing does nothing else."""

from __future__ import annotations

import json
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mediagit_storage

ROOT = Path(__file__).parents[2]

#: Libraries that nobody pays for who only wants to store bytes.
HEAVY = {
    "awscrt", "blake3", "botocore", "certifi", "click", "cryptography", "fsspec", "google_crc32c", "http", "hypothesis",
    "pycurl", "pytest", "requests", "rich", "rich_click", "ssl", "starlette", "urllib.request", "uvicorn", "zstandard",
}  # fmt: skip


def lint_imports(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    command = [
        Path(sys.executable).with_name("lint-imports"),
        "--no-logo",
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
    ]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True, timeout=100
    )


def test_imports_point_one_way(tmp_path):
    result = lint_imports(tmp_path, ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "from mediagit_storage import keys", "Imports point one way"),
        ("backends/memory.py", "from mediagit_storage import storage", "Imports point one way"),
        ("backends/memory.py", "from mediagit_storage.backends import local", "Backends do not know each other"),
        ("storage.py", "from mediagit_storage import testing", "Nothing at run time imports the test suite"),
        ("types.py", "import msgspec", "The core stands on the standard library alone"),
        ("new_module.py", "import json", "Imports point one way"),
    ],
)
def test_a_forbidden_import_is_noticed(tmp_path, module, line, contract):
    package = tmp_path / "src" / "mediagit_storage"
    shutil.copytree(ROOT / "src" / "mediagit_storage", package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(tmp_path, tmp_path / "src")
    assert result.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in result.stdout.splitlines()), result.stdout + result.stderr


def loaded_after(statement: str) -> set[str]:
    code = f"import sys, json; before = set(sys.modules); {statement}; print(json.dumps(sorted(set(sys.modules) - before)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(result.stdout))


def heavy(modules: set[str]) -> set[str]:
    return {name for name in modules if name in HEAVY or name.partition(".")[0] in HEAVY}


def test_importing_the_library_loads_no_http_crypto_or_command_line_library():
    assert heavy(loaded_after("import mediagit_storage")) == set()


def test_opening_a_local_storage_loads_none_either(tmp_path):
    statement = f"import mediagit_storage as m; s = m.open_storage({str(tmp_path)!r}); s.put('k', b'v'); s.close()"
    assert heavy(loaded_after(statement)) == set()


def modules() -> list[str]:
    found = pkgutil.walk_packages(mediagit_storage.__path__, "mediagit_storage.")
    return sorted(each.name for each in found if not each.name.endswith("__main__"))


def test_importing_any_module_only_defines_things():
    """No import opens a socket, writes a file, starts a program or a thread."""
    code = f"""
import sys, threading
import importlib
names = {modules()!r}
bad = []
def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes and ".pyc" not in str(arguments[0]) or event in (
        "socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove", "os.fork", "os.system",
    ):
        bad.append((name, event, str(arguments)))
sys.dont_write_bytecode = True
name = "third-party libraries"
import msgspec, platformdirs, pycurl, certifi, rich.console, rich.progress, hypothesis.stateful, pytest
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
    if threading.active_count() > 1:
        bad.append((name, "thread", str(threading.enumerate())))
        break
assert not bad, bad
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
