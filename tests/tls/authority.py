"""Certificate authorities for tests: certificates that are right, and wrong in one way each."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Issued(NamedTuple):
    """PEM, and the same in `cryptography`'s terms."""

    chain: str
    key: str
    certificate: x509.Certificate

    def files(self, directory: Path, name: str) -> tuple[Path, Path]:
        chain, key = directory / f"{name}.crt", directory / f"{name}.key"
        chain.write_text(self.chain)
        key.write_text(self.key)
        return chain, key


class Authority:
    def __init__(self, name: str = "ca", *, begins: datetime = NOW - DAY, ends: datetime = NOW + 30 * DAY) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        self.certificate = (
            _builder(self.name, self.name, self.key, begins, ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(
        self,
        *names: str,
        uris: tuple[str, ...] = (),
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + 30 * DAY,
        key: Key | None = None,
        passphrase: bytes = b"",
    ) -> Issued:
        """For DNS names and URIs; with neither it has no subject alternative names."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(names[0] if names else "nobody"), self.name, own, begins, ends)
        alternatives = [x509.DNSName(name) for name in names] + [x509.UniformResourceIdentifier(uri) for uri in uris]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return Issued(
            certificate.public_bytes(pem).decode(), own.private_bytes(pem, form, encryption).decode(), certificate
        )

    def client(self, *, shown: Issued | None = None, at: Path | None = None, tls12: bool = False) -> ssl.SSLContext:
        """A context that trusts this authority, and shows a certificate of its own where it has one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pem)
        if shown is not None:
            assert at is not None
            context.load_cert_chain(*shown.files(at, "shown"))
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context


def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
