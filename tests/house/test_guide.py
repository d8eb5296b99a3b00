"""The backend of the guide keeps the promises of the contract: what people copy from there is right."""

from __future__ import annotations

import re
import sys
import types
from itertools import count
from pathlib import Path

from mediagit_storage.testing.conformance import ConformanceSuite

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "writing-a-backend.md"


def backend_of_the_guide() -> type:
    """The class that the first Python block of the page defines."""
    first = re.search(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    # A module that can be imported, as a reader's file would be: pickles name it.
    module = sys.modules["backend_of_the_guide"] = types.ModuleType("backend_of_the_guide")
    exec(compile(first[1], GUIDE.name, "exec", dont_inherit=True), vars(module))
    return module.DictBackend


DictBackend = backend_of_the_guide()
numbers = count()


class TestGuide(ConformanceSuite):
    chunk_sizes = (1, 64 * 1024)
    many = 200
    rounds = 1

    def open_backend(self):
        return DictBackend(f"guide-{next(numbers)}")
