"""The parts of README.md that the benchmarks write themselves: what lies between a pair of marks."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parent / "README.md"


def section(name: str) -> tuple[str, str, str]:
    """The README before, in and after a generated part, with its marks outside."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = README.read_text().partition(begin)
    inner, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{README} has no marks for {name!r}")
    return head + begin, inner, end + tail


def write_section(name: str, report: str) -> None:
    """Replace a generated part."""
    head, _, tail = section(name)
    README.write_text(f"{head}{report}\n{tail}")


def tables_of(name: str) -> dict[str, str]:
    """The tables of a generated part, by title."""
    _, *found = section(name)[1].split("\n### ")
    return {each.partition("\n")[0]: f"\n### {each.rstrip()}" for each in found}
