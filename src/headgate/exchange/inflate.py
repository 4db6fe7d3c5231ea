"""Undo the Content-Encoding of a request's body (RFC 9110 §8.4.1), a step at a time, to a bounded size.

gzip is RFC 1952. deflate is RFC 1950, and RFC 1951 alone as some clients send it. Others (br, zstd, compress), and
several of them on top of each other, are not undone.
"""

import zlib

from headgate.exchange.events import Decoded

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})

_STEP = 256 << 10  # bytes in, and out: about a millisecond
_PIECE = 16 << 10  # bytes that are fed at once: what is left over of them is copied
_MEMBERS = 100
_RATIO = 100  # decoded bytes for each byte that was sent: JSON gets to 20, deflate can do 1,000
_SLACK = 1 << 20  # decoded bytes that any body may have


class Inflater:
    """One body. Call `step` until it says what came of it. `size`: bytes decoded so far."""

    __slots__ = ("_at", "_body", "_coding", "_inner", "_left", "_limit", "_members", "_out", "size")

    def __init__(self, coding: str, body: bytes, limit: int) -> None:
        """`limit`: bytes that the decoded body may have."""
        self._coding = coding
        self._body = body
        self._limit = limit
        self._at = 0  # of the next piece
        self._left = b""  # of the piece before
        self._out: list[bytes] = []
        self._members = 0
        self._inner = self._member()
        self.size = 0

    def step(self) -> Decoded | None:
        """Do a little of it; None when there is more to do."""
        until, before = self._at + _STEP, self.size
        while self._at < until and self.size - before < _STEP:
            try:
                done = self._feed()
            except zlib.error as error:
                return self._invalid(str(error).rpartition(": ")[2])
            if done is not None:
                return done
        return None

    def _feed(self) -> Decoded | None:
        inner, data = self._inner, self._left
        if not data:
            data = self._body[self._at : self._at + _PIECE]
            self._at += _PIECE
        out = inner.decompress(data, _STEP)
        self._left = inner.unconsumed_tail
        if out:
            self.size += len(out)
            self._out.append(out)
            if self.size > self._limit:
                return Decoded(error=f"the decoded body is larger than {self._limit} bytes", status=413)
            if self.size > _SLACK + _RATIO * len(self._body):
                return Decoded(error=f"the decoded body is more than {_RATIO} times as large as what came", status=413)
        if inner.eof:
            return self._next_member(inner.unused_data)
        if not data and not out:
            return self._invalid("it is cut short")
        return None

    def _next_member(self, rest: bytes) -> Decoded | None:
        if not rest and self._at >= len(self._body):
            return Decoded(b"".join(self._out))
        if self._coding == "deflate":
            return self._invalid("there is more after its end")
        if self._members >= _MEMBERS:
            return self._invalid(f"it has more than {_MEMBERS} members")
        self._inner, self._left = self._member(), rest
        return None

    def _member(self) -> "zlib._Decompress":
        self._members += 1
        if self._coding != "deflate":
            return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        first = self._body[:2]
        enveloped = len(first) == 2 and first[0] & 15 == 8 and int.from_bytes(first) % 31 == 0  # RFC 1950 §2.2
        return zlib.decompressobj(wbits=zlib.MAX_WBITS if enveloped else -zlib.MAX_WBITS)

    def _invalid(self, why: str) -> Decoded:
        return Decoded(error=f"the body is not valid {self._coding}: {why}", status=400)
