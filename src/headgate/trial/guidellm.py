"""guidellm's report (benchmarks.json): the requests of each benchmark that succeeded, when each was begun, its tokens,
and the conversation that it was a turn of, where it says one.

What the prompts had in common it does not tell. Source: schemas/request_stats.py of vllm-project/guidellm 0.4 to 0.7,
and benchmark/benchmark.py of 0.2 and 0.3 (`start_time`).
"""

from collections.abc import Iterable

from msgspec import Struct

from headgate.trial.recorded import Broken, Recorded, Told, tokens, whole
from headgate.trial.request import Request


class _Timings(Struct, frozen=True):
    request_start: float | None = None
    resolve_start: float | None = None


class _Info(Struct, frozen=True):
    timings: _Timings = _Timings()
    conversation_id: str | None = None


class _Request(Struct, frozen=True):
    request_start_time: float | None = None
    start_time: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    info: _Info = _Info()

    @property
    def began(self) -> float | None:
        timings = self.info.timings
        for at in (self.request_start_time, self.start_time, timings.request_start, timings.resolve_start):
            if at is not None:
                return at
        return None


class _Requests(Struct, frozen=True):
    successful: list[_Request] | None = None
    incomplete: list[object] | None = None
    errored: list[object] | None = None


class _Benchmark(Struct, frozen=True):
    requests: _Requests


class _Report(Struct, frozen=True):
    benchmarks: list[_Benchmark]


def read(lines: Iterable[bytes], told: Told) -> Recorded:
    """Benchmarks of one report were run one after the other, and are played so."""
    found = []
    conversations: dict[str, int] = {}
    for at, benchmark in enumerate(whole(lines, _Report).benchmarks):
        requests = benchmark.requests
        failed = len(requests.incomplete or ()) + len(requests.errored or ())
        if failed:
            told.left_out["that did not succeed"] += failed
        for place, one in enumerate(requests.successful or ()):
            where = f"benchmarks[{at}].requests.successful[{place}]"
            if one.began is None:
                raise Broken(f"{where}: it says neither request_start_time nor start_time")
            if not one.prompt_tokens or not one.output_tokens:
                told.left_out["without tokens"] += 1
                continue
            prompt = tokens(one.prompt_tokens, "prompt_tokens", where)
            output = tokens(one.output_tokens, "output_tokens", where)
            conversation = one.info.conversation_id
            name = conversation or where
            number = conversations.setdefault(name, len(conversations))
            found.append(Request(one.began, prompt, output, 0, number, grows=bool(conversation)))
    return Recorded(found)
