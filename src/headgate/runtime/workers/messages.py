"""What the controller and its workers say to each other, in msgpack."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from headgate.exchange.edits import ServedAt
from headgate.fleet.endpoint import Endpoint, Served
from headgate.plan.plan import Listener, Pool
from headgate.plan.sealed import Sealed
from headgate.runtime.exposition import Family
from headgate.runtime.front import Options
from headgate.runtime.workers.latest import Fact, Key

# The values that are handed over, by kind. `load` is a Load without its models, `models` are those, by endpoint;
# `column` and `life` are an endpoint's too (runtime.workers.counters); `bases` the base models, `plan` a number,
# `failing` the endpoints that are.


class PlaceFact(Struct, frozen=True, array_like=True):
    """`place`: an address that is served; its sockets have come before it."""

    number: int
    address: str
    port: int
    listeners: tuple[Listener, ...]
    served: tuple[ServedAt, ...]


class PoolFact(Struct, frozen=True, array_like=True):
    """`pool`: what a PoolView says, but for loads."""

    pool: Pool
    endpoints: tuple[Endpoint, ...]
    served: Mapping[str, Served]
    listed: bool
    declared: frozenset[str]
    ray: bool


def _unseal(value: object) -> bytes:
    """Keys of certificates are sealed against being shown; workers need them all the same."""
    assert isinstance(value, Sealed)
    return value.content


def seal(kind: type, content: bytes) -> Sealed:
    """For who decodes a value."""
    assert kind is Sealed
    return Sealed(content)


encode_value = msgspec.msgpack.Encoder(enc_hook=_unseal).encode


# From the controller.


class Begin(Struct, frozen=True, tag=True):
    """To the fork server, with a channel and the counters: a worker is wanted. `row` of `rows` is its own."""

    options: Options
    row: int
    rows: int
    started: int


class Sockets(Struct, frozen=True, tag=True, array_like=True):
    """With a listening socket for each: to which place it belongs."""

    numbers: list[int]


class News(Struct, frozen=True, tag=True, array_like=True):
    version: int
    put: list[Fact]
    gone: list[Key]


class Ask(Struct, frozen=True, tag=True, array_like=True):
    number: int
    what: Literal["explain", "latest", "page", "queues"]
    request_id: str = ""
    text: bool = False


class Stop(Struct, frozen=True, tag=True, array_like=True):
    """Take nothing more, finish what runs within `grace` seconds, and end. `idle`: as in `Front.stop`."""

    grace: float
    idle: float


# From a worker.


class Hello(Struct, frozen=True, tag=True, array_like=True):
    pid: int


class Applied(Struct, frozen=True, tag=True, array_like=True):
    """It does as the news of this version say."""

    version: int


class Told(Struct, frozen=True, tag=True, array_like=True):
    """The answer to an Ask."""

    number: int
    value: msgspec.Raw


class Wanted(Struct, frozen=True, tag=True, array_like=True):
    """Requests have begun to wait for these pools."""

    pools: list[str]


class Failed(Struct, frozen=True, tag=True, array_like=True):
    """An endpoint gave no answer, or none that is any good."""

    endpoint: str
    why: str


class Passed(Struct, frozen=True, tag=True, array_like=True):
    """One that was failing answers."""

    endpoint: str


class Said(Struct, frozen=True, tag=True, array_like=True):
    """For people."""

    text: str


class Last(Struct, frozen=True, tag=True, array_like=True):
    """It ends now: its metrics."""

    families: list[Family]


ToWorker = Sockets | News | Ask | Stop
FromWorker = Hello | Applied | Told | Wanted | Failed | Passed | Said | Last

encode = msgspec.msgpack.Encoder().encode
