"""``mgs verify``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mediagit_storage.cli.engine_options import chosen_engine, engine_options
from mediagit_storage.cli.exit_codes import DAMAGED, DIFFERENCES, SOME_FAILED
from mediagit_storage.cli.filter_options import FilteringCommand
from mediagit_storage.cli.folders import choosing_options, chosen_rules, chosen_side
from mediagit_storage.cli.framework import Run, common, complete_target
from mediagit_storage.cli.limits import limiting
from mediagit_storage.cli.outcomes import Outcomes, Sum
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.report_file import ReportFile, report_file
from mediagit_storage.cli.session import Session, session
from mediagit_storage.tools.manifest import read_manifest
from mediagit_storage.tools.verify import (
    Problem,
    Verified,
    VerifyRules,
    keeps_digests,
    verify_against,
    verify_copy,
    verify_store,
)
from mediagit_storage.types import JSON

__all__ = ["command"]

#: The exit code for each problem; of several the first in this order counts.
_CODES: Final = (
    ({Problem.DAMAGED, Problem.UNDECRYPTABLE}, DAMAGED),
    ({Problem.UNREADABLE}, SOME_FAILED),
    ({*Problem}, DIFFERENCES),
)


@click.command("verify", cls=FilteringCommand)
@click.argument("source", shell_complete=complete_target)
@click.argument("copy", required=False, shell_complete=complete_target)
@click.option(
    "--manifest",
    "manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Compare with a list that `mgs manifest` wrote.",
)
@click.option(
    "--quick", is_flag=True, help="Believe the digests that both storages keep, and read where they keep none."
)
@click.option("--no-attributes", is_flag=True, help="Compare only sizes and bytes with COPY.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what is wrong, as JSON Lines.")
@choosing_options
@engine_options
@limiting
@common
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    copy: str | None,
    *,
    manifest: Path | None,
    quick: bool,
    no_attributes: bool,
    report: Path | None,
    max_age: timedelta | None,  # noqa: ARG001  # `chosen_rules` reads them
    min_age: timedelta | None,  # noqa: ARG001
) -> int:
    """Read everything, and find what is damaged, missing or different.

    With SOURCE alone each object is read whole, and what its service or its layers know of it is compared: checksums,
    encryption, compression. With COPY the two folders are compared, byte by byte, with their attributes; with --manifest
    the folder and a list.

    Each problem is a line on standard output: missing, extra, size, content, attributes, damaged, undecryptable or
    unreadable, and the name; what comes from an error while two are compared says which of them it was. Exit codes:
    0 nothing is wrong, 12 something is damaged, 6 something could not be read, 1 something is different. Nothing is
    written or repaired.

    A list of --manifest knows no ages: --max-age and --min-age leave out what the folder has, and never what it lacks.
    """
    if copy is not None and manifest is not None:
        raise click.UsageError("compare with a COPY or with a --manifest, not with both")
    if (quick or no_attributes) and copy is None:
        raise click.UsageError("--quick and --no-attributes are for comparing with a COPY")
    if manifest is not None and report is not None and report.exists() and report.samefile(manifest):
        raise click.UsageError("--report would be written over the --manifest")
    run = ctx.ensure_object(Run)
    rules = VerifyRules(chosen_rules(ctx), not no_attributes, quick, run.concurrency)
    ready = chosen_engine(ctx)
    with session(run) as this, report_file(report) as written, progress_bar(this), ready as engine:
        side = chosen_side(this.place(source))
        if copy is not None:
            results = (engine.verify_copy if engine else verify_copy)(side, chosen_side(this.place(copy)), rules)
        elif manifest is not None:
            results = (engine.verify_against if engine else verify_against)(side, read_manifest(manifest), rules)
        else:
            results = engine.verify_store(side, rules) if engine else verify_store(side, rules)
            if not keeps_digests(side.store):
                this.out.note(
                    "nothing is kept here to compare with, so a changed byte is not seen: compare with a copy or a --manifest"
                )
        return _tell(this, results, written)


def _tell(this: Session, results: Generator[Verified, None, None], report: ReportFile) -> int:
    outcomes = _Outcomes(this, report)
    outcomes.carry_out(results)
    return next((code for problems, code in _CODES if any(outcomes.found[problem] for problem in problems)), 0)


class _Outcomes(Outcomes[Verified]):
    def __init__(self, this: Session, report: ReportFile) -> None:
        super().__init__(this, report, "problem")
        self.found: Counter[Problem | None] = Counter()
        self._bytes = 0

    def add(self, each: Verified) -> None:
        """One more is as it should be, or not."""
        self.found[each.problem] += 1
        if each.problem is None:
            self._bytes += each.size or 0
            return
        fields: dict[str, JSON] = {
            "name": each.name, "problem": str(each.problem), "size": each.size, "detail": each.detail
        }  # fmt: skip
        if each.side is not None:
            fields["side"] = str(each.side)
        if not self.told(fields):
            self._this.out.line(f"{each.problem} {each.name}{f': {each.detail}' if each.detail else ''}")

    def words(self) -> Iterator[str]:
        """Whether there was anything at all."""
        if not self.found:
            yield "nothing was looked at: there is no object here that the options take"

    def sum(self) -> Sum:
        """What is as it should be, and each problem."""
        return Sum(
            "verified", self.found[None], self._bytes, {str(problem): self.found[problem] for problem in Problem}
        )
