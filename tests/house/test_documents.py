"""What the documents say is run: Python blocks, ``mgs`` sessions, links, and an example for every public name.

The blocks of one page run from top to bottom, in one name space and one empty folder. A block that is fenced as
``python`` is run; ``console`` is a session whose lines after ``$`` are commands and whose other lines are what they
print (``...`` stands for anything); a block fenced as ``output`` is what the ``python`` block above it prints.
``sh``, ``toml``, ``text`` and the like are shown and not run.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import mediagit_storage as mgs
from mediagit_storage.cli.commands import COMMANDS
from mediagit_storage.cli.exit_codes import MEANINGS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])
#: Needs a server that speaks S3.
TUTORIAL = ROOT / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(?P<kind>[\w-]*)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
RUN_OR_SHOWN = {"python", "console", "output", "sh", "toml", "text", "json", "makefile"}


class Block(NamedTuple):
    page: Path
    line: int
    kind: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match["kind"], match["text"])
        for match in FENCE.finditer(text)
    ]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def same(expected: str, actual: str) -> bool:
    rules = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, actual, rules)


def run_python(block: Block, names: dict[str, object]) -> str:
    printed = io.StringIO()
    # Empty lines in front give a traceback the line numbers of the page.
    source = "\n" * block.line + block.text
    with contextlib.redirect_stdout(printed):
        exec(compile(source, page_id(block.page), "exec", dont_inherit=True), names)
    return printed.getvalue()


def run_session(block: Block, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "TERM": "dumb"}
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)
    assert steps, f"{page_id(block.page)}:{block.line}: a session without a command"
    for command, expected in steps:
        result = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=environment, text=True, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        where = f"{page_id(block.page)}:{block.line}: $ {command}"
        # What `...` stands for may be anything, so success is looked at by itself.
        assert result.returncode == 0, f"{where}\nended with {result.returncode}\n{result.stdout}"
        assert "Traceback" not in result.stdout, f"{where}\n{result.stdout}"
        assert same(expected, result.stdout), f"{where}\nsaid\n{result.stdout}\ninstead of\n{expected}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page) and page != TUTORIAL], ids=page_id)
def test_examples_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    run_page(page, tmp_path, monkeypatch)


@pytest.mark.uses_server("seaweedfs")
def test_the_tutorial_leads_to_where_it_says(tmp_path, monkeypatch, servers):
    server = servers("seaweedfs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    monkeypatch.setenv("AWS_REGION", server.region)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    run_page(TUTORIAL, tmp_path, monkeypatch)


def run_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.kind == "python":
            printed = run_python(block, names)
        elif block.kind == "output":
            assert same(block.text, printed), f"{page_id(page)}:{block.line}: printed\n{printed}"
        elif block.kind == "console":
            run_session(block, tmp_path)
    for value in names.values():
        if isinstance(value, mgs.Storage):
            value.close()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_example_escapes_being_run(page):
    found = blocks(page)
    assert {block.kind for block in found} <= RUN_OR_SHOWN, "say what each fence holds"
    fences = re.findall(r"^```", page.read_text("utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(found), "a fence is not closed"
    hidden = [
        b.line for b in found if b.kind in {"sh", "text"} and re.search(r"^(\$ )?mgs |^import ", b.text, re.MULTILINE)
    ]
    assert not hidden, f"{page_id(page)}: lines {hidden} show mgs or Python without running it"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_between_documents_lead_somewhere(page):
    prose = FENCE.sub("", page.read_text("utf-8"))
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target and target[0] != "#"]
    assert [t for t in targets if not (page.parent / t.partition("#")[0]).exists()] == []


def test_the_first_example_of_the_readme_is_short():
    first = next(block for block in blocks(ROOT / "README.md") if block.kind == "python")
    assert len(first.text.splitlines()) <= 15


def used_names() -> set[str]:
    """Every name and attribute in a Python block that is run."""
    found: set[str] = set()
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "python":
                for node in ast.walk(ast.parse(block.text)):
                    if isinstance(node, ast.Attribute):
                        found.add(node.attr)
                    elif isinstance(node, ast.ImportFrom):
                        found.update(alias.name for alias in node.names)
    return found


def public_methods(kind: type) -> set[str]:
    return {name for name, value in inspect.getmembers(kind) if not name.startswith("_") and callable(value)}


def test_every_public_name_has_an_example_that_runs():
    assert sorted(set(mgs.__all__) - used_names()) == []


def test_every_method_of_a_storage_has_an_example_that_runs():
    assert sorted(public_methods(mgs.Storage) - used_names()) == []


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "TESTING.md", "SECURITY.md", "CHANGELOG.md"]
)
def test_the_documents_that_people_look_for_are_there(name):
    assert len((ROOT / name).read_text("utf-8")) > 200


def test_decisions_are_numbered_and_say_why():
    pages = sorted(page for page in (ROOT / "docs" / "adr").glob("*.md") if page.name != "README.md")
    assert [page.name[:4] for page in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text("utf-8")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page.name
        assert text.startswith(f"# {page.name[:4]}: "), page.name


def test_the_guide_lists_every_exit_code_and_what_it_means():
    text = (ROOT / "docs" / "guides" / "command-line.md").read_text("utf-8")
    rows = {int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)}
    assert rows == MEANINGS


def test_the_documents_name_every_command():
    for page in ("README.md", "docs/guides/command-line.md"):
        table = "\n".join(line for line in (ROOT / page).read_text("utf-8").splitlines() if line.startswith("| `"))
        named = set(re.findall(r"[a-z]+", " ".join(re.findall(r"`([^`]*)`", table))))
        assert set(COMMANDS) <= named, page
