"""Links of our own: they lend exactly what they say, for as long as they say, in the one spelling they have."""

from __future__ import annotations

import string

import pytest

from mediagit_storage.errors import ConfigError, InvalidKeyError
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.links import Signer, disposition_of
from mediagit_storage.testing.manual_clock import ManualClock

from .gateways import BEARER, Served

OLD, NEW = Secret("the old secret, which is long enough"), Secret("the new secret, which is long enough")


def _allows(signer: Signer, method: str, link: str) -> bool:
    path, _, query = link.partition("?")
    return signer.allows(method, path, query)


def test_a_link_works_until_it_expires() -> None:
    clock = ManualClock()
    signer = Signer([NEW], clock=clock)
    link = signer.sign("a b/é.png", expires=60)
    assert link.startswith("/-/o/a%20b/%C3%A9.png?mgs-expires=")
    assert _allows(signer, "GET", link)
    assert _allows(signer, "HEAD", link)
    assert not _allows(signer, "PUT", link)
    assert not _allows(signer, "DELETE", link)
    clock.sleep(59)
    assert _allows(signer, "GET", link)
    clock.sleep(1)
    assert not _allows(signer, "GET", link)


def test_every_character_counts() -> None:
    signer = Signer([NEW])
    link = signer.sign("fotos/é 1.png", expires=3600, disposition='attachment; filename="1.png"')
    assert _allows(signer, "GET", link)
    for index, character in enumerate(link):
        others = {character.swapcase(), "x", "0", "/", "%"} - {character}
        for other in others:
            assert not _allows(signer, "GET", link[:index] + other + link[index + 1 :]), (index, other)
        assert not _allows(signer, "GET", link[:index] + link[index + 1 :]), index
        assert not _allows(signer, "GET", link[:index] + character + link[index:]), index
    for more in ("&", "&a=b", "#", " ", "\n"):
        assert not _allows(signer, "GET", link + more)


def test_what_is_signed_cannot_be_read_as_something_else() -> None:
    signer = Signer([NEW])
    clock_free = signer.sign("a", expires=100)
    query = clock_free.partition("?")[2]
    for query_too in (f"mgs-disposition=x&{query}", query.replace("&", "&mgs-disposition=&"), query.upper()):
        assert not signer.allows("GET", "/-/o/a", query_too)
    assert not signer.allows("GET", "/a", query)
    assert not signer.allows("GET", "/-/o/%61", query)


def test_secrets_are_changed_one_after_the_other() -> None:
    before, during, after = Signer([OLD]), Signer([NEW, OLD]), Signer([NEW])
    old, new = before.sign("a", expires=100), during.sign("a", expires=100)
    assert _allows(during, "GET", old)
    assert _allows(during, "GET", new)
    assert _allows(after, "GET", new)
    assert not _allows(after, "GET", old)


def test_what_cannot_be_signed() -> None:
    signer = Signer([NEW])
    with pytest.raises(ConfigError):
        Signer([])
    with pytest.raises(ConfigError):
        Signer([Secret("short")])
    with pytest.raises(ConfigError):
        signer.sign("a", expires=0)
    with pytest.raises(ConfigError):
        signer.sign("a", expires=1, method="PUT", disposition="inline")
    with pytest.raises(ConfigError):
        signer.sign("a", expires=1, disposition="a\r\nb")
    # Links that would never work.
    with pytest.raises(ConfigError):
        signer.sign("a", expires=10**12)
    for key in ("", "/a", "a/../b", "a\nb", "é" * 513):
        with pytest.raises(InvalidKeyError):
            signer.sign(key, expires=1)
    assert not signer.allows("GET", "/-/o/é", signer.sign("a", expires=1).partition("?")[2])
    assert NEW.reveal() not in repr(signer)
    assert disposition_of("mgs-expires=1") is None


def test_a_gateway_honours_its_links(full: Served) -> None:
    full.storage.put("linked/é.txt", b"data")
    sign = full.gateway.context.signed_link
    link = sign("linked/é.txt", expires=60, disposition='attachment; filename="x.txt"')
    answer = full.get(link)
    assert (answer.status, answer.body) == (200, b"data")
    assert answer.headers["content-disposition"] == 'attachment; filename="x.txt"'
    assert full.get(link[:-1] + ("0" if link[-1] != "0" else "1")).status == 403
    assert full.ask("PUT", link, body=b"new").status == 403
    assert full.ask("PUT", link, BEARER, body=b"new").status == 403
    assert full.ask("PUT", sign("linked/new", expires=60, method="PUT"), body=b"new").status == 204
    assert full.storage.get("linked/new") == b"new"
    assert full.ask("DELETE", sign("linked/new", expires=60, method="DELETE")).status == 204
    assert not full.storage.exists("linked/new")
    assert all(set(each.target.partition("signature=")[2]) <= {"*"} for each in full.log)
    assert "signature=***" in "".join(each.target for each in full.log)


def test_a_gateway_without_secrets_honours_none(serve, memory) -> None:
    memory.put("a", b"x")
    served = serve(memory)
    assert served.get(Signer([NEW]).sign("a", expires=60)).status == 403
    assert served.get("/a").status == 200
    with pytest.raises(ConfigError):
        served.gateway.context.signed_link("a", expires=60)


def test_the_letters_of_a_link_are_plain() -> None:
    link = Signer([NEW]).sign("日本 \"'<>&?#%/x", expires=60)
    assert set(link) <= {*string.ascii_letters, *string.digits, *"-._~/%?=&"}
