"""Broken requests as they come over the wire, with what each is answered: status, message, `param` if there is one.

They are sent to a gateway of one listener for `*.example` with an inference pool (models `llama` and `food-review`)
under /v1, a Service under /web, and small bounds: bodies of 100,000 bytes, heads of 4,096 bytes and 50 headers.
"""

import gzip
import zlib
from typing import NamedTuple


class Broken(NamedTuple):
    raw: bytes
    status: int
    message: str
    param: str | None = None


CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: gw.example\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = CHAT + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=xYz\r\n"
PART = b'--xYz\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
GOOD = b'{"model":"llama","messages":[]}'


def line(first: bytes, headers: bytes = HOST, rest: bytes = b"") -> bytes:
    return first + b"\r\n" + headers + b"\r\n" + rest


def head(headers: bytes, rest: bytes = b"") -> bytes:
    """A request for a chat with these headers."""
    return CHAT + HOST + headers + b"\r\n" + rest


def body(content: bytes, headers: bytes = JSON, path: bytes = b"/v1/chat/completions") -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (path, HOST, headers, len(content), content)


def invalid(why: str) -> str:
    return f"This is not a valid HTTP/1.1 request: {why}."


def no_json(why: str) -> str:
    return f"The body is not valid JSON: {why}."


METHOD = invalid("Invalid method encountered")
VERSION = invalid("Expected HTTP/, RTSP/ or ICE/")
SCHEME = invalid("Unexpected char in url schema")
TOKEN = invalid("Invalid header token")
TARGET = "The request target is not valid: "
STRING = "Model must be a string, the name of a model."
CONTROL = "Model must have no control characters."
SERVED = "Served here: food-review, llama."
OBJECT = "The body must be a JSON object."
HOST_WRONG = "The Host header is not valid: it must be a host name or address, with or without a port."
HTTP2 = "HTTP/2 is not spoken here: use HTTP/1.1."

WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
WEBSOCKET_WRONG = "A WebSocket begins with a GET that has no body."

BROKEN: dict[str, Broken] = {
    # The request line.
    "no HTTP at all": Broken(b"hello there\r\n\r\n", 400, METHOD),
    "random bytes": Broken(bytes(range(128, 256)), 400, METHOD),
    "NUL bytes": Broken(b"\0" * 64, 400, METHOD),
    "TLS on the plain port": Broken(
        bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 64,
        400,
        "This port speaks plain HTTP, and you speak TLS: use http://.",
    ),
    "an HTTP/2 preface": Broken(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 505, HTTP2),
    "a method in lower case": Broken(line(b"post /v1/chat/completions HTTP/1.1"), 400, METHOD),
    "a method that nobody knows": Broken(line(b"FETCH / HTTP/1.1"), 400, METHOD),
    "a method of RTSP": Broken(line(b"DESCRIBE / HTTP/1.1"), 400, invalid("Invalid method for HTTP/x.x request")),
    "a blank before the method": Broken(line(b" GET / HTTP/1.1"), 400, METHOD),
    "no target": Broken(line(b"GET  HTTP/1.1"), 400, SCHEME),
    "a target with a blank in it": Broken(line(b"GET /v1/ models HTTP/1.1"), 400, VERSION),
    "a target with a NUL": Broken(line(b"GET /v1\0 HTTP/1.1"), 400, invalid("Invalid char in url path")),
    "a target that is not ASCII": Broken(line("GET /é HTTP/1.1".encode()), 400, invalid("Invalid char in url path")),
    "a target without a slash": Broken(line(b"GET v1/models HTTP/1.1"), 400, SCHEME),
    "version 0.9": Broken(b"GET /v1/models\r\n\r\n", 505, "HTTP/0.9 is not spoken here: use HTTP/1.1."),
    "version 1.2": Broken(line(b"GET / HTTP/1.2"), 400, invalid("Invalid HTTP version")),
    "version 2.0 on a plain line": Broken(line(b"GET / HTTP/2.0"), 505, HTTP2),
    "version 3": Broken(line(b"GET / HTTP/3"), 400, invalid("Expected dot")),
    "a version that is none": Broken(line(b"GET / HTTP/one"), 400, invalid("Invalid major version")),
    "a version in lower case": Broken(line(b"GET / http/1.1"), 400, VERSION),
    "a blank after the version": Broken(line(b"GET / HTTP/1.1 "), 400, invalid("Expected CRLF after version")),
    "lines that end in a bare LF": Broken(
        b"GET / HTTP/1.1\nHost: gw.example\n\n", 400, invalid("Expected CRLF after version")
    ),
    "CONNECT": Broken(
        line(b"CONNECT db.example:5432 HTTP/1.1"), 405, "CONNECT is not allowed: this gateway is no forward proxy."
    ),
    "TRACE": Broken(line(b"TRACE / HTTP/1.1"), 405, "TRACE is not allowed."),
    # The target.
    "an asterisk without OPTIONS": Broken(line(b"GET * HTTP/1.1"), 400, "The request target * is for OPTIONS alone."),
    "a URL of another scheme": Broken(
        line(b"GET ftp://gw.example/ HTTP/1.1"), 400, TARGET + "it must begin with a slash, or be an http:// URL."
    ),
    "a URL without a host": Broken(
        line(b"GET http:///v1 HTTP/1.1"), 400, TARGET + "its URL must name a host, and no user."
    ),
    "a URL with a password": Broken(
        line(b"GET http://a:b@gw.example/ HTTP/1.1"), 400, TARGET + "its URL must name a host, and no user."
    ),
    "a fragment": Broken(
        line(b"GET /v1/models#top HTTP/1.1"), 400, TARGET + "a fragment (#) is not for servers to see."
    ),
    "a percent sign alone": Broken(
        line(b"GET /v1/100% HTTP/1.1"), 400, TARGET + "a percent sign must be followed by two hexadecimal digits."
    ),
    "an escape that is none": Broken(
        line(b"GET /v1/%zz HTTP/1.1"), 400, TARGET + "a percent sign must be followed by two hexadecimal digits."
    ),
    "an escaped NUL": Broken(line(b"GET /v1/%00 HTTP/1.1"), 400, TARGET + "a path has no NUL in it."),
    "a backslash": Broken(line(b"GET /v1\\..\\web HTTP/1.1"), 400, TARGET + "a backslash is no part of a path."),
    "a path out of its prefix": Broken(
        line(b"GET /web/../secret HTTP/1.1"), 404, "No route here takes GET /secret without a model."
    ),
    "the same path, escaped": Broken(
        line(b"GET /web/%2e%2E/secret HTTP/1.1"), 404, "No route here takes GET /secret without a model."
    ),
    "a path above the root": Broken(
        line(b"GET /../../etc/passwd HTTP/1.1"), 404, "No route here takes GET /etc/passwd without a model."
    ),
    "an unknown path": Broken(line(b"GET /nope HTTP/1.1"), 404, "No route here takes GET /nope without a model."),
    "an unknown path for a known model": Broken(
        body(GOOD, path=b"/nope"), 404, "No route here takes POST /nope for the model `llama`."
    ),
    "a target that is too long": Broken(
        line(b"GET /" + b"x" * 5000 + b" HTTP/1.1"), 414, "The request target is too long."
    ),
    # The host.
    "no Host": Broken(b"GET /v1/models HTTP/1.1\r\n\r\n", 400, "A request must have a Host header, from HTTP/1.1 on."),
    "two Hosts": Broken(
        line(b"GET /v1/models HTTP/1.1", HOST + b"Host: other.example\r\n"),
        400,
        "A request must have one Host header; this one has several.",
    ),
    "the same Host twice": Broken(
        line(b"GET /v1/models HTTP/1.1", HOST + HOST), 400, "A request must have one Host header; this one has several."
    ),
    "a Host with a path": Broken(line(b"GET / HTTP/1.1", b"Host: gw.example/v1\r\n"), 400, HOST_WRONG),
    "a Host with a user": Broken(line(b"GET / HTTP/1.1", b"Host: me@gw.example\r\n"), 400, HOST_WRONG),
    "a Host with a port that is none": Broken(line(b"GET / HTTP/1.1", b"Host: gw.example:http\r\n"), 400, HOST_WRONG),
    "a Host of half an IPv6 address": Broken(line(b"GET / HTTP/1.1", b"Host: [::1\r\n"), 400, HOST_WRONG),
    "a Host that is too long": Broken(line(b"GET / HTTP/1.1", b"Host: %b.example\r\n" % (b"a" * 300)), 400, HOST_WRONG),
    "an unknown Host": Broken(
        line(b"GET / HTTP/1.1", b"Host: gw.test\r\n"), 404, "No listener here serves the host `gw.test`."
    ),
    "an empty Host": Broken(line(b"GET / HTTP/1.1", b"Host:\r\n"), 404, "No listener here serves the host ``."),
    "no Host, from an old client": Broken(
        b"GET /v1/models HTTP/1.0\r\n\r\n", 404, "No listener here serves the host ``."
    ),
    # Header lines.
    "a header without a colon": Broken(head(b"nocolon\r\n"), 400, TOKEN),
    "a header without a name": Broken(head(b": value\r\n"), 400, TOKEN),
    "a blank before the colon": Broken(head(b"X-A : value\r\n"), 400, TOKEN),
    "a blank in a name": Broken(head(b"X A: value\r\n"), 400, TOKEN),
    "brackets in a name": Broken(head(b"X(A): value\r\n"), 400, TOKEN),
    "a NUL in a name": Broken(head(b"X\0A: value\r\n"), 400, TOKEN),
    "a NUL in a value": Broken(head(b"X-A: val\0ue\r\n"), 400, invalid("Invalid header value char")),
    "a control character in a value": Broken(head(b"X-A: val\x07ue\r\n"), 400, invalid("Invalid header value char")),
    "a DEL in a value": Broken(head(b"X-A: val\x7fue\r\n"), 400, invalid("Invalid header value char")),
    "a CR in a value": Broken(head(b"X-A: val\rX-B: ue\r\n"), 400, invalid("Missing expected LF after header value")),
    "a folded header": Broken(head(b"X-A: one\r\n two\r\n"), 400, invalid("Unexpected whitespace after header value")),
    "a first header that is indented": Broken(
        line(b"GET / HTTP/1.1", b" Host: gw.example\r\n"), 400, invalid("Unexpected space after start line")
    ),
    "a header that ends in a bare LF": Broken(
        head(b"X-A: one\nX-B: two\r\n"), 400, invalid("Missing expected CR after header value")
    ),
    "a head that ends in a bare LF": Broken(CHAT + HOST + b"\n", 400, invalid("Invalid header field char")),
    "a value that is too long": Broken(
        head(b"X-A: %b\r\n" % (b"x" * 5000)), 431, "The request's headers are too large or too many."
    ),
    "a name that is too long": Broken(
        head(b"X-%b: a\r\n" % (b"x" * 5000)), 431, "The request's headers are too large or too many."
    ),
    "a header without end": Broken(
        CHAT + HOST + b"X-A: " + b"x" * 20_000, 431, "The request's headers are too large or too many."
    ),
    "too many headers": Broken(head(b"X-A: a\r\n" * 51), 431, "The request's headers are too large or too many."),
    "an expectation that nobody meets": Broken(
        head(b"Expect: miracles\r\n"), 417, "The only expectation met here is 100-continue."
    ),
    "a WebSocket by POST": Broken(line(b"POST /web HTTP/1.1", HOST + WEBSOCKET), 400, WEBSOCKET_WRONG),
    "a WebSocket with a body": Broken(
        line(b"GET /web HTTP/1.1", HOST + WEBSOCKET + b"Content-Length: 2\r\n", b"{}"), 400, WEBSOCKET_WRONG
    ),
    "a WebSocket with chunks": Broken(
        line(b"GET /web HTTP/1.1", HOST + WEBSOCKET + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        400,
        WEBSOCKET_WRONG,
    ),
    "a WebSocket that nobody serves": Broken(
        line(b"GET /nope HTTP/1.1", HOST + WEBSOCKET), 404, "No route here takes GET /nope without a model."
    ),
    # The body's length.
    "a length and chunks": Broken(
        head(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        400,
        invalid("Transfer-Encoding can't be present with Content-Length"),
    ),
    "chunks and a length": Broken(
        head(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"),
        400,
        invalid("Content-Length can't be present with Transfer-Encoding"),
    ),
    "two lengths": Broken(
        head(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc"), 400, invalid("Duplicate Content-Length")
    ),
    "the same length twice": Broken(
        head(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), 400, invalid("Duplicate Content-Length")
    ),
    "a list of lengths": Broken(
        head(b"Content-Length: 3, 3\r\n", b"abc"), 400, invalid("Invalid character in Content-Length")
    ),
    "a negative length": Broken(
        head(b"Content-Length: -3\r\n", b"abc"), 400, invalid("Invalid character in Content-Length")
    ),
    "a length with a sign": Broken(
        head(b"Content-Length: +3\r\n", b"abc"), 400, invalid("Invalid character in Content-Length")
    ),
    "a length in hexadecimal": Broken(
        head(b"Content-Length: 0x3\r\n", b"abc"), 400, invalid("Invalid character in Content-Length")
    ),
    "a length that is a word": Broken(
        head(b"Content-Length: three\r\n", b"abc"), 400, invalid("Invalid character in Content-Length")
    ),
    "an empty length": Broken(head(b"Content-Length:\r\n", b"abc"), 400, invalid("Empty Content-Length")),
    "a length of 30 digits": Broken(
        head(b"Content-Length: %b\r\n" % (b"9" * 30)), 400, invalid("Content-Length overflow")
    ),
    "a body that is too long": Broken(
        head(JSON + b"Content-Length: 100001\r\n"), 413, "The body is larger than 100000 bytes."
    ),
    "a body that is much too long": Broken(
        body(b'{"model":"' + b"x" * 2_000_000 + b'"}'), 413, "The body is larger than 100000 bytes."
    ),
    "a body longer than it said": Broken(
        head(JSON + b"Content-Length: 2\r\n", b"{}{}\r\n\r\n"),
        404,
        "No route here takes POST /v1/chat/completions without a model.",
    ),
    # Chunks.
    "chunks too long in all": Broken(
        CHUNKED + b"C350\r\n%b\r\n" % (b"x" * 50_000) * 3, 413, "The body is larger than 100000 bytes."
    ),
    "a chunk size that is none": Broken(CHUNKED + b"xyz\r\n", 400, invalid("Invalid character in chunk size")),
    "a negative chunk size": Broken(CHUNKED + b"-1\r\n", 400, invalid("Invalid character in chunk size")),
    "a chunk size with a prefix": Broken(
        CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", 400, invalid("Invalid character in chunk size")
    ),
    "a chunk size with a blank": Broken(
        CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n", 400, invalid("Invalid character in chunk size")
    ),
    "a chunk size without end": Broken(CHUNKED + b"f" * 40 + b"\r\n", 400, invalid("Chunk size overflow")),
    "a chunk longer than it said": Broken(
        CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n", 400, invalid("Expected LF after chunk data")
    ),
    "chunks with bare LFs": Broken(CHUNKED + b"2\n{}\n0\n\n", 400, invalid("Missing expected CR after chunk size")),
    "chunks from an old client": Broken(
        b"POST /v1/chat/completions HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "HTTP/1.0 has no Transfer-Encoding: send a Content-Length.",
    ),
    "a compressed transfer": Broken(
        head(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        501,
        "The only Transfer-Encoding understood here is chunked.",
    ),
    "a transfer that does not end in chunks": Broken(
        head(b"Transfer-Encoding: chunked, gzip\r\n"), 400, invalid("Invalid `Transfer-Encoding` header value")
    ),
    "a transfer called identity": Broken(
        head(b"Transfer-Encoding: identity\r\n"), 501, "The only Transfer-Encoding understood here is chunked."
    ),
    "a transfer of a vertical tab": Broken(
        head(b"Transfer-Encoding:\x0bchunked\r\n"), 400, invalid("Invalid header value char")
    ),
    "chunks said twice": Broken(
        head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        400,
        invalid("Invalid `Transfer-Encoding` header value"),
    ),
    # JSON.
    "half of an object": Broken(body(b'{"model":"llama"'), 400, no_json("Input data was truncated")),
    "a comma too many": Broken(body(b'{"model":"llama",}'), 400, no_json("trailing comma in object (byte 17)")),
    "something after the object": Broken(body(GOOD + b" x"), 400, no_json("trailing characters (byte 33)")),
    "two objects": Broken(body(GOOD + GOOD), 400, no_json("trailing characters (byte 32)")),
    "single quotes": Broken(body(b"{'model':'llama'}"), 400, no_json("object keys must be strings (byte 1)")),
    "a comment": Broken(body(b'{/**/"model":"llama"}'), 400, no_json("object keys must be strings (byte 1)")),
    "NaN": Broken(body(b'{"model":"llama","temperature":NaN}'), 400, no_json("invalid character (byte 31)")),
    "a byte order mark": Broken(body(b"\xef\xbb\xbf" + GOOD), 400, no_json("invalid character (byte 0)")),
    "UTF-16": Broken(body(GOOD.decode().encode("utf-16")), 400, no_json("invalid character (byte 0)")),
    "a number with a leading zero": Broken(body(b'{"model":"llama","n":01}'), 400, no_json("invalid number (byte 22)")),
    "a line end in a string": Broken(
        body(b'{"model":"llama","a":"x\ny"}'), 400, no_json("invalid character (byte 23)")
    ),
    "half of a surrogate pair": Broken(
        body(b'{"model":"llama","a":"\\ud83d"}'), 400, no_json("Input data was truncated")
    ),
    "a list": Broken(body(b'["llama"]'), 400, OBJECT),
    "a string": Broken(body(b'"llama"'), 400, OBJECT),
    "null": Broken(body(b"null"), 400, OBJECT),
    "blanks only": Broken(body(b"  \r\n"), 400, no_json("Input data was truncated")),
    "a bomb of brackets": Broken(body(b'{"a":' + b"[" * 90_000), 400, "The body's JSON is nested too deeply."),
    "a bomb of objects": Broken(body(b'{"a":' * 18_000), 400, "The body's JSON is nested too deeply."),
    "no model": Broken(body(b'{"messages":[]}'), 404, "No route here takes POST /v1/chat/completions without a model."),
    "an empty body": Broken(body(b""), 404, "No route here takes POST /v1/chat/completions without a model."),
    "a model of null": Broken(
        body(b'{"model":null}'), 404, "No route here takes POST /v1/chat/completions without a model."
    ),
    "a model that is a number": Broken(body(b'{"model":5}'), 400, STRING, "model"),
    "a model that is a list": Broken(body(b'{"model":["llama"]}'), 400, STRING, "model"),
    "a model that is an object": Broken(body(b'{"model":{"id":"llama"}}'), 400, STRING, "model"),
    "a model that is true": Broken(body(b'{"model":true}'), 400, STRING, "model"),
    "a model that is not UTF-8": Broken(body(b'{"model":"\xff\xfe"}'), 400, STRING, "model"),
    "a model with a line end": Broken(body(b'{"model":"llama\\r\\nx-admin: yes"}'), 400, CONTROL, "model"),
    "a model with a NUL": Broken(body(b'{"model":"llama\\u0000"}'), 400, CONTROL, "model"),
    "a model without end": Broken(
        body(b'{"model":"' + b"x" * 2000 + b'"}'), 400, "Model must have at most 1024 characters.", "model"
    ),
    "an unknown model": Broken(
        body(b'{"model":"gpt-4o"}'), 404, f"The model `gpt-4o` does not exist. {SERVED}", "model"
    ),
    "a model in the wrong case": Broken(
        body(b'{"model":"Llama"}'), 404, f"The model `Llama` does not exist. {SERVED}", "model"
    ),
    "a last model that is wrong": Broken(
        body(b'{"model":"llama","model":"x"}'), 404, f"The model `x` does not exist. {SERVED}", "model"
    ),
    "a model that nobody could ask for": Broken(
        line(b"GET /v1/models/gpt%2F4 HTTP/1.1"), 404, f"The model `gpt/4` does not exist. {SERVED}", "model"
    ),
    "a compressed body that is cut short": Broken(
        body(b"\x1f\x8b\x08\0\0\0\0\0", JSON + b"Content-Encoding: gzip\r\n"),
        400,
        "The body is not valid gzip: it is cut short.",
    ),
    "a body that is not compressed, though it says so": Broken(
        body(GOOD, JSON + b"Content-Encoding: gzip\r\n"),
        400,
        "The body is not valid gzip: incorrect header check.",
    ),
    "a compressed body with something behind it": Broken(
        body(zlib.compress(GOOD) + GOOD, JSON + b"Content-Encoding: deflate\r\n"),
        400,
        "The body is not valid deflate: there is more after its end.",
    ),
    "a compressed body with half of an object": Broken(
        body(gzip.compress(GOOD[:-1]), JSON + b"Content-Encoding: gzip\r\n"),
        400,
        no_json("Input data was truncated"),
    ),
    "a bomb of zeros": Broken(
        body(gzip.compress(b"\0" * 1_000_000), JSON + b"Content-Encoding: gzip\r\n"),
        413,
        "The decoded body is larger than 100000 bytes.",
    ),
    "a bomb in a bomb": Broken(
        body(gzip.compress(gzip.compress(b"\0" * 1_000_000)), JSON + b"Content-Encoding: gzip, gzip\r\n"),
        415,
        "A body in Content-Encoding gzip, gzip can't be read here: send it as gzip, as deflate, or as it is.",
    ),
    "a body in brotli": Broken(
        body(b"\x0b\x02\x80{}\x03", JSON + b"Content-Encoding: br\r\n"),
        415,
        "A body in Content-Encoding br can't be read here: send it as gzip, as deflate, or as it is.",
    ),
    "a body in Zstandard": Broken(
        body(b"\x28\xb5\x2f\xfd\x20\x02\x11\0\0{}", JSON + b"Content-Encoding: zstd\r\n"),
        415,
        "A body in Content-Encoding zstd can't be read here: send it as gzip, as deflate, or as it is.",
    ),
    # Forms.
    "a form without a boundary": Broken(
        body(PART + b"llama\r\n--xYz--\r\n", b"Content-Type: multipart/form-data\r\n"),
        400,
        "The content type multipart/form-data must name its boundary.",
    ),
    "a form of another boundary": Broken(
        body(b"--abc--\r\n", FORM), 400, "The body is not valid multipart/form-data: it has no boundary."
    ),
    "a form without end": Broken(
        body(PART + b"llama", FORM), 400, "The body is not valid multipart/form-data: it does not end."
    ),
    "a part without end": Broken(
        body(b'--xYz\r\nContent-Disposition: form-data; name="model"', FORM),
        400,
        "The body is not valid multipart/form-data: it does not end.",
    ),
    "a form of too many parts": Broken(
        body(b"--xYz\r\n\r\n\r\n" * 1500 + b"--xYz--", FORM),
        400,
        "The body is not valid multipart/form-data: it has more than 1000 parts.",
    ),
    "a model in a form that is not UTF-8": Broken(
        body(PART + b"\xff\r\n--xYz--\r\n", FORM), 400, "Model must be UTF-8 text, the name of a model.", "model"
    ),
    "a model in a form with a line end": Broken(
        body(PART + b"llama\r\nx: y\r\n--xYz--\r\n", FORM), 400, CONTROL, "model"
    ),
    "an unknown model in a form": Broken(
        body(PART + b"whisper\r\n--xYz--\r\n", FORM), 404, f"The model `whisper` does not exist. {SERVED}", "model"
    ),
}
