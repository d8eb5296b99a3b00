"""``mgs migrate``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

import click

from mediagit_storage.cli.engine_options import chosen_engine, engine_options
from mediagit_storage.cli.exit_codes import SOME_FAILED
from mediagit_storage.cli.filter_options import FilteringCommand, filters_of
from mediagit_storage.cli.folders import choosing_options, chosen_rules, chosen_side, told_attributes
from mediagit_storage.cli.framework import Run, common, complete_target, dry_run
from mediagit_storage.cli.limits import limiting
from mediagit_storage.cli.outcomes import Outcomes, Sum
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.report_file import ReportFile, report_file
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.config import Profile, load_profiles
from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.layers.base import layers_of
from mediagit_storage.opening import open_storage
from mediagit_storage.profile_editing import supersede_profile
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.migrate import Migrating, MigrationCounts, MigrationStep, migrate
from mediagit_storage.tools.places import layers_at, location_of
from mediagit_storage.tools.plan import Action
from mediagit_storage.tools.remembered import remembered_between
from mediagit_storage.tools.sync import HERE, SyncEngine
from mediagit_storage.types import JSON
from mediagit_storage.url import profile_part

__all__ = ["command"]

#: Layers that change no bytes and see both places where they lie outermost.
_FOR_BOTH: Final = frozenset({"cache", "observe", "readonly", "throttle"})
#: Layers that a cutover does not drop.
_PROTECTING: Final = frozenset({"checksum", "encrypt"})


@click.command("migrate", cls=FilteringCommand)
@click.argument("source", shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("--cutover", metavar="PROFILE", help="Then let PROFILE, which leads to SOURCE, lead to TARGET.")
@click.option(
    "--overwrite/--no-overwrite",
    default=True,
    help="Replace what is different in TARGET (default), or keep it, and copy only what is not there.",
)
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
    cutover: str | None,
    overwrite: bool,
    report: Path | None,
    create: bool,
    drop_attributes: bool,
    max_age: timedelta | None,
    min_age: timedelta | None,
) -> int:
    """Move a storage to another one, and prove that everything arrived.

    SOURCE is only read. Everything in it is copied to TARGET, then read from both and compared, with its attributes; what
    changed meanwhile is copied again, until one pass finds all equal. A run that was interrupted goes on when it is
    repeated: nothing that was proven is copied or read again (on WebDAV, where ETags can repeat, it is read again).

    With --cutover the profile that leads to SOURCE then leads to TARGET, and to the old place for keys that TARGET does
    not have: the old profile stays under its name with -old. Who writes there has to stop, or to change over, by then: of
    what comes later only new keys are seen. What comes late there is brought over with --no-overwrite, which
    changes nothing that TARGET has. --dry-run counts what would be copied.
    """
    if cutover is not None and (filters_of(ctx) or max_age is not None or min_age is not None):
        raise click.UsageError("--cutover moves everything: it goes with neither filters nor ages")
    run = ctx.ensure_object(Run)
    migrating = Migrating(
        chosen_rules(ctx),
        CopyRules(overwrite=overwrite, drop_attributes=drop_attributes, concurrency=run.concurrency),
        dry=run.dry_run,
    )
    ready = chosen_engine(ctx)
    with session(run) as this, report_file(report) as written:
        places = this.place(source), this.place(target)
        _refuse_what_reads_from_there(*places)
        if overwrite:
            _refuse_overwriting(this, *places)
        change = None if cutover is None else _prepared(this, cutover, places[0], target)
        if create and not run.dry_run:
            places[1].store.create()
        with ready as engine:
            code = _migrate(this, *places, migrating, written, engine)
        if change is not None and code == 0 and not run.dry_run:
            path = supersede_profile(change.profile, change.old)
            this.out.note(
                f"profile {change.profile.name!r} in {path} leads to {target} now, and {change.old!r} to the old place;"
                f" when nothing writes there any more, run `mgs migrate {change.old}: {target} --no-overwrite`"
            )
            if change.profile.cdn is not None:
                this.out.note(
                    f"profile {change.profile.name!r} has a CDN: let that ask {target}, too, and purge it (`mgs cdn purge`)"
                )
        return code


def _refuse_what_reads_from_there(source: Place, target: Place) -> None:
    """A target that shows what an old place has would be found equal to it, whatever it holds itself."""
    if any(layer.layer_name == "migrating" for layer in layers_of(target.store.backend)):
        raise ConfigError(
            f"{target.text} reads from an old place, too, so nothing could be proven about it: name the new place without"
            f" the layer migrating as the target of {source.text}"
        )


def _refuse_overwriting(this: Session, source: Place, target: Place) -> None:
    """After a cutover the target may have newer objects than the source: these are not to be overwritten."""
    try:
        profiles = load_profiles().by_name
    except ConfigError:
        # Nobody reaches the target by profiles that cannot be read.
        return
    for profile in profiles.values():
        for old in (each.get("old") for each in profile.layers if each.get("layer") == "migrating"):
            if isinstance(old, str) and _leads(this, old, source) and _leads(this, f"{profile.name}:", target):
                raise ConfigError(
                    f"the profile {profile.name!r} leads to {target.text} already, so newer objects may be there: add"
                    " --no-overwrite"
                )


def _leads(this: Session, text: str, place: Place) -> bool:
    """Whether ``text`` names a place that has something in common with another. One that does not open has nothing."""
    try:
        named = this.place(text)
        one, other = (location_of(each.store, each.key) for each in (named, place))
    except StorageError:
        return False
    return one.holds(other) or other.holds(one)


class _Cutover(NamedTuple):
    profile: Profile
    old: str


def _prepared(this: Session, name: str, source: Place, target: str) -> _Cutover:
    """The profile as it will be. What speaks against it is a `ConfigError` before anything is copied."""
    profiles = load_profiles()
    profiles.get(name)
    whole = this.place(f"{name}:")
    if location_of(whole.store, whole.key) != location_of(source.store, source.key):
        raise ConfigError(f"the profile {name!r} does not lead to what is migrated: name it as the source, {name}:")
    if layers_at(whole.store) != layers_at(source.store):
        raise ConfigError(
            f"the profile {name!r} sees what is migrated through other layers: name it as the source, {name}:"
        )
    old = f"{name}-old"
    if old in profiles.by_name:
        raise ConfigError(f"there is a profile {old!r} already, which the old place was to get: rename it first")
    found = _profile_of(target, profiles.by_name)
    _refuse_unprotected(profiles.by_name[name], found, target)
    # As it will be, but for the name that the old place has now: opening asks nobody anything.
    with open_storage(found.url, options=found.options, layers=_joined(found, f"{name}:")):
        # Who delivers the objects stays the same, unless the target says otherwise.
        cdn = profiles.by_name[name].cdn if found.cdn is None else found.cdn
        return _Cutover(Profile(name, found.url, found.options, _joined(found, f"{old}:"), cdn=cdn), old)


def _refuse_unprotected(before: Profile, after: Profile, target: str) -> None:
    """What is encrypted or verified does not stop to be so by the way."""
    names = [{each.get("layer") for each in profile.layers} for profile in (before, after)]
    if missing := sorted(_PROTECTING & (names[0] - names[1])):
        raise ConfigError(
            f"the profile {before.name!r} has the layer {' and '.join(missing)}, and {target} would be without: give the"
            " target a profile that has it, and name that as the target"
        )


def _joined(found: Profile, old: str) -> tuple[Mapping[str, JSON], ...]:
    """The layers of a profile with the one that reads from the old place, too: inside of what is for both of them."""
    lead = next(
        (index for index, each in enumerate(found.layers) if each.get("layer") not in _FOR_BOTH), len(found.layers)
    )
    return (*found.layers[:lead], {"layer": "migrating", "old": old}, *found.layers[lead:])


def _profile_of(target: str, profiles: Mapping[str, Profile]) -> Profile:
    """What a target says, as a profile would."""
    if named := profile_part(target):
        if named[1]:
            raise ConfigError(f"{target!r} is a folder in a profile: a cutover leads to a whole profile or a URL")
        return profiles[named[0]]
    return Profile("", target if "://" in target else str(Path(target).absolute()))


def _migrate(  # noqa: PLR0917  # one caller
    this: Session, source: Place, target: Place, migrating: Migrating, report: ReportFile, engine: SyncEngine | None
) -> int:
    sides = chosen_side(source), chosen_side(target)
    told_attributes(this, report, source, target, drop=migrating.copying.drop_attributes)
    outcomes = _Outcomes(this, report, dry=migrating.dry)
    with remembered_between("migrations", *sides) as journal, outcomes.told_at_the_end(), progress_bar(this):
        outcomes.take(migrate(*sides, migrating, journal, outcomes.counts, engine=engine or HERE))
    code = outcomes.close()
    return code or (0 if outcomes.counts.complete or migrating.dry else SOME_FAILED)


class _Outcomes(Outcomes[MigrationStep]):
    def __init__(self, this: Session, report: ReportFile, *, dry: bool) -> None:
        super().__init__(this, report, "migrate")
        self.counts = MigrationCounts()
        self._dry = dry

    def add(self, each: MigrationStep) -> None:
        """One more is copied, or failed."""
        synced = each.synced
        if synced.error is not None:
            self.failed(synced.error)
            return
        status = "kept" if synced.action is Action.LEAVE else "planned" if synced.planned else "copied"
        fields: dict[str, JSON] = {
            "name": synced.name, "reason": synced.reason, "size": synced.size, "pass": each.number, "status": status
        }  # fmt: skip
        if not self.told(fields) and (self._this.run.verbose or status == "kept"):
            self._this.out.note(f"{status} {synced.name} ({synced.reason})")

    def words(self) -> Iterator[str]:
        """Whether everything is there."""
        if self.counts.complete:
            kept = f", and {self.counts.kept:,} that are different were kept" if self.counts.kept else ""
            rest = "; what was left out of a listing is not" if self._this.left_out.counted()["left_out"] else ""
            yield f"everything is there: {self.counts.proven:,} objects are equal in every byte{kept}{rest}"
        elif self.failures.count:
            yield "not everything is there: run the same command again when the cause is mended"

    def sum(self) -> Sum:
        """Copies, and what was found of all others."""
        counts = self.counts
        others = {"proven": counts.proven, "extra": counts.extra, "kept": counts.kept}
        others |= {"passes": counts.passes, "failed": counts.failed}
        return Sum("would have copied" if self._dry else "copied", counts.copied, counts.bytes, others)
