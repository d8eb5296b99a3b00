"""Arguments that mean a folder with everything in it, and the options that say what of it is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import click

from mediagit_storage.cli.durations import Duration, utc_now
from mediagit_storage.cli.filter_options import filter_options, filters_of
from mediagit_storage.cli.report_file import ReportFile
from mediagit_storage.cli.session import Place, Session
from mediagit_storage.errors import ConfigError
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.places import is_on_this_machine, same_service
from mediagit_storage.tools.plan import SyncRules
from mediagit_storage.tools.selecting import find_object
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync import lost_attributes
from mediagit_storage.types import JSON

__all__ = ["choosing_options", "chosen_rules", "chosen_side", "told_attributes"]

F = TypeVar("F", bound=Callable[..., object])


def choosing_options(function: F) -> F:
    """``--include``, ``--exclude``, ``--min-age`` and ``--max-age``, for a `FilteringCommand`."""
    for option in (
        click.option("--min-age", type=Duration(), metavar="TIME", help="Only what was not changed within this time."),
        click.option(
            "--max-age", type=Duration(), metavar="TIME", help="Only what was changed within this time: 12h, 7d."
        ),
        filter_options,
    ):
        function = option(function)
    return function


def chosen_rules(ctx: click.Context) -> SyncRules:
    """What those options say, as rules that do nothing else."""
    now = utc_now()
    return SyncRules(
        Filters([Filter(*each) for each in filters_of(ctx)]),
        oldest=_before(now, ctx.params["max_age"]),
        newest=_before(now, ctx.params["min_age"]),
    )


def _before(now: datetime, span: timedelta | None) -> datetime | None:
    try:
        return None if span is None else now - span
    except OverflowError:
        raise ConfigError("an age of that many years reaches back before the calendar") from None


def chosen_side(place: Place) -> Side:
    """The folder that an argument means, with or without a slash at its end. An object is a `ConfigError`."""
    if place.key and not place.contents and find_object(place.store, place.key) is not None:
        raise ConfigError(f"{place.text!r} is an object, and a folder is needed here")
    return Side(place.store, place.key if not place.key or place.key.endswith("/") else f"{place.key}/")


def told_attributes(this: Session, report: ReportFile, source: Place, target: Place, *, drop: bool) -> None:
    """Say before the start which attributes the target cannot keep: programs all of them, people what may matter to them.

    Whoever has none is not troubled: what stays behind and harms nobody is for dry runs and ``--verbose``, and so is what
    files of this machine could have. An object that does have it fails, and says what to do.
    """
    asked = this.run.dry_run or this.run.verbose
    classes = "storage_class" in source.store.capabilities.attributes
    if classes and not same_service(source.store, target.store):
        _announce(this, report, ["storage_class"], "left")
        if asked:
            this.out.note(f"storage classes stay behind: those of {target.text} have other names, if it has any")
    lost = lost_attributes(source.store, target.store)
    if lost:
        _announce(this, report, sorted(lost), "dropped" if drop else "refused")
    if lost and not drop and (asked or not is_on_this_machine(source.store.backend)):
        names = ", ".join(sorted(lost)).replace("_", " ")
        this.out.note(f"{target.text} keeps no {names}: objects that have any fail, unless --drop-attributes is given")


def _announce(this: Session, report: ReportFile, attributes: Sequence[str], status: str) -> None:
    fields: dict[str, JSON] = {"attributes": [*attributes], "status": status}
    report.announce("unkept", fields)
    if this.run.json:
        this.out.record("unkept", fields)
