"""Trailers, RFC 9110 §6.5: fields behind a body in chunks, as a checksum of what has just been sent."""

from headgate.exchange.events import Headers
from headgate.exchange.request import SPECIAL, wire
from headgate.plan.plan import HeaderEdit

# What a recipient acts upon before it has the body: later it would mean one thing here and another there (§6.5.1).
_TOO_LATE = SPECIAL | {
    *(b"age", b"authorization", b"cache-control", b"content-range", b"cookie", b"date", b"expires", b"if-match"),
    *(b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"location", b"max-forwards"),
    *(b"pragma", b"range", b"retry-after", b"set-cookie", b"vary", b"warning", b"www-authenticate"),
}


def passed_on(trailers: Headers) -> Headers:
    return [pair for pair in trailers if pair[0].replace(b"_", b"-") not in _TOO_LATE]


def of_request(trailers: Headers, head: Headers, *edits: HeaderEdit | None) -> Headers:
    """Those that are passed on. Servers that put trailers among the headers shall find none there that the head has
    said otherwise, or that the route has changed or taken away."""
    taken = {name for name, _ in head}
    for edit in edits:
        if edit is not None:
            names = (*edit.remove, *(name for name, _ in (*edit.set, *edit.add)))
            taken.update(name.lower().encode("latin-1") for name in names)
    return [pair for pair in passed_on(trailers) if pair[0] not in taken]


def end(trailers: Headers) -> bytes:
    """The end of a body in chunks."""
    return b"0\r\n%b\r\n" % wire(trailers)


def in_chunks(body: bytes, trailers: Headers) -> tuple[bytes, bytes]:
    """The header lines and the bytes of a body with trailers: as one chunk."""
    names = b", ".join([name for name, _ in trailers])
    lines = b"transfer-encoding: chunked\r\ntrailer: %b\r\n" % names
    return lines, (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + end(trailers)
