"""``mgs cdn``: URLs of the CDN in front of a storage, and how to have it drop its copies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import click

from mediagit_storage.cdn import CDN, Purged, open_cdn
from mediagit_storage.cli.durations import Duration
from mediagit_storage.cli.framework import Group, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.session import Session, object_key, session
from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.opening import locate
from mediagit_storage.tools.cache_rules import cache_rules_of
from mediagit_storage.types import JSON
from mediagit_storage.url import profile_part

__all__ = ["command"]


@click.group("cdn", cls=Group)
def command() -> None:
    """Links of the CDN in front of a storage, and its copies dropped.

    A profile says which CDN that is, in its table [NAME.cdn]: CloudFront, Google Cloud CDN, Cloudflare, Fastly, nginx,
    a scheme of tokens, or the storage itself.
    """


@command.command("url")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@common
@pass_run
def url_command(run: Run, targets: tuple[str, ...]) -> None:
    """Print the public URL of objects. Nothing is asked of anybody.

    \b
    Example:
      mgs cdn url media:logo.svg media:clips/a.mp4
    """  # noqa: D301  # \b keeps click from joining the lines
    with session(run) as this:
        cdn, named = _opened(this, targets)
        for text, key in named:
            url = cdn.url(object_key(text, key))
            if run.json:
                this.out.record("link", {"key": key, "url": url})
            else:
                this.out.line(url)


@command.command("sign")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--expires", type=Duration(), default="1h", show_default=True, metavar="TIME", help="90s, 15m, 12h, 7d.")
@click.option("--starts", type=Duration(), default="0s", metavar="TIME", help="Works only after that time from now.")
@click.option("--client", metavar="ADDRESS", help="Works only for an address or a network (192.0.2.0/24).")
@click.option("--scope", metavar="PREFIX", help="Holds for all keys of the storage that begin so.")
@click.option("--cookies", is_flag=True, help="Print Set-Cookie fields in the place of a URL.")
@click.option("--domain", metavar="NAME", help="With --cookies: the domain they are set for.")
@common
@pass_run
def sign_command(
    run: Run,
    targets: tuple[str, ...],
    *,
    expires: timedelta,
    starts: timedelta,
    client: str | None,
    scope: str | None,
    cookies: bool,
    domain: str | None,
) -> None:
    """Make signed URLs, or cookies, that let their holder read objects for a while.

    Nothing is asked of anybody: they are made here, and work whether the objects exist or not. Whoever has one can use
    it until it expires. What a CDN cannot sign (a start, an address, a scope) is refused.

    \b
    Examples:
      mgs cdn sign media:clip.mp4 --expires 2d
      mgs cdn sign media:show/1/index.m3u8 --scope show/1/
      mgs cdn sign media:show/1/index.m3u8 --scope show/1/ --cookies
    """  # noqa: D301
    if domain is not None and not cookies:
        raise click.UsageError("--domain is for cookies: add --cookies")
    seconds = int(expires.total_seconds())
    with session(run) as this:
        cdn, named = _opened(this, targets)
        for text, key in named:
            object_key(text, key)
            if cookies:
                _print_cookies(this, cdn, key, _Asked(expires, starts, client, scope), domain)
                continue
            url = cdn.sign(key, expires=expires, starts=starts, client=client, scope=scope)
            if run.json:
                this.out.record("link", {"key": key, "expires_in": seconds, "url": url})
            else:
                this.out.line(url)


class _Asked(NamedTuple):
    """When, for whom and for what a link or a cookie works."""

    expires: timedelta
    starts: timedelta
    client: str | None
    scope: str | None


def _print_cookies(this: Session, cdn: CDN, key: str, asked: _Asked, domain: str | None) -> None:
    expires, starts, client, scope = asked
    if scope is not None and not key.startswith(scope):
        raise ConfigError(f"the scope {scope!r} does not hold the key {key!r}")
    made = cdn.cookies(
        key if scope is None else None, scope=scope, expires=expires, starts=starts, client=client, domain=domain
    )
    for each in made:
        if this.run.json:
            record: dict[str, JSON] = {"key": key, "name": each.name, "value": each.value, "path": each.path}
            given: dict[str, JSON] = {} if each.domain is None else {"domain": each.domain}
            this.out.record("cookie", {**record, **given, "header": each.header})
        else:
            this.out.line(f"Set-Cookie: {each.header}")


@command.command("purge")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--prefix", is_flag=True, help="Each TARGET is what keys begin with; a whole storage is all of it.")
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="Whatever was delivered with this tag. May be repeated."
)
@click.option("--wait", is_flag=True, help="End when the CDN says that it is done, as far as it tells.")
@click.option(
    "--patience",
    type=Duration(),
    default="30m",
    show_default=True,
    metavar="TIME",
    help="With --wait: for how long, for each request.",
)
@dry_run
@common
@pass_run
def purge_command(
    run: Run, targets: tuple[str, ...], *, prefix: bool, tags: tuple[str, ...], wait: bool, patience: timedelta
) -> None:
    """Have the CDN drop its copies, so that it asks the storage again.

    TARGET is an object, or with --prefix a beginning of keys; with --tag it may be the storage alone. With --dry-run
    the requests are printed and not sent. What a CDN cannot purge by is refused before the first request.

    \b
    Examples:
      mgs cdn purge media:logo.svg
      mgs cdn purge media:show/1/ --prefix --wait
      mgs cdn purge media: --tag season-1
    """  # noqa: D301
    with session(run) as this:
        cdn, named = _opened(this, targets)
        keys = [] if prefix else [object_key(text, key) for text, key in named if key or not tags]
        prefixes = [key for _, key in named] if prefix else []
        for key in keys:
            if key.endswith("/"):
                this.out.note(f"{key!r} is taken for the key of one object; add --prefix for all that is below it")
        if run.dry_run:
            _print_plan(this, cdn, keys, prefixes, tags)
            return
        count = 0
        try:
            for purged in cdn.purge(keys=keys, prefixes=prefixes, tags=tags, wait=wait, patience=patience):
                count += len(purged.items)
                _print_purged(this, purged)
        except StorageError:
            this.out.note(f"this is after {count:,} purged, or on their way; to ask for all of them again does no harm")
            raise
        this.out.note(f"{count:,} purged, or on their way")


def _print_purged(this: Session, purged: Purged) -> None:
    if this.run.json:
        record: dict[str, JSON] = {"items": [*purged.items], "id": purged.id, "done": purged.done}
        this.out.record("purge", record)
        return
    for item in purged.items:
        this.out.line(f"{'purged' if purged.done else 'asked for'} {item}")


def _print_plan(this: Session, cdn: CDN, keys: Sequence[str], prefixes: Sequence[str], tags: Sequence[str]) -> None:
    for call, items in cdn.plan(keys=keys, prefixes=prefixes, tags=tags):
        query = f"?{call.query}" if call.query else ""
        body = call.body.decode() if isinstance(call.body, bytes) else ""
        if this.run.json:
            record: dict[str, JSON] = {"method": call.method, "path": call.path + query, "body": body}
            this.out.record("purge-plan", {**record, "items": [*items]})
        else:
            this.out.line(f"{call.method} {call.path}{query}")
            if body:
                this.out.line(f"  {body}")


@command.command("rules")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@common
@pass_run
def rules_command(run: Run, targets: tuple[str, ...]) -> None:
    """Show which Cache-Control an object would get if it were stored now, by the rules of its profile.

    \b
    Example:
      mgs cdn rules media:index.html media:app.js
    """  # noqa: D301
    with session(run) as this:
        for text in targets:
            key = object_key(text, locate(text).key)
            value = cache_rules_of(text).cache_control(key)
            if run.json:
                this.out.record("rule", {"key": key} if value is None else {"key": key, "cache_control": value})
            else:
                this.out.line(f"{key}: {'no rule' if value is None else value}")


def _opened(this: Session, texts: Sequence[str]) -> tuple[CDN, list[tuple[str, str]]]:
    """The CDN of the one profile that all arguments name, and the arguments, each with the key in it."""
    found = [profile_part(text) for text in texts]
    names = {"" if each is None else each[0] for each in found}
    if len(names) > 1:
        raise click.UsageError("the arguments name several storages: one at a time")
    [name] = names
    if not name:
        raise ConfigError("a CDN is part of a profile: name an object as NAME:key, and write a table [NAME.cdn]")
    cdn = open_cdn(f"{name}:")
    this.closing(cdn.close)
    return cdn, [(text, each[1]) for text, each in zip(texts, found, strict=True) if each is not None]
