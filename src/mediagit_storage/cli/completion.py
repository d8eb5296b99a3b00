"""``mgs completion``."""

from __future__ import annotations

import click

from mediagit_storage.cli.framework import Command, Run, common, pass_run
from mediagit_storage.cli.output import Output

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(_SHELLS))
@common
@pass_run
@click.pass_context
def command(ctx: click.Context, run: Run, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: mgs completion bash > ~/.local/share/bash-completion/completions/mgs
    zsh:  mgs completion zsh > a file named _mgs in a folder of $fpath
    fish: mgs completion fish > ~/.config/fish/completions/mgs.fish

    Then start a new shell: the tab key completes commands, options, profiles and local files.
    """  # noqa: D301  # \b keeps click from joining the lines
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # only needed here

    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"there is no completion for {shell}")
    text = completer(ctx.find_root().command, {}, "mgs", "_MGS_COMPLETE").source()
    if run.json:
        Output(json=True).record("completion", {"shell": shell, "script": text})
    else:
        click.echo(text)
