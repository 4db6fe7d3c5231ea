"""OpenSSL's contexts for what the plan says of TLS: 1.2 and 1.3, forward secrecy and authenticated ciphers only."""

import contextlib
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping

from msgspec import Struct

from headgate.plan.hostnames import certifies
from headgate.plan.tls import Authorities, Certificate, Origination

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good
_HTTP = ["http/1.1"]


class Untrusted(Exception):
    """A server that is not who it must be, or does not speak TLS. The text says why, for people."""


class Trust(Struct, frozen=True):
    """How to know a server: what an `Origination` says, made ready. `context` is None where `fault` says why not."""

    hostname: str
    context: ssl.SSLContext | None
    alt_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    fault: str = ""

    def check(self, certificate: Mapping[str, object]) -> None:
        """Of a verified certificate (as `ssl.SSLObject.getpeercert` has it): whether it is for one of the names."""
        if not self.alt_names and not self.uris:
            return  # the hostname was verified with the certificate
        subjects = certificate.get("subjectAltName", ())
        assert isinstance(subjects, tuple)
        for kind, value in subjects:
            if kind == "URI" and value in self.uris:
                return
            subject = str(value).lower()
            if kind == "DNS" and any(certifies(subject, name) or certifies(name, subject) for name in self.alt_names):
                return
        raise Untrusted(f"its certificate is not for {' or '.join((*self.alt_names, *self.uris))}")


def server_context(certificate: Certificate, clients: Authorities | None) -> ssl.SSLContext:
    """To show the certificate, and to let in only clients that have one signed by `clients` (None: all).

    Raises OSError or ValueError for what OpenSSL does not take; `why_unfit` puts it into words.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    with _file(certificate.pem.content) as path:
        context.load_cert_chain(path, password=_no_passphrase)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        load_authorities(context, clients.pem.content)
    return context


def trust(origination: Origination) -> Trust:
    """Raises as `server_context`."""
    names = origination.alt_names, origination.uris
    if origination.fault:
        return Trust(origination.hostname, None, *names, origination.fault)
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = not any(names)
    context.hostname_checks_common_name = False  # RFC 9525 §2
    if origination.authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        load_authorities(context, origination.authorities.pem.content)
    return Trust(origination.hostname, context, *names)


def load_authorities(context: ssl.SSLContext, pem: bytes) -> None:
    """Trust these. What is written between certificates, a name say, may be in any encoding."""
    context.load_verify_locations(cadata=pem.decode("ascii", "replace"))


def why_unfit(error: Exception) -> str:
    """What OpenSSL has against a certificate, a key or a bundle."""
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "tls.key does not belong to tls.crt"
    if reason == "EE_KEY_TOO_SMALL":
        return "the certificate's key is too short; use RSA of 2048 bits or more, or an elliptic curve"
    if reason in ("EE_MD_TOO_WEAK", "CA_MD_TOO_WEAK"):
        return "the certificate is signed with a digest that is not secure any more; use SHA-256"
    said = reason.replace("_", " ").lower() or str(error)
    return f"OpenSSL can't read it ({said})"


def why_untrusted(error: ssl.SSLError) -> str:
    """Why there was no handshake with a server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING"):
        return "it does not speak TLS"
    return f"no TLS with it: {(error.reason or str(error)).replace('_', ' ').lower()}"


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(_HTTP)
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")  # else OpenSSL would ask for one on the terminal


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    """Python's ssl reads keys from files only: from one in memory, or where there is none, from one soon gone."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
