"""Sessions: a token in a cookie or a header that leads a client back to the endpoint which served it before.

Source: Gateway API, SessionPersistence, and GEP-1619. A token holds a digest of rule and endpoint, when the session
began, and when it was used last. It is no secret and grants nothing: whoever makes one up can only choose among the
endpoints that the rule may send him to anyway. Every gateway with the same plan understands it.
"""

import binascii
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from headgate.exchange.events import Headers
from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import Session

_LAYOUT = struct.Struct(">QII")
_LENGTH = 22  # characters: 16 bytes in base64 without padding
_MOST = 8  # cookies of one name that are looked at


class Token(Struct, frozen=True, gc=False):
    """Times are whole seconds since 1970."""

    digest: int
    began: int
    used: int


def digest(rule: str, endpoint: Endpoint) -> int:
    """What stands for an endpoint in tokens: a new server under an old address, or the other way round, is another."""
    return _digest(rule, endpoint.name, endpoint.address, endpoint.port)


@lru_cache(maxsize=4096)
def _digest(rule: str, name: str, address: str, port: int) -> int:
    return xxh3_64_intdigest(f"{rule}\n{name}\n{address}\n{port}".encode())


def write(token: Token) -> bytes:
    packed = _LAYOUT.pack(token.digest, token.began & 0xFFFFFFFF, token.used & 0xFFFFFFFF)
    return urlsafe_b64encode(packed).rstrip(b"=")


def read(text: bytes) -> Token | None:
    """None for what is no token."""
    if len(text) != _LENGTH:
        return None
    try:
        return Token(*_LAYOUT.unpack(urlsafe_b64decode(text + b"==")))
    except (binascii.Error, struct.error):
        return None


def presented(session: Session, headers: Headers, wall: float) -> Iterator[Token]:
    """The tokens that a request brings for this session and whose time is not over at `wall` (Unix time)."""
    for text in _values(session, headers):
        token = read(text)
        if token is not None and _lasts(session, token, wall):
            yield token


def _values(session: Session, headers: Headers) -> Iterator[bytes]:
    name = session.name.encode()
    if session.header:
        yield from (value for key, value in headers if key == name)
        return
    found = 0
    for key, value in headers:
        if key == b"cookie":
            for pair in value.split(b";"):
                own, _, text = pair.strip().partition(b"=")
                if own == name and found < _MOST:
                    found += 1
                    yield text


def _lasts(session: Session, token: Token, wall: float) -> bool:
    return (session.absolute_s is None or wall - token.began < session.absolute_s) and (
        session.idle_s is None or wall - token.used < session.idle_s
    )


def leads_to(session: Session, token: Token, endpoints: Iterable[Endpoint]) -> Endpoint | None:
    return next((endpoint for endpoint in endpoints if digest(session.rule, endpoint) == token.digest), None)


def renewed(session: Session, before: Token | None, endpoint: Endpoint, wall: float) -> Token | None:
    """The token for an answer of this endpoint; None where the client has one that is good enough."""
    now = int(wall)
    mark = digest(session.rule, endpoint)
    if before is None or before.digest != mark:
        return Token(mark, now, now)
    if session.idle_s is not None and before.used != now:
        return Token(mark, before.began, now)
    return None


def told(session: Session, token: Token, secure: bool) -> tuple[bytes, bytes]:
    """The header of the answer that hands over a token."""
    text = write(token)
    name = session.name.encode()
    if session.header:
        return name, text
    parts = [b"%b=%b" % (name, text), b"Path=" + session.path.encode()]
    if session.permanent and session.absolute_s is not None:
        left = max(0, int(token.began + session.absolute_s - token.used))
        parts.append(b"Max-Age=%d" % left)
    parts += [b"HttpOnly", b"SameSite=Strict"]
    if secure:  # a browser drops such a cookie where the page came by plain HTTP
        parts.append(b"Secure")
    return b"set-cookie", b"; ".join(parts)
