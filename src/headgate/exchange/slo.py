"""How soon does the client want it?  What its headers say, for pools that predict (Inference Extension)."""

from math import inf

from msgspec.structs import replace

from headgate.exchange.events import Respond
from headgate.exchange.refuse import refuse
from headgate.exchange.request import RequestHead
from headgate.pick.decision import Ask

TTFT = (b"x-llm-d-slo-ttft-ms", b"x-slo-ttft-ms")  # the new name wins
TPOT = (b"x-llm-d-slo-tpot-ms", b"x-slo-tpot-ms")


def with_slos(ask: Ask, head: RequestHead) -> Ask | Respond:
    """The same with the times that are asked for; 400 for what is no time."""
    found = []
    for names in (TTFT, TPOT):
        told = {pair[0]: pair[1] for pair in head.headers if pair[0] in names}
        seconds = 0.0
        if told:
            name = names[0] if names[0] in told else names[1]
            seconds = _seconds(told[name])
            if not seconds:
                why = f"The header {name.decode()} must be a positive number of milliseconds."
                return refuse(400, why, param=name.decode())
        found.append(seconds)
    return replace(ask, ttft_slo=found[0], tpot_slo=found[1]) if any(found) else ask


def _seconds(text: bytes) -> float:
    """0.0 for what is no positive number."""
    try:
        value = float(text) / 1000.0
    except ValueError:
        return 0.0
    return value if 0.0 < value < inf and b"_" not in text else 0.0
