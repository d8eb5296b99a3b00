"""How the layer is configured: who objects are encrypted for, and what opens them."""

from __future__ import annotations

from dataclasses import dataclass

from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import SecretValue

__all__ = ["EncryptConfig"]


@dataclass(frozen=True, slots=True)
class EncryptConfig:
    """What the layer ``encrypt`` takes.

    ==================== ===========================================================================================
    ``recipients``       public keys (``age1...``) that objects are encrypted for
    ``recipients_file``  a file with more of them, a line each; lines that begin with ``#`` are comments
    ``identity_file``    a file with secret keys, as ``mgs keys generate`` and ``age-keygen`` write it; the text or
                         binary form that ``age --passphrase`` makes of one is opened with ``passphrase``
    ``identity``         secret keys themselves, kept where an environment variable or a file has them
    ``passphrase``       opens ``identity_file``; it never encrypts objects
    ``bind_keys``        ties each object to its key: one that was moved to another key does not open any more
    ==================== ===========================================================================================

    Without any recipient, objects are encrypted for the identities themselves. Without any identity, objects are
    written, listed and deleted here; reading one, or asking for its size, is a `KeyUnavailableError`.
    """

    recipients: tuple[str, ...] = ()
    recipients_file: str | None = None
    identity_file: str | None = None
    identity: SecretValue | None = None
    passphrase: SecretValue | None = None
    bind_keys: bool = False

    def __post_init__(self) -> None:
        if not (self.recipients or self.recipients_file or self.identity_file or self.identity):
            raise ConfigError(
                "the layer 'encrypt' needs recipients, recipients_file, identity_file or identity:"
                " `mgs keys generate` makes an identity"
            )
        if self.passphrase is not None and self.identity_file is None:
            raise ConfigError("passphrase opens identity_file, and no identity_file is given")
