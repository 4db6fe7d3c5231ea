"""Recorded traffic to rehearse with: `read`, the lines of a file → a Trace.

Each format has its module. What a line or a document lacks is told with its line, or where that can't be known with its
place in the document.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import decode
from msgspec.structs import replace

from headgate.trial import accesses, conversations, guidellm, mooncake
from headgate.trial.chance import Dice
from headgate.trial.recorded import Broken, Recorded, Told
from headgate.trial.request import Request

FORMATS: Mapping[str, Callable[[Iterable[bytes], Told], Recorded]] = {
    "mooncake": mooncake.read,
    "sharegpt": conversations.read,
    "guidellm": guidellm.read,
    "access-log": accesses.read,
}
_ITS_OWN = {"hash_ids": "mooncake", "input_length": "mooncake", "duration_ms": "access-log", "benchmarks": "guidellm"}
_ITS_OWN |= {"conversations": "sharegpt"}


class Trace(Struct, frozen=True):
    """`requests` in the order of `at`, which begins with 0. `notes` say what was left out, and why, for people.

    `timed`: their times were recorded, and are not those of chance.
    """

    format: str
    requests: Sequence[Request]
    notes: tuple[str, ...]
    timed: bool

    @property
    def rate(self) -> float:
        """Requests a second, in the mean."""
        return len(self.requests) / max(self.requests[-1].at, 1e-3) if self.requests else 0.0

    def at_speed(self, speed: float) -> Sequence[Request]:
        """The requests, played so many times as fast."""
        return self.requests if speed == 1 else [replace(one, at=one.at / speed) for one in self.requests]


def read(lines: Iterable[bytes], dice: Dice, rate: float | None = None, form: str | None = None) -> Trace:
    """`form` None: as the beginning tells. A trace without times gets them by chance, `rate` requests a second.

    Raises Broken.
    """
    rest = iter(lines)
    if form is None:
        form, seen = _form(rest)
        rest = chain(seen, rest)
    told = Told(dice, rate)
    found = FORMATS[form](rest, told)
    requests = sorted(found.requests, key=lambda one: one.at)
    first = requests[0].at if requests else 0.0
    if first:
        requests = [replace(one, at=one.at - first) for one in requests]
    notes = tuple([f"{count:,} {what}" for what, count in told.left_out.items()])
    return Trace(form, requests, notes, found.timed)


def _form(lines: Iterable[bytes]) -> tuple[str, list[bytes]]:
    """The format, and the lines that were read to find it."""
    seen: list[bytes] = []
    for line in lines:
        seen.append(line)
        text = line.strip()
        if not text or text == b"{":
            continue
        if text.startswith(b"["):
            return "sharegpt", seen
        try:
            keys: object = decode(text)
        except (DecodeError, ValidationError):
            keys = [name for name in _ITS_OWN if f'"{name}":'.encode() in text[:65_536].replace(b" ", b"")]
        names = {_ITS_OWN[key] for key in keys if key in _ITS_OWN} if isinstance(keys, dict | list) else set()
        if len(names) == 1:
            return names.pop(), seen
        if len(seen) >= 100 or isinstance(keys, dict):
            break
    raise Broken(f"what it is can't be told from its beginning: say it with --trace-format ({', '.join(FORMATS)})")
