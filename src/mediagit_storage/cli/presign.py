"""``mgs presign``."""

from __future__ import annotations

from datetime import timedelta

import click

from mediagit_storage.cli.durations import Duration
from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.pairs import parse_pairs
from mediagit_storage.cli.session import session
from mediagit_storage.types import PresignMethod

__all__ = ["command"]

_METHODS: dict[str, PresignMethod] = {"GET": "GET", "PUT": "PUT", "DELETE": "DELETE"}


@click.command("presign", cls=Command)
@click.argument("target", shell_complete=complete_target)
@click.option("--method", type=click.Choice([*_METHODS], case_sensitive=False), default="get", show_default=True)
@click.option("--expires", type=Duration(), default="1h", show_default=True, metavar="TIME", help="90s, 15m, 12h, 7d.")
@click.option("--content-type", metavar="TYPE", help="With PUT: the only media type that may be sent.")
@click.option(
    "--response",
    "response",
    multiple=True,
    metavar="NAME=VALUE",
    help="With GET: a header of the answer, in the place of the object's own. May be repeated.",
)
@common
@pass_run
def command(
    run: Run, target: str, *, method: str, expires: timedelta, content_type: str | None, response: tuple[str, ...]
) -> None:
    """Make a link that lets its holder get, put or delete an object for a while.

    Nothing is asked of the storage: the link is made here, and works whether the object exists or not. Whoever has it
    can use it until it expires. Links of the S3 family live for seven days at most.

    \b
    Examples:
      mgs presign s3://media/clip.mov --expires 2d
      mgs presign s3://media/clip.mov --response 'content-disposition=attachment; filename="clip.mov"'
      mgs presign s3://media/in/new.png --method put --content-type image/png
    """  # noqa: D301  # \b keeps click from joining the lines
    overrides = parse_pairs("--response", response)
    if overrides and method.upper() != "GET":
        raise click.UsageError("--response is for links that get: leave out --method")
    if content_type is not None and method.upper() != "PUT":
        raise click.UsageError("--content-type is for links that put: add --method put")
    with session(run) as this:
        place = this.place(target)
        url = place.store.presign(
            place.object_key(),
            method=_METHODS[method],
            expires=expires,
            content_type=content_type,
            response=overrides,
        )
        if run.json:
            seconds = int(expires.total_seconds())
            this.out.record("link", {"key": place.key, "method": method, "expires_in": seconds, "url": url})
        else:
            this.out.line(url)
