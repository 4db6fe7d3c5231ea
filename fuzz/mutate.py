"""Bytes that are nearly right: made of what means something to a parser, then damaged, then cut anywhere."""

import re
from collections.abc import Sequence
from random import Random

_LINE_END = re.compile(rb"\r\n")
_HEAD_END = re.compile(rb"\r\n\r\n")
TROUBLE = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\x80", b"\xff", b",", b";"),
    *(b"\r\n ", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Content-Length: 5\r\n", b"content-length: 5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n"),
    *(b"Expect: 100-continue\r\n", b"GET / HTTP/1.1\r\n", b"HTTP/1.1", b"HTTP/1.0", b"chunked", b"gzip"),
    *(b"-1", b"+5", b"0x5", b"99999999999999999999", b"fffffffffffffffff"),
)  # fmt: skip


def damaged(dice: Random, data: bytes) -> bytes:
    """A few bytes removed, doubled, replaced, or trouble put between them."""
    for _ in range(1 + int(dice.random() * 3)):
        place = int(dice.random() * (len(data) + 1))
        size = int(dice.random() * 4) if dice.random() < 0.8 else int(dice.random() * 60)
        choice = dice.random()
        if choice < 0.4:
            data = data[:place] + dice.choice(TROUBLE) + data[place:]
        elif choice < 0.6:
            data = data[:place] + data[place + size :]
        elif choice < 0.75:
            data = data[:place] + data[place : place + size] * 2 + data[place + size :]
        elif choice < 0.9:
            data = data[:place] + bytes([int(dice.random() * 256)]) + data[place + 1 :]
        else:
            data = data[:place]
    return data


def cut(dice: Random, data: bytes) -> list[bytes]:
    """In pieces: some, very many, where a line ends or just behind a head, as senders do."""
    if len(data) < 2:
        return [data]
    choice = dice.random()
    if choice < 0.15:
        step = 1 + int(dice.random() * 3)
        return [data[place : place + step] for place in range(0, len(data), step)]
    if choice < 0.4:
        ends = [found.end() for found in _LINE_END.finditer(data) if dice.random() < 0.5]
        places = [place for place in ends if place < len(data)]
    elif choice < 0.55:
        behind = {found.end() + int(dice.random() * 6) for found in _HEAD_END.finditer(data)}
        places = sorted(place for place in behind if place < len(data))
    else:
        count = 1 if choice < 0.7 else 1 + int(dice.random() * 6)
        places = sorted({1 + int(dice.random() * (len(data) - 1)) for _ in range(count)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def shown(pieces: Sequence[bytes]) -> str:
    """For a report: what can be pasted into a test."""
    return "[" + ", ".join(repr(piece) for piece in pieces) + "]"
