"""Starting: what is imported, how long it takes, and what help says."""

from __future__ import annotations

import importlib
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mediagit_storage.cli.commands import COMMANDS
from mediagit_storage.cli.main import cli

ROOT = Path(__file__).parents[2]
HEAVY = ("rich", "rich_click", "msgspec", "platformdirs", "json", "concurrent", "mediagit_storage.backends",
         "mediagit_storage.storage", "mediagit_storage.layers", "mediagit_storage.tools")  # fmt: skip


def test_help_imports_no_backend_and_nothing_that_draws():
    code = (
        "import sys; from mediagit_storage.cli.main import run; code = run(['--help']);"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]; print(loaded); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_is_what_the_commands_say(name):
    command = importlib.import_module(f"mediagit_storage.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert (command.help or "").splitlines()[0].removeprefix("\b").strip() == COMMANDS[name]


def test_every_command_has_the_common_options():
    def leaves(command):
        return [leaf for each in command.commands.values() for leaf in leaves(each)] if isinstance(
            command, click.Group) else [command]  # fmt: skip

    for name in COMMANDS:
        for command in leaves(importlib.import_module(f"mediagit_storage.cli.{name}").command):
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--json", "--quiet", "--verbose", "--concurrency"} <= options, (name, command.name)


@pytest.mark.parametrize("name", ["put", "cp", "mv", "rm", "mb"])
def test_what_changes_something_has_a_dry_run(name):
    command = importlib.import_module(f"mediagit_storage.cli.{name}").command
    assert "--dry-run" in {option for parameter in command.params for option in parameter.opts}


def test_the_reference_page_shows_the_help_of_every_command():
    """The snapshot of every help text. After a deliberate change: scripts/cli_reference.py"""
    script = runpy.run_path(str(ROOT / "scripts" / "cli_reference.py"))
    assert script["PAGE"].read_text("utf-8") == script["page"](), "run scripts/cli_reference.py"


def test_help_of_a_command(mgs):
    result = mgs("cp", "--help")
    assert result.code == 0
    assert result.out.startswith("Usage: mgs cp [OPTIONS] SOURCE... TARGET")
    assert "\x1b" not in result.out
    assert result.err == ""


def test_version(mgs):
    assert mgs("--version").out == "mgs 0.1.0\n"
    assert mgs("version").lines[0] == "mgs 0.1.0"


@pytest.mark.parametrize("arguments", [[], ["profile"]])
def test_without_a_command_the_help_is_shown(mgs, arguments):
    result = mgs(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err == mgs(*arguments, "--help").out


def test_an_unknown_command_suggests_the_one_that_was_meant(mgs):
    result = mgs("stats", "x")
    assert result.code == 2
    assert "did you mean 'stat'?" in result.err
    assert mgs("frobnicate").err == "mgs: there is no command 'frobnicate' (`mgs --help` tells more)\n"


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete --no-files --command mgs")]
)
def test_completion_scripts(mgs, shell, word):
    result = mgs("completion", shell)
    assert result.code == 0
    assert word in result.out
    assert "_MGS_COMPLETE" in result.out


def complete(monkeypatch, *words: str) -> list[str]:
    from click.shell_completion import BashComplete

    monkeypatch.setenv("COMP_WORDS", " ".join(["mgs", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    completer = BashComplete(cli, {}, "mgs", "_MGS_COMPLETE")
    return [item.value for item in completer.get_completions(*completer.get_completion_args())]


def test_completion_knows_commands_and_options(monkeypatch):
    assert complete(monkeypatch, "pr") == ["presign", "profile"]
    assert complete(monkeypatch, "cp", "--over") == ["--overwrite"]
    assert complete(monkeypatch, "profile", "re") == ["remove"]
    assert complete(monkeypatch, "uploads", "a") == ["abort"]
    assert complete(monkeypatch, "versions", "r") == ["restore", "rm"]
    assert complete(monkeypatch, "mb", "x", "--versioning", "o") == ["on", "off"]
    assert complete(monkeypatch, "--ver") == ["--version"]


def test_completion_of_storages_offers_profiles_and_files(mgs, tree, monkeypatch):
    mgs("profile", "add", "media", "src")
    assert complete(monkeypatch, "ls", "me") == ["media:", "me"]
    assert complete(monkeypatch, "cp", "src", "x") == ["x"]


def test_a_real_shell_completes(tmp_path):
    """bash itself loads the script and asks the command."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    folder = Path(sys.executable).parent
    script = (
        f'PATH="{folder}:$PATH"; source <(mgs completion bash); COMP_WORDS=(mgs pre); COMP_CWORD=1;'
        " _mgs_completion mgs pre; echo ${COMPREPLY[@]}"
    )
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout.strip() == "presign", result.stderr
