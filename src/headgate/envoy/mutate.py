"""`request`, `response`: headers as they came, and as they are to be → what the proxy has to change.

What concerns one connection, or is the proxy's own to say, is left to it.
"""

from collections.abc import Iterable

from headgate.envoy.messages import Mutation
from headgate.exchange.events import Headers

_THE_PROXYS = frozenset(
    {
        *(b":authority", b":method", b":path", b":scheme", b":status", b":protocol", b"connection", b"content-length"),
        *(b"expect", b"forwarded", b"host", b"http2-settings", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"),
    }
)
_NAMES_OF_MODELS = frozenset({b"x-gateway-model-name", b"x-gateway-base-model-name"})


def request(came: Headers, head: bytes, *, names_models: bool) -> Mutation:
    """`head` is the request line and the headers as the exchange wants them to be.

    With `names_models` the model's headers are set as well; else they are left to who has set them.
    """
    start, *lines = head[:-4].split(b"\r\n")
    ours = _THE_PROXYS if names_models else _THE_PROXYS | _NAMES_OF_MODELS
    wanted = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    changed = _difference(came, wanted, ours)
    before = dict(came)
    path, host = start.split(b" ")[1], next((value for name, value in wanted if name == b"host"), b"")
    for name, value in ((b":path", path), (b":authority", host)):
        if value and before.get(name, value) != value:
            changed.set.append((name, value))
    return changed


def response(came: Headers, lines: bytes) -> Mutation:
    """`lines` are the headers as they go over the wire, each with its end."""
    wanted = [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]
    return _difference(came, wanted, _THE_PROXYS)


def _difference(came: Headers, wanted: Headers, left: frozenset[bytes]) -> Mutation:
    before, after = _by_name(came, left), _by_name(wanted, left)
    new = [(name, value) for name, values in after.items() if before.get(name) != values for value in values]
    return Mutation(new, [name for name in before if name not in after])


def _by_name(headers: Iterable[tuple[bytes, bytes]], left: frozenset[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in left:
            continue
        if name in found:
            found[name].append(value)
        else:
            found[name] = [value]
    return found
