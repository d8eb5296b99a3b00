"""Write the tables of layers and of their orders into docs/guides/layers.md, from the data that stacks are checked by.

    scripts/layer_orders.py

A test compares the page with the data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mediagit_storage.layers.order import LAYERS, RULES

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "layers.md"
BEGIN: Final = "<!-- written by scripts/layer_orders.py -->\n"
END: Final = "<!-- until here -->\n"


def tables() -> str:
    """The part of the page that is generated."""
    lines = ["| layer | what it is for | links through it |", "|---|---|---|"]
    lines += [
        f"| `{kind.name}` | {kind.purpose} | {'as the storage' if kind.links else 'none to objects'} |"
        for kind in LAYERS
    ]
    lines += ["", "| rule | because |", "|---|---|"]
    lines += [f"| {rule} | {rule.why} |" for rule in RULES]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its generated part anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + tables() + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
