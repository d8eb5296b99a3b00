"""``mgs put``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from mediagit_storage.attributes import guess_content_type
from mediagit_storage.cli.framework import Command, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.limits import limiting
from mediagit_storage.cli.output import object_record
from mediagit_storage.cli.pairs import parse_pairs
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.session import Place, session
from mediagit_storage.tools.cache_rules import cache_rules_of
from mediagit_storage.types import Attributes, Checksum

__all__ = ["command"]

_DIGEST_BYTES = {"sha256": 32, "md5": 16}


@click.command("put", cls=Command)
@click.argument("file", shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("--content-type", metavar="TYPE", help="The media type; guessed from the key unless given.")
@click.option("--cache-control", metavar="TEXT", help="How long others may keep a copy.")
@click.option("--content-encoding", metavar="TEXT", help="How the bytes are encoded, for example gzip.")
@click.option("--content-disposition", metavar="TEXT", help="How a browser should treat it.")
@click.option("--storage-class", metavar="NAME", help="The provider's class of storage.")
@click.option("--metadata", metavar="NAME=VALUE", multiple=True, help="Text kept with the object. May be repeated.")
@click.option("--tag", "tags", metavar="NAME=VALUE", multiple=True, help="A tag. May be repeated.")
@click.option("--if-absent", is_flag=True, help="Only if there is no such object (else exit code 13).")
@click.option("--if-match", metavar="ETAG", help="Only over the object with this ETag (else exit code 13).")
@click.option("--resume/--no-resume", default=True, help="Go on with a large upload that broke off (default).")
@click.option("--sha256", metavar="HEX", help="Refuse bytes that do not have this SHA-256.")
@click.option("--md5", metavar="HEX", help="Refuse bytes that do not have this MD5.")
@limiting
@dry_run
@common
@pass_run
def command(
    run: Run,
    file: str,
    target: str,
    *,
    content_type: str | None,
    cache_control: str | None,
    content_encoding: str | None,
    content_disposition: str | None,
    storage_class: str | None,
    metadata: tuple[str, ...],
    tags: tuple[str, ...],
    if_absent: bool,
    if_match: str | None,
    resume: bool,
    sha256: str | None,
    md5: str | None,
) -> None:
    """Store a file or standard input as one object.

    FILE is a path, or - for standard input. TARGET is the object's URL, path or profile and key; when it ends with / or
    is an existing folder, the object gets the file's name in it. All of it is stored, or nothing. A large upload that
    broke off goes on where it stopped when the same command is given again and the file has not changed.
    """
    if if_absent and if_match is not None:
        raise click.UsageError("--if-absent cannot be combined with --if-match")
    attributes = Attributes(
        content_type,
        cache_control,
        content_encoding,
        content_disposition,
        parse_pairs("--metadata", metadata),
        storage_class,
        parse_pairs("--tag", tags),
    )
    checksum = _checksum(sha256, md5)
    with session(run) as this:
        place = this.place(target)
        key = _key(file, place)
        if attributes.cache_control is None:
            by_rule = cache_rules_of(target).cache_control(key, attributes.content_type)
            attributes = replace(attributes, cache_control=by_rule)
        if run.dry_run:
            this.out.line(f"put {file} -> {place.store.description}/{key}")
            return
        started = time.monotonic()
        with progress_bar(this):
            if file == "-":
                info = place.store.put(
                    key,
                    sys.stdin.buffer,
                    attributes=_with_type(attributes, key, place),
                    if_absent=if_absent,
                    if_match=if_match,
                    checksum=checksum,
                )
            else:
                info = place.store.upload(
                    file,
                    key,
                    attributes=attributes,
                    if_absent=if_absent,
                    if_match=if_match,
                    checksum=checksum,
                    resume=resume,
                )
        if run.json:
            this.out.record("object", object_record(info))
        else:
            this.out.summary("stored", 1, info.size or 0, time.monotonic() - started, {})


def _key(file: str, place: Place) -> str:
    if place.key and not place.key.endswith("/"):
        return place.key
    if file == "-":
        raise click.UsageError("standard input has no name: write the whole key of the object")
    return place.key + Path(file).name


def _with_type(attributes: Attributes, key: str, place: Place) -> Attributes:
    if attributes.content_type is not None or "content_type" not in place.store.capabilities.attributes:
        return attributes
    return replace(attributes, content_type=guess_content_type(key))


def _checksum(sha256: str | None, md5: str | None) -> Checksum | None:
    if sha256 is not None and md5 is not None:
        raise click.UsageError("give --sha256 or --md5, not both")
    for algorithm, text in (("sha256", sha256), ("md5", md5)):
        if text is None:
            continue
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if len(digest) != _DIGEST_BYTES[algorithm]:
            raise click.UsageError(f"--{algorithm} takes {2 * _DIGEST_BYTES[algorithm]} hexadecimal digits")
        return Checksum(algorithm, digest)
    return None
