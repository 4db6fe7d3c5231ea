"""Form data, RFC 7578: the value of the part called `model`, and the same form with another value there."""

import re
from collections.abc import Iterator

from msgspec import Struct

_PARTS = 1000  # as many fields as servers take, too

_BOUNDARY = re.compile(rb';[ \t]*boundary=(?:"([^"]+)"|([^;\s"]+))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"\r\ncontent-disposition:[ \t]*form-data[ \t]*((?:;[^\r\n]*)?)\r\n", re.IGNORECASE)
_PARAMETER = re.compile(rb';[ \t]*([^=;\s]+)=("(?:[^"\\]|\\.)*"|[^;\s]*)')


class Place(Struct, frozen=True, gc=False):
    """Where the value stands in the body; `error` says why there can be none, "" where there can."""

    start: int = -1
    end: int = -1
    error: str = ""


_NOWHERE = Place()


def find_model(content_type: bytes, body: bytes) -> Place:
    """The last part called `model` (servers take the last one too); start -1 where there is none."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return Place(error="the content type multipart/form-data must name its boundary")
    mark = b"--" + (boundary[1] or boundary[2])
    found = _NOWHERE
    try:
        for head, start, end in _parts(mark, body):
            if _name(body[head:start]) == b"model":
                found = Place(start, end)
    except ValueError as error:
        return Place(error=f"the body is not valid multipart/form-data: {error}")
    return found


def _parts(mark: bytes, body: bytes) -> Iterator[tuple[int, int, int]]:
    """For each part where its head begins (with a line end), where its value begins and where that ends."""
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    if at == 1:
        raise ValueError("it has no boundary")
    for _ in range(_PARTS):
        head = at + len(mark)
        if body.startswith(b"--", head):
            return
        end = body.find(b"\r\n" + mark, head)
        if end < 0:
            raise ValueError("it does not end")
        blank = body.find(b"\r\n\r\n", head, end + 4)  # the line end before a boundary may be that of the headers
        if blank < 0:
            raise ValueError("a part ends before its headers do")
        yield head, blank + 4, max(end, blank + 4)
        at = end + 2
    raise ValueError(f"it has more than {_PARTS} parts")


def _name(head: bytes) -> bytes:
    disposition = _DISPOSITION.search(head)
    for name, value in _PARAMETER.findall(disposition[1]) if disposition else ():
        if name.lower() == b"name":
            return bytes(value).strip(b'"')
    return b""
