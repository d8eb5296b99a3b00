"""Look after the change log: check the fragments in ``changelog.d/``, or move them into ``CHANGELOG.md``.

    scripts/changelog.py check
    scripts/changelog.py release VERSION [--date YYYY-MM-DD]

A fragment is a file ``NAME.KIND.md`` that holds one entry; see ``changelog.d/README.md``.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

#: The kinds of change, in the order in which the log shows them.
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")


class FragmentError(ValueError):
    """A fragment that cannot go into the log."""


def read_fragments(folder: Path) -> dict[Path, str]:
    """Every fragment and its text; raises `FragmentError` for one with a wrong name or without a text."""
    found: dict[Path, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name == "README.md":
            continue
        parts = path.name.split(".")
        if len(parts) != 3 or not parts[0] or parts[1] not in KINDS or parts[2] != "md":
            raise FragmentError(f"{path.name}: a fragment is named NAME.KIND.md with one of {', '.join(KINDS)}")
        text = path.read_text("utf-8").strip()
        if not text:
            raise FragmentError(f"{path.name}: it holds no text")
        found[path] = text
    return found


def section(version: str, date: str, fragments: dict[Path, str]) -> str:
    """The part of the log for one release."""
    lines = [f"## {version} ({date})", ""]
    for kind in KINDS:
        entries = [text for path, text in fragments.items() if path.name.split(".")[1] == kind]
        if entries:
            lines += [f"### {kind.capitalize()}", "", *("- " + text.replace("\n", "\n  ") for text in entries), ""]
    return "\n".join(lines) + "\n"


def release(root: Path, version: str, date: str) -> None:
    """Put the fragments above the newest release in the log, and remove them."""
    fragments = read_fragments(root / "changelog.d")
    if not fragments:
        raise FragmentError("changelog.d holds no fragment: there is nothing to release")
    log = root / "CHANGELOG.md"
    head, mark, rest = log.read_text("utf-8").partition("\n## ")
    tail = mark.lstrip("\n") + rest
    log.write_text(head.rstrip("\n") + "\n\n" + (section(version, date, fragments) + tail).rstrip("\n") + "\n", "utf-8")
    for path in fragments:
        path.unlink()


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="look after the change log")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="are the fragments well formed?").add_argument(
        "--root", type=Path, default=argparse.SUPPRESS
    )
    releasing = commands.add_parser("release", help="move the fragments into CHANGELOG.md")
    releasing.add_argument("version")
    releasing.add_argument("--date", default=datetime.now(UTC).date().isoformat())
    releasing.add_argument("--root", type=Path, default=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.command == "check":
            read_fragments(options.root / "changelog.d")
        else:
            release(options.root, options.version, options.date)
    except FragmentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
