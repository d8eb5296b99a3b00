"""Wrapping the file key of an object for other recipients: a new header for the same payload. Pure functions over bytes.

Whether an object still has to be done is read in its header alone. A stanza does not name its recipient, so an identity
proves that its recipient is one of them, and the number of stanzas that there is no other. Where not every wanted
recipient's identity is at hand, a new header gets one stanza more (`recipients_proof`): it proves for whom the header was
written, to who can open it and to nobody else.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from mediagit_storage.layers.encrypt.binding import check_binding, is_binding
from mediagit_storage.layers.encrypt.header import Header, Stanza, b64encode, hkdf, parse_header, write_header
from mediagit_storage.layers.encrypt.keyfiles import FileIdentity, FileRecipient
from mediagit_storage.layers.encrypt.keys import unwrap

__all__ = ["NewHead", "Rewrapping", "is_age_file", "recipients_proof"]

_INTRO: Final = b"age-encryption.org/"
_KIND: Final = "mediagit-storage/recipients-hmac-sha256"
_CONTEXT: Final = b"mediagit-storage/recipients"


class NewHead(NamedTuple):
    """What is to stand in the place of the first ``old_length`` bytes of an object."""

    head: bytes
    old_length: int


def is_age_file(data: bytes) -> bool:
    """Whether an object that begins so is meant to be an age file, of whatever version and state."""
    return data.startswith(_INTRO)


def recipients_proof(file_key: bytes, recipients: Sequence[FileRecipient]) -> Stanza:
    """The stanza that proves a set of recipients to who knows the file key; every age ignores it.

    To others it is 32 random bytes: they cannot even try a recipient that they guess.
    """
    named = "\n".join(sorted(str(recipient) for recipient in recipients)).encode("ascii")
    return Stanza(_KIND, (b64encode(hmac.digest(hkdf(file_key, b"", _CONTEXT), named, "sha256")),))


class Rewrapping:
    """New headers for ``recipients``, for what ``identities`` open. Holds no state: threads may share it.

    Identities whose recipient is not among the ``recipients`` are those to be retired: while one of them opens an object,
    it is not done. ``bind`` refuses objects that are not tied to their key; a tie that is there is always kept.
    """

    def __init__(
        self, recipients: Sequence[FileRecipient], identities: Sequence[FileIdentity], *, bind: bool = False
    ) -> None:
        self._recipients = tuple(dict.fromkeys(recipients))
        wanted = set(self._recipients)
        known = {identity: identity.recipient() for identity in dict.fromkeys(identities)}
        self._staying = [identity for identity, recipient in known.items() if recipient in wanted]
        self._retired = [identity for identity, recipient in known.items() if recipient not in wanted]
        self._bind = bind
        #: Whether every wanted recipient can be looked for by its identity.
        self._all_known = wanted == {known[identity] for identity in self._staying}

    def new_head(self, key: str, data: bytes) -> NewHead | None:
        """The header for the object ``key`` that begins with ``data``; None where it has what is wanted already.

        Raises `IncompleteHeaderError` where more of the object is needed, `KeyUnavailableError` where no identity opens
        it, and `DecryptionError` for a header that is damaged, or that was written for another key.
        """
        header = parse_header(data)
        file_key = unwrap(header, (*self._staying, *self._retired))
        if self._bind:
            check_binding(header, key)
        if self._is_done(header, file_key):
            return None
        proof = () if self._all_known else (recipients_proof(file_key, self._recipients),)
        ties = (stanza for stanza in header.stanzas if is_binding(stanza))
        wrapped = (recipient.wrap(file_key) for recipient in self._recipients)
        return NewHead(write_header((*wrapped, *ties, *proof), file_key), header.length)

    def _is_done(self, header: Header, file_key: bytes) -> bool:
        others = [stanza for stanza in header.stanzas if not is_binding(stanza)]
        proofs = [stanza for stanza in others if stanza.kind == _KIND]
        wraps = [stanza for stanza in others if stanza.kind != _KIND]
        if Counter(stanza.kind for stanza in wraps) != Counter(recipient.stanza_kind for recipient in self._recipients):
            return False
        if not self._all_known and proofs != [recipients_proof(file_key, self._recipients)]:
            return False
        return all(identity.unwrap(wraps) is not None for identity in self._staying) and all(
            identity.unwrap(wraps) is None for identity in self._retired
        )
