"""The web console as a person meets it, in a real browser: reading, changing, and when things go wrong."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.sync_api import expect

from mediagit_storage.testing.console.samples import HOSTILE
from mediagit_storage.testing.console.video import webm

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

#: Pictures as a browser writes them: the number of each second over a moving dot.
DRAWN = """(seconds) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
  const pen = canvas.getContext("2d");
  return [...Array(seconds).keys()].map((second) => {
    const sky = pen.createLinearGradient(0, 0, 0, 360);
    sky.addColorStop(0, "#1b2a5e");
    sky.addColorStop(1, `hsl(${34 - second} 82% 66%)`);
    pen.fillStyle = sky;
    pen.fillRect(0, 0, 640, 360);
    pen.fillStyle = "#ffe9c4";
    pen.beginPath();
    pen.arc(60 + (second * 520) / seconds, 150, 34, 0, 7);
    pen.fill();
    pen.fillStyle = "#10182f";
    pen.fillRect(0, 280, 640, 80);
    pen.fillStyle = "#ffffff";
    pen.font = "600 30px sans-serif";
    pen.fillText(`00:${String(second).padStart(2, "0")}`, 24, 332);
    return canvas.toDataURL("image/webp", 0.8).split(",")[1];
  });
}"""
SECONDS = 24


def shown(page) -> None:
    """Every picture of the page is there. (What waits for a function is refused by the page's policy.)"""
    page.evaluate("Promise.all([...document.images].map((image) => image.decode())).then(() => null)")


def unscripted(visitor) -> None:
    """Nothing of what is stored has run, and nothing went wrong in the page."""
    assert visitor.page.evaluate("window.owned") is None
    assert "owned" not in visitor.page.title()
    assert visitor.trouble == []


def test_reading(visit):
    """Browse down to a picture, search, page through a long folder, by pointer and by keyboard."""
    visitor = visit(color_scheme="light")
    page = visitor.page
    visitor.go("/")
    expect(page).to_have_url(re.compile(r"/-/browse/$"))
    for name in ("projects/", "iceland/", "stills/"):
        page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("stills")
    expect(page.locator(".about")).to_have_text("1 folder, 4 objects")
    shown(page)
    visitor.photograph("console-folder-light")

    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="dusk.png")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("dawn.png")
    assert page.locator(".stage img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 320
    details = page.get_by_role("region", name="Details")
    for text in ("projects/iceland/stills/dawn.png", "image/png", "A7 IV", "bytes"):
        expect(details).to_contain_text(text)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "dawn.png"

    # The switch is remembered, and no page flashes in the other colours first.
    page.get_by_role("button", name="Change between light and dark").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 17, 22)"
    shown(page)

    page.keyboard.press("u")
    expect(page.get_by_role("heading", level=1)).to_have_text("stills")
    page.keyboard.press("/")
    page.keyboard.type("du")
    page.keyboard.press("Enter")
    expect(page.locator("a.entry")).to_have_text(["dusk.png"])
    visitor.go("/-/browse/")
    page.get_by_text("Contains").click()
    page.get_by_role("searchbox").fill("DUSK.PNG")
    page.keyboard.press("Enter")
    expect(page.locator("a.entry")).to_have_text(["projects/iceland/stills/dusk.png"])

    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    visitor.go("/-/browse/many/")
    expect(page.locator("a.entry")).to_have_count(200)
    page.locator("#more").click()
    expect(page.locator("a.entry")).to_have_count(400)
    page.locator("#more").click()
    expect(page.locator("a.entry")).to_have_count(450)
    expect(page.locator("#more")).to_have_count(0)
    keys = page.locator("a.entry").all_text_contents()
    assert keys == [f"frame-{index:05}.dpx" for index in range(450)]
    unscripted(visitor)


def test_on_a_phone_and_without_scripts(visit):
    """Nothing is wider than a small screen, and reading needs no script at all."""
    phone = visit(width=375, height=740, color_scheme="light", device_scale_factor=2, has_touch=True)
    for path in ("browse/", "browse/hostile/", "view/projects/iceland/stills/dawn.png", "health", "view/nothing"):
        phone.go(f"/-/{path}")
        assert phone.page.evaluate("document.documentElement.scrollWidth") == 375, path
    phone.go("/-/browse/projects/iceland/stills/")
    shown(phone.page)
    phone.photograph("console-phone")

    plain = visit(java_script_enabled=False)
    plain.go("/-/browse/")
    plain.page.get_by_role("link", name="many/").click()
    plain.page.get_by_role("link", name="Show more").click()
    expect(plain.page.locator("a.entry").first).to_have_text("frame-00200.dpx")
    plain.go("/-/view/projects/iceland/README.md")
    expect(plain.page.locator("pre")).to_contain_text("Stills and sound")
    expect(plain.page.get_by_role("link", name="Download")).to_be_visible()
    for name in ("Copy key", "Delete"):
        expect(plain.page.get_by_role("button", name=name)).to_have_count(0)


def test_what_is_stored_never_runs(visit):
    """Names and contents that are scripts are shown as text, and the page stays what it is."""
    visitor = visit()
    page = visitor.page
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    visitor.go("/-/browse/hostile/")
    shown(page)
    assert page.locator("main img").count() == 1, "the name of a picture is no picture"
    expect(page.get_by_text("\\u202egpj.exe")).to_be_visible()
    links = page.locator("a.entry").evaluate_all("(links) => links.map((link) => link.href)")
    assert len(links) == len(HOSTILE)
    for link in links:
        assert link.startswith(f"{visitor.url}/-/"), link
        page.goto(link)
        unscripted(visitor)
    visitor.go("/-/view/hostile/page.html")
    expect(page.locator("pre")).to_contain_text("<!doctype html><title>x</title><script>")
    # Not even when it is opened by itself.
    for name in ("page.html", "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E.svg"):
        visitor.go(f"/-/o/hostile/{name}")
        assert page.evaluate("window.owned") is None
    # Nor where an element or a worker could be put into a page: what is stored is no script of the console's.
    visitor.go("/-/browse/")
    script = """() => new Promise((resolve) => {
      const made = Object.assign(document.createElement("script"), { src: "/-/o/hostile/run.js" });
      made.onload = () => resolve("it ran");
      made.onerror = () => resolve("refused");
      document.head.append(made);
    })"""
    assert page.evaluate(script) == "refused"
    workers = """async () => [
      await navigator.serviceWorker.register("/-/o/hostile/run.js").then(() => "registered", () => "refused"),
      await (async () => new Worker("/-/o/hostile/run.js"))().then(
        (made) => new Promise((resolve) => (made.onerror = () => resolve("refused"))), () => "refused"),
    ]"""
    assert page.evaluate(workers) == ["refused", "refused"]
    assert page.evaluate("window.owned") is None
    visitor.trouble.clear()
    assert dialogs == []


def test_changing(visit, token, tmp_path):
    """Upload a video, seek in it, be asked before anything is replaced, delete."""
    visitor = visit(color_scheme="dark")
    page = visitor.page
    visitor.go("/-/browse/uploads/")
    expect(page.get_by_role("heading", name="Nothing in this folder")).to_be_visible()
    pictures = [base64.b64decode(each) for each in page.evaluate(DRAWN, SECONDS)]
    video, note = tmp_path / "dusk 1.webm", tmp_path / "a note.txt"
    video.write_bytes(webm(pictures, 640, 360, padding=500_000))
    note.write_text("first")
    page.locator("#files").set_input_files([video, note])
    field = page.get_by_label("Token", exact=True)
    field.fill("another-token-of-somebody")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That token is not accepted.")).to_be_visible()
    field.fill(token)
    visitor.photograph("console-token-dark")
    page.keyboard.press("Enter")
    expect(page.locator("#uploads .done")).to_have_count(2)
    expect(page.locator("a.entry")).to_have_text(["a note.txt", "dusk 1.webm"])

    # The same name again: nothing is replaced before somebody says so.
    note.write_text("second")
    for answer, content in (("Keep what is there", "first"), ("Replace it", "second")):
        page.locator("#files").set_input_files([note])
        page.get_by_role("button", name=answer).click()
        expect(page.locator("#uploads li").last.locator(".state")).to_have_text(
            "stored" if content == "second" else "kept what was there"
        )
        assert visitor.context.request.get(f"{visitor.url}/-/o/uploads/a%20note.txt").text() == content

    page.get_by_role("link", name="dusk 1.webm").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("range", "")))
    film = page.locator("video")
    film.evaluate(
        "(video) => new Promise((ready) => { if (video.readyState > 1) ready(); else video.onloadeddata = ready; })"
    )
    assert film.evaluate("(video) => video.duration") == SECONDS
    film.evaluate("(video) => new Promise((done) => { video.onseeked = done; video.currentTime = 22.5; })")
    assert film.evaluate("(video) => video.currentTime") == 22.5
    assert any(
        int(range_.removeprefix("bytes=").partition("-")[0] or 0) > video.stat().st_size // 2
        for range_ in asked
        if range_
    ), asked
    film.evaluate(
        "(video) => new Promise((ready) => { if (video.readyState > 3) ready(); else video.oncanplaythrough = ready; })"
    )
    visitor.photograph("console-video-dark")

    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete this object?")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=1)).to_have_text("dusk 1.webm")
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("a.entry")).to_have_text(["a note.txt"])
    expect(page.get_by_role("status")).to_contain_text("Deleted.")

    # Somebody else was quicker: what they wrote is not deleted unseen.
    page.get_by_role("link", name="a note.txt").click()
    headers = {"Authorization": f"Bearer {token}"}
    visitor.context.request.put(f"{visitor.url}/-/o/uploads/a%20note.txt", data="third", headers=headers)
    assert visitor.trouble == [each for each in visitor.trouble if "412" in each]
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Somebody else has changed it")).to_be_visible()
    assert visitor.context.request.get(f"{visitor.url}/-/o/uploads/a%20note.txt").text() == "third"


DROP = """(names) => {
  const dropped = new DataTransfer();
  for (const name of names) dropped.items.add(new File([`dropped as ${name}`], name, { type: "text/plain" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: dropped, bubbles: true, cancelable: true }));
  }
}"""


def test_dropped_on_a_storage_that_replaces_whatever_is_there(visit, token):
    """The console looks first there, so that nothing is replaced without a question either. Who gives no token is not nagged."""
    visitor = visit("careless")
    page = visitor.page
    visitor.go("/-/browse/")
    page.evaluate(DROP, ["one.txt", "two.txt", "ünlaut & <b>.txt"])
    page.keyboard.press("Escape")
    expect(page.locator("#uploads .failed")).to_have_count(3)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.evaluate(DROP, ["one.txt", "ünlaut & <b>.txt"])
    page.get_by_label("Token", exact=True).fill(token)
    page.keyboard.press("Enter")
    expect(page.locator("#uploads .done")).to_have_count(2)
    visitor.context.request.put(
        f"{visitor.url}/-/o/one.txt", data="other", headers={"Authorization": f"Bearer {token}"}
    )
    page.evaluate(DROP, ["one.txt"])
    page.get_by_role("button", name="Keep what is there").click()
    expect(page.locator("#uploads li").last).to_contain_text("kept what was there")
    assert visitor.context.request.get(f"{visitor.url}/-/o/one.txt").text() == "other"
    visitor.go("/-/browse/")
    expect(page.locator("a.entry")).to_have_text(["one.txt", "ünlaut & <b>.txt"])

    # Single letters can be had back, by who speaks to the browser.
    page.get_by_role("button", name="Keyboard help").click()
    page.get_by_label("Single letters").uncheck()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("j")
    expect(page.locator("a.entry:focus")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="one.txt")).to_be_focused()
    assert [each for each in visitor.trouble if "404" not in each] == []


def test_when_things_go_wrong(visit):
    """What is not there, a storage that is dead, a gateway that is gone: said plainly, with what to do."""
    visitor = visit(color_scheme="light")
    page = visitor.page
    assert visitor.go("/-/view/nothing/here.png").status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such object")

    page.clock.install()
    visitor.go("/-/health")
    expect(page.get_by_text("Everything answers")).to_be_visible()
    for step in range(24):
        for _ in range(step * 5 % 7):
            visitor.context.request.get(f"{visitor.url}/-/o/LICENSE")
        with page.expect_response("**/-/api/status"):
            page.clock.run_for(3000)
    requests = page.locator('[data-line="requests"]')
    expect(requests.locator("polyline")).to_have_attribute("points", re.compile(r"(.+ ){9}"))
    expect(requests.locator(".now")).to_have_text(re.compile(r"^\d+(\.\d)?/s$"))
    visitor.photograph("console-health-light")
    visitor.context.set_offline(True)
    page.clock.run_for(3000)
    expect(page.get_by_text("The gateway does not answer.")).to_be_visible()
    visitor.context.set_offline(False)
    page.clock.run_for(3000)
    expect(page.get_by_text("The gateway does not answer.")).to_be_hidden()

    dead = visit("dead", color_scheme="light")
    assert dead.go("/-/browse/").status == 503
    expect(dead.page.get_by_role("heading", level=1)).to_have_text("The storage cannot be reached")
    expect(dead.page.get_by_role("link", name="Try again")).to_have_attribute("href", "/-/browse/")
    text = dead.page.content()
    assert "Traceback" not in text
    assert "127.0.0.1" not in text
    dead.photograph("console-dead-light")
    dead.page.get_by_role("main").get_by_role("link", name="Health").click()
    expect(dead.page.get_by_text("The storage does not answer", exact=True)).to_be_visible()
