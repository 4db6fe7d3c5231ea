"""What does a certificate say?  PEM → the names and the time that it is for, and its fingerprint.

It reads no more of RFC 5280 than that (§4.1, §4.2.1.6) and verifies nothing: that is for whoever makes connections.
"""

import binascii
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _OCTETS, _OID, _UTC_TIME, _GENERAL_TIME = 0x30, 0x04, 0x06, 0x17, 0x18
_EXTENSIONS, _DNS_NAME = 0xA3, 0x82
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))
_BEFORE_VALIDITY = 3  # serial number, signature algorithm, issuer
_BEFORE_SUBJECT = _BEFORE_VALIDITY + 1


class Facts(Struct, frozen=True):
    """`names` are DNS names in lower case, as in the certificate; `fingerprint` is the SHA-256 of it, in hex."""

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str


def read_pem(pem: bytes) -> tuple[Facts, ...]:
    """Of each certificate in the text, in its order; () where there is none. ValueError says which can't be read."""
    found: list[Facts] = []
    for block in _BLOCK.finditer(pem):
        try:
            found.append(_facts(binascii.a2b_base64(b"".join(block[1].split()), strict_mode=True)))
        except binascii.Error:
            raise ValueError(f"certificate {len(found) + 1} is not base64") from None
        except (ValueError, IndexError):
            raise ValueError(f"certificate {len(found) + 1} is no certificate by X.509") from None
    return tuple(found)


def _facts(der: bytes) -> Facts:
    (_, content), *_ = _items(_only(der, _SEQUENCE))
    signed = list(_items(content))
    if signed and signed[0][0] == 0xA0:  # the version, left out of certificates of version 1
        del signed[0]
    before, after = [_time(*item) for item in _items(signed[_BEFORE_VALIDITY][1])]
    names: tuple[str, ...] = ()
    for tag, extensions in signed[_BEFORE_SUBJECT:]:
        if tag == _EXTENSIONS:
            names = tuple(_alt_names(_only(extensions, _SEQUENCE)))
    return Facts(names, before, after, hashlib.sha256(der).hexdigest())


def _alt_names(extensions: bytes) -> Iterator[str]:
    for _, extension in _items(extensions):
        (_, oid), *_, (_, value) = _items(extension)
        if oid == _SUBJECT_ALT_NAME:
            names = _items(_only(value, _SEQUENCE))
            yield from (text.decode("ascii").lower() for tag, text in names if tag == _DNS_NAME)


def _time(tag: int, text: bytes) -> datetime:
    """RFC 5280 §4.1.2.5: two digits of a year mean 1950 to 2049."""
    written = text.decode("ascii")
    if tag == _UTC_TIME:
        written = ("20" if int(written[:2]) < 50 else "19") + written
    elif tag != _GENERAL_TIME:
        raise ValueError("no time")
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _only(data: bytes, tag: int) -> bytes:
    """The content of the one item that there is."""
    items = list(_items(data))
    if len(items) != 1 or items[0][0] != tag:
        raise ValueError("not DER")
    return items[0][1]


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER item (X.690 §8.1, definite lengths)."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            if not 0 < width <= 4:
                raise ValueError("not DER")
            size = int.from_bytes(data[at : at + width])
            at += width
        if tag & 0x1F == 0x1F or at + size > len(data):
            raise ValueError("cut short")
        yield tag, data[at : at + size]
        at += size
