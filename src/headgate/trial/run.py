"""`run`: a rehearsal on virtual time. The gateway's own `choose`, ledger and prefix index before simulated servers."""

import heapq
from collections.abc import Callable, Sequence
from math import inf

from msgspec import Struct

from headgate.fleet.endpoint import BYTES_PER_TOKEN, Endpoint, Load
from headgate.fleet.latency import Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.decision import Ask
from headgate.pick.expectation import Expectation, expect
from headgate.pick.standing import Standing
from headgate.pick.wants import Burden
from headgate.sim.engine import Config, Engine
from headgate.sim.sequence import Output, Timeline, Work
from headgate.trial.policies import Dice, Policy
from headgate.trial.queueing import Queueing, Queues
from headgate.trial.request import Request


def scrape_s(endpoints: int) -> float:
    """Seconds between two looks at each endpoint's metrics: what the gateway does under traffic when nothing else is
    said (`runtime.scrape`).
    """
    return min(1.0, max(0.1, endpoints / 400))


class Outcome(Struct, frozen=True, gc=False):
    """What became of a request, in seconds: the first token after it came, each further one after the one before.

    One that was refused has no endpoint (-1), and never had a token.
    """

    at: float
    endpoint: int
    ttft: float
    tpot: float
    ended: float
    prompt: int
    output: int
    cached: int
    preemptions: int
    priority: int = 0
    flow: str = ""

    @property
    def refused(self) -> bool:
        return self.endpoint < 0


class Sample(Struct, frozen=True, gc=False):
    """All servers together, as the gateway last read them: requests, and the mean usage of KV caches."""

    at: float
    waiting: int
    running: int
    kv_usage: float


class _Fleet:
    """The servers, and what the gateway knows of them: loads as of the last scrape, its own requests as of now."""

    def __init__(self, config: Config, count: int) -> None:
        self.engines = [Engine(config) for _ in range(count)]
        self.places = {f"server-{place}": place for place in range(count)}
        self.ledger, self.index, self.latency = Ledger(), PrefixIndex(), Latency()
        self._endpoints = tuple([Endpoint(name, "127.0.0.1", 8000 + place) for name, place in self.places.items()])
        self._slots = config.max_loras
        for name in self.places:
            self.index.fit(name, config.num_blocks * config.block_size * BYTES_PER_TOKEN)
        self.scrape(0.0)

    def scrape(self, now: float) -> None:
        loads = {name: self._load(self.engines[place], now) for name, place in self.places.items()}
        self.standing = Standing("pool", self._endpoints, loads, self.ledger, self.index, latency=self.latency)

    def sample(self, now: float) -> Sample:
        loads = self.standing.loads
        return Sample(
            now,
            sum([load.waiting or 0 for load in loads]),
            sum([load.running or 0 for load in loads]),
            sum([load.kv_usage or 0.0 for load in loads]) / len(loads),
        )

    def _load(self, engine: Engine, now: float) -> Load:
        engine.coast(now)
        busy = frozenset(engine.busy_adapters())  # vLLM names an adapter of any request in both lists
        return Load(engine.waiting, engine.running, engine.blocks.usage, busy, busy, self._slots, at=now)


class Stuck(Exception):
    """Requests are left that the policy lets nobody serve; the text says how many."""


def run(
    requests: Sequence[Request],
    policy: Policy,
    config: Config,
    endpoints: int,
    dice: Dice,
    progress: Callable[[int], None] = lambda done: None,
    watch: Callable[[Sample], None] | None = None,
    enough: Callable[[Outcome], bool] | None = None,
    slos: tuple[float, float] = (0.0, 0.0),
    queueing: Queueing | None = None,
    warm: Sequence[Request] = (),
) -> list[Outcome]:
    """What became of the requests (in the order of `at`), in the order in which they ended. All of them end, unless
    `enough` says of one that no more has to be known. `watch` is told of the servers each time that they are scraped.

    One that nobody may serve waits, and is tried anew when loads are read or a request ends. Raises Stuck where nothing
    is left that could change that. Each request asks for `slos`, seconds to the first token and for each further one.
    With `queueing` requests queue before a full pool. Every server has the prompts of `warm` in its KV cache already,
    of which the policy does not know.
    """
    one = _Run(requests, policy, config, endpoints, dice, progress, watch, enough, slos, queueing)
    one.warm(warm)
    return one.all()


class _Run:
    def __init__(
        self,
        requests: Sequence[Request],
        policy: Policy,
        config: Config,
        endpoints: int,
        dice: Dice,
        progress: Callable[[int], None],
        watch: Callable[[Sample], None] | None = None,
        enough: Callable[[Outcome], bool] | None = None,
        slos: tuple[float, float] = (0.0, 0.0),
        queueing: Queueing | None = None,
    ) -> None:
        self._slos = slos
        self._requests = requests
        self._policy = policy
        self._dice = dice
        self._progress = progress
        self._watch = watch
        self._enough = enough
        self._over = False
        self._fleet = _Fleet(config, endpoints)
        self._queues = None if queueing is None else Queues(queueing, self._fleet.ledger)
        if self._queues is not None:
            self._queues.watch(self._fleet.standing, 0.0)
        self._outcomes: list[Outcome] = []
        self._steps: list[tuple[float, int]] = []  # when something may happen at a server; some are out of date
        self._under_way: dict[str, tuple[int, str]] = {}  # request → its place among all, and its endpoint
        self._waiting: list[int] = []
        self._burdens: dict[str, Burden] = {}  # of requests, where the policy counts tokens
        self._expected: dict[str, Expectation] = {}  # by request, where the policy predicts

    def warm(self, prompts: Sequence[Request]) -> None:
        for prompt in prompts:
            for engine in self._fleet.engines:
                keys = prompt.keys(engine.config.block_size)
                engine.at_once(Work("", prompt.prompt, 1, keys, prompt.adapter), 0.0)

    def all(self) -> list[Outcome]:
        requests, steps = self._requests, self._steps
        pause = scrape_s(len(self._fleet.engines))
        scrape_at, coming = pause, 0
        while (coming < len(requests) or self._left()) and not self._over:
            arrives = requests[coming].at if coming < len(requests) else inf
            ends = steps[0][0] if steps else inf
            now = min(arrives, ends, scrape_at)
            if now == scrape_at:
                self._fleet.scrape(now)
                scrape_at = now + pause
                if self._watch is not None:
                    self._watch(self._fleet.sample(now))
                self._try_again(now)
                if self._queues is not None:
                    self._queues.watch(self._fleet.standing, now)
                    self._release(self._queues, now)
                if self._waiting and not self._under_way and coming == len(requests):
                    raise Stuck(f"it lets nobody serve {len(self._waiting):,} of {len(requests):,} requests")
            elif now == arrives:
                self._arrive(coming, now)
                coming += 1
            else:
                self._step(heapq.heappop(steps)[1], now)
        return self._outcomes

    def _left(self) -> bool:
        """Whether any is left of those that came."""
        return bool(self._under_way or self._waiting or (self._queues is not None and self._queues.waiting))

    def _arrive(self, number: int, now: float) -> None:
        queues = self._queues
        if (queues is None or queues.admit(number, self._requests[number], now)) and not self._send(number, now):
            self._waiting.append(number)
        if queues is not None:
            self._drop(queues.dropped(), now)

    def _release(self, queues: Queues, now: float) -> None:
        """From the queues, whoever may go or has to leave."""
        for number in queues.ready(now):
            if not self._send(number, now):
                self._waiting.append(number)
        self._drop(queues.dropped(), now)

    def _drop(self, numbers: Sequence[int], now: float) -> None:
        for number in numbers:
            request = self._requests[number]
            nothing = Outcome(request.at, -1, inf, inf, now, 0, 0, 0, 0, request.priority, request.flow)
            self._outcomes.append(nothing)

    def _try_again(self, now: float) -> None:
        if self._waiting:
            self._waiting = [number for number in self._waiting if not self._send(number, now)]

    def _send(self, number: int, now: float) -> bool:
        """Whether there was somebody to send it to."""
        request, fleet = self._requests[number], self._fleet
        rungs = request.rungs()
        ttft, tpot = self._slos
        size, priority = request.prompt * BYTES_PER_TOKEN, request.priority
        ask = Ask(request.adapter or "base", rungs, size, priority, at=now, ttft_slo=ttft, tpot_slo=tpot)
        decision, burden = self._policy(ask, fleet.standing, self._dice, now)
        if decision.endpoint is None:
            return False
        name = decision.endpoint.name
        fleet.ledger.take(name)
        if burden is not None:
            fleet.ledger.tokens.add(name, burden.prompt + burden.output)
            self._burdens[str(number)] = burden
        fleet.index.record(rungs, name)
        place = fleet.places[name]
        engine = fleet.engines[place]
        keys = request.keys(engine.config.block_size)
        engine.coast(now)
        engine.add(Work(str(number), request.prompt, request.output, keys, request.adapter), now)
        self._under_way[str(number)] = number, name
        expected = expect(decision, ask)
        if expected is not None:
            self._expected[str(number)] = expected
        self._await_step(place)
        return True

    def _step(self, place: int, now: float) -> None:
        """A server's step has ended, unless it is out of date."""
        engine = self._fleet.engines[place]
        engine.coast(now)
        if engine.next_at is None or engine.next_at > now:
            return
        outputs = engine.step(now, all_tokens=False)
        if self._burdens:
            self._unburden(outputs)
        if self._expected:
            self._learn(outputs)
        ended = [(output.id, output.timeline) for output in outputs if output.timeline is not None]
        for identity, timeline in ended:
            number, name = self._under_way.pop(identity)
            self._fleet.ledger.give(name)
            outcome = _outcome(self._requests[number], place, timeline)
            self._outcomes.append(outcome)
            if self._queues is not None:
                self._queues.ended(self._requests[number], now)
            if self._enough is not None and self._enough(outcome):
                self._over = True
            self._progress(len(self._outcomes))
        self._await_step(place)
        if ended:
            self._try_again(now)
            if self._queues is not None:
                self._release(self._queues, now)

    def _unburden(self, outputs: Sequence[Output]) -> None:
        """Tokens of prompts count until the first one comes out, those of answers until the last has."""
        tokens = self._fleet.ledger.tokens
        for output in outputs:
            burden, name = self._burdens.get(output.id), self._under_way[output.id][1]
            if burden is None:
                continue
            if output.tokens == 1:
                tokens.remove(name, burden.prompt)
            if output.timeline is not None:
                tokens.remove(name, burden.output)
                del self._burdens[output.id]

    def _learn(self, outputs: Sequence[Output]) -> None:
        """All answers are streams."""
        for output in outputs:
            if output.tokens == 1:
                self._expected[output.id].began(output.since)
            line = output.timeline
            if line is not None:
                took = line.ended - line.first_token
                self._expected.pop(output.id).ended(line.ended - line.arrived, took, output.tokens, streamed=True)

    def _await_step(self, place: int) -> None:
        ends = self._fleet.engines[place].foresee()
        if ends is not None:
            heapq.heappush(self._steps, (ends, place))


def _outcome(request: Request, place: int, line: Timeline) -> Outcome:
    return Outcome(
        at=request.at,
        endpoint=place,
        ttft=line.first_token - request.at,
        tpot=(line.ended - line.first_token) / max(1, request.output - 1),
        ended=line.ended,
        prompt=request.prompt,
        output=request.output,
        cached=line.cached_tokens,
        preemptions=line.preemptions,
        priority=request.priority,
        flow=request.flow,
    )
