"""The files of the console: small, of one piece, and with colours that everybody can read."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

import mediagit_storage
from mediagit_storage.serve.console.assets import load_assets

STATIC = Path(mediagit_storage.__file__).parent / "serve" / "console" / "static"
CSS = (STATIC / "console.css").read_text()
#: The blocks that set the colours: light, dark by the system, dark by choice.
LIGHT, SYSTEM, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r"\{([^{}]*--ground:[^{}]*)\}", CSS)
)


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_both_ways_to_the_dark_have_the_same_colours():
    assert SYSTEM == DARK
    assert set(LIGHT) == set(DARK)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrasts(colours):
    """Text 4.5:1 on all that it stands on, edges of what can be used 3:1 (WCAG AA)."""
    pairs = [
        *itertools.product(("text", "soft"), ("ground", "card", "raised")),
        *itertools.product(("link",), ("ground", "card", "tint")),
        *itertools.product(("good", "bad"), ("card",)),
        ("bad", "ground"), ("bad", "bad-tint"), ("text", "tint"), ("text", "warn-tint"), ("text", "picked"),
        ("on-fill", "fill"), ("ground", "text"),
    ]  # fmt: skip
    poor = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}
    for ground in ("ground", "card"):
        assert contrast(colours["edge"], colours[ground]) >= 3


def test_what_is_named_is_there_and_nothing_else():
    assert set(load_assets()) == {path.name for path in STATIC.iterdir()}
    used = set(re.findall(r"var\(--([a-z-]+)\)", CSS))
    assert used == set(re.findall(r"--([a-z-]+):", CSS))


def test_no_page_loads_more_than_15_kb_of_scripts():
    size = {name: len(asset.data) for name, asset in load_assets().items()}
    shared = size["theme.js"] + size["console.js"]
    assert shared + max(size["upload.js"], size["health.js"]) < 15_000
    assert size["console.css"] < 20_000


def test_nothing_comes_from_elsewhere():
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?:|//[a-z]|@import|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text
        ), path


def test_pictures_in_the_documents_are_small_and_all_shown():
    docs = Path(__file__).parents[3] / "docs"
    pictures = {path.name: path.stat().st_size for path in (docs / "images").glob("console-*.png")}
    shown = set(re.findall(r"images/(console-[a-z-]+\.png)", (docs / "guides" / "console.md").read_text("utf-8")))
    assert shown == set(pictures)
    assert max(pictures.values()) < 150_000
