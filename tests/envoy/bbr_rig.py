"""Body-based routing in this process, for tests."""

from collections.abc import Mapping
from time import perf_counter

from msgspec import Struct

from headgate.envoy.bbr import BodyTurn, Shared, Tally
from headgate.envoy.fields import USUAL, Plugin
from headgate.envoy.http2.server import Server
from headgate.envoy.refusals import in_text
from headgate.envoy.service import Processor
from headgate.proxy.held import Held


class Bounds(Struct, frozen=True):
    body: int = 64 << 20


class Budget(Struct, frozen=True, eq=False):
    held: Held
    bounds: Bounds = Bounds()


def shared(bases: Mapping[str, str], plugins: tuple[Plugin, ...] = USUAL) -> Shared:
    return Shared(plugins, lambda: bases, Tally(), Budget(Held(1 << 30)), perf_counter, lambda *_: None, in_text)


async def body_router(bases: Mapping[str, str]) -> Server:
    one = shared(bases)
    processor = Processor(lambda site: BodyTurn(one), _mistaken)
    server = Server(processor.methods, 64 << 20, one.budget.held, _mistaken)
    await server.listen("127.0.0.1", 0)
    return server


def _mistaken(text: str, error: Exception) -> None:
    raise error
