"""One Chromium and one set of gateways for the tests of this folder; each test has a context of its own.

The browser is Debian's (`make servers` installs it). Where it is missing the tests are skipped, and fail where ``CI`` is
set. ``SCREENSHOTS=1`` writes what documents show of the console.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
IMAGES = Path(__file__).parents[3] / "docs" / "images"
ARGUMENTS = [
    "--no-sandbox",  # containers have no other
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]


@pytest.fixture(scope="module")
def chromium():
    """The browser."""
    if not CHROMIUM.exists():
        missing = f"{CHROMIUM} is missing: `make servers` installs it"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def token() -> str:
    """What lets its holder write."""
    return secrets.token_hex(16)


@pytest.fixture(scope="module")
def urls(token):
    """The addresses of the gateways."""
    command = [sys.executable, "-m", "mediagit_storage.testing.console.served", token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        yield json.loads(served.stdout.readline())
        served.communicate("", timeout=30)


class Visitor:
    """Somebody with a browser. Whatever a page logs, asks from elsewhere or fails to run is kept in ``trouble``."""

    def __init__(self, context, url: str) -> None:
        self.context = context
        self.url = url
        self.trouble: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", self._requested)

    def _requested(self, request) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.trouble.append(f"asked for {request.url}")

    def go(self, path: str):
        """Open a page; the answer."""
        return self.page.goto(self.url + path)

    def photograph(self, name: str) -> None:
        """Write a picture for the documents, where that was asked for."""
        if os.environ.get("SCREENSHOTS"):
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / f"{name}.png").write_bytes(self.page.screenshot(animations="disabled", caret="hide"))


@pytest.fixture
def visit(chromium, urls):
    """Opens a window of a kind at one of the gateways."""
    contexts = []

    def open_window(where: str = "alive", *, width: int = 1200, height: int = 800, **options) -> Visitor:
        size = {"width": width, "height": height}
        contexts.append(chromium.new_context(viewport=size, reduced_motion="reduce", **options))
        return Visitor(contexts[-1], urls[where])

    yield open_window
    for context in contexts:
        context.close()
