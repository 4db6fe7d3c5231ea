"""Who asked for what, for servers behind this hop: RFC 7239, and the X-Forwarded headers that came before it."""

from headgate.exchange.events import Asked, Headers


def hop(event: Asked, host: str, scheme: bytes) -> Headers:
    """What the gateway says of the request: who sent it, to which host, over what, and its id."""
    head = event.head
    headers = [
        (b"x-forwarded-for", head.forwarded_for + event.peer),
        (b"x-forwarded-proto", scheme),
        (b"x-request-id", head.id or event.id),
        *asked_host(host),
    ]
    if head.forwarded:
        headers.append((b"forwarded", forwarded(head.forwarded, event.peer, host, scheme)))
    return headers


def asked_host(host: str) -> Headers:
    return [(b"x-forwarded-host", host.encode("latin-1"))] if host else []


def forwarded(before: bytes, peer: bytes, host: str, scheme: bytes) -> bytes:
    """The value of Forwarded with this hop behind those `before` (§4): the last is never one that a client made up."""
    return b'%b, for=%b;host="%b";proto=%b' % (before, _node(peer), host.encode("latin-1"), scheme)


def _node(peer: bytes) -> bytes:
    """An address as §6 writes it; a peer without one, as on a Unix socket, is unknown."""
    if b":" in peer:
        return b'"[%b]"' % peer
    return peer if b"." in peer else b"unknown"
