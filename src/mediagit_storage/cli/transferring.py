"""What `cp` and `mv` share: understanding their arguments, carrying out the plan, and telling how it went."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from mediagit_storage.cli.filter_options import filter_options, filters_of
from mediagit_storage.cli.framework import Run
from mediagit_storage.cli.limits import limiting
from mediagit_storage.cli.outcomes import Outcomes, Sum
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.report_file import ReportFile, report_file
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.errors import AlreadyExistsError, ConfigError
from mediagit_storage.storage import Storage
from mediagit_storage.tools.cache_rules import cache_rules_of
from mediagit_storage.tools.copying import Copied, CopyRules, CopyTask, copy_objects, move_objects
from mediagit_storage.tools.filters import Filter, Filters, fixed_prefix
from mediagit_storage.tools.places import Location, location_of, refuse_inside
from mediagit_storage.tools.selecting import Selection, select

__all__ = ["Transferring", "carry_out", "transfer_all", "transfer_options"]

F = TypeVar("F", bound=Callable[..., object])


class Transferring(NamedTuple):
    """What was asked for: ``move`` deletes from the source; ``recursive`` says how to read the sources."""

    move: bool
    recursive: bool
    filters: Filters
    rules: CopyRules

    @property
    def verb(self) -> str:
        """In the past, for people."""
        return "moved" if self.move else "copied"


def transfer_options(function: F) -> F:
    """The options that the two commands share."""
    for option in (
        click.option("--create", is_flag=True, help="Make the target's bucket or root folder if it is missing."),
        click.option(
            "--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what was done, as JSON Lines."
        ),
        click.option("--drop-attributes", is_flag=True, help="Leave out attributes that the target cannot keep."),
        click.option("--overwrite/--no-overwrite", default=True, help="Replace what is there (default), or skip it."),
        limiting,
        filter_options,
    ):
        function = option(function)
    return function


class _Plan(NamedTuple):
    """What one source comes to; ``single`` is the target's key where it is one object."""

    store: Storage
    tasks: Generator[CopyTask, None, None]
    single: str | None


def carry_out(
    ctx: click.Context,
    sources: Sequence[str],
    target: str,
    *,
    move: bool,
    recursive: bool,
    overwrite: bool,
    drop_attributes: bool,
    create: bool,
    report: Path | None,
) -> int:
    """Do what a command line asks for; returns the exit code."""
    if not sources:
        # Of a single word click would say that it is the TARGET, and miss the other.
        raise click.UsageError("it takes a SOURCE and a TARGET, and only one was given", ctx)
    run = ctx.ensure_object(Run)
    rules = CopyRules(
        overwrite=overwrite,
        drop_attributes=drop_attributes,
        concurrency=run.concurrency,
        cache=cache_rules_of(target),
    )
    filters = Filters([Filter(*each) for each in filters_of(ctx)])
    asked = Transferring(move=move, recursive=recursive, filters=filters, rules=rules)
    with session(run) as this, report_file(report) as written:
        return transfer_all(this, written, sources, target, asked, create=create)


def transfer_all(
    this: Session, report: ReportFile, sources: Sequence[str], target_text: str, asked: Transferring, *, create: bool
) -> int:
    """Copy or move all sources to the target; returns the exit code."""
    target = this.place(target_text)
    into = not target.key or target.key.endswith("/")
    if len(sources) > 1 and not into:
        raise click.UsageError(f"several sources need a folder as their target: {target_text}/")
    plans = [_plan(this.place(text), target, asked, into=into) for text in sources]
    with ExitStack() as listings:
        # Before their storages are closed, and also when something else keeps them alive.
        for plan in plans:
            listings.callback(plan.tasks.close)
        return _transfer_plans(this, report, plans, target, asked, create=create)


def _transfer_plans(
    this: Session, report: ReportFile, plans: Sequence[_Plan], target: Place, asked: Transferring, *, create: bool
) -> int:
    _refuse_twice(plan.single for plan in plans)
    if create and not this.run.dry_run:
        target.store.create()
    only = plans[0].single if len(plans) == 1 else None
    outcomes = _Outcomes(this, report, asked, single=only is not None, several=len(plans) > 1)
    with outcomes.told_at_the_end(), progress_bar(this):
        # Sources of one storage travel together: many files given by name are as quick as their folder.
        for store, group in groupby(plans, lambda plan: plan.store):
            outcomes.transfer(store, target.store, chain.from_iterable(plan.tasks for plan in group))
    return outcomes.close()


def _plan(source: Place, target: Place, asked: Transferring, *, into: bool) -> _Plan:
    chosen = _chosen(source, asked)
    if chosen.kind == "object":
        task = _one(source, target, chosen, into=into)
        return _Plan(source.store, _just(task), task.target)
    folder = target.key if into else f"{target.key}/"
    base = chosen.base
    if not source.key and not source.contents and chosen.kind == "folder":
        base = _folder_name(source)
    # A folder named without a slash keeps its name inside of an existing folder, and takes the new name otherwise.
    inside = f"{folder}{base}/" if into and base else folder
    itself = inside.rstrip("/") or base
    _refuse_itself(source, location_of(target.store, inside), chosen, deep=asked.recursive or "**" in source.key)
    tasks = (
        CopyTask(each.info.key, inside + each.name if each.name else itself, each.info.size)
        for each in chosen.items
        if asked.filters.takes(each.name)
    )
    return _Plan(source.store, tasks, None)


def _just(task: CopyTask) -> Generator[CopyTask, None, None]:
    yield task


def _refuse_twice(keys: Iterable[str | None]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key is not None and key in seen:
            raise ConfigError(f"two of the sources would both become {key!r}, and only one would be left")
        if key is not None:
            seen.add(key)


def _refuse_itself(source: Place, target: Location, chosen: Selection, *, deep: bool) -> None:
    if chosen.kind == "folder":
        refuse_inside(location_of(source.store, source.key), target)
        return
    fixed = fixed_prefix(source.key)
    folder = location_of(source.store, fixed[: fixed.rfind("/") + 1])
    if folder == target or (deep and location_of(source.store, fixed).meets(target)):
        raise ConfigError(f"what {source.text!r} matches cannot be copied or moved to where it matches again")


def _chosen(source: Place, asked: Transferring) -> Selection:
    recurse = asked.recursive or (source.contents and not asked.move)
    if not recurse and (not source.key or source.contents):
        advice = "add -r" if asked.move else "add -r, or a / at its end to mean its contents"
        raise ConfigError(f"{source.text!r} is a folder: {advice}")
    return select(source.store, source.key, recursive=recurse)


def _folder_name(source: Place) -> str:
    """The name of a local folder that is the root of its storage; empty for ``.`` and for buckets."""
    name = source.text.rpartition("/")[2]
    return "" if name in {"", ".", ".."} or "://" in source.text or source.text.endswith(":") else name


def _one(source: Place, target: Place, chosen: Selection, *, into: bool) -> CopyTask:
    found = next(iter(chosen.items))
    key = target.key + found.name if into else target.key
    if location_of(source.store, found.info.key) == location_of(target.store, key):
        raise ConfigError(f"{source.text!r} and the target are the same object")
    return CopyTask(found.info.key, key, found.info.size)


class _Outcomes(Outcomes[Copied]):
    """Carries out transfers between several pairs of storages, one after the other."""

    def __init__(self, this: Session, report: ReportFile, asked: Transferring, *, single: bool, several: bool) -> None:
        super().__init__(this, report, "transfer")
        self._asked = asked
        self._single = single
        #: The keys that the sources become, where there are several of them to be kept apart.
        self._taken: set[str] | None = set() if several and asked.rules.overwrite else None
        self._repeated: list[AlreadyExistsError] = []
        self._objects = 0
        self._bytes = 0
        self._skipped = 0

    def transfer(self, source: Storage, target: Storage, tasks: Iterator[CopyTask]) -> None:
        """Copy or move between these two, or show what would be."""
        apart = self._apart(target, tasks)
        try:
            if self._this.run.dry_run:
                for task in apart:
                    self._planned(source, target, task)
            else:
                transfer = move_objects if self._asked.move else copy_objects
                self.take(transfer(source, target, apart, self._asked.rules))
        finally:
            # Kept until here: the tasks may be looked at in another thread.
            for error in self._repeated:
                self.failed(error)
            self._repeated.clear()

    def _apart(self, target: Storage, tasks: Iterator[CopyTask]) -> Iterator[CopyTask]:
        """The tasks without those that would replace what an earlier source became: of two moved, one would be lost."""
        for task in tasks:
            if self._taken is not None:
                if task.target in self._taken:
                    message = f"another source became this already, so {task.source!r} stays where it is"
                    error = AlreadyExistsError(message, operation="put", key=task.target, store=target.description)
                    self._repeated.append(error)
                    continue
                self._taken.add(task.target)
            yield task

    def _planned(self, source: Storage, target: Storage, task: CopyTask) -> None:
        """Show what would be done."""
        self._objects += 1
        self._bytes += task.size or 0
        if not self._is_told(task, "planned"):
            verb = "move" if self._asked.move else "copy"
            self._this.out.line(f"{verb} {source.description}/{task.source} -> {target.description}/{task.target}")

    def add(self, each: Copied) -> None:
        """One more is done, or failed; where it is the only one, its error ends the command."""
        task = each.task
        if each.error is not None:
            if self._single:
                self._report.error(each.error)
                raise each.error
            self.failed(each.error)
            return
        if each.skipped:
            self._skipped += 1
        else:
            self._objects += 1
            self._bytes += (each.info.size if each.info else None) or task.size or 0
        status = "skipped" if each.skipped else self._asked.verb
        if not self._is_told(task, status) and self._this.run.verbose:
            self._this.out.note(f"{status} {task.source} -> {task.target}")

    def sum(self) -> Sum:
        """What was copied or moved, and what was not."""
        verb = ("would have " if self._this.run.dry_run else "") + self._asked.verb
        return Sum(verb, self._objects, self._bytes, {"skipped": self._skipped, "failed": self.failures.count})

    @property
    def begun(self) -> bool:
        """Whether anything is done, or failed beside others."""
        return bool(self._objects or self.failures.count)

    def _is_told(self, task: CopyTask, status: str) -> bool:
        return self.told({"source": task.source, "target": task.target, "size": task.size, "status": status})
