"""Encryption in the age format (c2sp.org/age): any part of an object can be read, and the tools of age read the objects.

``header``, ``payload``, ``sizes``, ``chunks``, ``armor``, ``bech32`` and ``keys`` are the format, as pure functions and
values; ``writing``, ``reading`` and ``bodies`` carry objects through it, and ``layer`` is the backend. The library
``cryptography`` is an extra, and only ``primitives`` and ``payload`` know it.
"""

from __future__ import annotations

from mediagit_storage.layers.encrypt.config import EncryptConfig
from mediagit_storage.layers.encrypt.layer import EncryptLayer

__all__ = ["EncryptConfig", "EncryptLayer"]
