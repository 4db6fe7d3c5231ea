"""What a client says about its place in a queue, in headers that are for the gateway alone.

Sources: Inference Extension, flow control (fairness id, TTL, objective for the first token). Of a header that has an
older name the newer one counts.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from headgate.api.formats import UNITS

NAMES = (
    b"x-llm-d-inference-fairness-id",
    b"x-gateway-inference-fairness-id",
    b"x-llm-d-slo-ttft-ms",
    b"x-slo-ttft-ms",
    b"x-llm-d-inference-ttl",
)
_FAIRNESS, _OLD_FAIRNESS, _TTFT, _OLD_TTFT, _TTL = NAMES
_LONGEST_FLOW = 128  # characters: flows are remembered by name
_MOST_MS = 1 << 53
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(h|ms|us|µs|ns|m|s)")


class Wishes(Struct, frozen=True, gc=False):
    """`flow` "" where the client names none. `ttl_s` and `ttft_s` are None where it says nothing of them; an objective
    that is no number is as good as none (it is so published). `wrong` is a TTL that is none.
    """

    flow: str = ""
    ttl_s: float | None = None
    ttft_s: float | None = None
    wrong: str = ""


def read_wishes(told: Mapping[bytes, bytes]) -> Wishes | None:
    """`told`: headers by name. None where there are none of these."""
    flow = (told.get(_FAIRNESS) or told.get(_OLD_FAIRNESS, b"")).decode("latin-1")
    ttft = (told.get(_TTFT) or told.get(_OLD_TTFT, b"")).decode("latin-1").strip()
    ttl = told.get(_TTL, b"").decode("latin-1").strip()
    if not (flow or ttft or ttl):
        return None
    ttl_s = _duration(ttl) if ttl else None
    ttft_s = int(ttft) / 1000.0 if ttft.isascii() and ttft.isdigit() and int(ttft[:20]) < _MOST_MS else None
    return Wishes(flow[:_LONGEST_FLOW], ttl_s, ttft_s, ttl if ttl and ttl_s is None else "")


def _duration(text: str) -> float | None:
    """Seconds (`2.5`), or a duration as Go writes it (`1m30s`, `1.5h`, `500ms`); None for what is neither."""
    if _SECONDS.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


_UNITS = {**UNITS, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
