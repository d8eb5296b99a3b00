"""The entry point: runs a command and turns whatever happens into one clear line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

import click

from mediagit_storage import __version__
from mediagit_storage.cli.framework import Interrupted, LazyGroup, ReaderGone, Terminated

__all__ = ["cli", "main", "run"]

#: Seconds that threads which were broken off have for their end.
_LAST: Final = 1.0
#: The exit codes after SIGINT and SIGTERM.
_SIGNALLED: Final = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_BUG: Final = "this is a bug in mgs: please report it with the output of the same command and --verbose"


@click.group(
    cls=LazyGroup,
    context_settings={"max_content_width": 100},
    epilog="A storage is a URL (s3://bucket/key), a path, or a profile and a key (media:photos/1.png). "
    "`mgs COMMAND --help` tells more about a command.",
)
@click.version_option(__version__, message="mgs %(version)s")
def cli() -> None:
    """Store, list, copy and check objects, the same way on every storage."""


def main() -> None:
    """Run the command line of this process and exit."""
    signal.signal(signal.SIGTERM, _terminate)
    _open_streams()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_gone()
    except OSError:
        # Told already, and the interpreter would tell it again when it flushes at exit.
        _drop_output()
        code = code or 1
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit; after a signal without the threads that hang, for whose end the interpreter would wait whatever it takes."""
    left = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    if left and code in _SIGNALLED:
        try:
            for each in left:
                each.join(_LAST / len(left))
            hang = any(each.is_alive() for each in left)
        except (KeyboardInterrupt, Terminated):
            hang = True
        if hang:
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


def _open_streams() -> None:
    """Replace the standard streams that the process was started without: nothing to read, errors that nobody hears.

    Data that nobody takes is an error, so that writing to the missing stdout fails.
    """
    # Python has None for each. In the order of their numbers, so that no file opened later takes one of them.
    for name, mode, flags in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace"))


def run(arguments: Sequence[str]) -> int:
    """Carry out a command; returns its exit code. Never raises, and prints no trace unless asked for one."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file, at a terminal
    try:
        result = cli.main(args=list(arguments), prog_name="mgs", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGone):
        return _reader_gone()
    except BaseException as error:  # noqa: BLE001  # the last handler there is: it says what happened
        return _report(error, arguments)
    return result if isinstance(result, int) else 0


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    from mediagit_storage.cli.exit_codes import INTERRUPTED, TERMINATED, USAGE  # noqa: PLC0415  # only on errors
    from mediagit_storage.cli.failure import report  # noqa: PLC0415

    options = set(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    as_json = "--json" in options
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else 0
        case click.exceptions.NoArgsIsHelpError():
            sys.stderr.write(f"{error.format_message()}\n")
            return USAGE
    message, code = None, None
    match error:
        case Interrupted() | KeyboardInterrupt() | click.Abort():
            error, message, code = KeyboardInterrupt(), "interrupted", INTERRUPTED
        case Terminated():
            message, code = "terminated", TERMINATED
        case click.ClickException():
            message, code = _usage_message(error), USAGE
    if message is None and (os.environ.get("MGS_DEBUG") or {"-v", "--verbose"} & options):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    return report(error, message, code, as_json=as_json, bug=_BUG)


def _usage_message(error: click.ClickException) -> str:
    """Click's messages start with a capital and end with a full stop; what follows ``mgs:`` does not."""
    text = " ".join(error.format_message().split()).removesuffix(".")
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "mgs"
    if path == "mgs" and isinstance(error, click.NoSuchOption):
        # What click would suggest is its own --version.
        text = f"options follow the command: mgs COMMAND {error.option_name}"
    return f"{text[:1].lower()}{text[1:]} (`{path} --help` tells more)"


def _reader_gone() -> int:
    from mediagit_storage.cli.exit_codes import BROKEN_PIPE  # noqa: PLC0415

    _drop_output()
    return BROKEN_PIPE


def _drop_output() -> None:
    """What is still in the buffer would raise again when the interpreter flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
