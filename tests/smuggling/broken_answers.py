"""Answers of endpoints that are broken, or mean harm: what each may become for the client.

`WHOLE` the answer is passed on, and this is its status and body; `REFUSED` the gateway answers 502 in its place;
`BROKEN` the client sees that it is not whole. `SECRET` stands for bytes that belong to nobody here: no client may ever
see them.
"""

from typing import NamedTuple

SECRET = b"the answer to somebody else's question"


class Whole(NamedTuple):
    status: int = 200
    body: bytes = b"hello"


REFUSED, BROKEN = "refused", "broken"
WHOLE = Whole()


class Case(NamedTuple):
    """`then`: what the endpoint does when it has sent `raw`: nothing, `close` or `reset`."""

    raw: bytes
    may_become: tuple[Whole | str, ...]
    then: str = ""
    to: str = "POST"


OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
HIDDEN = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(SECRET), SECRET)


def answer(headers: bytes, body: bytes = b"hello") -> bytes:
    return OK + headers + b"\r\n" + body


def sized(line: bytes) -> bytes:
    """With this status line."""
    return line + b"\r\ncontent-length: 5\r\n\r\nhello"


def refused(raw: bytes, then: str = "") -> Case:
    return Case(raw, (REFUSED,), then)


def broken(raw: bytes, then: str = "") -> Case:
    return Case(raw, (BROKEN,), then)


def whole(raw: bytes, then: str = "", status: int = 200, body: bytes = b"hello", to: str = "POST") -> Case:
    return Case(raw, (Whole(status, body),), then, to)


def unseen(raw: bytes, then: str = "") -> Case:
    """Refused, or broken off; never whole."""
    return Case(raw, (REFUSED, BROKEN), then)


_CHUNKS = {
    "a size that is none": b"xyz\r\n",
    "a negative size": b"-1\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with a blank": b"5 \r\nhello\r\n0\r\n\r\n",
    "a size that wraps 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size that ends in a bare LF": b"5\nhello\n0\n\n",
    "a size that ends in a bare CR": b"5\rhello\r\n0\r\n\r\n",
    "an extension with a bare LF": b"5;a\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it said": b"3\r\nhello\r\n0\r\n\r\n",
    "a chunk that ends in a bare LF": b"5\r\nhello\n0\r\n\r\n",
    "a second chunk that is none": b"5\r\nhello\r\nzz\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nnocolon\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nx-a: a\r\n b\r\n\r\n",
    "a trailer with a NUL": b"5\r\nhello\r\n0\r\nx-a: \0\r\n\r\n",
    "another answer in place of a chunk": HIDDEN,
}
_EARLY = {
    "a chunk that does not come": b"6\r\nhello",
    "a chunk that does not end": b"5\r\nhello",
    "a last chunk that does not come": b"5\r\nhello\r\n",
    "a last chunk without its end": b"5\r\nhello\r\n0\r\n",
    "half a last chunk": b"5\r\nhello\r\n0",
    "a trailer without end": b"5\r\nhello\r\n0\r\nx-a: a",
    "nothing": b"",
}
_LENGTHS = {
    "two lengths": b"content-length: 5\r\ncontent-length: 6\r\n",
    "the same length twice": b"content-length: 5\r\ncontent-length: 5\r\n",
    "a list of lengths": b"content-length: 5, 5\r\n",
    "a negative length": b"content-length: -5\r\n",
    "a length with a plus": b"content-length: +5\r\n",
    "a length in hexadecimal": b"content-length: 0x5\r\n",
    "a length of two words": b"content-length: 5 5\r\n",
    "a length with a fraction": b"content-length: 5.0\r\n",
    "an empty length": b"content-length:\r\n",
    "a length that wraps 64 bits": b"content-length: 18446744073709551621\r\n",
    "a length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "chunks and a length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "a length with a blank before the colon": b"content-length : 5\r\n",
    "a length on a folded line": b"content-length:\r\n 5\r\n",
}
_HEADERS = {
    "a NUL in a value": b"x-a: a\0b\r\n",
    "a NUL in a name": b"x\0a: b\r\n",
    "a bare CR in a value": b"x-a: a\rset-cookie: b\r\n",
    "a bare LF in a value": b"x-a: a\nset-cookie: b\r\n",
    "a CR before the line end": b"x-a: a\r\r\n",
    "a control character in a value": b"x-a: \x07\r\n",
    "a DEL in a value": b"x-a: \x7f\r\n",
    "a folded header": b"x-a: a\r\n b\r\n",
    "a header without a colon": b"nocolon\r\n",
    "a header without a name": b": a\r\n",
    "a blank before the colon": b"x-a : a\r\n",
    "a blank in a name": b"x a: a\r\n",
    "a first header that is indented": b" x-a: a\r\n",
    "a name that is not ASCII": "x-é: a\r\n".encode(),
    "1 MB of one header": b"x-a: %b\r\n" % (b"a" * 1_000_000),
    "1 MB of headers": b"x-a: aaaa\r\n" * 100_000,
}
_STATUS_LINES = {
    "status 20": b"HTTP/1.1 20 OK",
    "status 99": b"HTTP/1.1 99 OK",
    "status 099": b"HTTP/1.1 099 OK",
    "status 000": b"HTTP/1.1 000 OK",
    "status 1000": b"HTTP/1.1 1000 OK",
    "a status of letters": b"HTTP/1.1 abc OK",
    "a negative status": b"HTTP/1.1 -200 OK",
    "no status": b"HTTP/1.1 OK",
    "two blanks before the status": b"HTTP/1.1  200 OK",
    "no blank before the status": b"HTTP/1.1200 OK",
    "a version in lower case": b"http/1.1 200 OK",
    "version 1.2": b"HTTP/1.2 200 OK",
    "version 2.0": b"HTTP/2.0 200 OK",
    "version 0.9": b"HTTP/0.9 200 OK",
    "a version of two digits": b"HTTP/1.10 200 OK",
    "another protocol": b"ICY 200 OK",
    "a byte order mark": b"\xef\xbb\xbfHTTP/1.1 200 OK",
    "a request": b"GET / HTTP/1.1",
}

CASES: dict[str, Case] = {
    **{f"chunks: {name}": unseen(CHUNKED + rest) for name, rest in _CHUNKS.items()},
    **{f"the end comes before {name}": unseen(CHUNKED + rest, "close") for name, rest in _EARLY.items()},
    **{f"a reset comes before {name}": unseen(CHUNKED + rest, "reset") for name, rest in _EARLY.items()},
    **{name: refused(answer(lines)) for name, lines in _LENGTHS.items()},
    **{name: refused(answer(lines + b"content-length: 5\r\n")) for name, lines in _HEADERS.items()},
    **{name: refused(sized(line)) for name, line in _STATUS_LINES.items()},
    # Codings that are not understood here: what is inside must not be passed on as if it were the answer.
    "a coding of gzip": unseen(answer(b"transfer-encoding: gzip\r\n"), "close"),
    "a coding of gzip in chunks": unseen(answer(b"transfer-encoding: gzip, chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")),
    "a coding of gzip in chunks, on two lines": unseen(
        answer(b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")
    ),
    "chunks in a coding of gzip": unseen(answer(b"transfer-encoding: chunked, gzip\r\n"), "close"),
    "a coding that nobody knows": unseen(answer(b"transfer-encoding: xchunked\r\n"), "close"),
    "a coding before a tab": unseen(answer(b"transfer-encoding: chunked\t\r\n", b"5\r\nhello\r\n0\r\n\r\n"), "close"),
    "a coding of identity": unseen(answer(b"transfer-encoding: identity\r\n"), "close"),
    "an empty coding": unseen(answer(b"transfer-encoding:\r\n"), "close"),
    "chunked twice": unseen(answer(b"transfer-encoding: chunked, chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")),
    # Early ends.
    "nothing at all": refused(b"", "close"),
    "nothing but a reset": refused(b"", "reset"),
    "half a status line": refused(b"HTTP/1.1 2", "close"),
    "a status line": refused(b"HTTP/1.1 200 OK\r\n", "close"),
    "half a head": refused(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", "close"),
    "a head and no body": unseen(answer(b"content-length: 5\r\n", b""), "close"),
    "half a body": broken(answer(b"content-length: 10\r\n"), "close"),
    "half a body, and a reset": unseen(answer(b"content-length: 10\r\n"), "reset"),
    "all but one byte": broken(answer(b"content-length: 6\r\n"), "close"),
    "a body without a length, and a reset": unseen(answer(b""), "reset"),
    "100 Continue, and the end": refused(b"HTTP/1.1 100 Continue\r\n\r\n", "close"),
    # More than was asked for.
    "two answers": whole(SIZED + HIDDEN),
    "two answers, the first without a body": whole(answer(b"content-length: 0\r\n", b"") + HIDDEN, body=b""),
    "two answers, the first in chunks": whole(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    "a body longer than it said": whole(SIZED + SECRET),
    "line ends behind the answer": whole(SIZED + b"\r\n\r\n" + HIDDEN),
    "NULs behind the answer": whole(SIZED + b"\0" * 100),
    "a last answer, and another one": whole(answer(b"connection: close\r\ncontent-length: 5\r\n") + HIDDEN, "close"),
    "an answer behind chunks without an end": unseen(CHUNKED + b"5\r\nhello\r\n" + HIDDEN),
    # Statuses without a body, and bodies all the same.
    "204 with a body": whole(
        b"HTTP/1.1 204 No Content\r\ncontent-length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN), "", 204, b""
    ),
    "204 with chunks": whole(
        b"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", 204, b""
    ),
    "204 and another answer": whole(b"HTTP/1.1 204 No Content\r\n\r\n" + HIDDEN, "", 204, b""),
    "304 with a body": whole(b"HTTP/1.1 304 Not\r\ncontent-length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN), "", 304, b""),
    "304 with chunks": whole(
        b"HTTP/1.1 304 Not\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", 304, b""
    ),
    "HEAD with a body": whole(SIZED + HIDDEN, body=b"", to="HEAD"),
    "HEAD with chunks": whole(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + HIDDEN, body=b"", to="HEAD"),
    "HEAD with a body that is another answer": whole(answer(b"content-length: 99\r\n", HIDDEN), body=b"", to="HEAD"),
    # Interim answers.
    "100 Continue": whole(b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED),
    "100 Continue with a length": whole(b"HTTP/1.1 100 Continue\r\ncontent-length: %d\r\n\r\n" % len(SIZED) + SIZED),
    "103 with a length of all that follows": whole(
        b"HTTP/1.1 103 E\r\ncontent-length: %d\r\n\r\n" % len(SIZED) + SIZED
    ),
    "103 with headers": whole(b"HTTP/1.1 103 E\r\nset-cookie: evil\r\nlink: </a>\r\n\r\n" + SIZED),
    "a thousand interim answers": whole(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + SIZED),
    "a flood of interim answers": refused(b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000 + SIZED),
    "101, which nobody asked for": refused(b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + SECRET),
    "101 without an upgrade": refused(b"HTTP/1.1 101 Switching\r\n\r\n" + SECRET),
    "an interim answer alone": refused(b"HTTP/1.1 103 Early Hints\r\n\r\n", "reset"),
    # Odd, and right.
    "a NUL in the reason, which goes no further": whole(sized(b"HTTP/1.1 200 O\0K")),
    "no reason": whole(sized(b"HTTP/1.1 200 ")),
    "no reason, and no blank": whole(sized(b"HTTP/1.1 200")),
    "a reason that is not ASCII": whole(sized("HTTP/1.1 200 Été".encode())),
    "a status that nobody knows": whole(sized(b"HTTP/1.1 299 Odd"), status=299),
    "a length with zeros before it": whole(answer(b"content-length: 0005\r\n")),
    "a length with blanks around it": whole(answer(b"content-length: \t 5 \t\r\n")),
    "a coding in capitals": whole(answer(b"TRANSFER-ENCODING: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n")),
    "an extension": whole(CHUNKED + b'5;a="b;c"\r\nhello\r\n0;d\r\n\r\n'),
    "trailers": whole(CHUNKED + b"5\r\nhello\r\n0\r\nx-request-id: evil\r\nset-cookie: evil\r\n\r\n"),
    "a trailer with a length": Case(CHUNKED + b"5\r\nhello\r\n0\r\ncontent-length: 9\r\n\r\n", (WHOLE, BROKEN)),
    "an end that ends the body": whole(answer(b""), "close"),
    "an end that ends a body of HTTP/1.0": whole(b"HTTP/1.0 200 OK\r\n\r\nhello", "close"),
    "an end that ends no body": whole(answer(b"", b""), "close", body=b""),
    "a kept connection that is closed at once": whole(
        answer(b"connection: keep-alive\r\ncontent-length: 5\r\n"), "close"
    ),
    "a kept connection that is reset at once": Case(SIZED, (WHOLE, REFUSED, BROKEN), "reset"),
    "a value that is not ASCII": whole(answer(b"x-a: \xe9\xff\r\ncontent-length: 5\r\n")),
    "100 KB of one header": whole(answer(b"x-a: %b\r\ncontent-length: 5\r\n" % (b"a" * 100_000))),
    "headers that are not for clients": whole(
        answer(
            b"connection: x-secret, close\r\nx-secret: evil\r\nkeep-alive: evil\r\nproxy-authenticate: evil\r\n"
            b"x-request-id: evil\r\nupgrade: evil\r\ntrailer: evil\r\ncontent-length: 5\r\n"
        )
    ),
    "HTTP/1.0 with chunks": Case(
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        (WHOLE, REFUSED, BROKEN),
        "close",
    ),
}
