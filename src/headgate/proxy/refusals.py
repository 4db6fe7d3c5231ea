"""What is said of requests that are none. It ends the connection: nobody knows where the next one begins."""

from headgate.exchange.events import Respond
from headgate.exchange.refuse import refuse

WASTEFUL = refuse(400, "The body's chunks carry more than the body.", close=True)
TRAILERS_TOO_LARGE = refuse(400, "The body's trailers are too large or too many.", close=True)
NO_WEBSOCKET = refuse(400, "A WebSocket begins with a GET that has no body.", close=True)
TARGET_TOO_LONG = refuse(414, "The request target is too long.", close=True)
NOT_EXPECTED = refuse(417, "The only expectation met here is 100-continue.", close=True)
HEADERS_TOO_LARGE = refuse(
    431, "The request's headers are too large or too many.", code="headers_too_large", close=True
)


def malformed(reason: str, *, looks_like_tls: bool) -> Respond:
    """`reason` is the parser's."""
    if looks_like_tls:
        return refuse(400, "This port speaks plain HTTP, and you speak TLS: use http://.", close=True)
    if reason == "Pause on PRI/Upgrade":
        return not_spoken("2")
    return refuse(400, f"This is not a valid HTTP/1.1 request: {reason.rstrip('.')}.", close=True)


def not_spoken(version: str) -> Respond:
    return refuse(505, f"HTTP/{version.removesuffix('.0')} is not spoken here: use HTTP/1.1.", close=True)


def unframed(*, http10: bool) -> Respond:
    if http10:
        return refuse(400, "HTTP/1.0 has no Transfer-Encoding: send a Content-Length.", close=True)
    return refuse(501, "The only Transfer-Encoding understood here is chunked.", close=True)


def body_too_large(limit: int) -> Respond:
    """`limit` in bytes."""
    return refuse(413, f"The body is larger than {limit} bytes.", code="body_too_large", close=True)
