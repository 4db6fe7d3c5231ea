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
from headgate.trial.outcome import Outcome, Sample
from headgate.trial.policies import Dice, Policy
from headgate.trial.queueing import Queueing, Queues
from headgate.trial.request import Request

_ROLE = "llm-d.ai/role"
_PROMPT = "p"  # before a request's number: of its prompt, where that is computed by itself


def scrape_s(endpoints: int) -> float:
    """Seconds between two looks at each endpoint's metrics: what the gateway does under traffic when nothing else is
    said (`runtime.scrape`).
    """
    return min(1.0, max(0.1, endpoints / 400))


class _Split(Struct):
    """A request whose prompt another server computes: which one, what that counts for there, and where the answer is
    to be made. `late`: seconds after the request came it was handed over, `cached` tokens were not computed.
    """

    place: int
    name: str
    prompt: Burden | None
    decode: int
    late: float = 0.0
    cached: int = 0
    helps: bool = True  # as far as the ledger goes


class _Fleet:
    """The servers, and what the gateway knows of them: loads as of the last scrape, its own requests as of now."""

    def __init__(self, config: Config, count: int, prefill: int) -> None:
        self.engines = [Engine(config) for _ in range(count)]
        self.places = {f"server-{place}": place for place in range(count)}
        self.ledger, self.index, self.latency = Ledger(), PrefixIndex(), Latency()
        roles = [{_ROLE: "prefill" if place < prefill else "decode"} if prefill else {} for place in range(count)]
        self._endpoints = tuple(
            [Endpoint(name, "127.0.0.1", 8000 + place, roles[place]) for name, place in self.places.items()]
        )
        self._slots = config.max_loras
        for name in self.places:
            self.index.fit(name, config.num_blocks * config.block_size * BYTES_PER_TOKEN)
        self.scrape(0.0)

    def scrape(self, now: float) -> None:
        loads = {name: self._load(self.engines[place], now) for name, place in self.places.items()}
        self.standing = Standing("pool", self._endpoints, loads, self.ledger, self.index, latency=self.latency)

    def sample(self, now: float, queued: int) -> Sample:
        loads = self.standing.loads
        return Sample(
            now,
            sum([load.waiting or 0 for load in loads]),
            sum([load.running or 0 for load in loads]),
            sum([load.kv_usage or 0.0 for load in loads]) / len(loads),
            queued,
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
    prefill: int = 0,
    warm: Sequence[Request] = (),
) -> list[Outcome]:
    """What became of the requests (in the order of `at`), in the order in which they ended. All of them end, unless
    `enough` says of one that no more has to be known. `watch` is told of the servers each time that they are scraped.

    One that nobody may serve waits, and is tried anew when loads are read or a request ends. Raises Stuck where nothing
    is left that could change that. Each request asks for `slos`, seconds to the first token and for each further one.
    With `queueing` requests queue before a full pool. The first `prefill` endpoints have the label
    `llm-d.ai/role: prefill`, the others `decode`; 0: there are no labels. Every server has the prompts of `warm` in its
    KV cache already, of which the policy does not know.
    """
    one = _Run(requests, policy, config, endpoints, dice, progress, watch, enough, slos, queueing, prefill)
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
        prefill: int = 0,
    ) -> None:
        self._slos = slos
        self._requests = requests
        self._policy = policy
        self._dice = dice
        self._progress = progress
        self._watch = watch
        self._enough = enough
        self._over = False
        self._fleet = _Fleet(config, endpoints, prefill)
        self._queues = None if queueing is None else Queues(queueing, self._fleet.ledger)
        if self._queues is not None:
            self._queues.watch(self._fleet.standing, 0.0)
        self._outcomes: list[Outcome] = []
        self._steps: list[tuple[float, int]] = []  # when something may happen at a server; some are out of date
        self._under_way: dict[str, tuple[int, str]] = {}  # request → its place among all, and its endpoint
        self._waiting: list[int] = []
        self._burdens: dict[str, Burden] = {}  # of requests, where the policy counts tokens
        self._expected: dict[str, Expectation] = {}  # by request, where the policy predicts
        self._split: dict[str, _Split] = {}

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
                    held = 0 if self._queues is None else self._queues.waiting
                    self._watch(self._fleet.sample(now, held + len(self._waiting)))
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
        sent = self._policy(ask, fleet.standing, self._dice, now)
        if sent.decision.endpoint is None:
            return False
        name, identity, burden = sent.decision.endpoint.name, str(number), sent.burden
        fleet.ledger.take(name)
        if burden is not None:
            fleet.ledger.tokens.add(name, burden.prompt + burden.output)
            self._burdens[identity] = burden
        fleet.index.record(rungs, name)
        self._under_way[identity] = number, name
        expected = expect(sent.decision, ask)
        if expected is not None:
            self._expected[identity] = expected
        place, first = fleet.places[name], None
        if sent.prefill is not None:
            first = self._split[identity] = self._engage(sent.prefill.name, sent.prompt, place)
            fleet.index.record(rungs, first.name)
        self._work(place, number, now, first)
        return True

    def _engage(self, name: str, prompt: Burden | None, decode: int) -> _Split:
        """Another endpoint computes the prompt."""
        ledger = self._fleet.ledger
        ledger.take(name)
        if prompt is not None:
            ledger.tokens.add(name, prompt.prompt)
        return _Split(self._fleet.places[name], name, prompt, decode)

    def _work(self, place: int, number: int, now: float, split: _Split | None, *, pulls: bool = False) -> None:
        """A server gets a request, or another one its prompt first."""
        request, identity, output, keeps = self._requests[number], str(number), self._requests[number].output, 0.0
        if split is not None:
            place, identity, output, keeps = split.place, _PROMPT + identity, 1, inf
        engine = self._fleet.engines[place]
        keys = request.keys(engine.config.block_size)
        engine.coast(now)
        work = Work(identity, request.prompt, output, keys, request.adapter, pulls=pulls, keeps=keeps)
        engine.add(work, now)
        self._await_step(place)

    def _prefilled(self, line: Timeline, number: int, now: float) -> None:
        """A prompt is computed: who is to make the answer gets it."""
        split = self._split[str(number)]
        split.late, split.cached = now - self._requests[number].at, line.cached_tokens
        self._work(split.decode, number, now, None, pulls=True)

    def _let_go(self, engine: Engine, now: float) -> None:
        """Of what was pulled nobody else has to keep anything."""
        pulled, engine.transfers.pulled = engine.transfers.pulled, []
        for identity in pulled:
            place = self._split[identity].place
            other = self._fleet.engines[place]
            other.coast(now)
            other.let_go(_PROMPT + identity, now)
            self._await_step(place)

    def _step(self, place: int, now: float) -> None:
        """A server's step has ended, unless it is out of date."""
        engine = self._fleet.engines[place]
        engine.coast(now)
        if engine.next_at is None or engine.next_at > now:
            return
        outputs = engine.step(now, all_tokens=False)
        if engine.transfers.pulled:
            self._let_go(engine, now)
        if self._split:
            outputs = self._told(outputs, now)
        if self._burdens:
            self._unburden(outputs)
        if self._expected:
            self._learn(outputs)
        ended = [(output.id, output.timeline) for output in outputs if output.timeline is not None]
        for identity, timeline in ended:
            number, name = self._under_way.pop(identity)
            self._fleet.ledger.give(name)
            outcome = _outcome(self._requests[number], place, timeline, self._split.pop(identity, None))
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

    def _told(self, outputs: Sequence[Output], now: float) -> list[Output]:
        """Those of answers. Who has computed a prompt has done with it once the answer begins."""
        told, ledger = [], self._fleet.ledger
        for output in outputs:
            if output.id.startswith(_PROMPT):
                assert output.timeline is not None, "a prompt has one token"
                self._prefilled(output.timeline, int(output.id.removeprefix(_PROMPT)), now)
                continue
            told.append(output)
            split = self._split.get(output.id)
            if split is not None and split.helps:
                split.helps = False
                ledger.give(split.name)
                if split.prompt is not None:
                    ledger.tokens.remove(split.name, split.prompt.prompt)
        return told

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
            split = self._split.get(output.id)
            late = 0.0 if split is None else split.late
            if output.tokens == 1:
                self._expected[output.id].began(output.since + late)
            line = output.timeline
            if line is not None:
                took, whole = line.ended - line.first_token, line.ended - line.arrived + late
                self._expected.pop(output.id).ended(whole, took, output.tokens, streamed=True)

    def _await_step(self, place: int) -> None:
        ends = self._fleet.engines[place].foresee()
        if ends is not None:
            heapq.heappush(self._steps, (ends, place))


def _outcome(request: Request, place: int, line: Timeline, split: _Split | None) -> Outcome:
    return Outcome(
        at=request.at,
        endpoint=place,
        ttft=line.first_token - request.at,
        tpot=(line.ended - line.first_token) / max(1, request.output - 1),
        ended=line.ended,
        prompt=request.prompt,
        output=request.output,
        cached=line.cached_tokens if split is None else split.cached,
        preemptions=line.preemptions,
        priority=request.priority,
        flow=request.flow,
        pulled=line.pulled_tokens,
        longest_itl=line.longest_gap,
    )
