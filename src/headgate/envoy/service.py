"""The gRPC service `envoy.service.ext_proc.v3.ExternalProcessor`: one call for each HTTP request."""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Protocol

from google.protobuf.message import DecodeError

from headgate.envoy.heads import Heads
from headgate.envoy.hints import SITE
from headgate.envoy.http2.call import CANCELLED, INTERNAL, INVALID_ARGUMENT, OK, UNAVAILABLE, Call, Method, Receiver
from headgate.envoy.messages import Answer, Disorder, Message
from headgate.envoy.options import Options
from headgate.envoy.plane import Plane
from headgate.envoy.reading import read
from headgate.envoy.turn import Turn as Picking
from headgate.envoy.writing import write
from headgate.exchange.record import Record
from headgate.exchange.site import Site

NAME = "envoy.service.ext_proc.v3.ExternalProcessor"
_SITE = SITE.encode()

Sites = Callable[[str], Site | None]


class Turn(Protocol):
    """What is done for one HTTP request: `turn.Turn`, or one of another processor."""

    answers: list[Answer]

    @property
    def over(self) -> bool: ...
    @property
    def settled(self) -> bool: ...  # all is said that anybody waits for
    @property
    def record(self) -> Record | None: ...
    def heard_by(self, tell: Callable[[], None]) -> None: ...
    def feed(self, message: Message) -> None: ...
    def ended(self) -> None: ...


class Processor:
    """`begin` gives a turn for a call, by the name of the site that it is for; None where there is no such site.

    `mistaken` hears of our own mistakes, `ended` how a call ended (gRPC's status), and how long it took, in seconds.
    """

    def __init__(
        self,
        begin: Callable[[str], Turn | None],
        mistaken: Callable[[str, Exception], None],
        ended: Callable[[int, float], None] | None = None,
    ) -> None:
        self._begin = begin
        self.mistaken = mistaken
        self.ended = ended
        self.under_way: set[_Processing] = set()
        self.methods: Mapping[bytes, Method] = {f"/{NAME}/Process".encode(): self._process}

    def records(self) -> Iterable[Record]:
        """Of requests that are under way."""
        return [record for one in self.under_way if (record := one.turn.record) is not None]

    def _process(self, call: Call) -> Receiver:
        name = call.metadata.get(_SITE, b"").decode("latin-1")
        turn = self._begin(name)
        if turn is None:
            call.finish(UNAVAILABLE, f"there is no site {name or 'here'}")
            return _Nobody()
        return _Processing(self, call, turn)


class Service(Processor):
    """Picks endpoints. `sites` gives the site by the name that the call's metadata has, "" where it has none."""

    def __init__(
        self, plane: Plane, sites: Sites, options: Options, mistaken: Callable[[str, Exception], None]
    ) -> None:
        heads = Heads()

        def begin(name: str) -> Picking | None:
            site = sites(name)
            return None if site is None else Picking(site, plane, options, heads)

        super().__init__(begin, mistaken, options.ended)


class _Nobody(Receiver):
    def message(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def gone(self) -> None: ...


class _Processing(Receiver):
    __slots__ = ("_began", "_call", "_service", "turn")

    def __init__(self, service: Processor, call: Call, turn: Turn) -> None:
        self._service = service
        self._call = call
        self._began = monotonic()
        self.turn = turn
        turn.heard_by(self._tell)
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
        except Disorder as error:
            self._finish(INVALID_ARGUMENT, str(error))
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
        # A proxy may end a call so that has said all that it had to say.
        self._over(OK if self.turn.settled else CANCELLED)

    def _finish(self, status: int = OK, why: str = "") -> None:
        self._call.finish(status, why)
        self._over(status)

    def _over(self, status: int) -> None:
        under_way = self._service.under_way
        if self not in under_way:
            return
        under_way.discard(self)
        self.turn.ended()
        ended = self._service.ended
        if ended is not None:
            ended(status, monotonic() - self._began)
