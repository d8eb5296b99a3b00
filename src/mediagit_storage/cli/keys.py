"""``mgs keys``: files of the keys that the layer ``encrypt`` uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from mediagit_storage.cli.framework import Group, Run, common, dry_run, pass_run
from mediagit_storage.cli.output import Output
from mediagit_storage.cli.text import plural
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.encrypt.key_writing import add_recipients, identity_text, write_new_file
from mediagit_storage.layers.encrypt.keyfiles import (
    FileRecipient,
    is_encrypted,
    open_identity_file,
    parse_any,
    read_key_file,
)
from mediagit_storage.layers.encrypt.keys import HybridRecipient, generate_identity, parse_recipient
from mediagit_storage.layers.encrypt.primitives import require_library
from mediagit_storage.secrets import Secret, SecretRef, resolve_secret
from mediagit_storage.types import JSON

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., object])


@click.group("keys", cls=Group)
def command() -> None:
    """Make and show the keys of encrypted storages.

    An identity is secret and opens objects; its recipient is public, and objects are encrypted for it. Both are in the
    form of age (age-encryption.org), whose tools read these files, and whose files are read here.
    """


def _passphrase_env(text: str) -> Callable[[F], F]:
    return click.option("--passphrase-env", "variable", metavar="VARIABLE", help=text)


@command.command("generate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--post-quantum", is_flag=True, help="A key that a quantum computer does not break either (age 1.3).")
@click.option("--passphrase", is_flag=True, help="Protect the file by a passphrase, which is asked for.")
@_passphrase_env("Protect the file by the passphrase in this environment variable.")
@dry_run
@common
@pass_run
def generate_command(run: Run, file: Path, *, post_quantum: bool, passphrase: bool, variable: str | None) -> None:
    """Make a new identity.

    FILE is made, readable by you only; one that exists is never overwritten. The recipient is printed: give it to
    whoever encrypts for you. Keep a copy of FILE: without it, nobody opens what is encrypted for it.

    \b
    Examples:
      mgs keys generate ~/.config/mediagit-storage/media.key
      mgs keys generate media.key --passphrase
    """  # noqa: D301  # \b keeps click from joining the lines
    require_library()
    secret = _new_passphrase(variable, asked=passphrase)
    identity = generate_identity(hybrid=post_quantum)
    if not run.dry_run:
        write_new_file(file, identity_text(identity, secret))
    elif file.exists():
        raise ConfigError(f"{file} exists already, and a key file is never overwritten")
    out = Output(json=run.json, quiet=run.quiet)
    # A key that is not kept is nobody's: a dry run shows none.
    if not run.dry_run:
        _show(out, file, identity.recipient())
    out.note(f"{'would make' if run.dry_run else 'made'} the identity file {file}; keep a copy of it in a safe place")


@command.command("list")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_passphrase_env("The environment variable that holds the passphrase of protected files.")
@common
@pass_run
def list_command(run: Run, files: tuple[Path, ...], *, variable: str | None) -> None:
    """Show the recipients of key files.

    FILE holds identities or recipients. No secret is shown.
    """
    require_library()
    out = Output(json=run.json, quiet=run.quiet)
    for file in files:
        data = read_key_file(file)
        if is_encrypted(data):
            data = open_identity_file(file, data, _passphrase(file, variable))
        for recipient in parse_any(data, str(file)):
            _show(out, file, recipient)


@command.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("recipients", metavar="RECIPIENT...", nargs=-1, required=True)
@dry_run
@common
@pass_run
def add_command(run: Run, file: Path, recipients: tuple[str, ...]) -> None:
    """Add recipients to a recipients file.

    FILE is made where it is missing, and changed in one step; what it has already is not added again. New objects of a
    storage with `recipients_file = "FILE"` are encrypted for everybody in it. Old ones stay as they are.

    \b
    Example:
      mgs keys add team.txt age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj
    """  # noqa: D301  # \b keeps click from joining the lines
    require_library()
    wanted = [parse_recipient(text) for text in recipients]
    added = add_recipients(file, wanted, dry=run.dry_run)
    out = Output(json=run.json, quiet=run.quiet)
    for recipient in added:
        _show(out, file, recipient)
    verb = "would add" if run.dry_run else "added"
    known = len(set(wanted)) - len(added)
    already = f"; {plural(known, 'recipient')} stood there already" if known else ""
    out.note(f"{verb} {plural(len(added), 'recipient')} to {file}{already}")


def _show(out: Output, file: Path, recipient: FileRecipient) -> None:
    if out.json:
        kind = "post-quantum" if isinstance(recipient, HybridRecipient) else "x25519"
        fields: dict[str, JSON] = {"file": os.fspath(file), "recipient": str(recipient), "kind": kind}
        out.record("key", fields)
    else:
        out.line(str(recipient))


def _new_passphrase(variable: str | None, *, asked: bool) -> Secret | None:
    if variable is not None and asked:
        raise click.UsageError("--passphrase asks for what --passphrase-env names: give one of them")
    if variable is not None:
        return resolve_secret(SecretRef(env=variable))
    if not asked:
        return None
    _require_terminal()
    return Secret(click.prompt("Passphrase of the new key file", hide_input=True, confirmation_prompt=True, err=True))


def _passphrase(file: Path, variable: str | None) -> Secret:
    if variable is not None:
        return resolve_secret(SecretRef(env=variable))
    _require_terminal()
    return Secret(click.prompt(f"Passphrase of {file}", hide_input=True, err=True))


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask for a passphrase: name where it is by --passphrase-env VARIABLE")
