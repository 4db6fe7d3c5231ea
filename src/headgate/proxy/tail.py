"""What a client has of an event that is not whole: should the stream break off now, it has to be ended."""

import re

_PIECES = 16
_LONGEST = 256 << 10
_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")


class Tail:
    """Of one stream. Most pieces end events: `follow` need be told of one only if it does not, or `pieces` has some."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def follow(self, data: bytes) -> None:
        if data.endswith(b"\n\n"):
            self.pieces.clear()
            return
        self.pieces.append(data)
        if len(self.pieces) > _PIECES:
            self.pieces = [self.text]

    @property
    def text(self) -> bytes:
        """What follows the last event that is whole; of over 256 KiB, which may be without end, only a word."""
        last = _END.split(b"".join(self.pieces))[-1]
        return last if len(last) <= _LONGEST else b"data: ..."
