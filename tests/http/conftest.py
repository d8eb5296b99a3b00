"""Transports, and a certificate authority for servers of the tests' own."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mediagit_storage.http.network import TransportOptions
from mediagit_storage.http.transport import Transport

#: No test waits for a real time limit.
QUICK = TransportOptions(connect_timeout=5, idle_timeout=10)


@pytest.fixture
def make() -> Iterator[Callable[..., Transport]]:
    """Transports with other options, closed at the end."""
    made: list[Transport] = []

    def build(environ: dict[str, str] | None = None, **options: object) -> Transport:
        transport = Transport(replace(QUICK, **options), environ=environ or {})
        made.append(transport)
        return transport

    yield build
    for each in made:
        each.close()


@pytest.fixture
def transport(make) -> Transport:
    return make()


@dataclass
class Authority:
    """A CA: ``ca_file`` is what clients have to trust."""

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        certificate = self._build(self._name, self._key.public_key(), days=(-10, 10)).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        signed = certificate.sign(self._key, hashes.SHA256())
        self.ca_file = self.folder / "ca.pem"
        self.ca_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def server(self, *, names: tuple[str, ...] = ("localhost",), days: tuple[int, int] = (-1, 1)) -> ssl.SSLContext:
        """What a server with a certificate for ``names``, good between ``days`` from now, needs."""
        import ipaddress

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        alternatives = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] if "localhost" in names else []
        certificate = self._build(subject, key.public_key(), days=days).add_extension(
            x509.SubjectAlternativeName(alternatives), critical=False
        )
        signed = certificate.sign(self._key, hashes.SHA256())
        path = self.folder / f"{'-'.join(names)}{days[1]}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _build(self, subject, key, *, days) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
        )


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
