"""``mgs serve``."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from mediagit_storage.cli.durations import Duration, Seconds
from mediagit_storage.cli.framework import Command, Interrupted, Run, common, complete_target, pass_run
from mediagit_storage.cli.session import Session, session
from mediagit_storage.types import JSON

if TYPE_CHECKING:
    from mediagit_storage.secrets import Secret
    from mediagit_storage.serve.app import Gateway
    from mediagit_storage.serve.links import LinkMethod
    from mediagit_storage.serve.running import Listener
    from mediagit_storage.serve.settings import Access, ServeSettings

__all__ = ["command"]

_METHODS: dict[str, LinkMethod] = {"GET": "GET", "PUT": "PUT", "DELETE": "DELETE"}
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("serve", cls=Command)
@click.argument("storage", shell_complete=complete_target)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8080, show_default=True, help="0 takes a free one."
)
@click.option("--write", is_flag=True, help="Let who has the token put and delete objects.")
@click.option(
    "--token-file", type=_FILE, metavar="FILE", help="The token; made if missing. Without it one is made for this run."
)
@click.option("--private", is_flag=True, help="Ask for the token also to read, on a loopback address too.")
@click.option("--public", is_flag=True, help="Let everybody read objects whose key they know, on any address.")
@click.option(
    "--public-listing", is_flag=True, help="With --public: let everybody list, and see the console and metrics."
)
@click.option("--sign-key-file", type=_FILE, metavar="FILE", help="Secrets for links, one a line; made if missing.")
@click.option("--link", "link", metavar="KEY", help="Serve nothing: print a link to this object, and end.")
@click.option(
    "--method", type=click.Choice([*_METHODS], case_sensitive=False), default="GET", help="What the link is for."
)
@click.option(
    "--expires", type=Duration(), default="1h", show_default=True, metavar="TIME", help="How long the link works."
)
@click.option(
    "--disposition", metavar="TEXT", help="With --link: how it is shown, such as 'attachment; filename=\"a.png\"'."
)
@click.option("--url", metavar="URL", help="Where clients reach this gateway, when that is another address.")
@click.option("--server-name", multiple=True, metavar="NAME", help="A name that clients may use. May be repeated.")
@click.option(
    "--cors", multiple=True, metavar="ORIGIN", help="A site whose scripts may read; * for all. May be repeated."
)
@click.option("--title", metavar="TEXT", help="What the console calls this storage; without it, as you did.")
@click.option("--console/--no-console", default=True, show_default=True, help="The web console.")
@click.option(
    "--root-routes/--no-root-routes", default=True, show_default=True, help="/metrics, /healthz, /readyz at the root."
)
@click.option("--cache-control", metavar="TEXT", help="For objects that have no Cache-Control of their own.")
@click.option("--max-body", type=click.IntRange(0), metavar="BYTES", help="The largest upload.")
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    metavar="N",
    default=1000,
    show_default=True,
    help="At once; more get 503.",
)
@click.option(
    "--max-connections", type=click.IntRange(1), metavar="N", default=2000, show_default=True, help="At once."
)
@click.option(
    "--idle",
    type=Seconds(1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Patience with a client.",
)
@click.option(
    "--drain",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="For requests, at the end.",
)
@click.option(
    "--access-log", is_flag=True, help="A line for each request on standard error; with --json on standard output."
)
@common
@pass_run
def command(
    run: Run,
    storage: str,
    *,
    host: str,
    port: int,
    write: bool,
    token_file: Path | None,
    private: bool,
    public: bool,
    public_listing: bool,
    sign_key_file: Path | None,
    link: str | None,
    method: str,
    expires: timedelta,
    disposition: str | None,
    url: str | None,
    server_name: Sequence[str],
    cors: Sequence[str],
    title: str | None,
    console: bool,
    root_routes: bool,
    cache_control: str | None,
    max_body: int | None,
    max_requests: int,
    max_connections: int,
    idle: float,
    drain: int,
    access_log: bool,
) -> None:
    """Serve a storage over HTTP: objects, a web console, health and metrics.

    Reads only, and on this machine only, unless told otherwise. Objects are at /KEY, and also at /-/o/KEY; everything
    else that the gateway has is below /-/. On another address than loopback reads ask for the token as well, unless
    --public says that everybody may. The gateway speaks plain HTTP: put a proxy that speaks TLS in front of it.

    Ctrl-C and SIGTERM (exit code 0) end it when the requests under way have ended; a second one at once.

    \b
    Examples:
      mgs serve media:
      mgs serve s3://media/photos --write --token-file ~/.config/mediagit-storage/serve.token
      mgs serve media: --host 0.0.0.0 --public --url https://files.example.org
      mgs serve media: --sign-key-file links.key --link clip.mov --expires 2d --url https://files.example.org
    """  # noqa: D301  # \b keeps click from joining the lines
    with session(run) as this:
        # Needs an extra, which most commands do without.
        from mediagit_storage.serve.app import build  # noqa: PLC0415
        from mediagit_storage.serve.running import Listener, ListenOptions, is_loopback  # noqa: PLC0415
        from mediagit_storage.serve.secret_files import new_token, read_signer, read_token  # noqa: PLC0415
        from mediagit_storage.serve.settings import ServeSettings, exposure  # noqa: PLC0415

        if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise click.UsageError("--url is an address such as https://files.example.org")
        signer = None if sign_key_file is None else read_signer(sign_key_file.expanduser())
        if link is not None:
            if signer is None:
                raise click.UsageError("--link needs the --sign-key-file of the gateway")
            signed = signer.sign(
                link, expires=int(expires.total_seconds()), method=_METHODS[method], disposition=disposition
            )
            _show_link(this, link, method.upper(), expires, (url or f"http://{host}:{port}").rstrip("/") + signed)
            return
        local = is_loopback(host)
        reads, listing = exposure(local=local, private=private, public=public, public_listing=public_listing)
        token = None if token_file is None else read_token(token_file.expanduser())
        made = token is None and (write or reads == "token")
        if made and this.out.quiet and not this.out.json:
            raise click.UsageError("--quiet would hide the token that is made for this run: name a --token-file")
        if made:
            token = new_token()
        settings = ServeSettings(
            reads=reads,
            listing=listing,
            public=public,
            writable=write,
            token=token,
            signer=signer,
            console=console,
            root_routes=root_routes,
            hosts=_names(server_name, url, host) if local or server_name else None,
            cors=frozenset(cors),
            title=title or storage.removesuffix(":"),
            cache_control=cache_control,
            max_body=max_body,
            idle=idle,
            concurrency=max_requests,
            access_log=(lambda access: _tell(this, access)) if access_log else None,
        )
        options = ListenOptions(host=host, port=port, connections=max_connections, idle=idle, drain=drain)
        gateway = build(this.whole(storage), settings)
        listener = Listener(gateway, options)
        # What uvicorn has to say is said by exit codes, metrics and the access log.
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())
        looking: list[asyncio.Task[None]] = []

        def started() -> None:
            _show_start(this, listener, settings, token if made else None)
            looking.append(asyncio.ensure_future(_show_health(this, gateway)))

        ended_by = listener.run(signals=True, started=started)
        if ended_by == signal.SIGINT:
            raise Interrupted


def _names(given: Sequence[str], url: str | None, host: str) -> frozenset[str]:
    """The names by which clients may call the gateway: those that lead here from this machine, and those given."""
    reached = urlsplit(url).hostname if url is not None else None
    bare = {f"[{each}]" if ":" in each else each.lower() for each in (host, reached) if each}
    return frozenset({"localhost", "127.0.0.1", "[::1]", *bare, *(each.lower() for each in given)})


def _show_link(this: Session, key: str, method: str, expires: timedelta, url: str) -> None:
    if this.out.json:
        seconds = int(expires.total_seconds())
        this.out.record("link", {"key": key, "method": method, "expires_in": seconds, "url": url})
    else:
        this.out.line(url)


def _show_start(this: Session, listener: Listener, settings: ServeSettings, token: Secret | None) -> None:
    """Say where it listens, once it does, and the token that was made for this run."""
    if this.out.json:
        fields: dict[str, JSON] = {"url": listener.url, "access": settings.reads, "writable": settings.writable}
        if token is not None:
            fields["token"] = token.reveal()
        this.out.record("serving", fields)
    else:
        this.out.line(f"{listener.url}/")
        if token is not None:
            this.out.note(f"the token of this run: {token.reveal()}")
    sys.stdout.flush()


async def _show_health(this: Session, gateway: Gateway) -> None:
    """Say what does not work from the start; it may come yet, so that this is no reason to end."""
    for each in (await gateway.context.health()).backends:
        if not each.up:
            this.out.note(f"{each.name} cannot be read now: {each.detail}. Requests fail until it can; /readyz tells")


def _tell(this: Session, access: Access) -> None:
    """A request, for people on standard error, for programs on standard output."""
    if this.out.json:
        this.out.record("request", {**access._asdict(), "seconds": round(access.seconds, 6)})
        sys.stdout.flush()
        return
    this.out.note(
        f"{access.client} {access.method} {access.target} {access.status or '-'} {access.sent:,} B"
        f" {access.seconds * 1000:.1f} ms"
    )
