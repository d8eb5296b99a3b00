"""``mgs presign``."""

from __future__ import annotations

import re
from datetime import timedelta

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.session import session
from mediagit_storage.types import PresignMethod

__all__ = ["command"]

_METHODS: dict[str, PresignMethod] = {"GET": "GET", "PUT": "PUT", "DELETE": "DELETE"}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d{1,9})([smhd]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration: write 90, 90s, 15m, 12h or 7d", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


@click.command("presign", cls=Command)
@click.argument("target", shell_complete=complete_target)
@click.option("--method", type=click.Choice([*_METHODS], case_sensitive=False), default="GET", show_default=True)
@click.option("--expires", type=_Duration(), default="1h", show_default=True, metavar="TIME", help="90s, 15m, 12h, 7d.")
@click.option("--content-type", metavar="TYPE", help="With PUT: the only media type that may be sent.")
@common
@pass_run
def command(run: Run, target: str, *, method: str, expires: timedelta, content_type: str | None) -> None:
    """Make a link that lets its holder get, put or delete an object for a while.

    Nothing is asked of the storage: the link is made here, and works whether the object exists or not. Whoever has it
    can use it until it expires.
    """
    with session(run) as this:
        place = this.place(target)
        url = place.store.presign(
            place.object_key(), method=_METHODS[method], expires=expires, content_type=content_type
        )
        if run.json:
            seconds = int(expires.total_seconds())
            this.out.record("link", {"key": place.key, "method": method, "expires_in": seconds, "url": url})
        else:
            this.out.line(url)
