"""Refusals as published pickers write them: `inference error: CODE - what is wrong`."""

import msgspec

from headgate.exchange.events import Respond

_CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    412: "PreconditionFailed",
    429: "ResourceExhausted",
    503: "ServiceUnavailable",
}
_TEXT = (b"content-type", b"text/plain")


class _Error(msgspec.Struct):
    message: str


class _Body(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Body).decode


def in_text(response: Respond) -> Respond:
    """The same refusal as a line of text. An answer that is no refusal stays as it is."""
    if response.status < 400 or not response.body:
        return response
    code = _CODES.get(response.status, "BadRequest" if response.status < 500 else "Internal")
    message = _decode(response.body).error.message
    headers = [_TEXT, *(pair for pair in response.headers if pair[0] != b"content-type")]
    return msgspec.structs.replace(response, headers=headers, body=f"inference error: {code} - {message}".encode())
