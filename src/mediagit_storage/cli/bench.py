"""``mgs bench``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from mediagit_storage.cli.durations import Seconds, utc_now
from mediagit_storage.cli.exit_codes import SOME_FAILED
from mediagit_storage.cli.framework import Command, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.sizes import Size
from mediagit_storage.cli.text import human_bytes, printable
from mediagit_storage.errors import ConfigError
from mediagit_storage.tools.bench import BENCH_PREFIX, Benchmark, BenchPlan, BenchRules, Measured, Way
from mediagit_storage.tools.bench_chart import draw_png, seconds_text, text_chart
from mediagit_storage.tools.latencies import latencies
from mediagit_storage.types import JSON

__all__ = ["command"]

#: How many leftovers are named.
_TOLD = 100
_HEADINGS = ("operation", "", "a second", "p50", "p90", "p99", "max", "bytes a second")
_WIDTHS = (-9, -8, 9, 8, 8, 8, 8, 15)


@click.command("bench", cls=Command)
@click.argument("storage", shell_complete=complete_target)
@click.option(
    "--objects", type=click.IntRange(1, 100_000), metavar="N", default=100, show_default=True, help="Small objects."
)
@click.option("--size", type=Size(), metavar="SIZE", default="4KiB", show_default=True, help="Bytes of each.")
@click.option(
    "--large", type=Size(), metavar="SIZE", default="64MiB", show_default=True, help="The large object; 0 for none."
)
@click.option(
    "--seconds",
    type=Seconds(0.01, 3600),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="No measurement goes on much longer: it takes fewer objects, or a smaller large one.",
)
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw the results.")
@dry_run
@common
@pass_run
def command(  # noqa: PLR0917  # click calls it by names
    run: Run, storage: str, objects: int, size: int, large: int, seconds: float, png: Path | None
) -> int:
    """Measure how quick a storage is.

    Puts, looks at, gets, lists and deletes small objects, one at a time and many at once (--concurrency), and sends one
    large object, fetches it as a stream and in ranges. STORAGE is a storage or a folder in it, with its layers.

    How many requests that takes at most is told before: a service may charge for them, and for the bytes that are
    fetched. --dry-run tells only that. All objects lie below one folder mgs-bench-RANDOM/, which is removed at the end,
    also after Ctrl-C or an error; what cannot be removed is named (exit code 6).

    Latencies are of what this machine sees, in its network, with what else it does meanwhile: repeat what you compare.
    """
    rules = BenchRules(objects, size, large, seconds, run.concurrency)
    with session(run) as this:
        place = this.place(storage)
        folder = place.key if not place.key or place.key.endswith("/") else f"{place.key}/"
        where = f"{place.store.description.rstrip('/')}/{folder}"
        _tell_plan(this, where, BenchPlan.of(rules))
        if run.dry_run:
            return 0
        if png is not None and not png.absolute().parent.is_dir():
            raise ConfigError(f"{png} cannot be written: there is no such folder")
        bench = Benchmark(place.store, folder, rules)
        measured: list[Measured] = []
        try:
            _measure(this, bench, measured)
        finally:
            _tell_left(this, bench)
        if not run.json and not run.quiet:
            for line in text_chart(measured, shutil.get_terminal_size().columns, block=_block()):
                this.out.line(line)
        if png is not None:
            _write(png, draw_png(measured, f"mgs bench {printable(where)}  {utc_now():%Y-%m-%d %H:%M} UTC"))
        return SOME_FAILED if bench.left else 0


def _tell_plan(this: Session, where: str, plan: BenchPlan) -> None:
    if this.run.json:
        this.out.record("bench-plan", {"storage": where, "dry_run": this.run.dry_run, **plan._asdict()})
        return
    parts = f" and about {plan.parts:,} parts" if plan.parts else ""
    text = (
        f"at most {plan.puts:,} puts{parts}, {plan.reads:,} reads, {plan.lists:,} listings and {plan.deletes:,} deletes;"
        f" {human_bytes(plan.sent)} are sent and {human_bytes(plan.fetched)} fetched, below {where}{BENCH_PREFIX}*"
    )
    if this.run.dry_run:
        this.out.line(text)
    else:
        this.out.note(text)


def _tell_left(this: Session, bench: Benchmark) -> None:
    for key in bench.left[:_TOLD]:
        text = f"not removed: {key}"
        this.out.error(text, {"error": "NotRemoved", "message": text, "code": SOME_FAILED, "key": key})
    if len(bench.left) > _TOLD:
        this.out.note(f"and {len(bench.left) - _TOLD:,} more: `mgs rm -r` of {bench.prefix} removes them")


def _measure(this: Session, bench: Benchmark, measured: list[Measured]) -> None:
    if not this.run.json:
        this.out.line(_row(_HEADINGS))
    with closing(bench.run()) as results:
        for each in results:
            measured.append(each)
            if this.run.json:
                this.out.record("bench", _record(each))
            else:
                this.out.line(_row(_cells(each)))
            this.out.flush()


def _cells(each: Measured) -> Sequence[str]:
    spread = latencies(each.samples)
    times = ["", "", "", ""] if spread is None else [seconds_text(value) for value in spread[:4]]
    rate = f"{each.per_second:,.1f}" if each.way is not Way.LARGE or each.count > 1 else ""
    way = human_bytes(each.size) if each.way is Way.LARGE else str(each.way)
    return (each.operation, way, rate, *times, human_bytes(round(each.bytes_per_second)) if each.size else "")


def _row(cells: Sequence[str]) -> str:
    aligned = (
        cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True)
    )
    return " ".join(aligned).rstrip()


def _record(each: Measured) -> dict[str, JSON]:
    spread = latencies(each.samples)
    times: dict[str, JSON] = {} if spread is None else dict(spread._asdict())
    return {
        "operation": each.operation,
        "way": str(each.way),
        "count": each.count,
        "bytes": each.size,
        "seconds": each.seconds,
        "per_second": each.per_second,
        "bytes_per_second": each.bytes_per_second,
        **times,
    }


def _block() -> str:
    return "\u2588" if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else "#"


def _write(path: Path, picture: bytes) -> None:
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
