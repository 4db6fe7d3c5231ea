"""A large JSON text without the insides of its long strings, so that reading it costs little.

A prompt of 100k tokens is one string, or a few. What reads a body wants to know none of it, but has to go through it
byte by byte, at 0.3 µs a KB; looking for the quote at its end costs a tenth of that.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

LARGE = 32 << 10  # bytes of a text from which on this pays
_LONG = 4 << 10  # bytes of a string
_EACH = 4 << 10  # one look for a quote for so many bytes of the text: beyond that the rest stays as it is
_BACKSLASHES = 64

MARK = re.compile(rb"\x7f([0-9]{1,7})\x7f")


class Short(Struct, frozen=True, gc=False):
    """`text` has a mark for each of `cuts`, which are places of the original (from, to), in order."""

    text: bytes
    cuts: Sequence[tuple[int, int]]

    def span(self, part: bytes) -> tuple[int, int] | None:
        """The places in the original of a part of `text` that begins and ends outside of strings.

        None where nothing was cut from it. A text that has marks of its own may be told nonsense, within its bounds.
        """
        marks = list(MARK.finditer(part))
        if not marks or max(int(marks[0][1]), int(marks[-1][1])) >= len(self.cuts):
            return None
        start = self.cuts[int(marks[0][1])][0] - marks[0].start()
        end = self.cuts[int(marks[-1][1])][1] + len(part) - marks[-1].end()
        return max(0, start), max(0, end)


def shorten(text: bytes) -> Short:
    """Strings are found where a reader of JSON finds them, as far as the text is valid: what is wrong with it otherwise
    is wrong with the short one too. What is wrong inside of a string that is cut nobody sees.
    """
    kept: list[bytes] = []
    cuts: list[tuple[int, int]] = []
    find = text.find
    looks = len(text) // _EACH
    copied = end = 0
    while looks > 0:
        start = find(b'"', end) + 1
        if not start:
            break
        end = find(b'"', start)
        looks -= 2
        while end > start and text[end - 1] == 0x5C and (escaped := _escaped(text, start, end)):
            looks -= 1
            end = find(b'"', end + 1) if looks > 0 and escaped > 0 else -1
        if end < 0:  # nobody knows where it ends
            break
        if end - start > _LONG:
            kept.append(text[copied:start])
            kept.append(b"\x7f%d\x7f" % len(cuts))
            cuts.append((start, end))
            copied = end
        end += 1
    kept.append(text[copied:])
    return Short(b"".join(kept), cuts)


def _escaped(text: bytes, start: int, end: int) -> int:
    """1 where the quote at `end` is inside of the string, behind an odd number of backslashes; -1 for too many."""
    behind = text[max(start, end - _BACKSLASHES) : end]
    backslashes = len(behind) - len(behind.rstrip(b"\\"))
    return -1 if backslashes == _BACKSLASHES else backslashes % 2
