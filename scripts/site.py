"""Build the documentation as a site: the pages of this folder, their order, and the reference from the docstrings.

    scripts/site.py [FOLDER]          into FOLDER/html; what FOLDER (by default .cache/site) held is gone

Pages stay where people look for them in the sources; here they are brought together, and their links with them. A link
that leads nowhere, or a name that has no docstring, ends the build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
#: Headings of the site, and below each the pages by their place in the sources. ``*`` takes what is not named elsewhere.
CONTENTS: Final[Mapping[str, Sequence[str]]] = {
    "Start": ("README.md", "docs/tutorial.md", "docs/guides/getting-started.md", "docs/comparison.md"),
    "Storages": (
        "docs/guides/local-storage.md",
        "docs/guides/s3.md",
        "docs/guides/azure.md",
        "docs/guides/gcs.md",
        "docs/guides/webdav.md",
    ),
    "Layers": (
        "docs/guides/layers.md",
        "docs/guides/compression.md",
        "docs/guides/encryption.md",
        "docs/guides/caching.md",
        "docs/guides/integrity.md",
        "docs/guides/observability.md",
        "docs/guides/mirroring.md",
    ),
    "Guides": ("docs/guides/command-line.md", "docs/guides/*.md"),
    "Reference": ("docs/reference/README.md", "docs/reference/*.md"),
    "Background": (
        "ARCHITECTURE.md",
        "SECURITY.md",
        "TESTING.md",
        "benchmarks/README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/adr/README.md",
        "docs/adr/*.md",
    ),
}

#: Pages of the reference that are made from docstrings: the title, and the modules.
MODULES: Final[Mapping[str, Sequence[str]]] = {
    "Storage": ("mediagit_storage.storage",),
    "Opening": ("mediagit_storage.opening", "mediagit_storage.registry", "mediagit_storage.secrets"),
    "Values": ("mediagit_storage.types", "mediagit_storage.capabilities", "mediagit_storage.keys"),
    "Around calls": ("mediagit_storage.progress", "mediagit_storage.events", "mediagit_storage.scope"),
    "Errors": ("mediagit_storage.errors",),
    "Backends": (
        "mediagit_storage.backend",
        "mediagit_storage.backends.local",
        "mediagit_storage.backends.memory",
        "mediagit_storage.backends.s3",
        "mediagit_storage.backends.azure",
        "mediagit_storage.backends.gcs",
        "mediagit_storage.backends.webdav",
    ),
    "Tools": (
        "mediagit_storage.tools.sync",
        "mediagit_storage.tools.migrate",
        "mediagit_storage.tools.verify",
        "mediagit_storage.tools.manifest",
        "mediagit_storage.tools.gc",
        "mediagit_storage.tools.rotation",
    ),
    "Testing": ("mediagit_storage.testing.conformance",),
}

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


class Page(NamedTuple):
    """One page: where it comes from (None for one that is made here), where it goes to, and its text."""

    source: Path | None
    place: PurePosixPath
    text: str

    @property
    def title(self) -> str:
        """The first heading."""
        found = re.search(r"^# (.*)$", self.text, re.MULTILINE)
        return found[1].replace("`", "") if found else self.place.stem


def pages() -> dict[str, list[Page]]:
    """All pages, by heading. Each file stands once: where it is named, else where a pattern takes it."""
    named = {ROOT / each for names in CONTENTS.values() for each in names if "*" not in each}
    found: dict[str, list[Page]] = {}
    for heading, patterns in CONTENTS.items():
        files: list[Path] = []
        for pattern in patterns:
            files += [ROOT / pattern] if "*" not in pattern else sorted(set(ROOT.glob(pattern)) - named)
        found[heading] = [Page(file, _place(file), file.read_text("utf-8")) for file in files]
    found["Reference"] += [
        Page(None, PurePosixPath("reference/api") / f"{title.lower().replace(' ', '-')}.md", _reference(title, names))
        for title, names in MODULES.items()
    ]
    return found


def _place(file: Path) -> PurePosixPath:
    """Where a page of the sources stands on the site."""
    inside = PurePosixPath(file.relative_to(ROOT).as_posix())
    if inside.parts[0] == "docs":
        inside = PurePosixPath(*inside.parts[1:])
    elif inside.name != "README.md":
        inside = PurePosixPath("background", inside.name.lower())
    return inside.with_name("index.md") if inside.name == "README.md" else inside


def _reference(title: str, modules: Sequence[str]) -> str:
    body = "\n\n".join(f"::: {name}" for name in modules)
    return f"# {title} (API)\n\n{body}\n"


def linked(page: Page, places: Mapping[Path, PurePosixPath]) -> str:
    """The text with its links as they are on the site. What is not there (a program, a folder) is named, not linked."""

    def moved(match: re.Match[str]) -> str:
        image, text, target, fragment = match[1], match[2], match[3], match[4] or ""
        if page.source is None or not target or "://" in target:
            return match[0]
        place = places.get((page.source.parent / target).resolve())
        if place is None:
            return text
        here = os.path.relpath(place, page.place.parent)
        return f"{image}[{text}]({PurePosixPath(here).as_posix()}{fragment})"

    return _LINK.sub(moved, page.text)


def images(found: Mapping[str, Sequence[Page]]) -> Iterator[Path]:
    """The pictures that pages show."""
    for each in (page for group in found.values() for page in group if page.source is not None):
        for match in _LINK.finditer(each.text):
            if match[1] and "://" not in match[3]:
                yield ((each.source or ROOT).parent / match[3]).resolve()


def build(folder: Path) -> None:
    """Make the site anew, below ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    docs = folder / "docs"
    found = pages()
    places = {page.source.resolve(): page.place for group in found.values() for page in group if page.source}
    for image in set(images(found)):
        places[image] = PurePosixPath("images", image.name)
        (docs / "images").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, docs / "images" / image.name)
    for page in (page for group in found.values() for page in group):
        file = docs / page.place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(linked(page, places), "utf-8")
    nav = [{heading: [{page.title: str(page.place)} for page in group]} for heading, group in found.items()]
    # YAML contains JSON.
    (folder / "mkdocs.yml").write_text(json.dumps(_configuration(nav), indent=1), "utf-8")
    builder = Path(sys.executable).with_name("zensical")
    subprocess.run([builder, "build", "--clean", "--strict", "-f", folder / "mkdocs.yml"], check=True, cwd=folder)


def _configuration(nav: Sequence[Mapping[str, object]]) -> dict[str, object]:
    docstrings = {
        "docstring_style": None,
        "extensions": [str(ROOT / "scripts" / "docstring_tables.py")],
        "members_order": "source",
        "show_root_heading": True,
        "show_source": False,
        "show_signature_annotations": True,
        "separate_signature": True,
        "filters": ["!^_"],
    }
    return {
        "site_name": "mediagit-storage",
        "docs_dir": "docs",
        "site_dir": "html",
        "nav": nav,
        # No font of another host: reading the documents tells nobody of it.
        "theme": {
            "font": False,
            "features": ["navigation.sections", "content.code.copy", "search.highlight", "toc.follow"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate"},
            ],
        },
        "plugins": [
            "search",
            {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT / "src")], "options": docstrings}}}},
        ],
        "markdown_extensions": ["tables", "pymdownx.superfences", "pymdownx.highlight", {"toc": {"permalink": True}}],
    }


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / ".cache" / "site")
