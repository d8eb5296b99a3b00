"""``mgs version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from mediagit_storage import __version__
from mediagit_storage.cli.framework import Command, Run, common, pass_run
from mediagit_storage.cli.output import Output

__all__ = ["command"]


@click.command("version", cls=Command)
@common
@pass_run
def command(run: Run) -> None:
    """Show the versions of this program and what it runs on."""
    versions = {"mgs": __version__, "python": platform.python_version(), "system": platform.platform()}
    versions |= {name: metadata.version(name) for name in ("click", "msgspec", "rich")}
    out = Output(json=run.json)
    if run.json:
        out.record("version", {**versions})
        return
    for name, version in versions.items():
        out.line(f"{name} {version}")
