"""The gRPC service `envoy.service.ext_proc.v3.ExternalProcessor`: one call for each HTTP request."""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from google.protobuf.message import DecodeError

from headgate.envoy.heads import Heads
from headgate.envoy.hints import SITE
from headgate.envoy.http2.call import CANCELLED, INTERNAL, INVALID_ARGUMENT, OK, UNAVAILABLE, Call, Method, Receiver
from headgate.envoy.options import Options
from headgate.envoy.plane import Plane
from headgate.envoy.reading import read
from headgate.envoy.turn import Turn
from headgate.envoy.writing import write
from headgate.exchange.record import Record
from headgate.exchange.site import Site

NAME = "envoy.service.ext_proc.v3.ExternalProcessor"
_SITE = SITE.encode()

Sites = Callable[[str], Site | None]


class Service:
    """`sites` gives the site by the name that the call's metadata has, "" where it has none; None: there is none.

    `mistaken` hears of our own mistakes.
    """

    def __init__(
        self, plane: Plane, sites: Sites, options: Options, mistaken: Callable[[str, Exception], None]
    ) -> None:
        self._plane = plane
        self._sites = sites
        self.options = options
        self.under_way: set[_Processing] = set()
        self._heads = Heads()
        self.mistaken = mistaken
        self.methods: Mapping[bytes, Method] = {f"/{NAME}/Process".encode(): self._process}

    def records(self) -> Iterable[Record]:
        """Of requests that are under way."""
        return [record for one in self.under_way if (record := one.turn.record) is not None]

    def _process(self, call: Call) -> Receiver:
        name = call.metadata.get(_SITE, b"").decode("latin-1")
        site = self._sites(name)
        if site is None:
            call.finish(UNAVAILABLE, f"there is no site {name or 'here'}")
            return _Nobody()
        return _Processing(self, call, Turn(site, self._plane, self.options, self._heads))


class _Nobody(Receiver):
    def message(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def gone(self) -> None: ...


class _Processing(Receiver):
    __slots__ = ("_began", "_call", "_service", "turn")

    def __init__(self, service: Service, call: Call, turn: Turn) -> None:
        self._service = service
        self._call = call
        self._began = monotonic()
        self.turn = turn
        turn.tell = self._tell
        service.under_way.add(self)

    def message(self, data: bytes) -> None:
        turn = self.turn
        try:
            message = read(data)
            if message is not None:
                turn.feed(message)
            if turn.answers:
                self._tell()
        except DecodeError as error:
            self._finish(INVALID_ARGUMENT, f"no ProcessingRequest: {error}")
        except Exception as error:
            self._service.mistaken("while a request was processed", error)
            self._finish(INTERNAL, "a mistake of the picker's own")

    def _tell(self) -> None:
        turn, call = self.turn, self._call
        for answer in turn.answers:
            call.send(write(answer))
        turn.answers.clear()
        if turn.over:
            self._finish()

    def ended(self) -> None:
        self._finish()

    def gone(self) -> None:
        self._over(CANCELLED)

    def _finish(self, status: int = OK, why: str = "") -> None:
        self._call.finish(status, why)
        self._over(status)

    def _over(self, status: int) -> None:
        under_way = self._service.under_way
        if self not in under_way:
            return
        under_way.discard(self)
        self.turn.ended()
        ended = self._service.options.ended
        if ended is not None:
            ended(status, monotonic() - self._began)
