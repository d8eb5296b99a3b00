"""House rules that no ready-made linter holds, checked over the files that belong to the project."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".git", ".venv", "dist", "build", "node_modules", "htmlcov"}
TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".yml", ".yaml", ".json", ".cfg", ".typed", ".css", ".html", ""}


@functools.cache
def project_files() -> tuple[Path, ...]:
    """What is tracked, or would be: from git where there is one, else by walking."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in ROOT.rglob("*") if not SKIPPED & set(p.parts) and "__pycache__" not in p.parts]
    return tuple(path for path in paths if path.is_file() and path.suffix in TEXT)


def sources() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_are_files_to_look_at():
    assert len(project_files()) > 20
    assert len(sources()) > 10


#: Written in two halves, so that this file does not find itself.
MACHINE = [r"/root/", r"/work/", r"/home/(?!me\b)[a-z]", r"/Users/[A-Z]", r"/tmp/(?!\.\.\.)[A-Za-z]+[0-9]", r"\.pyenv"]
UNFINISHED = [r"\bTODO\b", r"\bFIXME\b", r"\bXXX\b", r"\bHACK\b", r"NotImplementedError"]


def hits(patterns: list[str], paths: tuple[Path, ...] | list[Path]) -> list[str]:
    found = re.compile("|".join(patterns))
    return [
        f"{name(path)}:{number}: {line.strip()[:100]}"
        for path in paths
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if found.search(line)
    ]


def test_no_path_of_a_machine():
    assert hits(MACHINE, project_files()) == []


def test_nothing_unfinished():
    assert hits(UNFINISHED, project_files()) == []


def test_no_credential_shaped_text():
    shapes = [
        r"AKIA[0-9A-Z]{16}\b(?<!EXAMPLE)",
        r"-----BEGIN [A-Z ]*PRIVATE KEY",
        r"AGE-SECRET-KEY-1[A-Z0-9]{20}",
        r"ghp_[A-Za-z0-9]{20}",
    ]
    assert hits(shapes, project_files()) == []


def test_text_files_end_in_one_newline_and_have_no_trailing_blanks():
    wrong = [
        name(path)
        for path in project_files()
        if path.name != "LICENSE" and (text := path.read_text("utf-8"))
        if not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+$|\r", text, re.MULTILINE)
    ]
    assert wrong == []


def walk(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[Path, ast.AST]]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, kind):
                yield path, node


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_exception_is_swallowed_in_silence():
    """``except Exception: pass`` and its relatives: a broad handler says, keeps or raises something."""
    broad = {"Exception", "BaseException"}
    found = [
        f"{name(path)}:{node.lineno}"
        for path, node in walk(ast.ExceptHandler)
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id in broad)
        if all(isinstance(each, ast.Pass | ast.Continue) for each in node.body)
    ]
    assert found == []


def test_no_broad_suppress():
    found = [
        f"{name(path)}:{node.lineno}"
        for path, node in walk(ast.Call)
        if ast.unparse(node.func) in {"suppress", "contextlib.suppress"}
        if {ast.unparse(each) for each in node.args} & {"Exception", "BaseException"}
    ]
    assert found == []


def test_nothing_happens_when_an_object_is_collected():
    assert [f"{name(p)}:{n.lineno}" for p, n in walk(FUNCTIONS) if n.name == "__del__"] == []


def test_options_are_spelled_out():
    """No ``**kwargs`` in a signature that others call: they see what there is."""
    public = ((path, node) for path, node in walk(FUNCTIONS) if not node.name.startswith("_"))
    assert [f"{name(p)}:{n.lineno} {n.name}" for p, n in public if n.args.kwarg is not None] == []


def test_no_any_in_public_signatures():
    found = []
    for path, node in walk(FUNCTIONS):
        if node.name.startswith("_"):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        annotations = [each.annotation for each in arguments] + [node.returns]
        if any(re.search(r"\bAny\b", ast.unparse(each)) for each in annotations if each is not None):
            found.append(f"{name(path)}:{node.lineno} {node.name}")
    assert found == []


def test_globals_are_not_reassigned():
    assert [f"{name(p)}:{n.lineno}" for p, n in walk(ast.Global)] == []


def test_only_the_command_line_prints():
    found = [
        f"{name(path)}:{node.lineno}"
        for path, node in walk(ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print" and "cli" not in path.parts
    ]
    assert found == []


def test_every_lint_exception_in_the_configuration_has_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("\nignore = [\n", 1)[1].split("\n]", 1)[0]
    assert [line.strip() for line in block.splitlines() if "#" not in line] == []


@pytest.mark.parametrize("path", [".ci/run", "scripts/debian-packages.sh"])
def test_programs_are_executable(path):
    assert os.access(ROOT / path, os.X_OK)
