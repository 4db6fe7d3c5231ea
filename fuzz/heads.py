"""Requests and answers as they might be: from a grammar, right ones and odd ones."""

from random import Random

_HEADERS = (
    *(b"Host: gw.example", b"host: a", b"Accept: */*", b"Accept-Encoding: gzip", b"X-A: b", b"x-a:", b"X_A: c"),
    *(b"Connection: keep-alive", b"Connection: close", b"connection: x-a", b"Content-Type: application/json"),
    *(b"X-Request-Id: one", b"X-Forwarded-For: 10.0.0.1", b"Expect: 100-continue", b"Upgrade: h2c", b"TE: trailers"),
    *(b"Connection: Upgrade", b"content_length: 7", b"Cookie: a=b", b"Trailer: x", b"X-Gateway-Model-Name: evil"),
    *(b"Upgrade: websocket", b"Content-Encoding: gzip", b"Content-Encoding: br", b"Forwarded: for=10.0.0.1"),
)  # fmt: skip
_TARGETS = (b"/", b"/web/a", b"/v1/chat/completions", b"/a?b=c", b"/a/../b", b"http://gw.example/x", b"*", b"/%41%2f")
_BODIES = (
    b"",
    b"hello",
    b'{"model":"base"}',
    b'{"model":"alias"}',
    b'{"model":"none"}',
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
)


def requests(dice: Random) -> bytes:
    """One request, or some in a pipeline."""
    count = 1 if dice.random() < 0.6 else 1 + int(dice.random() * 4)
    return b"".join(_request(dice) for _ in range(count))


def _request(dice: Random) -> bytes:
    method = dice.choice((b"GET", b"POST", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"DELETE"))
    version = b"HTTP/1.1" if dice.random() < 0.9 else b"HTTP/1.0"
    lines = [b"%b %b %b" % (method, dice.choice(_TARGETS), version)]
    if dice.random() < 0.95:
        lines.append(b"Host: gw.example")
    lines += [dice.choice(_HEADERS) for _ in range(int(dice.random() * 4))]
    body = dice.choice(_BODIES)
    if body.startswith(b"{"):
        lines.append(b"Content-Type: application/json")
    return _framed(dice, lines, body, bodiless=method in (b"GET", b"HEAD", b"OPTIONS"))


def an_answer(dice: Random) -> bytes:
    """One answer, perhaps behind interim ones, perhaps with another one behind it."""
    status = dice.choice(
        (b"200 OK",) * 6 + (b"404 Not Found", b"204 No Content", b"304 Not Modified", b"500 E", b"299")
    )
    version = b"HTTP/1.1" if dice.random() < 0.9 else b"HTTP/1.0"
    kind = dice.choice((b"application/json", b"text/plain", b"text/event-stream"))
    lines = [b"%b %b" % (version, status), b"content-type: " + kind]
    lines += [
        dice.choice(
            (b"x-a: b", b"set-cookie: a", b"connection: close", b"connection: keep-alive", b"server: e", b"date: now")
        )
    ]
    body = dice.choice(
        (b"", b"hello", b'{"model":"base","x":1}', b'data: {"model":"base"}\n\ndata: [DONE]\n\n', b"x" * 300)
    )
    after = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil" if dice.random() < 0.1 else b""
    answer = _framed(dice, lines, body, bodiless=status[:3] in (b"204", b"304")) + after
    if dice.random() < 0.1:
        length = b"content-length: %d\r\n" % (len(answer) if dice.random() < 0.7 else 5)
        inside = dice.choice((b"", length, b"link: a\r\n" + length))
        answer = b"HTTP/1.1 10%d Early\r\n%b\r\n" % (dice.choice((0, 2, 3)), inside) + answer
    return answer


def _framed(dice: Random, lines: list[bytes], body: bytes, *, bodiless: bool) -> bytes:
    choice = dice.random()
    if bodiless and choice < 0.6:
        return b"\r\n".join((*lines, b"", b""))
    if choice < 0.75:
        lines.insert(
            1 + int(dice.random() * len(lines)), dice.choice((b"Content-Length: %d", b"content-length: %d")) % len(body)
        )
        return b"\r\n".join((*lines, b"", b"")) + body
    if choice < 0.95:
        lines.append(b"Transfer-Encoding: chunked")
        step = 1 + int(dice.random() * 20)
        pieces = [body[place : place + step] for place in range(0, len(body), step)]
        extension = dice.choice((b"", b"", b";a=b"))
        chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
        trailer = dice.choice((b"", b"", b"", b"x-t: 1\r\n"))
        return b"\r\n".join((*lines, b"", b"")) + chunks + b"0\r\n" + trailer + b"\r\n"
    return b"\r\n".join((*lines, b"", b"")) + body
