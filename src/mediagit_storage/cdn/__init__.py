"""CDNs in front of a storage: public and signed URLs, signed cookies, and purging. A provider a file.

A profile says which one (``[NAME.cdn]``), and `open_cdn` opens it. `Provider` is what a further one derives from, and
`register_cdn` makes it known.
"""

from mediagit_storage.cdn.addresses import Base
from mediagit_storage.cdn.api import ApiClient, ApiFailure, FieldSigning, PurgeCall, Ticket, open_client
from mediagit_storage.cdn.config import CDNConfig, OriginConfig
from mediagit_storage.cdn.delivery import CDN, Purged
from mediagit_storage.cdn.opening import open_cdn, provider_of
from mediagit_storage.cdn.plugins import CDN_GROUP, cdn_types, register_cdn
from mediagit_storage.cdn.provider import ApiProvider, Cookie, Grant, Provider, Targets
from mediagit_storage.cdn.tokens import verify_token

__all__ = [
    "CDN",
    "CDN_GROUP",
    "ApiClient",
    "ApiFailure",
    "ApiProvider",
    "Base",
    "CDNConfig",
    "Cookie",
    "FieldSigning",
    "Grant",
    "OriginConfig",
    "Provider",
    "PurgeCall",
    "Purged",
    "Targets",
    "Ticket",
    "cdn_types",
    "open_cdn",
    "open_client",
    "provider_of",
    "register_cdn",
    "verify_token",
]
