"""The age format by itself: texts of keys, headers, sizes, chunks. Whatever comes in, an answer or one kind of error."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediagit_storage.errors import ConfigError, DecryptionError, KeyUnavailableError
from mediagit_storage.layers.encrypt import bech32, payload
from mediagit_storage.layers.encrypt.armor import dearmored, is_armored
from mediagit_storage.layers.encrypt.chunks import in_chunks
from mediagit_storage.layers.encrypt.header import (
    MAX_HEADER,
    MAX_STANZAS,
    HeaderError,
    IncompleteHeaderError,
    Stanza,
    b64decode,
    b64encode,
    check_mac,
    parse_header,
    write_header,
)
from mediagit_storage.layers.encrypt.keys import (
    PassphraseIdentity,
    PassphraseRecipient,
    X25519Identity,
    generate_identity,
    parse_identity,
    parse_recipient,
    unwrap,
)
from mediagit_storage.layers.encrypt.sizes import (
    CHUNK,
    NONCE,
    SEALED,
    TAG,
    ChunkSpan,
    chunk_count,
    largest_plain,
    plain_size,
    stored_size,
)
from mediagit_storage.layers.encrypt.whole import decrypt, encrypt
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.stacking import TEST_IDENTITY

#: A key for tests, known to everybody.
IDENTITY = parse_identity(Secret(TEST_IDENTITY))
RECIPIENT = IDENTITY.recipient()
EDGES = (0, 1, 65535, 65536, 65537, 131072, 16 * 1024 * 1024 + 1)

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
stanzas = st.builds(Stanza, words, st.lists(words, max_size=4).map(tuple), st.binary(max_size=200))


# ---- sizes


@covers(195)
@given(st.integers(0, 2**50), st.integers(100, 5000))
@example(0, 200)
@example(CHUNK, 200)
@example(CHUNK + 1, 200)
@example(2 * CHUNK, 200)
def test_sizes_are_each_others_inverse(plain, header):
    stored = stored_size(plain, header)
    assert plain_size(stored, header) == plain
    assert largest_plain(stored, header) == plain
    assert stored == header + NONCE + plain + chunk_count(plain) * TAG


@given(st.integers(0, 2**50), st.integers(100, 5000))
@example(200 + NONCE + SEALED + TAG, 200)
@example(200 + NONCE + SEALED + 1, 200)
def test_a_stored_size_is_either_refused_or_that_of_one_plain_size(stored, header):
    try:
        plain = plain_size(stored, header)
    except DecryptionError:
        assert stored_size(largest_plain(stored, header), header) != stored
    else:
        assert stored_size(plain, header) == stored


@given(st.integers(0, 2**40))
def test_the_largest_plain_size_fits_and_one_more_does_not(stored):
    plain = largest_plain(stored, 200)
    if stored >= 200 + NONCE + TAG:
        assert stored_size(plain, 200) <= stored < stored_size(plain + 1, 200)
    else:
        assert plain == 0


def test_where_chunks_lie():
    stored = stored_size(2 * CHUNK + 5, 100)
    assert ChunkSpan(0, 0).stored(100, stored) == (116, SEALED)
    assert ChunkSpan(1, 2).stored(100, stored) == (116 + SEALED, SEALED + 21)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_pieces_become_chunks(pieces, size):
    found = [(bytes(chunk), last) for chunk, last in in_chunks(pieces, size)]
    assert b"".join(chunk for chunk, _ in found) == b"".join(pieces)
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    assert all(len(chunk) == size for chunk, _ in found[:-1])
    assert 0 < len(found[-1][0]) <= size or found == [(b"", True)]


# ---- whole files


@covers(179)
@pytest.mark.parametrize("size", EDGES)
def test_files_of_every_size_make_the_round_trip(size):
    plain = os.urandom(1024) * (size // 1024) + bytes(size % 1024)
    sealed = encrypt(plain, [RECIPIENT])
    header = parse_header(sealed)
    assert len(sealed) == stored_size(size, header.length)
    assert decrypt(sealed, [IDENTITY]) == plain


@covers(191)
def test_no_two_files_share_a_key_or_a_nonce():
    seen: set[bytes] = set()
    for _ in range(1000):
        sealed = encrypt(b"the same", [RECIPIENT])
        header = parse_header(sealed)
        seen |= {unwrap(header, [IDENTITY]), sealed[header.length : header.length + NONCE], sealed[-24:]}
    assert len(seen) == 3000


def test_several_recipients_open_the_same_file():
    others = [generate_identity(), generate_identity(), IDENTITY]
    sealed = encrypt(b"for all", [each.recipient() for each in others])
    for each in others:
        assert decrypt(sealed, [generate_identity(), each]) == b"for all"
    with pytest.raises(KeyUnavailableError, match="none of the 1 identities"):
        decrypt(sealed, [generate_identity()])


def test_a_quantum_safe_file():
    identity = generate_identity(hybrid=True)
    sealed = encrypt(b"later", [identity.recipient()])
    assert decrypt(sealed, [IDENTITY, identity]) == b"later"
    with pytest.raises(KeyUnavailableError, match="mlkem768x25519"):
        decrypt(sealed, [generate_identity(hybrid=True), IDENTITY])
    again = parse_identity(identity.secret)
    assert again.recipient() == parse_recipient(str(identity.recipient()))


# ---- passphrases


@covers(194)
def test_passphrases():
    light = PassphraseRecipient(Secret("correct horse"), work=4)
    sealed = encrypt(b"keys", [light])
    assert decrypt(sealed, [PassphraseIdentity(Secret("correct horse"))]) == b"keys"
    with pytest.raises(KeyUnavailableError):
        decrypt(sealed, [PassphraseIdentity(Secret("battery staple"))])
    with pytest.raises(ConfigError, match="must not be empty"):
        PassphraseRecipient(Secret(""))
    with pytest.raises(HeaderError, match="not its only recipient"):
        decrypt(encrypt(b"keys", [light, RECIPIENT]), [PassphraseIdentity(Secret("correct horse"))])


@covers(194)
@pytest.mark.parametrize("work", ["21", "23", "99", "9" * 5000])
def test_work_that_would_take_too_long_is_refused_at_once(work):
    stanza = Stanza("scrypt", (b64encode(bytes(16)), work), bytes(32))
    with pytest.raises(HeaderError, match="work factor"):
        PassphraseIdentity(Secret("x")).unwrap([stanza])


# ---- headers


@given(st.lists(stanzas, min_size=1, max_size=8), st.binary(min_size=16, max_size=16), st.binary(max_size=50))
def test_headers_make_the_round_trip(given_stanzas, file_key, payload):
    head = write_header(given_stanzas, file_key)
    header = parse_header(head + payload)
    assert header.stanzas == tuple(given_stanzas)
    assert header.length == len(head)
    check_mac(header, file_key)
    assert write_header(header.stanzas, file_key) == head


@covers(192)
@given(st.lists(stanzas, min_size=1, max_size=4), st.data())
def test_a_header_that_ends_early_is_incomplete_and_nothing_else(given_stanzas, data):
    head = write_header(given_stanzas, bytes(16))
    end = data.draw(st.integers(0, len(head) - 1))
    with pytest.raises(IncompleteHeaderError):
        parse_header(head[:end])


@covers(192)
@given(st.binary(max_size=400) | st.binary(max_size=400).map(b"age-encryption.org/v1\n-> ".__add__))
@example(b"")
@example(b"age-encryption.org/v1\n--- " + b"A" * 43 + b"\n")
@example(b"age-encryption.org/v1\n-> \n\n--- " + b"A" * 43 + b"\n")
def test_any_bytes_are_a_header_or_refused(data):
    try:
        header = parse_header(data)
    except HeaderError:
        return
    assert header.signed == data[: len(header.signed)]
    assert b"".join((b"age-encryption.org/v1\n", *(each.encoded() for each in header.stanzas), b"---")) == header.signed


@covers(192)
@given(st.data())
def test_a_mutated_file_opens_as_it_was_or_not_at_all(data):
    sealed = bytearray(encrypt(b"some plain bytes", [RECIPIENT]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(sealed) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "add"]))
        if change == "set":
            sealed[place] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del sealed[place : place + data.draw(st.integers(1, 40))]
            sealed = sealed or bytearray(b"x")
        else:
            sealed[place:place] = data.draw(st.binary(min_size=1, max_size=40))
    with contextlib.suppress(DecryptionError):
        assert decrypt(bytes(sealed), [IDENTITY]) == b"some plain bytes"


@covers(192)
@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"age-encryption.org/v2\n", "version"),
        (b"PK\x03\x04" + bytes(60), "no age file"),
        (b"age-encryption.org/v1\r\n", "version"),
        (b"age-encryption.org/v1\n" + b"-> a\n\n" * (MAX_STANZAS + 1), f"more than {MAX_STANZAS} recipients"),
        (b"age-encryption.org/v1\n-> a\n" + (b"A" * 64 + b"\n") * (MAX_HEADER // 65 + 1), "more than 262,144 bytes"),
        (b"age-encryption.org/v1\n-> " + b"a" * MAX_HEADER, "more than 262,144 bytes"),
        (b"age-encryption.org/v1\n-> a\n" + b"A" * 68 + b"\n", "more than 64 characters"),
        (b"age-encryption.org/v1\n-> a\nAAB\n", "base64"),
        (b"age-encryption.org/v1\n-> a\n\n--- AAAA\n", "too short"),
        (b"age-encryption.org/v1\n-> a\n\n---" + b"A" * 44 + b"\n", "not a MAC"),
    ],
)
def test_what_is_wrong_with_a_header_is_told(head, message):
    with pytest.raises(HeaderError, match=message):
        parse_header(head)


@given(st.binary(max_size=100))
def test_base64_has_one_form(data):
    text = b64encode(data)
    assert b64decode(text) == data
    for other in (f"{text}=", f"{text}\n", f" {text}", f"{text}é"):
        with pytest.raises(ValueError, match="base64"):
            b64decode(other)


# ---- texts of keys


@given(st.sampled_from(["age", "age1pq", "AGE-SECRET-KEY-"]), st.binary(max_size=100))
def test_key_texts_make_the_round_trip(prefix, data):
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == (prefix, data)
    assert text in {text.lower(), text.upper()}


@given(st.text(max_size=120))
def test_any_text_is_a_key_or_refused_without_being_shown(text):
    for parse in (parse_recipient, lambda each: parse_identity(Secret(each))):
        with pytest.raises(ConfigError) as caught:
            parse(text)
        assert len(text) < 12 or text not in str(caught.value)


@given(st.data())
def test_one_wrong_letter_is_always_found(data):
    text = str(RECIPIENT)
    place = data.draw(st.integers(4, len(text) - 1))
    other = data.draw(st.sampled_from(sorted(set("qpzry9x8gf2tvdw0s3jn54khce6mua7l") - {text[place]})))
    with pytest.raises(ConfigError, match="checksum"):
        parse_recipient(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no prefix"),
        ("age1" + "q" * 9000, "too long"),
        (str(RECIPIENT).upper().replace("AGE1", "age1"), "mixes"),
        (bech32.encode("age", bytes(31)), "public key of the kinds"),
        (bech32.encode("age1yubikey", bytes(33)), "plug-ins"),
        (IDENTITY.secret.reveal(), "which is secret"),
    ],
)
def test_what_is_wrong_with_a_recipient_is_told(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_recipient(text)


@covers(198)
def test_secrets_do_not_show():
    for identity in (IDENTITY, generate_identity(hybrid=True), PassphraseIdentity(Secret("canary-passphrase"))):
        shown = repr(identity) + str(identity)
        assert "SECRET-KEY" not in shown
        assert "canary" not in shown
        raw = getattr(identity, "_raw", b"canary")
        assert repr(raw) not in shown
        assert raw.hex() not in shown


def test_a_recipient_that_no_secret_has_is_refused():
    with pytest.raises(ConfigError, match="no secret key has"):
        parse_recipient(bech32.encode("age", bytes(32))).wrap(bytes(16))


# ---- the text form


def armored(data: bytes, newline: bytes = b"\n") -> bytes:
    text = base64.b64encode(data)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return newline.join((b"-----BEGIN AGE ENCRYPTED FILE-----", *lines, b"-----END AGE ENCRYPTED FILE-----", b""))


@given(st.binary(max_size=300), st.sampled_from([b"\n", b"\r\n"]))
def test_the_text_form(data, newline):
    text = armored(data, newline)
    assert is_armored(text)
    assert is_armored(b"\n\n" + text)
    assert dearmored(b"\n \n" + text + b"\n\n") == data


@given(st.data())
def test_a_mutated_text_form_gives_the_same_or_an_error(data):
    content = hashlib.sha256(b"content").digest() * 5
    text = bytearray(armored(content))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 255))
    try:
        found = dearmored(bytes(text))
    except DecryptionError:
        return
    assert bytes(text) == armored(found) or bytes(text).strip() == armored(found).strip()


def test_low_order_shares_are_refused():
    stanza = Stanza("X25519", (b64encode(bytes(32)),), bytes(32))
    with pytest.raises(HeaderError, match="malicious"):
        X25519Identity(IDENTITY.secret).unwrap([stanza])


# ---- long payloads


@pytest.fixture
def side_by_side(monkeypatch):
    """Payloads of three chunks are opened by four threads already."""
    monkeypatch.setattr(payload, "_SIDE_BY_SIDE", 2 * CHUNK)
    monkeypatch.setattr("os.cpu_count", lambda: 4)


@pytest.mark.parametrize("chunks", [2, 3, 4, 5, 9, 10])
def test_threads_open_a_long_payload_to_the_same_bytes(side_by_side, chunks):
    identity = generate_identity()
    for size in (chunks * CHUNK - 1, chunks * CHUNK, chunks * CHUNK + 1):
        plain = os.urandom(size)
        assert decrypt(encrypt(plain, [identity.recipient()]), [identity]) == plain


def test_threads_find_damage_in_every_chunk(side_by_side):
    identity = generate_identity()
    file = encrypt(bytes(9 * CHUNK + 5), [identity.recipient()])
    start = parse_header(file).length + NONCE
    for number, place in enumerate(range(start, len(file), SEALED)):
        damaged = bytearray(file)
        damaged[place + 3] ^= 1
        with pytest.raises(DecryptionError, match="its last chunk" if number == 9 else f"its chunk {number} "):
            decrypt(bytes(damaged), [identity])
