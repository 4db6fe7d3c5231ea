"""What the readers of traces have in common."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from headgate.trial.chance import Dice
from headgate.trial.request import Request

Shape = TypeVar("Shape")


class Broken(Exception):
    """A trace can't be read; the text says where and why, for people."""


class Told:
    """What a reader is told (`dice`, and the `rate` for what has no times), and what it tells: what was `left_out`."""

    def __init__(self, dice: Dice, rate: float | None = None) -> None:
        self.dice = dice
        self.rate = rate
        self.left_out: Counter[str] = Counter()


class Recorded(Struct, frozen=True):
    """Requests in any order; `timed`: their times were recorded."""

    requests: Sequence[Request]
    timed: bool = True


def by_line(lines: Iterable[bytes], shape: type[Shape]) -> Iterator[tuple[int, Shape]]:
    """Each line that is not blank, decoded, with its number. Raises Broken."""
    decode = Decoder(shape).decode
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, decode(line)
            except (DecodeError, ValidationError) as error:
                raise Broken(f"line {number}: {_said(error)}") from None


def whole(lines: Iterable[bytes], shape: type[Shape]) -> Shape:
    """One document of all lines. Raises Broken."""
    text = b"".join(lines)
    try:
        return Decoder(shape).decode(text)
    except ValidationError as error:
        raise Broken(_said(error)) from None
    except DecodeError as error:
        at = str(error).rpartition("byte ")[2].rstrip(")")
        line = text[: int(at)].count(b"\n") + 1 if at.isdecimal() else text.count(b"\n") + 1
        raise Broken(f"line {line}: {_said(error)}") from None


def _said(error: Exception) -> str:
    text = str(error)
    return f"it is no JSON: {text}" if not isinstance(error, ValidationError) else text


def tokens(value: int, what: str, where: str) -> int:
    """Raises Broken for less than 0."""
    if value < 0:
        raise Broken(f"{where}: {what} is {value}: it can't be below 0")
    return value
