"""Telling what went wrong: one line, with what to do next, or a line of JSON."""

from __future__ import annotations

from mediagit_storage.cli.advice import advice_for, message_of
from mediagit_storage.cli.exit_codes import code_for
from mediagit_storage.cli.output import Output, error_record
from mediagit_storage.errors import StorageError

__all__ = ["report", "report_item"]


def report(error: BaseException, message: str | None, code: int | None, *, as_json: bool, bug: str = "") -> int:
    """Tell the error that ended a command and return its exit code. ``bug`` is said of what nobody expected."""
    number = code_for(error) if code is None else code
    expected = message is not None or isinstance(error, StorageError | OSError)
    text = message if message is not None else message_of(error)
    hint = advice_for(error) if expected else bug
    if not expected:
        text = f"{type(error).__name__}: {text}"
    _tell(Output(json=as_json), error, number, text, hint)
    return number


def report_item(output: Output, error: Exception, *, hint: bool = True) -> None:
    """Tell the error of one item among others."""
    code, advice = code_for(error), advice_for(error)
    text = message_of(error)
    output.error(f"{text}: {advice}" if hint and advice else text, error_record(error, code, text, advice))


def _tell(output: Output, error: BaseException, code: int, text: str, hint: str) -> None:
    output.error(f"{text}: {hint}" if hint else text, error_record(error, code, text, hint))
