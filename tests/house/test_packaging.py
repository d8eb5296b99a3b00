"""What is shipped: a wheel and a source archive that hold what is needed and nothing else, and that install."""

from __future__ import annotations

import email
import email.message
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import mediagit_storage

ROOT = Path(__file__).parents[2]
VERSION = mediagit_storage.__version__


def build(target: str, source: Path, out: Path) -> Path:
    """A wheel or sdist, built without a network by the builder that is in the environment already."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True, timeout=100)
    return next(out.glob("*.whl" if target == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"mediagit_storage-{VERSION}.dist-info/METADATA"))


def test_the_wheel_holds_the_package_its_licence_and_nothing_else(wheel):
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "mediagit_storage").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"mediagit_storage-{VERSION}.dist-info/"
    extras = {about + name for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names_in(wheel) == package | extras
    assert "mediagit_storage/py.typed" in package


def test_the_metadata_says_what_it_needs(wheel):
    metadata = metadata_of(wheel)
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    required = {each.partition(">")[0] for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each}
    assert required == {"certifi", "pycurl", "click", "msgspec", "platformdirs", "rich"}
    assert "mediagit" in metadata.get_payload()


def test_the_source_archive_holds_no_leftovers_and_makes_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path, filter="data")
    tops = {name.partition("/")[0] for name in names}
    documents = {path.name for path in ROOT.glob("*.md")}
    others = {
        "src",
        "tests",
        "docs",
        "benchmarks",
        "deploy",
        "scripts",
        "changelog.d",
        ".ci",
        "Makefile",
        "docker-compose.yml",
        "LICENSE",
        "pyproject.toml",
    }
    # Hatchling adds these two by itself.
    assert tops == documents | others | {"PKG-INFO", ".gitignore"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".orig", ".swp"))]
    (unpacked,) = tmp_path.iterdir()
    # What the documents point to came along.
    for document in (*unpacked.glob("*.md"), *unpacked.glob("docs/**/*.md"), *unpacked.glob("benchmarks/*.md")):
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name} -> {link}"
    again = build("wheel", unpacked, tmp_path / "again")
    assert names_in(again) == names_in(wheel)


def test_the_wheel_installs_and_runs_in_an_environment_of_its_own(wheel, tmp_path):
    """No network: the libraries it needs are borrowed, the package itself is not."""
    home = tmp_path / "clean"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-index",
        "--no-deps",
        "--quiet",
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = "import mediagit_storage as m; print(m.__file__, m.__version__)"
    shown = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert shown.stdout.strip() == f"{site}/mediagit_storage/__init__.py {VERSION}"
    version = subprocess.run(
        [home / "bin" / "mgs", "--version"], check=True, capture_output=True, text=True, timeout=60
    )
    assert VERSION in version.stdout
