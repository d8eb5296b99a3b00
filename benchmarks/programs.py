"""Command lines that are measured: mgs, s5cmd and rclone, from their start to their exit."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from turns import peak_mib

REGION = "us-east-1"
KEYS = {"access_key_id": "bench", "secret_access_key": "bench"}  # nobody checks them


class Place(NamedTuple):
    """Where a contestant works: a server, the certificate it is known by, a bucket of it."""

    url: str
    certificate: str | None
    bucket: str


class Folder(NamedTuple):
    """What is synchronised: a folder on this machine, or a whole bucket of the server."""

    path: str | None = None
    bucket: str | None = None


class Program(ABC):
    """A command line; each method runs it once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.peak = 0.0
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_", "MGS_"))},
            "AWS_ACCESS_KEY_ID": KEYS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": KEYS["secret_access_key"],
            "AWS_REGION": REGION,
        }
        if place.certificate:
            self.environment["AWS_CA_BUNDLE"] = place.certificate

    @abstractmethod
    def sync(self, source: Folder, target: Folder) -> None:
        """Make a folder like another."""

    def run(self, *words: str) -> bytes:
        """Run it to its end and return what it printed."""
        line = [str(Path(sys.executable).parent / words[0]), *words[1:]]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment) as process:
            while True:
                try:
                    output, errors = process.communicate(timeout=0.01)
                    break
                except subprocess.TimeoutExpired:
                    self.peak = max(self.peak, peak_mib(process.pid))
        if process.returncode:
            raise SystemExit(f"{' '.join(line)}: {errors.decode()[-2000:]}")
        return output


class Mgs(Program):
    """This library's command line, with a profile: a URL alone does not get the environment's credentials."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
            file.write(self.profile("bench", place.bucket))
        self.environment["MGS_CONFIG"] = file.name
        atexit.register(os.unlink, file.name)

    def profile(self, name: str, bucket: str) -> str:
        """The text of a profile for a bucket."""
        lines = [
            f"[{name}]",
            f'url = "s3://{bucket}"',
            f'endpoint = "{self.place.url}"',
            'service = "aws"',
            "path_style = true",
            f'region = "{REGION}"',
            'access_key_id = { env = "AWS_ACCESS_KEY_ID" }',
            'secret_access_key = { env = "AWS_SECRET_ACCESS_KEY" }',
            *([f'ca_file = "{self.place.certificate}"'] if self.place.certificate else []),
        ]
        return "\n".join(lines) + "\n"

    def url(self, key: str) -> str:
        return f"bench:{key}"

    def file(self, path: str) -> str:
        return f"file://{path}?durability=none"

    def upload(self, path: str, key: str) -> None:
        self.run("mgs", "cp", path, self.url(key))

    def download(self, key: str, path: str) -> None:
        self.run("mgs", "cp", self.url(key), self.file(path))

    def copy_up(self, folder: str) -> None:
        self.run("mgs", "cp", "-r", f"{folder}/", self.url("new/"))

    def copy_down(self, folder: str) -> None:
        self.run("mgs", "cp", "-r", self.url("files/"), self.file(f"{folder}/"))

    def sync(self, source: Folder, target: Folder) -> None:
        both = {"source": source, "target": target}
        profiles = (self.profile(name, each.bucket) for name, each in both.items() if each.bucket)
        Path(self.environment["MGS_CONFIG"]).write_text("".join(profiles))
        words = [self.file(each.path) if each.path else f"{name}:" for name, each in both.items()]
        self.run("mgs", "sync", "-q", *words)

    def count(self) -> int:
        return self.run("mgs", "ls", "-r", self.url("")).count(b"\n")


class MgsDurable(Mgs):
    """The default: files are synced, once for the whole batch."""

    def file(self, path: str) -> str:
        return path


class S5cmd(Program):
    """s5cmd (Go), with its own defaults."""

    def s5cmd(self, *words: str) -> bytes:
        return self.run("s5cmd", "--endpoint-url", self.place.url, "--log", "error", *words)

    def upload(self, path: str, key: str) -> None:
        self.s5cmd("cp", path, f"s3://{self.place.bucket}/{key}")

    def download(self, key: str, path: str) -> None:
        self.s5cmd("cp", f"s3://{self.place.bucket}/{key}", path)

    def copy_up(self, folder: str) -> None:
        self.s5cmd("cp", f"{folder}/", f"s3://{self.place.bucket}/new/")

    def copy_down(self, folder: str) -> None:
        self.s5cmd("cp", f"s3://{self.place.bucket}/files/*", f"{folder}/")

    def sync(self, source: Folder, target: Folder) -> None:
        whole = "*" if source.bucket else ""
        self.s5cmd("sync", f"{self.folder(source)}/{whole}", f"{self.folder(target)}/")

    def folder(self, folder: Folder) -> str:
        return folder.path or f"s3://{folder.bucket}"

    def count(self) -> int:
        return self.run("s5cmd", "--endpoint-url", self.place.url, "ls", f"s3://{self.place.bucket}/*").count(b"\n")


class Rclone(Program):
    """rclone (Go), with as many transfers as we have, and without the checks that cost it further requests."""

    def rclone(self, command: str, *words: str) -> bytes:
        remote = ["--s3-provider", "Other", "--s3-endpoint", self.place.url, "--s3-env-auth", "--s3-list-version", "2"]
        speed = ["--transfers", "32", "--checkers", "32", "--s3-no-head", "--s3-no-check-bucket"]
        if command != "sync":
            speed += ["--ignore-times", "--no-check-dest"]
        trust = ["--ca-cert", self.place.certificate] if self.place.certificate else []
        return self.run("rclone", command, *words, *remote, *speed, *trust, "--config", "", "--retries", "1")

    def upload(self, path: str, key: str) -> None:
        self.rclone("copyto", path, f":s3:{self.place.bucket}/{key}")

    def download(self, key: str, path: str) -> None:
        self.rclone("copyto", f":s3:{self.place.bucket}/{key}", path)

    def copy_up(self, folder: str) -> None:
        self.rclone("copy", folder, f":s3:{self.place.bucket}/new")

    def copy_down(self, folder: str) -> None:
        self.rclone("copy", "--fast-list", "--use-server-modtime", f":s3:{self.place.bucket}/files", folder)

    def sync(self, source: Folder, target: Folder) -> None:
        self.rclone("sync", "--fast-list", *(self.folder(each) for each in (source, target)))

    def folder(self, folder: Folder) -> str:
        return folder.path or f":s3:{folder.bucket}"

    def count(self) -> int:
        return self.rclone("lsf", "-R", "--files-only", "--fast-list", f":s3:{self.place.bucket}").count(b"\n")


class RcloneByServer(Rclone):
    """The same, content with the server's times: by default it asks for the file's own time of each object."""

    def rclone(self, command: str, *words: str) -> bytes:
        return super().rclone(command, "--use-server-modtime", "--update", *words)
