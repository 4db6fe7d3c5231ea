"""Ask endpoints for their metrics and models, again and again, no more often than it helps."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic

from msgspec.structs import replace

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.read import read, read_models
from headgate.runtime.client import Answer, Client, ClientError
from headgate.runtime.questions import Question, Target, place
from headgate.runtime.rounds import AT_ONCE, Rounds

_IDLE_S = 1.0  # between two asks when there is no traffic; half of what saturation calls stale
_BUSY_FOR_S = 1.0  # traffic that was seen counts this long
_MODELS_S = 0.5
_BUSY_S = 0.1  # under traffic, unless somebody says otherwise
_PER_SECOND = 400  # metrics pages in all, unless so: 100 endpoints are asked each 0.25 s, not each 0.1 s
_AT_MOST = 2500  # metrics pages in all, whatever is said: about a third of a core
_SOON_S = 0.02  # the least between two asks for metrics
_TIMEOUT_S = 1.0
_FULL_S = 0.005  # until it is looked again whether one of them has answered
_GOLDEN = 0.618034  # its multiples, modulo 1, spread evenly however many there are


class Scraper:
    """Tells `on_load(endpoint name, load)` what each watched endpoint reports.

    The first report of an endpoint comes when both its metrics and its models were asked for, also if in vain: then
    with an empty Load. After that each metrics page is one report, and each change in its models. A failure keeps the
    old load, which ages (`Load.at`, monotonic seconds); the pause doubles up to 2 s. `busy`, called at each tick, is
    true while there is traffic: then an endpoint is asked each `interval` seconds (None: each 0.1 s, and less often
    where there are more than 40; never more than 2,500 pages a second), else each second. `on_silence(name, why)` is
    told each time that an endpoint gives no answer at all about its metrics (where it has none, about its models). One
    timer serves all endpoints, at most 64 are asked at once, and who has waited longest comes first. One scrape of a
    vLLM page costs 0.1 to 0.2 ms of CPU, fetch and read: at most 2 % of a core for 10 endpoints under traffic.
    """

    def __init__(
        self,
        client: Client,
        on_load: Callable[[str, Load], None],
        *,
        interval: float | None = None,
        busy: Callable[[], object] = lambda: True,
        on_silence: Callable[[str, str], object] = lambda name, why: None,
    ) -> None:
        self._client = client
        self._on_load = on_load
        self._interval = interval
        self._busy = busy
        self._on_silence = on_silence
        self._busy_until = float("-inf")
        self._targets: dict[str, Target] = {}
        self._rounds = Rounds(self._tick)
        self._seen = 0  # endpoints ever watched
        self._asked: dict[Question, Target] = {}  # without a task

    def start(self) -> None:
        """Begin; from inside the event loop."""
        self._rounds.start()

    async def stop(self) -> None:
        """Ask nothing more. The client stays open."""
        for question in list(self._asked):  # first: one whose connection ends would begin a task
            self._give_up(question)
        await self._rounds.stop()

    def watch(self, endpoints: Iterable[Endpoint]) -> None:
        """These are all endpoints to ask. One that is new, or has moved to another address, is asked at once."""
        before, self._targets = self._targets, {}
        for endpoint in endpoints:
            target = before.get(endpoint.name)
            if target is None or place(target.endpoint) != place(endpoint):
                target = Target(endpoint)
            target.endpoint = endpoint
            self._targets[endpoint.name] = target
        kept = {place(target.endpoint) for target in self._targets.values()}
        for target in before.values():
            if place(target.endpoint) not in kept:
                self._client.forget(*place(target.endpoint))
        self._rounds.soon()

    def refresh(self, endpoints: Iterable[str], *, loads: bool = False) -> None:
        """Ask these (by name) for their models now, if that was not done in the last 0.1 s: something has changed.

        With `loads` for their metrics too, if that was not done in the last 0.02 s, or longer in large fleets.
        """
        least = min(self._pace(), max(_SOON_S, len(self._targets) / _PER_SECOND))
        for name in endpoints:
            target = self._targets.get(name)
            if target is not None:
                target.models.wanted = True
                if loads and not (target.metrics.failures or target.metrics.absent):
                    target.metrics.wanted, target.metrics.least = True, least
        self._rounds.soon()

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong now, by endpoint name: why metrics or models can't be read."""
        return {
            name: error
            for name, target in self._targets.items()
            if (error := target.metrics.error or target.models.error)
        }

    # When.

    def _tick(self, now: float) -> float:
        if self._busy():
            self._busy_until = now + _BUSY_FOR_S
        fast = self._pace()
        busy = now < self._busy_until
        pace = fast if busy else _IDLE_S
        models_pace = max(fast, _MODELS_S if busy else _IDLE_S)
        # Traffic may begin at any time: look for it as often as if there were some.
        next_at = now + fast
        together = now if busy else now + fast / 2  # each wake-up costs, so at rest one serves several
        for question in [one for one in self._asked if one.asked_at + _TIMEOUT_S <= now]:
            self._fail(self._give_up(question), question, f"no answer within {_TIMEOUT_S:g} s", silent=True)
        due: list[tuple[float, Target, Question]] = []
        for target in self._targets.values():
            if target.new:
                self._ask(target, target.metrics, target.models)
                continue
            for question, every in ((target.metrics, pace), (target.models, models_pace)):
                due_at = question.due_at(every)
                if due_at <= together:
                    due.append((due_at, target, question))
                elif due_at < next_at:
                    next_at = due_at
        due.sort(key=_when)
        for _, target, question in due:
            self._ask(target, question)
        return now + _FULL_S if self._full else next_at

    @property
    def _full(self) -> bool:
        return self._rounds.begun + len(self._asked) >= AT_ONCE

    def _ask(self, target: Target, *questions: Question) -> None:
        """Unless too many are under way: then one of the next ticks will."""
        if self._full:
            return
        now = monotonic()
        for question in questions:
            question.running, question.wanted, question.asked_at = True, False, now
        if target.new:
            # Those that came together shall not be asked together for ever.
            target.new = False
            self._seen += 1
            for question in questions:
                question.asked_at -= self._pace() * (self._seen * _GOLDEN % 1.0)
        elif self._ask_now(target, questions[0]):
            return
        self._rounds.begin(self._turn(target, questions))

    def _pace(self) -> float:
        """Seconds between two asks of an endpoint under traffic."""
        if self._interval is not None:
            return max(self._interval, len(self._targets) / _AT_MOST)
        return min(_IDLE_S, max(_BUSY_S, len(self._targets) / _PER_SECOND))

    # What.

    async def _turn(self, target: Target, questions: tuple[Question, ...]) -> None:
        if len(questions) == 1:
            news = await self._answer(target, questions[0])
        else:
            await asyncio.gather(*(self._answer(target, question) for question in questions))
            news = True
        if news:
            self._report(target)

    def _ask_now(self, target: Target, question: Question) -> bool:
        """Without a task, where there is a connection."""
        host, port = place(target.endpoint)
        tell = partial(self._told, target, question)
        question.give_up = self._client.ask_now(host, port, question.request, tell, tls=target.endpoint.tls)
        if question.give_up is None:
            return False
        self._asked[question] = target
        return True

    def _give_up(self, question: Question) -> Target:
        assert question.give_up is not None
        question.give_up()
        question.running = False
        return self._asked.pop(question)

    def _told(self, target: Target, question: Question, answer: Answer | None) -> None:
        del self._asked[question]
        if answer is None:
            self._rounds.begin(self._turn(target, (question,)))
            return
        question.running = False
        if self._heard(target, question, answer):
            self._report(target)

    async def _answer(self, target: Target, question: Question) -> bool:
        """Whether the load is another one now."""
        host, port = place(target.endpoint)
        tls = target.endpoint.tls
        try:
            answer = await self._client.fetch("GET", host, port, question.path, tls=tls, timeout=_TIMEOUT_S)
        except ClientError as error:
            self._fail(target, question, str(error), silent=True)
            return False
        finally:
            question.running = False
        return self._heard(target, question, answer)

    def _heard(self, target: Target, question: Question, answer: Answer) -> bool:
        """Whether the load is another one now."""
        if answer.status != 200 and question is target.metrics and target.ask_for_all(for_good=answer.status < 500):
            return False
        question.absent = answer.status == 404
        try:
            if answer.status not in (200, 404):
                raise ValueError(f"answered {answer.status}")
            news = self._take(target, question, answer.body if answer.status == 200 else None)
        except ValueError as error:
            self._fail(target, question, str(error), silent=False)
            return False
        question.failures, question.error = 0, ""
        return news

    def _fail(self, target: Target, question: Question, why: str, *, silent: bool) -> None:
        if question is target.metrics and target.ask_for_all(for_good=False):
            return  # the whole page tells whether it is there at all
        question.failures += 1
        question.error = f"GET {question.path}: {why}"
        if silent and (question is target.metrics or target.metrics.absent):
            self._on_silence(target.endpoint.name, question.error)

    def _report(self, target: Target) -> None:
        if self._targets.get(target.endpoint.name) is target:
            self._on_load(target.endpoint.name, target.load)

    def _take(self, target: Target, question: Question, body: bytes | None) -> bool:
        load = target.load
        if question is target.metrics:
            if body is None:
                return False
            return target.took(body, read(body, target.endpoint.engine, load, monotonic()))
        if body == target.models_body:
            return False
        models = None if body is None else read_models(body)
        target.models_body = body
        target.load = replace(load, models=models)
        return models != load.models


def _when(due: tuple[float, Target, Question]) -> float:
    return due[0]
