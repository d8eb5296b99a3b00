"""``mgs profile``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from mediagit_storage.cli.framework import Group, Run, common, dry_run, pass_run
from mediagit_storage.cli.output import Output
from mediagit_storage.cli.pairs import parse_pairs
from mediagit_storage.cli.text import columns
from mediagit_storage.config import Profile, check_profile_name, load_profiles, profiles_path
from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import REDACTED
from mediagit_storage.types import JSON
from mediagit_storage.url import parse_url

__all__ = ["command"]

_PLACES: Final = ("env", "file")
#: Words in the names of options whose value is shown only as a reference.
_SECRET_WORDS: Final = ("secret", "password", "token", "key", "sas", "connection_string", "credential")
#: Ends of the names of options that are paths of this machine.
_PATHS: Final = ("_file", "folder", "audit")


@click.group("profile", cls=Group)
def command() -> None:
    """Show and change the named storages.

    A profile gives a storage a short name: after `mgs profile add media s3://bucket/projects`, `mgs ls media:` lists
    it. Profiles are tables of a TOML file (`mgs profile path`), which you may also edit. Secrets are kept out of it:
    a profile names the environment variable or file that holds them.
    """


@command.command("list")
@common
@pass_run
def list_command(run: Run) -> None:
    """List the profiles."""
    out = Output(json=run.json, quiet=run.quiet)
    profiles = load_profiles()
    if run.json:
        for profile in profiles.by_name.values():
            out.record("profile", _record(profile))
        return
    if not profiles.by_name:
        out.note("there are no profiles yet: `mgs profile add NAME URL` makes one")
        return
    for line in columns([[name, profile.url] for name, profile in sorted(profiles.by_name.items())]):
        out.line(line)


@command.command("show")
@click.argument("name")
@common
@pass_run
def show_command(run: Run, name: str) -> None:
    """Show one profile, without secrets."""
    out = Output(json=run.json)
    record = _record(load_profiles().get(name.removesuffix(":")))
    if run.json:
        out.record("profile", record)
        return
    for field, value in record.items():
        out.line(f"{field:<10} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option(
    "--option", "options", metavar="NAME=VALUE", multiple=True, help="An option of the storage. May be repeated."
)
@click.option(
    "--secret", "secrets", metavar="NAME=env:VARIABLE|file:PATH", multiple=True, help="Where a secret is kept."
)
@click.option(
    "--layer", "layers", metavar="NAME[,OPTION=VALUE...]", multiple=True, help="A layer, the outermost first."
)
@dry_run
@common
@pass_run
def add_command(
    run: Run, name: str, url: str, *, options: tuple[str, ...], secrets: tuple[str, ...], layers: tuple[str, ...]
) -> None:
    """Add a profile.

    URL is what it opens; --option gives what else the storage needs, for example --option region=eu-west-1. A secret is
    never written into the file: --secret names the environment variable or the file that holds it. Paths are meant from
    the folder in which this is said, and written down whole.
    """
    from mediagit_storage.opening import try_profile  # noqa: PLC0415  # the other sub-commands open nothing
    from mediagit_storage.profile_editing import add_profile  # noqa: PLC0415

    values = {**_values("--option", options), **_secrets(secrets)}
    stack = tuple(_layer(text) for text in layers)
    check_profile_name(name.removesuffix(":"))
    url = _lasting(url)
    profile = Profile(name.removesuffix(":"), url, values, stack)
    # Wrong options are found now, not when the profile is used.
    try_profile(profile)
    out = Output(json=run.json, quiet=run.quiet)
    place = profiles_path() if run.dry_run else add_profile(profile)
    if run.json:
        out.record("profile", _record(profile))
    else:
        out.note(f"{'would add' if run.dry_run else 'added'} the profile {profile.name} in {place}")


@command.command("remove")
@click.argument("name")
@dry_run
@common
@pass_run
def remove_command(run: Run, name: str) -> None:
    """Remove a profile. What it names is not touched."""
    from mediagit_storage.profile_editing import remove_profile  # noqa: PLC0415

    profile = load_profiles().get(name.removesuffix(":"))
    place = profiles_path() if run.dry_run else remove_profile(profile.name)
    out = Output(json=run.json, quiet=run.quiet)
    if run.json:
        out.record("profile", _record(profile))
    else:
        out.note(f"{'would remove' if run.dry_run else 'removed'} the profile {profile.name} from {place}")


@command.command("path")
@common
@pass_run
def path_command(run: Run) -> None:
    """Print the path of the profiles file."""
    out = Output(json=run.json)
    if run.json:
        out.record("path", {"path": str(profiles_path())})
    else:
        out.line(str(profiles_path()))


def _lasting(url: str) -> str:
    """A path that means the same from every folder; URLs as they are."""
    local = parse_url(url).scheme == "file" and "://" not in url
    return _lasting_path(url) if local else url


def _lasting_path(path: str) -> str:
    return str(Path(path).absolute()) if path and not path.startswith("~") else path


def _lasting_option(name: str, value: JSON) -> JSON:
    return _lasting_path(value) if isinstance(value, str) and name.endswith(_PATHS) else value


def _record(profile: Profile) -> dict[str, JSON]:
    options: dict[str, JSON] = {name: _shown(name, value) for name, value in profile.options.items()}
    stack: list[JSON] = [{name: _shown(name, value) for name, value in layer.items()} for layer in profile.layers]
    record: dict[str, JSON] = {"name": profile.name, "url": profile.url, "options": options, "layers": stack}
    if profile.cdn is not None:
        record["cdn"] = {name: _shown(name, value) for name, value in profile.cdn.items()}
    return record


def _shown(name: str, value: JSON) -> JSON:
    """A reference is shown, and what may be a secret itself is not."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _PLACES:
        return value
    if isinstance(value, str) and any(word in name.lower() for word in _SECRET_WORDS):
        return REDACTED
    return value


def _values(option: str, texts: Sequence[str]) -> dict[str, JSON]:
    return {name: _lasting_option(name, _value(text)) for name, text in parse_pairs(option, texts).items()}


def _value(text: str) -> JSON:
    """Numbers, true and false are what they look like; a text that looks like one is written in double quotes."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, bool | int | float | str):
        return value
    return text


def _secrets(texts: Sequence[str]) -> dict[str, JSON]:
    found: dict[str, JSON] = {}
    for name, text in parse_pairs("--secret", texts).items():
        place, separator, where = text.partition(":")
        if place not in _PLACES or not separator or not where:
            raise ConfigError(f"--secret {name}= names a place, env:VARIABLE or file:PATH; it never takes the secret")
        found[name] = {place: where if place == "env" else _lasting_path(where)}
    return found


def _layer(text: str) -> dict[str, JSON]:
    name, _, rest = text.partition(",")
    return {"layer": name, **_values("--layer", rest.split(",") if rest else ())}
