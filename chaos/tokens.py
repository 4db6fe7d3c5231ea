"""Each request has a token; whatever is answered to it must carry that token, and no other."""

import re
import zlib

TOKEN = re.compile(rb"tk[0-9a-f]{8}")
LENGTH = 10


def token(number: int) -> str:
    return f"tk{number:08x}"


def number_of(name: str) -> int | None:
    """The number of a token; None for a text that is no token."""
    return int(name[2:], 16) if len(name) == LENGTH and TOKEN.fullmatch(name.encode()) else None


def fill(name: str, size: int) -> str:
    """About `size` characters that belong to this request alone."""
    return (name + ".") * (size // (LENGTH + 1))


def checksum(text: str | bytes) -> int:
    return zlib.crc32(text.encode() if isinstance(text, str) else text)


class Watch:
    """Looks at each piece of an answer as it comes: tokens of other requests must not be in it."""

    def __init__(self, name: str) -> None:
        self._own = name.encode()
        self._rest = b""
        self.strange = ""  # the first token that is not ours

    def feed(self, piece: bytes) -> None:
        text = self._rest + piece
        if not self.strange:
            other = next((found for found in TOKEN.findall(text) if found != self._own), b"")
            self.strange = other.decode()
        self._rest = text[1 - LENGTH :]
