"""What the picker shows by TLS: a certificate from files, which are followed, or one that it has signed itself."""

import datetime
import os
import ssl
import tempfile
from pathlib import Path

_DAYS = 3650
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_FILES = ("tls.crt", "tls.key")


class Unfit(Exception):
    """There is no such certificate; the text says why, for people."""


class Identity:
    """`context` is for the sockets. What `reload` finds counts for connections that are made from then on."""

    def __init__(self, least: str, directory: str = "") -> None:
        """`least` is the version, 1.2 or 1.3. Raises Unfit."""
        self._directory = Path(directory) if directory else None
        self._seen: tuple[tuple[int, int], ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = _VERSIONS[least]
        self.context.set_alpn_protocols(["h2"])
        if self._directory is None:
            _load_self_signed(self.context)
        else:
            self._load(self._directory)

    def reload(self) -> bool:
        """Whether there is another one than before. Raises Unfit; then the one before stays."""
        if self._directory is None or self._mark(self._directory) == self._seen:
            return False
        self._load(self._directory)
        return True

    def _load(self, directory: Path) -> None:
        chain, key = (directory / name for name in _FILES)
        seen = self._mark(directory)
        try:
            self.context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as error:  # an SSLError is an OSError
            why = getattr(error, "reason", None) or error.strerror or str(error)
            raise Unfit(f"{chain} and {key.name} can't be used: {why}") from None
        self._seen = seen

    def _mark(self, directory: Path) -> tuple[tuple[int, int], ...]:
        marks = []
        for name in _FILES:
            try:
                found = os.stat(directory / name)
            except OSError:
                continue
            marks.append((found.st_ino, found.st_mtime_ns))
        return tuple(marks)


def _load_self_signed(context: ssl.SSLContext) -> None:
    """Proxies that ask for it do not look at who it is."""
    chain, key = _self_signed()
    with tempfile.TemporaryDirectory(prefix="headgate-") as made:  # OpenSSL wants files
        paths = [Path(made) / name for name in _FILES]
        for path, text in zip(paths, (chain, key), strict=True):
            path.touch(0o600)
            path.write_bytes(text)
        context.load_cert_chain(paths[0], paths[1])


def _self_signed() -> tuple[bytes, bytes]:
    """PEM: an EC key, for it is made in no time, where RSA of 4096 bits takes a second or several."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Headgate endpoint picker")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(hours=1))
        .not_valid_after(today + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
