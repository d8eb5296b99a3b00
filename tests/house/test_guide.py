"""The backends of the guide keep the promises of the contract: what people copy from there is right."""

from __future__ import annotations

import re
import sys
import types
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.shelf import shelf

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-a-backend.md"


def blocks() -> list[str]:
    """The Python blocks of the page."""
    return re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def backends_of_the_guide() -> types.ModuleType:
    """What the blocks define that have a backend in them."""
    # A module that can be imported, as a reader's file would be: pickles name it.
    module = sys.modules["backends_of_the_guide"] = types.ModuleType("backends_of_the_guide")
    for block in blocks():
        if re.search(r"^class \w+\((StorageBackend|HttpBackend\[\w+\])\):", block, re.MULTILINE):
            exec(compile(block, GUIDE.name, "exec", dont_inherit=True), vars(module))
    return module


guide = backends_of_the_guide()
numbers = count()


class TestGuide(ConformanceSuite):
    chunk_sizes = (1, 64 * 1024)
    many = 200
    rounds = 1

    def open_backend(self):
        return guide.DictBackend(f"guide-{next(numbers)}")


class TestGuideOverHTTP(ConformanceSuite):
    chunk_sizes = (1, 64 * 1024, 8 * 1024 * 1024)
    rounds = 1

    @contextmanager
    def running(self, folder):
        with shelf() as self.url, super().running(folder):
            yield

    def open_backend(self):
        return self.reopen(None)

    def reopen(self, backend):
        return guide.ShelfBackend(guide.ShelfConfig(url=self.url))
