"""The site is built from the pages of the sources, complete, and loads nothing from anywhere else."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    into = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, SCRIPTS / "site.py", into], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return into / "html"


class Loaded(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self):
        super().__init__()
        self.urls = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in {"script", "img", "iframe", "source"} and given.get("src"):
            self.urls.append(given["src"])
        if tag == "link" and given.get("rel") in {"stylesheet", "preload", "icon", "preconnect"} and given.get("href"):
            self.urls.append(given["href"])


def test_every_document_is_on_the_site(site):
    script = runpy.run_path(str(SCRIPTS / "site.py"))
    found = script["pages"]()
    sources = {page.source for group in found.values() for page in group if page.source}
    assert {*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")} <= sources
    for page in (page for group in found.values() for page in group):
        place = page.place.with_suffix("") if page.place.name != "index.md" else page.place.parent
        assert (site / place / "index.html").exists(), page.place


def test_a_reader_is_told_to_nobody(site):
    for file in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(file.read_text("utf-8"))
        assert [url for url in loaded.urls if re.match(r"(https?:)?//", url)] == [], file


def test_links_lead_to_pages_of_the_site_and_not_to_sources(site):
    shown = (site / "index.html").read_text("utf-8")
    assert 'href="background/security/"' in shown
    assert ".md" not in "".join(re.findall(r'href="([^"]*)"', shown))


def test_the_reference_holds_docstrings_and_their_tables(site):
    shown = (site / "reference" / "api" / "values" / "index.html").read_text("utf-8")
    assert "create-only writes, atomic" in shown
    assert "<table>" in shown
    assert "=====" not in shown


def test_what_each_storage_can_do_is_what_they_say():
    """After a change: scripts/capability_table.py"""
    script = runpy.run_path(str(SCRIPTS / "capability_table.py"))
    assert script["PAGE"].read_text("utf-8") == script["page"](), "run scripts/capability_table.py"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no table", "no table"),
        ("===  ===\na    b\n===  ===", "\n|  |  |\n| --- | --- |\n| a | b |\n"),
        ("a\n\n===  ===\nx    y\n===  ===\na    b|c\n     d\n===  ===\n\nz", "a\n\n\n| x | y |\n| --- | --- |\n| a | b\\|c d |\n\n\nz"),
        ("===  ===\nlonger than it  b\n===  ===", "\n|  |  |\n| --- | --- |\n| longer than it | b |\n"),
    ],
)  # fmt: skip
def test_tables_of_docstrings_become_tables_of_pages(text, expected):
    assert runpy.run_path(str(SCRIPTS / "docstring_tables.py"))["as_markdown"](text) == expected
