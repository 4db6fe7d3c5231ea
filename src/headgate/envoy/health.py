"""`grpc.health.v1.Health`, Check and Watch: whether this picker wants requests.

`liveness` is always there; what else is asked for serves while `ready()` says so. Messages are a field each, so they
are written out here. Source: grpc/health/v1/health.proto.
"""

from collections.abc import Callable, Iterable, Mapping

from headgate.envoy.http2.call import NOT_FOUND, Call, Method, Receiver

_SERVING, _NOT_SERVING, _UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
_LIVENESS = "liveness"
_LONGEST = 6  # bytes up to a text's beginning: a varint without end takes as long as its length squared


class Health:
    """`services` are the names that are known besides `liveness`. Call `changed` when `ready` may say otherwise."""

    def __init__(self, services: Iterable[str], ready: Callable[[], bool]) -> None:
        self._services = frozenset(services)
        self._ready = ready
        self._watching: set[_Watch] = set()
        self.methods: Mapping[bytes, Method] = {
            b"/grpc.health.v1.Health/Check": lambda call: _Check(self, call),
            b"/grpc.health.v1.Health/Watch": lambda call: _Watch(self, call),
        }

    def changed(self) -> None:
        for one in list(self._watching):
            one.look()

    def status(self, service: str) -> bytes | None:
        """None for a name that is not known."""
        if service == _LIVENESS:
            return _SERVING
        if service not in self._services:
            return None
        return _SERVING if self._ready() else _NOT_SERVING

    def watch(self, one: "_Watch") -> None:
        self._watching.add(one)

    def forget(self, one: "_Watch") -> None:
        self._watching.discard(one)


class _Check(Receiver):
    def __init__(self, health: Health, call: Call) -> None:
        self._health = health
        self._call = call

    def message(self, data: bytes) -> None:
        service = _service(data)
        status = self._health.status(service)
        if status is None:
            self._call.finish(NOT_FOUND, f"there is no service {service} here")
        else:
            self._call.send(status)
            self._call.finish()

    def ended(self) -> None:
        self._call.finish(NOT_FOUND, "nothing was asked")

    def gone(self) -> None: ...


class _Watch(Receiver):
    """Tells of each change, until the client leaves."""

    def __init__(self, health: Health, call: Call) -> None:
        self._health = health
        self._call = call
        self._service: str | None = None
        self._last = b""

    def message(self, data: bytes) -> None:
        self._service = _service(data)
        self._health.watch(self)
        self.look()

    def look(self) -> None:
        if self._service is None:
            return
        status = self._health.status(self._service) or _UNKNOWN
        if status != self._last:
            self._last = status
            self._call.send(status)

    def ended(self) -> None: ...

    def gone(self) -> None:
        self._health.forget(self)


def _service(request: bytes) -> str:
    """HealthCheckRequest: the text of field 1, "" where it is not there."""
    if request[:1] != b"\x0a":
        return ""
    size, at, shift = 0, 1, 0
    while at < min(len(request), _LONGEST):
        byte = request[at]
        size |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return request[at : at + size].decode("utf-8", "replace")
