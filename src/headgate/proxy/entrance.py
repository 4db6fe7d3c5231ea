"""A socket address and the listeners that share it: told apart by the request's host, or, where TLS is spoken, by SNI.

With TLS each listener has connections of its own: whom it shows a certificate, and whom it asks for one, is settled
before the first request (Gateway API, Listener.hostname; RFC 6066 §11.1).
"""

import asyncio
import ssl
from collections.abc import Sequence

from msgspec import Struct

from headgate.exchange.refuse import refuse
from headgate.exchange.site import Site
from headgate.plan.hostnames import certifies, covers, generality
from headgate.plan.tls import Authorities
from headgate.proxy.answer import connection, whole
from headgate.proxy.downstream import Downstream, Listening
from headgate.proxy.hello import server_name
from headgate.proxy.plane import Plane
from headgate.proxy.tls import Tls

_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"  # a fatal alert (RFC 8446 §6), in the clear as all before keys are
_FIRST_OF_TLS = b"\x16"


class Identity(Struct, frozen=True, eq=False):
    """A certificate that a listener can show, and the DNS names that it is for."""

    names: tuple[str, ...]
    context: ssl.SSLContext


class Door(Struct, frozen=True, eq=False):
    """What is behind an address: all of it (`hostname` None), or what is there for one listener's hostname, by TLS."""

    site: Site
    hostname: str | None = None
    identities: tuple[Identity, ...] = ()
    clients: Authorities | None = None  # whose certificates clients must have, None for anybody


class Entrance:
    """`serve` may be called again and again: connections live on, but for those that would not be let in any more."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self._doors: dict[str | None, tuple[Door, Listening]] = {}

    def serve(self, doors: Sequence[Door]) -> None:
        before, self._doors = self._doors, {}
        for door in sorted(doors, key=lambda door: generality(door.hostname or "")):
            was = before.get(door.hostname)
            if was is not None and was[0].clients == door.clients:
                listening = before.pop(door.hostname)[1]
                listening.site = door.site
            else:
                listening = Listening(self.plane, door.site)
            self._doors[door.hostname] = (door, listening)
        for _, listening in before.values():
            listening.close()

    def site(self, hostname: str) -> Site | None:
        """What is served for a listener of this hostname."""
        found = self._doors.get(hostname) or self._doors.get(None)
        return found[0].site if found else None

    def accept(self) -> asyncio.Protocol:
        plain = self._doors.get(None)
        return Greeting(self) if plain is None else plain[1].accept()

    def find(self, name: str) -> tuple[Listening, ssl.SSLContext] | None:
        """For the name that a client asks for ("" for none): the listener, and the context with its certificate."""
        for hostname, (door, listening) in self._doors.items():
            if hostname is not None and covers(hostname, name):
                shown = _shown(door.identities, name)
                return (listening, shown.context) if shown else None
        return None

    def close(self) -> None:
        """Connections end as soon as they have nothing under door."""
        for _, listening in self._doors.values():
            listening.close()


def _shown(identities: Sequence[Identity], name: str) -> Identity | None:
    """The one that is for the name, exactly or by its longest wildcard; else the first, and the client will object."""

    def fit(identity: Identity) -> tuple[int, int]:
        return min((generality(subject) for subject in identity.names if certifies(subject, name)), default=(2, 0))

    return min(identities, key=fit, default=None)


class Greeting(Tls):
    """A client's connection by TLS. It is the plane's until the handshake is done; then the listener's `Downstream` is.

    `listening` is None until the client has said which name it wants.
    """

    __slots__ = ("_began", "_entrance", "_hello", "_needed", "listening", "rests_until")

    def __init__(self, entrance: Entrance) -> None:
        super().__init__()
        self._entrance = entrance
        self._began = entrance.plane.now
        self._hello = b""
        self._needed = 1
        self.rests_until = 0.0
        self.listening: Listening | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._entrance.plane.connections.add(self)

    def _shake(self, data: bytes) -> None:
        if self.listening is None:
            data = self._hello = self._hello + data
            if len(data) < self._needed:
                return
            if data[:1] != _FIRST_OF_TLS:
                self._answer_in_the_clear()
                return
            name = server_name(data)
            if isinstance(name, int):
                self._needed = name
                return
            found = self._entrance.find(name)
            if found is None:
                self._fail("unrecognized_name", _UNRECOGNIZED_NAME)
                return
            self.listening, context = found
            self._hello = b""
            self._begin(context, server_side=True)
        super()._shake(data)

    def _greeted(self) -> Downstream:
        self._entrance.plane.connections.discard(self)
        assert self.listening is not None
        return self.listening.accept()

    def _turned_away(self, error: ssl.SSLError) -> None:
        self._fail((error.reason or "unknown").lower())

    def _answer_in_the_clear(self) -> None:
        refusal = refuse(400, "This port speaks TLS, and you speak plain HTTP: use https://.", close=True)
        self._fail("http_request", whole(refusal, b"GET", self._entrance.plane.date, connection(False, False)))

    def _fail(self, reason: str, last_word: bytes = b"") -> None:
        """The client hears why, if it cares to listen; the sweep closes the connection if the client does not."""
        plane = self._entrance.plane
        failures = plane.handshake_failures
        failures[reason] = failures.get(reason, 0) + 1
        self._closing = True
        self._began = plane.now
        if not self.raw.is_closing():
            if last_word:
                self.raw.write(last_word)
            self.raw.write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        if self._protocol is None:
            self._entrance.plane.left(self)
        super().connection_lost(error)

    # As the plane's connections have it.

    def sweep(self, now: float) -> None:
        bounds = self._entrance.plane.bounds
        if self._closing:
            if now - self._began > bounds.linger_s:
                self.raw.abort()
        elif now - self._began > bounds.handshake_s:
            self._fail("timeout")

    def drain(self) -> None:
        """Nothing has been asked yet."""
        if self._entrance.plane.closing:
            self.raw.abort()
