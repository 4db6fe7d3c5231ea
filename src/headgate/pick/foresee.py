"""`foresee`: how long it would take at each candidate until the first token, and for each further one."""

from collections.abc import Sequence

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.latency import sure
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.forecast import Forecast
from headgate.pick.scorers import Depths, Sent, lora_affinity, shares

_FULL_FROM = 0.8  # of the KV cache: from here on a request may wait for another's end


def foresee(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Forecast | None:
    """None where the profile predicts nothing. All candidates in one pass, once for each request however many ask."""
    if among.foreseen_of is not sent:
        among.foreseen = None if among.foresight is None else _foresee(ask, among, depths)
        among.foreseen_of = sent
    return among.foreseen


def _foresee(ask: Ask, among: Candidates, depths: Depths) -> Forecast:
    latency, rule, names = among.latency, among.foresight, among.names
    assert rule is not None
    assert latency is not None
    if among.cold is None:
        among.cold = _cold(ask, among)
        among.running = tuple([float(load.running or 0) for load in among.loads])
        among.usage = tuple([load.kv_usage or 0.0 for load in among.loads])
        among.full = tuple([max(0.0, (usage - _FULL_FROM) / (1.0 - _FULL_FROM)) for usage in among.usage])
    running, usage, full, cold = among.running, among.usage, among.full, among.cold
    tokens = ask.prompt_bytes / BYTES_PER_TOKEN
    known = shares(ask, among)
    if known is among.zeros:
        left: Sequence[float] = (tokens,) * len(names)
    else:
        reach = ask.prefix[-1][0] / BYTES_PER_TOKEN
        left = [tokens - share * reach for share in known]
    ahead = [latency.ahead.get(name, 0.0) for name in names] if latency.ahead else among.zeros
    w0, w1, w2, w3, w4, w5, w6 = latency.ttft.weights
    ttft = [
        w0 + w1 * new + w2 * before + w3 * run + (w4 + w5 * crowd) * wait + w6 * load
        for new, before, run, wait, crowd, load in zip(left, ahead, running, depths, full, cold)  # noqa: B905 - dear
    ]
    tpot: Sequence[float] = ()
    if not rule.whole and sure(latency.tpot):
        v0, v1, v2, v3 = latency.tpot.weights
        tpot = [
            v0 + v1 * (run + wait) + v2 * kv + v3 * before
            for run, wait, kv, before in zip(running, depths, usage, ahead)  # noqa: B905 - dear
        ]
    ttft_slo, tpot_slo = ask.ttft_slo, ask.tpot_slo if tpot else 0.0
    ttft_room: Sequence[float] = ()
    tpot_room: Sequence[float] = ()
    if ttft_slo or tpot_slo:
        ttft_room = [ttft_slo - time for time in ttft] if ttft_slo else among.zeros
        tpot_room = _tpot_room(tpot_slo, among, tpot) if tpot_slo else among.zeros
    inputs = left, ahead, running, depths, full, cold, usage
    return Forecast(latency, rule, rule.used and sure(latency.ttft), ttft, tpot, ttft_room, tpot_room, inputs)


def _tpot_room(slo: float, among: Candidates, tpot: Sequence[float]) -> Sequence[float]:
    """Where requests are under way that were promised more than this one asks for, it is theirs that must be kept."""
    assert among.foresight is not None
    assert among.latency is not None
    promised, buffer = among.latency.bounds, among.foresight.buffer
    if not promised:
        return [slo * buffer - time for time in tpot]
    bounds = [min(slo, promised[name][0]) if name in promised else slo for name in among.names]
    return [bound * buffer - time for bound, time in zip(bounds, tpot, strict=True)]


def _cold(ask: Ask, among: Candidates) -> Sequence[float]:
    """0 where the adapter is active, or none is asked for; more where it must be loaded, or slots are short.

    An engine names adapters that wait for a slot beside those that have one: how many there are too many counts too.
    """
    scores = lora_affinity(ask, among, (), ())
    if scores is among.ones:
        return among.zeros
    over = []
    for load in among.loads:
        slots = load.max_adapters or 0
        busy = len(load.adapters_running | load.adapters_waiting)
        over.append(max(0, busy - slots) / slots if slots else 0.0)
    return [1.0 - score + more for score, more in zip(scores, over, strict=True)]
