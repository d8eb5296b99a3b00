"""``mgs keys``: files of the keys that the layer ``encrypt`` uses."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from mediagit_storage.cli.framework import Group, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.many import Failures
from mediagit_storage.cli.output import Output
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.text import plural
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.encrypt.key_writing import add_recipients, identity_text, write_new_file
from mediagit_storage.layers.encrypt.keyfiles import (
    FileIdentity,
    FileRecipient,
    is_encrypted,
    open_identity_file,
    parse_any,
    parse_identities,
    read_key_file,
)
from mediagit_storage.layers.encrypt.keys import HybridRecipient, generate_identity, parse_recipient
from mediagit_storage.layers.encrypt.primitives import require_library
from mediagit_storage.layers.encrypt.rotating import RotationState
from mediagit_storage.secrets import Secret, SecretRef, resolve_secret
from mediagit_storage.tools.rotation import Rotated, RotationRules, rotate_keys
from mediagit_storage.tools.selecting import nothing_there
from mediagit_storage.types import JSON

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., object])


@click.group("keys", cls=Group)
def command() -> None:
    """Make, show and rotate the keys of encrypted storages.

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


@command.command("rotate")
@click.argument("target", shell_complete=complete_target)
@click.option(
    "--identity",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An identity file that opens old objects, beside those of the storage. May be repeated.",
)
@_passphrase_env("The environment variable that holds the passphrase of protected files.")
@click.option("--afresh", is_flag=True, help="Look at every object, also where an interrupted run had come further.")
@dry_run
@common
@pass_run
def rotate_command(run: Run, target: str, *, files: tuple[Path, ...], variable: str | None, afresh: bool) -> int:
    """Make old objects readable for the recipients of now, and for nobody else.

    TARGET is an encrypted storage, a folder in it, or the key of an object. Each object gets a new header for the
    recipients of the storage's profile (where it names none, for all of its identities); its content is not encrypted
    anew, and on many storages does not travel. An object is done when no identity opens it any more whose recipient is
    not among them. First change the profile of everybody who writes. Rotating can be interrupted at any time: the same
    command goes on. Objects that are not encrypted are named and left. Copies, old versions, and what was read before
    are not made safe by it.

    With the layer `mirror` inside of `encrypt`, the command fails (exit code 6) while replicas are known to have missed
    changes: run `mgs mirror repair`, then rotate again. With `migrating` inside of `encrypt` it is refused: rotate each
    of the two storages by itself, or after the migration. What caches inside of `encrypt` have kept is fetched anew.

    \b
    Examples:
      mgs keys rotate media: --dry-run
      mgs keys rotate media:projects/ --identity old.key
    """  # noqa: D301  # \b keeps click from joining the lines
    require_library()
    identities = tuple(identity for file in files for identity in _identities(file, variable))
    rules = RotationRules(identities, run.concurrency, run.dry_run, resume=not afresh)
    with session(run) as this, progress_bar(this):
        place = this.place(target)
        tally = _RotationTally(this)
        try:
            for rotated in rotate_keys(place.store, place.key, rules):
                tally.add(rotated)
        except BaseException:
            tally.stopped()
            raise
        if not tally.begun and place.key and next(iter(place.store.list(place.key)), None) is None:
            raise nothing_there(place.store, place.key)
        return tally.close()


class _RotationTally:
    """Counts what became of objects, and names those that were not done."""

    def __init__(self, this: Session) -> None:
        self._this = this
        self._started = time.monotonic()
        self._failures = Failures()
        self._counts: Counter[RotationState] = Counter()
        self._bytes = 0

    @property
    def begun(self) -> bool:
        """Whether there was an object."""
        return bool(self._counts) or self._failures.count > 0

    def add(self, rotated: Rotated) -> None:
        """One more."""
        state, run, out = rotated.state, self._this.run, self._this.out
        if rotated.error is not None:
            self._failures.add(rotated.error)
        if state is None:
            return
        self._counts[state] += 1
        if state in {RotationState.REWRAPPED, RotationState.PLANNED}:
            self._bytes += rotated.size or 0
        if run.json:
            out.record("rotate", {"key": rotated.key, "status": state.value})
        elif state is RotationState.PLANNED:
            out.line(rotated.key)
        elif state is RotationState.FOREIGN:
            out.note(f"{rotated.key}: it is not encrypted, and was left as it is")
        elif run.verbose:
            out.note(f"{rotated.key}: {state.value}")

    def stopped(self) -> None:
        """It ended early: tell what is done already."""
        if self.begun:
            self.close()

    def close(self) -> int:
        """Name what failed, write the closing line, and return the exit code."""
        code = self._failures.tell(self._this)
        counts, dry = self._counts, self._this.run.dry_run
        others = {
            "done before": counts[RotationState.DONE],
            "not encrypted": counts[RotationState.FOREIGN],
            "deleted meanwhile": counts[RotationState.GONE],
            "failed": self._failures.count,
        }
        if self._this.run.json:
            others = {name.replace(" ", "_"): count for name, count in others.items()}
        changed = counts[RotationState.PLANNED if dry else RotationState.REWRAPPED]
        seconds = time.monotonic() - self._started
        self._this.out.summary("would rotate" if dry else "rotated", changed, self._bytes, seconds, others)
        return code


def _identities(file: Path, variable: str | None) -> list[FileIdentity]:
    data = read_key_file(file)
    if is_encrypted(data):
        data = open_identity_file(file, data, _passphrase(file, variable))
    return parse_identities(data, str(file))


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
