"""The public face: what is exported, how it is called, that it is typed, and that every name has an example that runs."""

from __future__ import annotations

import difflib
import inspect
import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import mediagit_storage as mgs

ROOT = Path(__file__).parents[2]


def test_signatures_are_those_that_were_written_down():
    """A change of the face is deliberate: run ``make face`` and look at the difference."""
    command = [sys.executable, ROOT / "scripts" / "public_face.py"]
    now = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    before = (ROOT / "tests" / "house" / "public_face.txt").read_text()
    difference = "\n".join(
        difflib.unified_diff(before.splitlines(), now.splitlines(), "written down", "now", lineterm="")
    )
    assert not difference, f"the public face has changed; if that is meant, run: make face\n{difference}"


def test_the_snapshot_says_nothing_about_the_machine_it_was_made_on():
    """Defaults such as ``os.environ`` are named by their kind: their content is nobody's business."""
    command = [sys.executable, ROOT / "scripts" / "public_face.py"]
    shown = subprocess.run(
        command, env={**os.environ, "CANARY": "hush-canary"}, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "hush-canary" not in shown
    assert os.environ["HOME"] not in shown


def test_every_public_name_exists_once():
    assert len(set(mgs.__all__)) == len(mgs.__all__)
    assert all(hasattr(mgs, name) for name in mgs.__all__)


def test_completion_shows_the_public_names_and_nothing_else():
    assert dir(mgs) == sorted(mgs.__all__)


def test_a_public_name_is_itself_whatever_was_imported_before():
    """A function must not turn into the module of the same name."""
    code = (
        "import pkgutil, importlib, inspect, mediagit_storage as m\n"
        "from mediagit_storage import storage, opening, registry\n"
        "wrong = [name for name in m.__all__ if inspect.ismodule(getattr(m, name))]\n"
        "assert not wrong, wrong"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_every_public_class_and_function_has_a_docstring():
    lacking = [
        name
        for name in mgs.__all__
        if inspect.isclass(value := getattr(mgs, name)) or inspect.isfunction(value)
        if not inspect.getdoc(value)
    ]
    assert lacking == []


def test_the_package_says_that_it_is_typed():
    assert (resources.files("mediagit_storage") / "py.typed").is_file()


def test_a_user_program_passes_strict_type_checks(tmp_path):
    """Types reach the caller: wrong uses are refused, right ones need no cast and no Any."""
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--config-file=", "--no-incremental"]
    program = ROOT / "tests" / "house" / "typed_use.py"
    result = subprocess.run(
        [*command, f"--cache-dir={tmp_path}", str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=110
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_user_program_passes_the_other_type_checker(tmp_path):
    """What mypy takes, pyright may not: it infers more, and looks at the package's own annotations only."""
    shutil.copy(ROOT / "tests" / "house" / "typed_use.py", tmp_path)
    settings = {"typeCheckingMode": "strict", "include": ["typed_use.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=110)
    assert result.returncode == 0, result.stdout + result.stderr
