"""``mgs sync``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mediagit_storage.cli.engine_options import chosen_engine, engine_options
from mediagit_storage.cli.filter_options import FilteringCommand
from mediagit_storage.cli.folders import choosing_options, chosen_rules, chosen_side, told_attributes
from mediagit_storage.cli.framework import Run, common, complete_target, dry_run
from mediagit_storage.cli.limits import limiting
from mediagit_storage.cli.outcomes import Outcomes, Sum
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.report_file import ReportFile, report_file
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.tools.cache_rules import cache_rules_of
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.plan import Action, DeletionLimit
from mediagit_storage.tools.remembered import remembered_between
from mediagit_storage.tools.sync import HERE, SyncCounts, Synced, SyncEngine, Syncing, sync_objects
from mediagit_storage.types import JSON

__all__ = ["command"]

#: What is said of an action that was done, or would be.
_DONE: Final = {Action.COPY: "copied", Action.DELETE: "deleted"}


@click.command("sync", cls=FilteringCommand)
@click.argument("source", shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("--delete", is_flag=True, help="Delete from the target what the source does not have.")
@click.option(
    "--max-delete",
    metavar="N",
    type=click.IntRange(0),
    help="Delete at most N objects, or none at all; without it at most half of the target.",
)
@click.option("--checksum", is_flag=True, help="Read both sides and compare every byte, whatever is known of them.")
@click.option("--size-only", is_flag=True, help="Take objects of the same size for equal.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what was done, as JSON Lines.")
@click.option("--create", is_flag=True, help="Make the target's bucket or root folder if it is missing.")
@click.option("--drop-attributes", is_flag=True, help="Leave out attributes that the target cannot keep.")
@choosing_options
@engine_options
@limiting
@dry_run
@common
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    target: str,
    *,
    delete: bool,
    max_delete: int | None,
    checksum: bool,
    size_only: bool,
    max_age: timedelta | None,  # noqa: ARG001  # `chosen_rules` reads them
    min_age: timedelta | None,  # noqa: ARG001
    report: Path | None,
    create: bool,
    drop_attributes: bool,
) -> int:
    """Make a folder like another: copy what is missing or different.

    SOURCE and TARGET are folders, wherever they are; what is in SOURCE comes to be in TARGET, with or without a / at
    their ends. Objects are compared by size and content, never by time: by the checksums that services keep, by reading
    what is on this machine, and by remembering what was equal. Where nothing tells, the object is copied.

    With --delete what is left over in TARGET goes last: only when every copy went well, and never more than half of
    TARGET unless --max-delete allows it. Filters and ages hold for both sides: what they leave out is neither copied nor
    deleted.

    Each object is stored whole or not at all. An interrupted sync goes on when it is run again. Failures are named at
    the end (exit code 6), the others are done.
    """
    if checksum and size_only:
        raise click.UsageError("--checksum and --size-only contradict each other")
    if max_delete is not None and not delete:
        raise click.UsageError("--max-delete needs --delete")
    run = ctx.ensure_object(Run)
    syncing = Syncing(
        replace(chosen_rules(ctx), delete=delete, size_only=size_only, contents=checksum),
        CopyRules(drop_attributes=drop_attributes, concurrency=run.concurrency, cache=cache_rules_of(target)),
        DeletionLimit(max_delete),
        dry=run.dry_run,
    )
    ready = chosen_engine(ctx)
    with session(run) as this, report_file(report) as written:
        places = this.place(source), this.place(target)
        if create and not run.dry_run:
            places[1].store.create()
        with ready as engine:
            return _sync(this, *places, syncing, written, engine)


def _sync(  # noqa: PLR0917  # one caller
    this: Session, source: Place, target: Place, syncing: Syncing, report: ReportFile, engine: SyncEngine | None
) -> int:
    sides = chosen_side(source), chosen_side(target)
    told_attributes(this, report, source, target, drop=syncing.copying.drop_attributes)
    outcomes = _Outcomes(this, report, dry=syncing.dry)
    with remembered_between("syncs", *sides) as memory, outcomes.told_at_the_end(), progress_bar(this):
        outcomes.take(sync_objects(*sides, syncing, memory, outcomes.counts, engine=engine or HERE))
    return outcomes.close()


class _Outcomes(Outcomes[Synced]):
    def __init__(self, this: Session, report: ReportFile, *, dry: bool) -> None:
        super().__init__(this, report, "sync")
        self.counts = SyncCounts()
        self._dry = dry
        self._copied = 0
        self._deleted = 0
        self._bytes = 0

    def add(self, each: Synced) -> None:
        """One more is done, or failed."""
        if each.error is not None:
            self.failed(each.error)
            return
        if each.action is Action.COPY:
            self._copied += 1
            self._bytes += each.size or 0
        else:
            self._deleted += 1
        self._tell(each)

    def _tell(self, synced: Synced) -> None:
        status = "planned" if synced.planned else _DONE[synced.action]
        fields: dict[str, JSON] = {
            "action": str(synced.action),
            "name": synced.name,
            "reason": synced.reason,
            "size": synced.size,
            "status": status,
        }
        if self.told(fields):
            return
        if synced.planned:
            self._this.out.line(f"{synced.action} {synced.name} ({synced.reason})")
        elif self._this.run.verbose:
            self._this.out.note(f"{status} {synced.name} ({synced.reason})")

    def words(self) -> Iterator[str]:
        """What was not done after all."""
        if self.counts.withheld:
            yield f"nothing was deleted, because not everything could be copied: {self.counts.withheld:,} left over"

    def sum(self) -> Sum:
        """Copies, and all other names by what was found of them."""
        others = {
            "to delete" if self._dry and not self._this.run.json else "deleted": self._deleted,
            "equal": self.counts.equal,
            "extra": self.counts.extra - self._deleted,
            "skipped": self.counts.left,
            "failed": self.failures.count,
        }
        return Sum("would have copied" if self._dry else "copied", self._copied, self._bytes, others)
