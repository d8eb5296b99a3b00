"""``mgs mirror``: what the replicas of a mirror have missed, and how to put them in step with its primary."""

from __future__ import annotations

from collections import Counter

import click

from mediagit_storage.cli.exit_codes import DIFFERENCES
from mediagit_storage.cli.framework import Group, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.output import Output
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.text import columns, plural
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.base import find_layer
from mediagit_storage.layers.mirror import Difference, MirrorLayer, RepairRules

__all__ = ["command"]


@click.group("mirror", cls=Group)
def command() -> None:
    """Show what the replicas of a mirror lack, and copy it from the primary.

    A storage is a mirror where its profile has the layer `mirror`, which names the replicas.
    """


@command.command("status")
@click.argument("storage", shell_complete=complete_target)
@common
@pass_run
def status_command(run: Run, storage: str) -> None:
    """Show of how many keys each replica is known to lack the last change.

    That is what programs of this machine have written down; nothing is asked of the storages. What nobody wrote down
    is found by `mgs mirror repair --dry-run`.

    \b
    Example:
      mgs mirror status photos:
    """  # noqa: D301  # \b keeps click from joining the lines
    out = Output(json=run.json, quiet=run.quiet)
    with session(run) as this:
        rows = [["replica", "behind", "storage"]]
        for each in _mirror(this, storage).status().replicas:
            behind = "unknown" if each.everything else f"{each.behind:,}"
            if run.json:
                record = {"replica": each.number, "behind": each.behind, "everything": each.everything}
                out.record("replica", {**record, "storage": each.description})
            else:
                rows.append([f"{each.number}", behind, each.description])
        if not run.json:
            for line in columns(rows):
                out.line(line)


@command.command("repair")
@click.argument("storage", shell_complete=complete_target)
@click.option("--prefix", default="", help="Only keys that start so.")
@click.option(
    "--noted", is_flag=True, help="Only what was written down as missed: quick, and not everything there may be."
)
@click.option("--thorough", is_flag=True, help="Read every object of all members, and compare bytes and attributes.")
@click.option(
    "--trust-primary",
    is_flag=True,
    help="Copy also where only reading showed a difference, and nothing says who is right.",
)
@click.option("--remove-extra", is_flag=True, help="Delete from replicas what the primary has not.")
@click.option("--remove-most", is_flag=True, help="Even if that is more than half of a replica.")
@click.option("--drop-attributes", is_flag=True, help="Copy without attributes that a replica cannot keep.")
@dry_run
@common
@pass_run
def repair_command(
    run: Run,
    storage: str,
    *,
    prefix: str,
    noted: bool,
    thorough: bool,
    trust_primary: bool,
    remove_extra: bool,
    remove_most: bool,
    drop_attributes: bool,
) -> int:
    """Put the replicas of a mirror in step: what they lack or have otherwise is copied from the primary.

    A line is: what was different, the number of the replica, and the key. Objects that only a replica has are shown,
    and deleted only when that is asked for. It can be stopped at any time, and done again; ends with 1 where a
    difference is left.

    \b
    Examples:
      mgs mirror repair photos: --dry-run
      mgs mirror repair photos:
      mgs mirror repair photos: --thorough --json
    """  # noqa: D301  # \b keeps click from joining the lines
    rules = RepairRules(
        dry_run=run.dry_run,
        prefix=prefix,
        noted=noted,
        thorough=thorough,
        trust_primary=trust_primary,
        remove_extra=remove_extra,
        remove_most=remove_most,
        drop_attributes=drop_attributes,
        concurrency=run.concurrency,
    )
    counts: Counter[bool] = Counter()
    with session(run) as this:
        for difference in _mirror(this, storage).repair(rules):
            counts[difference.repaired] += 1
            _show(this, run, difference)
        this.out.note(f"{plural(counts[True], 'difference')} repaired, {counts[False]:,} left")
    return DIFFERENCES if counts[False] else 0


def _show(this: Session, run: Run, difference: Difference) -> None:
    key, replica, kind, repaired, error = difference
    if run.json:
        why = None if error is None else str(error)
        this.out.record(
            "difference", {"key": key, "replica": replica, "kind": kind, "repaired": repaired, "error": why}
        )
        return
    this.out.line(f"{kind}  {replica}  {key}")
    if error is not None:
        this.out.note(f"{error}")


def _mirror(this: Session, text: str) -> MirrorLayer:
    layer = find_layer(this.whole(text).backend, MirrorLayer)
    if layer is None:
        raise ConfigError(f"{text!r} is no mirror: its profile has no layer 'mirror'")
    return layer
