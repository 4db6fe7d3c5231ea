"""Requests that were made to be read in two ways: all the classes that are known to have worked somewhere.

They go to a gateway with a Service behind every path but /v1, where an inference pool is. What is expected of each:
`refused` no byte of it reaches an endpoint, and the connection ends; `served` each of these requests reaches an
endpoint once, framed anew; `waits` nothing reaches an endpoint, the gateway waits for more.
"""

from typing import NamedTuple


class One(NamedTuple):
    """A request as the endpoint must get it."""

    line: str
    body: bytes = b""
    host: str = "gw.example"


class Case(NamedTuple):
    """`answers`, in order: a status of the gateway, several that are all right, or a request that is served."""

    raw: bytes
    answers: tuple[int | frozenset[int] | One, ...]
    ends: bool = False  # the gateway closes the connection afterwards
    waits: bool = False


HOST = b"Host: gw.example\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: gw.example\r\n\r\n"
SERVED_EVIL = One("GET /evil HTTP/1.1")
POST = One("POST / HTTP/1.1", b"hello")
EMPTY_POST = One("POST / HTTP/1.1")
GET = One("GET / HTTP/1.1")
SOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
UNREADABLE = frozenset({400, 501})
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def post(headers: bytes, rest: bytes = b"hello") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + headers + b"\r\n" + rest


def chunked(rest: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", rest)


def get(headers: bytes = b"", rest: bytes = b"", line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + headers + b"\r\n" + rest


def refused(raw: bytes, *statuses: int) -> Case:
    return Case(raw + EVIL, (frozenset(statuses or {400}),), ends=True)


def served(raw: bytes, *ones: One, ends: bool = False) -> Case:
    return Case(raw, ones, ends=ends)


def waits(raw: bytes) -> Case:
    return Case(raw, (), waits=True)


_TWO_FRAMINGS = {
    "CL.TE: the chunks end before the length": post(
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"
    ),
    "TE.CL: the length ends in the first chunk": post(
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"2c\r\nGET /evil HTTP/1.1\r\nHost: gw.example\r\n\r\n\r\n0\r\n\r\n",
    ),
    "TE before CL": post(b"Transfer-Encoding: chunked\r\nContent-Length: 50\r\n", CHUNKS),
    "a length of 0 and chunks": post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    "a length in odd case and chunks": post(b"cOnTeNt-LeNgTh: 3\r\ntRaNsFeR-eNcOdInG: ChUnKeD\r\n", CHUNKS),
    "chunks between two lengths": post(
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKS
    ),
    "a length and an unknown coding": post(b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"),
    "a length and no coding at all": post(b"Content-Length: 5\r\nTransfer-Encoding:\r\n"),
    "a length, far behind chunks": post(
        b"Transfer-Encoding: chunked\r\n" + b"X-A: a\r\n" * 60 + b"Content-Length: 3\r\n", CHUNKS
    ),
    "a length and chunks on a GET": get(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
}

_OBFUSCATED_CODINGS = {
    "a coding with a prefix": b"Transfer-Encoding: xchunked",
    "a coding with a suffix": b"Transfer-Encoding: chunkedx",
    "a coding in quotes": b'Transfer-Encoding: "chunked"',
    "a coding in single quotes": b"Transfer-Encoding: 'chunked'",
    "a coding with a parameter": b"Transfer-Encoding: chunked;q=1",
    "a coding with a comment": b"Transfer-Encoding: chunked (really)",
    "chunked twice in one line": b"Transfer-Encoding: chunked, chunked",
    "a list that begins with nothing": b"Transfer-Encoding: , chunked",
    "a list that ends with nothing": b"Transfer-Encoding: chunked,",
    "identity, then chunked": b"Transfer-Encoding: identity, chunked",
    "two lines, the first unknown": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "two lines, the second unknown": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "two lines, the second empty": b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "two lines, the second in odd case": b"Transfer-Encoding: chunked\r\ntransfer-encoding: identity",
    "a coding behind a form feed": b"Transfer-Encoding: \x0cchunked",
    "a coding behind a NUL": b"Transfer-Encoding: \0chunked",
    "a coding before a NUL": b"Transfer-Encoding: chunked\0",
    "a coding before a vertical tab": b"Transfer-Encoding: chunked\x0b",
    "a coding behind a no-break space": b"Transfer-Encoding: \xa0chunked",
    "a coding with a soft hyphen": b"Transfer-Encoding: chun\xadked",
    "a coding of wide letters": "Transfer-Encoding: ｃｈｕｎｋｅｄ".encode(),
    "a coding on a folded line": b"Transfer-Encoding:\r\n chunked",
    "a coding on a line folded by a tab": b"Transfer-Encoding:\r\n\tchunked",
    "a coding behind a bare LF": b"X-A: a\nTransfer-Encoding: chunked",
    "a coding behind a bare CR": b"X-A: a\rTransfer-Encoding: chunked",
    "a coding behind two CRs": b"X-A: a\r\r\nTransfer-Encoding: chunked",
    "a coding before a bare CR": b"Transfer-Encoding: chunked\rX-A: a",
    "a blank before the colon": b"Transfer-Encoding : chunked",
    "a tab before the colon": b"Transfer-Encoding\t: chunked",
    "a line end before the colon": b"Transfer-Encoding\r\n: chunked",
    "a bare LF before the colon": b"Transfer-Encoding\n: chunked",
    "a blank in the name": b"Transfer -Encoding: chunked",
    "a NUL behind the name": b"Transfer-Encoding\0: chunked",
    "a blank before the name": b" Transfer-Encoding: chunked",
    "a name that is not ASCII": "Transfer-Encodıng: chunked".encode(),
    "a name with a byte order mark": b"\xef\xbb\xbfTransfer-Encoding: chunked",
    "a name with an escape": b"Transfer%2dEncoding chunked",
    "no coding at all": b"Transfer-Encoding:",
    "only blanks for a coding": b"Transfer-Encoding:   \t",
}

_LENGTHS = {
    "two lengths in one line": b"Content-Length: 5, 6",
    "two equal lengths in one line": b"Content-Length: 5,5",
    "two lengths, one of them empty": b"Content-Length: 5\r\nContent-Length:",
    "two lengths, far apart": b"Content-Length: 5\r\n" + b"X-A: a\r\n" * 50 + b"Content-Length: 0",
    "two lengths in different case": b"Content-Length: 5\r\nCONTENT-LENGTH: 05",
    "a length of two words": b"Content-Length: 5 5",
    "a length with a semicolon": b"Content-Length: 5;",
    "a length with a fraction": b"Content-Length: 5.0",
    "a length with an exponent": b"Content-Length: 5e0",
    "a length with underscores": b"Content-Length: 0_5",
    "a binary length": b"Content-Length: 0b101",
    "an octal length": b"Content-Length: 0o5",
    "a length in quotes": b'Content-Length: "5"',
    "a length of minus nothing": b"Content-Length: -0",
    "a length of plus nothing": b"Content-Length: +0",
    "a length that wraps 32 bits and a sign": b"Content-Length: -4294967291",
    "a length that wraps 64 bits": b"Content-Length: 18446744073709551621",
    "a length of wide digits": "Content-Length: ５".encode(),
    "a length of Arabic digits": "Content-Length: ٥".encode(),
    "a length behind a vertical tab": b"Content-Length: \x0b5",
    "a length before a NUL": b"Content-Length: 5\0",
    "a length behind a no-break space": b"Content-Length: \xa05",
    "a length on a folded line": b"Content-Length:\r\n 5",
    "a length that goes on on a folded line": b"Content-Length: 5\r\n 0",
    "a length behind a bare LF": b"X-A: a\nContent-Length: 5",
    "a length behind a bare CR": b"X-A: a\rContent-Length: 5",
    "a length before a bare LF": b"Content-Length: 5\nX-A: a",
    "a length before a bare CR": b"Content-Length: 5\rX-A: a",
    "a blank before the length's colon": b"Content-Length : 5",
    "a tab before the length's colon": b"Content-Length\t: 5",
    "a vertical tab before the length's colon": b"Content-Length\x0b: 5",
    "a no-break space before the length's colon": b"Content-Length\xa0: 5",
    "a CR before the length's colon": b"Content-Length\r: 5",
    "a NUL in the length's name": b"Content-Len\0gth: 5",
}

_CHUNKS = {
    "a size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with an h": b"5h\r\nhello\r\n0\r\n\r\n",
    "a size with a blank before it": b" 5\r\nhello\r\n0\r\n\r\n",
    "a size with a tab before it": b"\t5\r\nhello\r\n0\r\n\r\n",
    "a size with a tab behind it": b"5\t\r\nhello\r\n0\r\n\r\n",
    "a size with a comma": b"5,6\r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a size with a NUL": b"5\0\r\nhello\r\n0\r\n\r\n",
    "a size of wide digits": "５\r\nhello\r\n0\r\n\r\n".encode(),
    "a size that wraps 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size that wraps 128 bits": b"100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "no size at all": b"\r\nhello\r\n0\r\n\r\n",
    "no size before an extension": b";a=b\r\nhello\r\n0\r\n\r\n",
    "a size behind an empty line": b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "a size that ends in a bare CR": b"5\rhello\r\n0\r\n\r\n",
    "a size that ends in two CRs": b"5\r\r\nhello\r\n0\r\n\r\n",
    "an extension that ends in a bare LF": b"5;\nhello\r\n0\r\n\r\n",
    "an extension with a bare LF in it": b"5;a\nxx\r\nhello\r\n0\r\n\r\n",
    "an extension with a bare CR in it": b"5;a\rxx\r\nhello\r\n0\r\n\r\n",
    "an extension with a line end in quotes": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "an extension with a NUL": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
    "a chunk with a line end too many": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "a chunk that ends in a bare LF": b"5\r\nhello\n0\r\n\r\n",
    "a chunk that ends in a bare CR": b"5\r\nhello\r0\r\n\r\n",
    "a chunk that ends in two other bytes": b"5\r\nhelloXX0\r\n\r\n",
    "a chunk that does not end": b"5\r\nhello0\r\n\r\n",
    "a last chunk that ends in a bare LF": b"5\r\nhello\r\n0\n\r\n",
    "a body that ends in a bare LF": b"5\r\nhello\r\n0\r\n\n",
    "a body that ends in a bare CR": b"5\r\nhello\r\n0\r\n\rX",
    "a trailer with a bare LF": b"5\r\nhello\r\n0\r\nX-A: a\nContent-Length: 5\r\n\r\n",
    "a trailer with a bare CR": b"5\r\nhello\r\n0\r\nX-A: a\rX-B: b\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX-A: a\r\n b\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nnocolon\r\n\r\n",
    "a trailer with a blank before the colon": b"5\r\nhello\r\n0\r\nX-A : a\r\n\r\n",
    "a trailer with a NUL": b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n",
    "trailers without end": b"5\r\nhello\r\n0\r\n" + b"X-A: %b\r\n" % (b"a" * 1000) * 200,
}

_LINES = {
    "tabs in the request line": b"GET\t/\tHTTP/1.1",
    "a vertical tab in the request line": b"GET\x0b/\x0bHTTP/1.1",
    "a NUL behind the version": b"GET / HTTP/1.1\0",
    "two versions": b"GET / HTTP/1.1 HTTP/1.1",
    "a version of three numbers": b"GET / HTTP/1.1.1",
    "a version of two digits": b"GET / HTTP/1.10",
    "a version with a zero before it": b"GET / HTTP/01.1",
    "a version with a plus": b"GET / HTTP/+1.1",
    "a request line that ends in a bare CR": b"GET / HTTP/1.1\rX-A: a",
    "a request line that ends in two CRs": b"GET / HTTP/1.1\r",
    "a CR in the method": b"GE\rT / HTTP/1.1",
    "a LF in the method": b"GE\nT / HTTP/1.1",
    "a NUL in the method": b"GE\0T / HTTP/1.1",
    "a byte order mark before the method": b"\xef\xbb\xbfGET / HTTP/1.1",
    "a header in place of the version": b"GET / X-A: a",
    "a CR in the query": b"GET /?a=\rb HTTP/1.1",
    "a LF in the query": b"GET /?a=\nb HTTP/1.1",
    "a NUL in the query": b"GET /?a=\0b HTTP/1.1",
    "a DEL in the path": b"GET /\x7f HTTP/1.1",
    "only a host for a target": b"GET gw.example:80 HTTP/1.1",
    "a query for a target": b"GET ?a=b HTTP/1.1",
    "a URL with one slash": b"GET http:/gw.example/ HTTP/1.1",
    "a URL without slashes": b"GET http:gw.example/ HTTP/1.1",
    "a URL with a NUL in the host": b"GET http://gw\0.example/ HTTP/1.1",
    "the version of HTTP/0.9": b"GET / HTTP/0.9",
    "a status line": b"HTTP/1.1 200 OK",
}

# Which host is meant is not clear; where the request ends is, so that the connection may go on.
_WRONG_HOSTS = {
    "a Host of two words": b"Host: gw.example other.example",
    "a Host of two words with a tab": b"Host: gw.example\tother.example",
    "a Host with a fragment": b"Host: gw.example#x",
    "a Host with a query": b"Host: gw.example?x",
    "a Host with a backslash": b"Host: gw.example\\x",
    "a Host with two ports": b"Host: gw.example:80:80",
    "a Host with a signed port": b"Host: gw.example:+80",
    "a Host that is not ASCII": "Host: gw.exämple".encode(),
}
_BROKEN_HOSTS = {
    "a Host of a list": b"Host: gw.example, other.example",
    "a second Host, indented": b"Host: gw.example\r\nX-A: a\r\n Host: other.example",
    "a second Host with a blank before the colon": b"Host: gw.example\r\nHost : other.example",
    "a second Host, far away": b"Host: gw.example\r\n" + b"X-A: a\r\n" * 60 + b"hOST: other.example",
    "a second Host that is empty": b"Host: gw.example\r\nHost:",
    "a NUL in the Host": b"Host: gw.example\0.other.example",
}

CASES: dict[str, Case] = {
    **{name: refused(raw) for name, raw in _TWO_FRAMINGS.items()},
    **{name: refused(post(line + b"\r\n", CHUNKS), *UNREADABLE) for name, line in _OBFUSCATED_CODINGS.items()},
    **{
        f"{name}, beside a length": refused(post(b"Content-Length: 5\r\n" + line + b"\r\n", CHUNKS), *UNREADABLE)
        for name, line in _OBFUSCATED_CODINGS.items()
    },
    **{name: refused(post(line + b"\r\n")) for name, line in _LENGTHS.items()},
    **{f"chunks: {name}": refused(chunked(rest), 400, 431) for name, rest in _CHUNKS.items()},
    **{name: refused(get(line=line), 400, 505) for name, line in _LINES.items()},
    **{name: refused(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n") for name, line in _BROKEN_HOSTS.items()},
    **{
        name: Case(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n" + EVIL, (400, SERVED_EVIL))
        for name, line in _WRONG_HOSTS.items()
    },
    # What means one thing, however odd it looks, is served, and framed anew.
    "a coding in capitals": served(post(b"TRANSFER-ENCODING: CHUNKED\r\n", CHUNKS + EVIL), POST, SERVED_EVIL),
    "a coding without a blank": served(post(b"Transfer-Encoding:chunked\r\n", CHUNKS + EVIL), POST, SERVED_EVIL),
    "a coding behind a tab": served(post(b"Transfer-Encoding:\tchunked\r\n", CHUNKS + EVIL), POST, SERVED_EVIL),
    "a coding with blanks behind it": served(
        post(b"Transfer-Encoding: chunked  \r\n", CHUNKS + EVIL), POST, SERVED_EVIL
    ),
    "a coding with a tab behind it": refused(post(b"Transfer-Encoding: chunked\t\r\n", CHUNKS)),
    "a length with zeros before it": served(post(b"Content-Length: 0005\r\n", b"hello" + EVIL), POST, SERVED_EVIL),
    "a length of 30 digits that is 5": served(
        post(b"Content-Length: %030d\r\n" % 5, b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "a length with blanks around it": served(post(b"Content-Length: \t 5 \t\r\n", b"hello" + EVIL), POST, SERVED_EVIL),
    "a size with zeros before it": served(chunked(b"0005\r\nhello\r\n000\r\n\r\n" + EVIL), POST, SERVED_EVIL),
    "an extension": served(chunked(b'5;a="b;c";d\r\nhello\r\n0;e=f\r\n\r\n' + EVIL), POST, SERVED_EVIL),
    "a chunk that looks like a request": served(
        chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)), One("POST / HTTP/1.1", EVIL)
    ),
    "a body that looks like a request": served(
        post(b"Content-Length: %d\r\n" % len(EVIL), EVIL), One("POST / HTTP/1.1", EVIL)
    ),
    "CL.0: a length of 0, and another request": served(post(b"Content-Length: 0\r\n", EVIL), EMPTY_POST, SERVED_EVIL),
    "no length, and another request": served(post(b"", EVIL), EMPTY_POST, SERVED_EVIL),
    "0.CL: a GET with a body": served(get(b"Content-Length: %d\r\n" % len(EVIL), EVIL), One("GET / HTTP/1.1", EVIL)),
    "a GET with chunks": served(get(b"Transfer-Encoding: chunked\r\n", CHUNKS), One("GET / HTTP/1.1", b"hello")),
    "a DELETE with a body": served(
        get(b"Content-Length: 5\r\n", b"hello", b"DELETE / HTTP/1.1"), One("DELETE / HTTP/1.1", b"hello")
    ),
    "an OPTIONS with a body": served(
        get(b"Content-Length: 5\r\n", b"hello", b"OPTIONS / HTTP/1.1"), One("OPTIONS / HTTP/1.1", b"hello")
    ),
    # Names that some servers take for another: an underscore is a dash to all that came from CGI.
    "an underscore in the coding's name": served(
        post(b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "an underscore in the length's name": served(
        post(b"Content_Length: 50\r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "an underscore in the length's name, and no other": served(
        post(b"Content_Length: %d\r\n" % len(EVIL), EVIL), EMPTY_POST, SERVED_EVIL
    ),
    # Headers that a client may not take from the gateway, or set for it.
    "a nominated length": served(
        post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "a nominated coding": served(
        post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", CHUNKS + EVIL), POST, SERVED_EVIL
    ),
    "a Host with blanks behind it": served(b"GET / HTTP/1.1\r\nHost: gw.example \t\r\n\r\n" + EVIL, GET, SERVED_EVIL),
    "a Host in an escape": served(
        b"GET / HTTP/1.1\r\nHost: gw%2eexample\r\n\r\n" + EVIL, One("GET / HTTP/1.1", host="gw%2eexample"), SERVED_EVIL
    ),
    "an expectation with blanks behind it": served(
        post(b"Expect: 100-continue \r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "a nominated Host": served(get(b"Connection: Host\r\n"), GET),
    "nominated headers of the gateway": served(
        get(b"Connection: X-Forwarded-For, X-Forwarded-Proto, X-Request-Id, X-Gateway-Model-Name\r\n"), GET
    ),
    "hop-by-hop headers": served(
        get(b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers, chunked\r\nTrailer: x\r\n"),
        GET,
    ),
    # Trailers count for nothing.
    "a trailer with a host": served(chunked(CHUNKS[:-2] + b"Host: other.example\r\n\r\n" + EVIL), POST, SERVED_EVIL),
    "a trailer with a model": served(
        chunked(CHUNKS[:-2] + b"X-Gateway-Model-Name: x\r\n\r\n" + EVIL), POST, SERVED_EVIL
    ),
    "a trailer with a length": Case(
        chunked(CHUNKS[:-2] + b"Content-Length: 50\r\n\r\n" + EVIL), (frozenset({400}),), ends=True
    ),
    "a trailer with a coding": Case(
        chunked(CHUNKS[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + EVIL), (frozenset({400}),), ends=True
    ),
    # The target and the Host.
    "a URL and another Host": served(
        b"GET http://gw.example/a HTTP/1.1\r\nHost: other.example\r\n\r\n" + EVIL, One("GET /a HTTP/1.1"), SERVED_EVIL
    ),
    "a URL in capitals": served(
        b"GET HTTP://GW.EXAMPLE/a HTTP/1.1\r\nHost: other.example\r\n\r\n", One("GET /a HTTP/1.1", host="GW.EXAMPLE")
    ),
    "a URL and no Host": refused(b"GET http://gw.example/a HTTP/1.1\r\n\r\n"),
    "a URL whose user looks like a host": Case(
        b"GET http://gw.example:80@other.example/ HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL, (400, SERVED_EVIL)
    ),
    "a URL whose host ends in a backslash": refused(
        b"GET http://gw.example\\@other.example/ HTTP/1.1\r\n" + HOST + b"\r\n"
    ),
    "two slashes at the beginning": served(
        get(line=b"GET //other.example/a HTTP/1.1"), One("GET //other.example/a HTTP/1.1")
    ),
    "line ends in escapes": served(get(line=b"GET /a%0d%0aHost:%20x HTTP/1.1"), One("GET /a%0D%0AHost:%20x HTTP/1.1")),
    "a request in escapes": served(
        get(line=b"GET /%20HTTP/1.1%0D%0A%0D%0AGET%20/evil HTTP/1.1"),
        One("GET /%20HTTP/1.1%0D%0A%0D%0AGET%20/evil HTTP/1.1"),
    ),
    "line ends in the query": served(get(line=b"GET /?a=%0d%0aX:%20y HTTP/1.1"), One("GET /?a=%0d%0aX:%20y HTTP/1.1")),
    "an asterisk in a URL": served(get(line=b"GET http://gw.example/* HTTP/1.1"), One("GET /* HTTP/1.1")),
    # Empty lines before a request are allowed; they are no request.
    "empty lines before a request": served(b"\r\n\r\n" + EVIL + b"\r\n" + EVIL, SERVED_EVIL, SERVED_EVIL),
    # Old versions.
    "HTTP/1.0 with a length, kept": served(
        b"POST / HTTP/1.0\r\nHost: gw.example\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello" + EVIL,
        POST,
        SERVED_EVIL,
    ),
    "HTTP/1.0, and another request": served(b"GET / HTTP/1.0\r\nHost: gw.example\r\n\r\n" + EVIL, GET, ends=True),
    "HTTP/1.0 without a length, and a body": served(
        b"POST / HTTP/1.0\r\nHost: gw.example\r\n\r\n" + EVIL, EMPTY_POST, ends=True
    ),
    "a last request, and another one": served(get(b"Connection: close\r\n") + EVIL, GET, ends=True),
    "keep-alive and close": served(get(b"Connection: keep-alive, close\r\n") + EVIL, GET, ends=True),
    "close in capitals": served(get(b"CONNECTION: CLOSE\r\n") + EVIL, GET, ends=True),
    # Other protocols.
    "h2c with a body": served(
        post(
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
            b"Content-Length: 5\r\n",
            b"hello" + EVIL,
        ),
        POST,
        SERVED_EVIL,
    ),
    "h2c with chunks": served(
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n", CHUNKS + EVIL), POST, SERVED_EVIL
    ),
    "h2c with a length and chunks": refused(
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS)
    ),
    "h2c with two lengths": refused(
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\nContent-Length: 6\r\n")
    ),
    "h2c with no length, and another request": served(
        get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + EVIL, GET, SERVED_EVIL
    ),
    "an upgrade that nobody announced": served(
        get(b"Upgrade: h2c\r\nContent-Length: 5\r\n", b"hello" + EVIL), One("GET / HTTP/1.1", b"hello"), SERVED_EVIL
    ),
    "an announcement of no upgrade": served(
        post(b"Connection: Upgrade\r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "a WebSocket by POST, with a body": Case(
        post(SOCKET + b"Content-Length: 5\r\n", b"hello" + EVIL), (400,), ends=True
    ),
    "a WebSocket that is not granted, and another request": served(get(SOCKET) + EVIL, GET, ends=True),
    "a WebSocket behind a request": served(get() + get(SOCKET) + EVIL, GET, GET, ends=True),
    "a WebSocket with a body": refused(get(SOCKET + b"Content-Length: 5\r\n", b"hello")),
    "a WebSocket with a length of 0": served(get(SOCKET + b"Content-Length: 0\r\n") + EVIL, GET, ends=True),
    "a WebSocket with chunks": refused(get(SOCKET + b"Transfer-Encoding: chunked\r\n", CHUNKS)),
    "a WebSocket with a length and chunks": refused(
        get(SOCKET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS)
    ),
    "a WebSocket with two lengths": refused(get(SOCKET + b"Content-Length: 0\r\nContent-Length: 5\r\n", b"hello")),
    "a WebSocket or h2c": served(get(SOCKET.replace(b"websocket", b"websocket, h2c")) + EVIL, GET, ends=True),
    "a WebSocket and h2c, on two lines": served(get(SOCKET + b"Upgrade: h2c\r\n") + EVIL, GET, ends=True),
    "a WebSocket that nobody announced": served(
        get(SOCKET.replace(b"Connection: Upgrade\r\n", b"")) + EVIL, GET, SERVED_EVIL
    ),
    "a WebSocket of HTTP/1.0": served(b"GET / HTTP/1.0\r\n" + HOST + SOCKET + b"\r\n" + EVIL, GET, ends=True),
    "a WebSocket of another version": served(get(SOCKET.replace(b"13", b"7")) + EVIL, GET, ends=True),
    "an HTTP/2 preface behind a request": Case(
        get() + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EVIL, (GET, frozenset({400, 505})), ends=True
    ),
    "CONNECT, and another request": refused(b"CONNECT gw.example:80 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "CONNECT with a body": refused(
        b"CONNECT gw.example:80 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 405
    ),
    # Expectations.
    "an expectation and the body at once": served(
        post(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "an expectation in odd case": served(
        post(b"Expect: 100-CONTINUE\r\nContent-Length: 5\r\n", b"hello" + EVIL), POST, SERVED_EVIL
    ),
    "an expectation of a GET without a body": served(get(b"Expect: 100-continue\r\n") + EVIL, GET, SERVED_EVIL),
    "an expectation with a length of 0": served(
        post(b"Expect: 100-continue\r\nContent-Length: 0\r\n", EVIL), EMPTY_POST, SERVED_EVIL
    ),
    "an expectation and one more": refused(post(b"Expect: 100-continue, x\r\nContent-Length: 5\r\n"), 417),
    "an expectation behind a word": refused(post(b"Expect: y 100-continue\r\nContent-Length: 5\r\n"), 417),
    "an expectation on a folded line": refused(post(b"Expect:\r\n 100-continue\r\nContent-Length: 5\r\n")),
    "an expectation behind a bare LF": refused(post(b"X-A: a\nExpect: 100-continue\r\nContent-Length: 5\r\n")),
    "an expectation with a length and chunks": refused(
        post(b"Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS)
    ),
    # What is not all there is not sent on.
    "a body that does not come": waits(post(b"Content-Length: 6\r\n")),
    "a chunk that does not come": waits(chunked(b"6\r\nhello")),
    "a chunk of nearly 2^64 bytes": waits(chunked(b"fffffffffffffffe\r\nhello\r\n0\r\n\r\n")),
    "a last chunk that does not come": waits(chunked(b"5\r\nhello\r\n")),
    "an end that does not come": waits(chunked(b"5\r\nhello\r\n0\r\n")),
    "half an end": waits(chunked(b"5\r\nhello\r\n0\r\n\r")),
    "half a head": waits(b"POST / HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 0\r\n"),
    "a head that ends in a CR": waits(b"GET / HTTP/1.1\r\nHost: gw.example\r\n\r"),
    # A long pipeline of every framing.
    "everything in one pipeline": served(
        (get() + post(b"Content-Length: 5\r\n") + chunked(CHUNKS) + post(b"Content-Length: 0\r\n", b"") + EVIL) * 4,
        *(GET, POST, POST, EMPTY_POST, SERVED_EVIL) * 4,
    ),
}
