"""Write docs/reference/backends.md: what each storage can do, asked of the backends themselves.

    scripts/capability_table.py

Opening makes no request, so no server and no account is needed. A test compares the page with the backends.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import mediagit_storage as mgs
from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.azure import AzureBackend, AzureConfig
from mediagit_storage.backends.gcs import GCSBackend, GCSConfig
from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.backends.s3.services import SERVICES
from mediagit_storage.backends.webdav import WebDAVBackend, WebDAVConfig
from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities

B = TypeVar("B", bound=StorageBackend)

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "backends.md"

INTRODUCTION: Final = """# What each storage can do

This page is generated from the backends: after a change run `scripts/capability_table.py`.

A call outside of what a storage can do is an `UnsupportedError` before a byte is sent. `store.capabilities` holds this
table's column for the storage at hand, and `mgs check` tries it. `option` is what only who asks for it gets: retention
in a bucket that has it, versions where the account keeps them, conditions on a server of which its user says that it
honours them. Links need credentials that can sign.

"""

#: What stands in front of each row, and the flag it shows.
ROWS: Final[Mapping[str, str]] = {
    "if_absent": "create-only writes",
    "if_match": "writes on condition of the ETag",
    "delete_if_match": "deletes on condition of the ETag",
    "read_conditions": "conditional reads",
    "exact_etags": "an ETag never repeats for other bytes",
    "copy_if_absent": "create-only copies",
    "versions": "versions of objects",
    "retention": "retention and legal holds",
    "server_copy": "copies by the server",
    "server_rename": "atomic renames",
    "batch": "many objects in one thread",
    "pending_uploads": "unfinished uploads: list, abort",
    "late_metadata": "metadata decided at the end of a stream",
    "replace_head": "key rotation without moving bytes",
    "parallel_reads": "one object as ranges side by side",
    "resumable_uploads": "uploads resume in another process",
    "raw_keys": "any key, also `a//b` and `folder/`",
    "nested_keys": "`a` beside `a/b`",
}


@contextmanager
def storages(*, asked: bool) -> Iterator[dict[str, StorageBackend]]:
    """One of each: with the usual options, or with those that ask for everything a service may have."""
    key = mgs.Secret("c2VjcmV0")
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:

        def kept(backend: B) -> B:
            stack.callback(backend.close)
            return backend

        def s3(service: str) -> StorageBackend:
            config = S3Config(
                bucket="bucket",
                service=service,
                endpoint=None if service == "aws" else "https://storage.example.com",
                region="eu-1",
                access_key_id=key,
                secret_access_key=key,
                object_lock=asked and SERVICES[service].retention,
                conditional_writes=True if asked and service == "generic" else None,
            )
            return kept(S3Backend.from_config(config))

        azure = AzureConfig(
            container="container", account="account", account_key=key, versions="versions" if asked else None
        )
        gcs = GCSConfig(bucket="bucket", service_account_file=_service_account(folder), object_retention=asked)
        dav = WebDAVConfig(
            url="https://dav.example.com/files",
            create_only=asked or None,
            conditional_writes=asked or None,
            dead_properties=asked,
        )
        sharded = mgs.open_storage(Path(folder) / "sharded", options={"layout": "sharded"}, create=True)
        yield {
            "memory": mgs.open_storage("memory://table").backend,
            "local": stack.enter_context(mgs.open_storage(folder)).backend,
            "local, sharded": stack.enter_context(sharded).backend,
            "Amazon S3": s3("aws"),
            "MinIO": s3("minio"),
            "B2": s3("b2"),
            "Spaces": s3("spaces"),
            "R2": s3("r2"),
            "other S3": s3("generic"),
            "Azure": kept(AzureBackend.from_config(azure)),
            "GCS": kept(GCSBackend.from_config(gcs)),
            "WebDAV": kept(WebDAVBackend.from_config(dav)),
        }


def _service_account(folder: str) -> str:
    """A file of credentials that can sign, for nobody."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = Path(folder) / "service-account.json"
    told = {
        "type": "service_account",
        "client_email": "nobody@example.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path.write_text(json.dumps(told), "utf-8")
    return str(path)


def page() -> str:
    """The page as it has to be."""
    with storages(asked=False) as usual, storages(asked=True) as asking:
        found = {name: backend.capabilities for name, backend in usual.items()}
        most = {name: backend.capabilities for name, backend in asking.items()}
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for flag, text in ROWS.items():
        lines.append(_row(text, [_word(flag, found[name], most[name]) for name in found]))
    lines.append(_row("links (presign)", [", ".join(sorted(each.presign)) or "no" for each in found.values()]))
    lines.append(_row("attributes not kept", [_lacking(each) for each in found.values()]))
    lines.append(_row("longest key, in bytes", [f"{each.max_key_bytes:,}" for each in found.values()]))
    lines.append(_row("largest object", [_size(each.max_object_size) for each in found.values()]))
    return INTRODUCTION + "\n".join(lines) + "\n"


def _row(text: str, cells: list[str]) -> str:
    return f"| {text} | {' | '.join(cells)} |"


def _word(flag: str, usual: Capabilities, most: Capabilities) -> str:
    if getattr(usual, flag):
        return "yes"
    return "option" if getattr(most, flag) else "no"


def _lacking(found: Capabilities) -> str:
    lacking = sorted(ALL_ATTRIBUTES - found.attributes)
    if len(lacking) == len(ALL_ATTRIBUTES):
        return "all"
    return ", ".join(f"`{each}`" for each in lacking) or "none"


def _size(count: int | None) -> str:
    return "no limit known" if count is None else f"{count / 2**40:,.1f} TiB"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
