"""Commands that are loaded when they are called, help that is quick, and the options that all commands share."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from mediagit_storage.cli.commands import COMMANDS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from mediagit_storage.cli.limits import Rates

__all__ = [
    "Command",
    "Group",
    "Interrupted",
    "LazyGroup",
    "ReaderGone",
    "Run",
    "Terminated",
    "common",
    "complete_target",
    "dry_run",
    "on_terminal",
    "pass_run",
]

F = TypeVar("F", bound=Callable[..., object])


def on_terminal(stream: object) -> bool:
    """Whether a stream leads to a terminal that can draw."""
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty()) and os.environ.get("TERM", "") not in {"", "dumb"}


class _Formatter(click.HelpFormatter):
    """Click's help, with bold headings and coloured names where a terminal can show them."""

    def __init__(self, width: int | None, max_width: int | None) -> None:
        super().__init__(width=width, max_width=max_width)
        self._styled = on_terminal(sys.stdout) and not os.environ.get("NO_COLOR")

    def write_heading(self, heading: str) -> None:
        super().write_heading(click.style(heading, bold=True) if self._styled else heading)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(click.style(prog, bold=True) if self._styled else prog, args, prefix)


class _Context(click.Context):
    def make_formatter(self) -> click.HelpFormatter:
        return _Formatter(self.terminal_width, self.max_content_width)


class Command(click.Command):
    """A command of `mgs`."""

    context_class = _Context


class Group(click.Group):
    """A command with sub-commands."""

    context_class = _Context
    command_class = Command


class Interrupted(BaseException):  # like KeyboardInterrupt, it is no error of the program
    """Ctrl-C. Under this name click does not answer it itself."""


class Terminated(BaseException):
    """SIGTERM."""


class ReaderGone(BaseException):
    """Whoever read the output has gone. Under this name click does not answer it itself."""


class LazyGroup(Group):
    """All commands by name; the module of one is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mediagit_storage.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the one that was meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None
        except BrokenPipeError:
            raise ReaderGone from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All commands with one line each, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, without importing them; options after a dash."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only a shell asks for it

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]


def complete_target(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a storage argument may be: profiles, and files by the shell's own means."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415  # only a shell asks for it

    from mediagit_storage.config import load_profiles  # noqa: PLC0415
    from mediagit_storage.errors import ConfigError  # noqa: PLC0415

    try:
        names = sorted(load_profiles().by_name)
    except ConfigError:
        names = []  # a shell is no place to say what is wrong with the file
    profiles = [CompletionItem(f"{name}:", help="profile") for name in names if f"{name}:".startswith(incomplete)]
    return [*profiles, CompletionItem(incomplete, type="file")]


class Run:
    """What the options common to all commands say."""

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.verbose = False
        self.concurrency = 16
        self.dry_run = False
        self.limit: Rates | None = None


pass_run = click.make_pass_decorator(Run, ensure=True)


def _stored(name: str) -> Callable[[click.Context, click.Parameter, object], object]:
    def store(ctx: click.Context, _: click.Parameter, value: object) -> object:
        setattr(ctx.ensure_object(Run), name, value)
        return value

    return store


def _shared(name: str, *declarations: str, text: str) -> Callable[[F], F]:
    return click.option(*declarations, is_flag=True, expose_value=False, callback=_stored(name), help=text)


def common(function: F) -> F:
    """The options that every command has."""
    for option in (
        click.option(
            "--concurrency",
            metavar="N",
            type=click.IntRange(1, 1024),
            default=16,
            show_default=True,
            expose_value=False,
            callback=_stored("concurrency"),
            help="How many operations at once, where there are several.",
        ),
        _shared("verbose", "-v", "--verbose", text="Tell more on standard error, and show traces of errors."),
        _shared("quiet", "-q", "--quiet", text="No progress bar, no summary; errors only."),
        _shared("json", "--json", text="JSON Lines on standard output, and errors as JSON on standard error."),
    ):
        function = option(function)
    return function


def dry_run(function: F) -> F:
    """The option of commands that change something."""
    return _shared("dry_run", "-n", "--dry-run", text="Show what would be done, and do nothing.")(function)
