"""The parts of README.md and other pages that the benchmarks write themselves: what lies between a pair of marks."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parent / "README.md"


def section(name: str, page: Path = README) -> tuple[str, str, str]:
    """A page before, in and after a generated part, with its marks outside."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = page.read_text().partition(begin)
    inner, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page} has no marks for {name!r}")
    return head + begin, inner, end + tail


def write_section(name: str, report: str, page: Path = README) -> None:
    """Replace a generated part."""
    head, _, tail = section(name, page)
    page.write_text(f"{head}{report}\n{tail}")


def tables_of(name: str) -> dict[str, str]:
    """The tables of a generated part, by title."""
    _, *found = section(name)[1].split("\n### ")
    return {each.partition("\n")[0]: f"\n### {each.rstrip()}" for each in found}
