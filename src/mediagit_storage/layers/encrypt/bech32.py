"""Bech32 texts of keys: a readable prefix, the data, and a checksum over both (BIP 173, without its limit of length)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["decode", "encode"]

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6

#: A hybrid recipient has 1,960 letters; nothing that is read here is much longer.
LONGEST: Final = 8192


def encode(prefix: str, data: bytes) -> str:
    """``data`` under ``prefix``, in the case of the prefix."""
    lower = prefix.lower()
    words = [*_regrouped(data, 8, 5, pad=True)]
    state = _polymod([*_expanded(lower), *words, *([0] * _CHECKSUM)]) ^ 1
    check = [(state >> 5 * (_CHECKSUM - 1 - place)) & 31 for place in range(_CHECKSUM)]
    text = f"{lower}1{''.join(_ALPHABET[word] for word in (*words, *check))}"
    return text if prefix == lower else text.upper()


def decode(text: str) -> tuple[str, bytes]:
    """The prefix, in its own case, and the data. Raises `ValueError`, without the text, for what is not Bech32."""
    prefix, separator, tail = text.rpartition("1")
    if len(text) > LONGEST:
        raise ValueError("it is too long")
    if text not in {text.lower(), text.upper()}:
        raise ValueError("it mixes upper and lower case")
    if not separator or not prefix or any(not 33 <= ord(letter) <= 126 for letter in prefix):
        raise ValueError("it has no prefix")
    words = [_VALUES.get(letter, -1) for letter in tail.lower()]
    if -1 in words or len(words) < _CHECKSUM:
        raise ValueError("it holds a character that no key has")
    if _polymod([*_expanded(prefix.lower()), *words]) != 1:
        raise ValueError("its checksum is wrong: a character was lost or changed")
    return prefix, bytes(_regrouped(words[:-_CHECKSUM], 5, 8, pad=False))


def _regrouped(values: Iterable[int], have: int, want: int, *, pad: bool) -> Iterator[int]:
    """The bits of numbers of ``have`` bits as numbers of ``want`` bits; what is left over must be a few zeros."""
    state = bits = 0
    for value in values:
        state = (state << have) | value
        bits += have
        while bits >= want:
            bits -= want
            yield state >> bits
            state &= (1 << bits) - 1
    if pad and bits:
        yield state << (want - bits)
    if not pad and (bits >= have or state):
        raise ValueError("its last bits are not zero")


def _expanded(prefix: str) -> list[int]:
    codes = [ord(letter) for letter in prefix]
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: Iterable[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            if top >> place & 1:
                state ^= generator
    return state
