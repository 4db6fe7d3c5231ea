"""`run`: a rehearsal on virtual time. The gateway's own `choose`, ledger and prefix index before simulated servers."""

import heapq
from collections.abc import Callable, Sequence

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.decision import Ask
from headgate.pick.standing import Standing
from headgate.sim.engine import Config, Engine, Work
from headgate.trial.policies import Dice, Policy
from headgate.trial.workload import BYTES_PER_TOKEN, Request

SCRAPE_S = 0.1


class Outcome(Struct, frozen=True, gc=False):
    """What became of a request, in seconds: the first token after it came, each further one after the one before."""

    at: float
    endpoint: int
    ttft: float
    tpot: float
    ended: float
    prompt: int
    output: int
    cached: int
    preemptions: int


class _Fleet:
    """The servers, and what the gateway knows of them: loads as of the last scrape, its own requests as of now."""

    def __init__(self, config: Config, count: int) -> None:
        self.engines = [Engine(config) for _ in range(count)]
        self.places = {f"server-{place}": place for place in range(count)}
        self.ledger, self.index = Ledger(), PrefixIndex()
        self._endpoints = tuple([Endpoint(name, "127.0.0.1", 8000 + place) for name, place in self.places.items()])
        self._slots = config.max_loras
        self.scrape(0.0)

    def scrape(self, now: float) -> None:
        loads = {name: self._load(self.engines[place], now) for name, place in self.places.items()}
        self.standing = Standing("pool", self._endpoints, loads, self.ledger, self.index)

    def _load(self, engine: Engine, now: float) -> Load:
        busy = frozenset(engine.busy_adapters())  # vLLM names an adapter of any request in both lists
        return Load(engine.waiting, engine.running, engine.blocks.usage, busy, busy, self._slots, at=now)


def run(
    requests: Sequence[Request],
    policy: Policy,
    config: Config,
    endpoints: int,
    dice: Dice,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Outcome]:
    """What became of the requests (in the order of `at`), in the order in which they ended. All of them end."""
    fleet = _Fleet(config, endpoints)
    outcomes: list[Outcome] = []
    steps: list[tuple[float, int]] = []  # when each server's step ends; those that are out of date are passed over
    under_way: dict[str, tuple[int, str]] = {}  # request → its place among all, and its endpoint
    scrape_at, coming = SCRAPE_S, 0
    while coming < len(requests) or under_way:
        arrives = requests[coming].at if coming < len(requests) else float("inf")
        ends = steps[0][0] if steps else float("inf")
        now = min(arrives, ends, scrape_at)
        if now == scrape_at:
            fleet.scrape(now)
            scrape_at = now + SCRAPE_S
        elif now == arrives:
            place, name = _send(requests[coming], coming, policy, fleet, dice, now)
            under_way[str(coming)] = coming, name
            coming += 1
            _await_step(steps, fleet.engines[place], place)
        else:
            _, place = heapq.heappop(steps)
            engine = fleet.engines[place]
            if engine.next_at is None or engine.next_at > now:
                continue
            for output in engine.step(now):
                if output.timeline is not None:
                    number, name = under_way.pop(output.id)
                    fleet.ledger.give(name)
                    line, request = output.timeline, requests[number]
                    tpot = (line.ended - line.first_token) / max(1, request.output - 1)
                    outcomes.append(
                        Outcome(
                            request.at,
                            place,
                            line.first_token - request.at,
                            tpot,
                            line.ended,
                            request.prompt,
                            request.output,
                            line.cached_tokens,
                            line.preemptions,
                        )
                    )
                    progress(len(outcomes))
            _await_step(steps, engine, place)
    return outcomes


def _send(request: Request, number: int, policy: Policy, fleet: _Fleet, dice: Dice, now: float) -> tuple[int, str]:
    """To which server it went."""
    rungs = request.rungs()
    ask = Ask(request.adapter or "base", rungs, request.prompt * BYTES_PER_TOKEN)
    name = policy(ask, fleet.standing, dice).name
    fleet.ledger.take(name)
    fleet.index.record(rungs, name)
    place = fleet.places[name]
    engine = fleet.engines[place]
    keys = request.keys(engine.config.block_size)
    engine.add(Work(str(number), request.prompt, request.output, keys, request.adapter), now)
    return place, name


def _await_step(steps: list[tuple[float, int]], engine: Engine, place: int) -> None:
    if engine.next_at is not None:
        heapq.heappush(steps, (engine.next_at, place))
