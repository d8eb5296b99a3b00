"""Folders of real files move from every kind of storage to every other one, and other programs find all of it there.

rclone fills the source, so that nothing of ours has written it, compares the target with the files by reading both, and
fetches all of it; ``diff -r`` then looks for a byte, a name or a folder that differs.
"""

from __future__ import annotations

import secrets
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from mediagit_storage import Attributes, Storage, open_storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.emulators import SERVERS, Running, must_be_there, why_missing
from mediagit_storage.testing.emulators.plugin import cache_of
from mediagit_storage.testing.emulators.rclone_client import Rclone
from mediagit_storage.testing.killed_transfers import digest, write_numbered
from mediagit_storage.testing.trees import write_tree
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.migrate import Migrating, MigrationCounts, migrate
from mediagit_storage.tools.remembered import remembered_between
from mediagit_storage.tools.sides import Side

#: In this order a ring: each is once the source and once the target of its neighbour.
SERVICES = ("local", "localstack", "azurite", "fake-gcs-server", "rclone-webdav")
URLS = {"s3": "s3://{}", "azure": "az://{}", "gcs": "gs://{}", "webdav": "dav:///{}"}
OPTIONS = {"localstack": {"service": "aws", "path_style": True}, "rclone-webdav": {"service": "rclone"}}
GIB = 1024**3
#: What some of the objects are told to have; each storage keeps what it can of it.
DESCRIBED = Attributes(
    content_type="image/x-test",
    cache_control="max-age=60",
    content_disposition="attachment",
    metadata={"camera": "Some One", "place": "here"},
)


class Place:
    """A new bucket, container or folder of a service: our storage over it, and its name for rclone."""

    def __init__(self, folder: Path, programs: Path, server: Running | None) -> None:
        name = f"m-{secrets.token_hex(6)}"
        self.server = server
        if server is None:
            (folder / name).mkdir()
            self.name, self.store = str(folder / name), open_storage(folder / name)
        else:
            self.name = f"there:{name}"
            url, options = URLS[server.speaks].format(name), OPTIONS.get(server.name, {})
            self.store = open_storage(url, options=options, environ=server.environment())
            self.store.create()
        self.rclone = Rclone(programs, folder, server)

    def fill(self, files: Path) -> None:
        """Put files there, by rclone; of some tell us more, as far as the service keeps it."""
        self.rclone.run("copy", files, self.name, "--transfers", "8", "--checksum")
        can = self.store.capabilities.attributes
        if can:
            kept = replace(DESCRIBED, **{name: getattr(Attributes(), name) for name in DESCRIBED.named() - can})
            for info in [*self.store.list("names/")][:5]:
                self.store.put(info.key, self.store.get(info.key), attributes=kept)

    def compare(self, files: Path) -> None:
        """It holds these files and no others, as rclone reads them."""
        self.rclone.run("check", files, self.name, "--download", "--checkers", "8")

    def fetch(self, files: Path, fetched: Path) -> None:
        """It holds these files and no others once rclone has fetched them."""
        self.rclone.run("copy", self.name, fetched, "--transfers", "8")
        done = subprocess.run(["diff", "-r", files, fetched], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def place(request, servers, tmp_path, monkeypatch):
    """Makes places on a service by its name, closed in the end."""
    cache = cache_of(request.config)
    if (missing := why_missing(SERVERS["rclone"], cache)) is not None:
        (pytest.fail if must_be_there(SERVERS["rclone"]) else pytest.skip)(missing)
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    with ExitStack() as opened:

        def make(service: str) -> Place:
            made = Place(tmp_path, cache / "rclone", None if service == "local" else servers(service))
            opened.enter_context(made.store)
            return made

        yield make


def moved(source: Place, target: Place) -> None:
    """Migrate, and have every object proven; a second run finds nothing to do."""
    sides, how = (Side(source.store), Side(target.store)), Migrating(copying=CopyRules(drop_attributes=True))
    for expected in (True, False):
        counts = MigrationCounts()
        with remembered_between("migrations", *sides) as journal:
            errors = [step.synced for step in migrate(*sides, how, journal, counts) if step.synced.error]
        assert errors == []
        assert counts.complete
        assert (counts.copied > 0) is expected
    same_attributes(source.store, target.store)


def same_attributes(source: Storage, target: Storage) -> None:
    """What both can keep of objects with attributes is the same."""
    both = source.capabilities.attributes & target.capabilities.attributes
    for info in [*source.list("names/")][:5]:
        ours, theirs = (store.stat(info.key).attributes or Attributes() for store in (source, target))
        assert {name: getattr(theirs, name) for name in both} == {name: getattr(ours, name) for name in both}


@covers(228)
@pytest.mark.uses_server(*SERVICES[1:])
def test_thirty_files_go_round_all_services(place, tmp_path):
    files = tmp_path / "files"
    write_tree(files, 30)
    places = [place(service) for service in SERVICES]
    places[0].fill(files)
    for number, (source, target) in enumerate(zip(places, [*places[1:], place("local")], strict=True)):
        moved(source, target)
        target.fetch(files, tmp_path / f"fetched-{number}")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.uses_server(*SERVICES[1:])
def test_a_thousand_files_go_from_each_service_to_every_other(place, tmp_path, service):
    files = tmp_path / "files"
    write_tree(files, 1000)
    source = place(service)
    source.fill(files)
    for other in SERVICES:
        if other != service:
            target = place(other)
            moved(source, target)
            target.compare(files)
            target.fetch(files, tmp_path / f"fetched-{other}")
            target.store.delete_many(info.key for info in target.store.list()).run()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.uses_server(*SERVICES[1:])
def test_a_file_of_a_gibibyte_goes_round_all_services(place, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    write_numbered(files / "large.bin", GIB)
    places = [place(service) for service in SERVICES]
    (Path(places[0].name) / "large.bin").hardlink_to(files / "large.bin")
    for source, target in zip(places, [*places[1:], place("local")], strict=True):
        moved(source, target)
        target.compare(files)
        if source.server is not None:
            source.store.delete("large.bin")
    assert digest(Path(target.name) / "large.bin") == digest(files / "large.bin")
