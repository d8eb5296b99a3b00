"""Write docs/reference/cli.md from the commands themselves: every help text, and the table of exit codes.

    scripts/cli_reference.py

A test compares the page with the commands, so it is both the reference and the snapshot of every ``--help``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from mediagit_storage.cli.exit_codes import MEANINGS
from mediagit_storage.cli.main import cli

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
WIDTH = 100

INTRODUCTION = """# The command line

This page is generated from the commands: after a change run `scripts/cli_reference.py`.

`mgs` is also `python -m mediagit_storage`. Data go to standard output and everything else to standard error. What the
lines of `--json` hold is in [JSON output](json.md).

## Naming storages and objects

| written | means |
|---|---|
| `photos/1.png`, `/data/photos/` | a local path |
| `file:///data/photos`, `memory://name` | a URL; its path is percent-decoded once, its options follow a `?` |
| `media:photos/1.png` | a key in the profile `media`, taken as it is |

The root of a local path is the deepest folder in it that exists, and the rest is the key. A file whose name looks like
a profile is written `./name:1`, and what begins with a dash comes after `--`.
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The name and help of a command and of everything below it."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                inner = below.context_class(below, info_name=name, parent=context, terminal_width=WIDTH)
                yield from commands(below, inner)


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Exit codes\n", "| code | meaning |\n|---|---|"]
    parts[-1] += "".join(f"\n| {code} | {meaning} |" for code, meaning in sorted(MEANINGS.items())) + "\n"
    context = cli.context_class(cli, info_name="mgs", terminal_width=WIDTH)
    parts += [f"## {path}\n\n```text\n{text}\n```\n" for path, text in commands(cli, context)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
