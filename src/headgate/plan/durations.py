"""Gateway API durations (GEP-2257): `10s`, `1m30s`, `500ms`, `0s`."""

import re

_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(text: str) -> float:
    """The duration in seconds; ValueError for what is no GEP-2257 duration."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration: write up to four of <number><unit>, as 10s, 1m30s or 500ms")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
