"""The tables of layers in the guide are those that stacks are checked by."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_guide_shows_the_rules_of_today():
    """After a deliberate change: scripts/layer_orders.py"""
    script = runpy.run_path(str(ROOT / "scripts" / "layer_orders.py"))
    text = script["PAGE"].read_text("utf-8")
    assert text.count(script["BEGIN"]) == text.count(script["END"]) == 1
    assert text == script["page"](text), "run scripts/layer_orders.py"
