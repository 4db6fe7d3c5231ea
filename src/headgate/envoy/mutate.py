"""Headers as they came, and as they are to be → what the proxy has to change.

What concerns one connection, or is the proxy's own to say, is left to it.
"""

from collections.abc import Iterable

from headgate.envoy.messages import Mutation
from headgate.exchange.events import Headers
from headgate.exchange.request import OURS

THE_PROXYS = frozenset(
    {
        *(b":authority", b":method", b":path", b":scheme", b":status", b":protocol", b"connection", b"content-length"),
        *(b"expect", b"forwarded", b"host", b"http2-settings", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"),
        *(b"x-gateway-model-name", b"x-gateway-base-model-name"),  # of who routes by them, before us
    }
)
_ID = b"x-request-id"


def request(came: Headers, head: bytes) -> Mutation:
    """`head` is the request line and the headers as the exchange wants them to be."""
    start, *lines = head[:-4].split(b"\r\n")
    wanted = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    changed = _difference(came, wanted)
    before = dict(came)
    path, host = start.split(b" ")[1], next((value for name, value in wanted if name == b"host"), b"")
    for name, value in ((b":path", path), (b":authority", host)):
        if value and before.get(name, value) != value:
            changed.set.append((name, value))
    return changed


def response(came: Headers, lines: bytes) -> Mutation:
    """`lines` are the headers as they go over the wire, each with its end."""
    return _difference(
        came, [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]
    )


def plain_response(came: Headers, identity: str) -> Mutation:
    """The same where nothing but the request's id is added, and what is ours to say is taken away."""
    return Mutation([(_ID, identity.encode("latin-1"))], [name for name, _ in came if name in OURS])


def _difference(came: Headers, wanted: Headers) -> Mutation:
    before, after = _by_name(came), _by_name(wanted)
    new = [(name, value) for name, values in after.items() if before.get(name) != values for value in values]
    return Mutation(new, [name for name in before if name not in after])


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name not in THE_PROXYS:
            found.setdefault(name, []).append(value)
    return found
