"""Refusals in the form that OpenAI clients read: `{"error": {"message", "type", "param", "code"}}`."""

import msgspec

from headgate.exchange.events import Headers, Respond

JSON: Headers = [(b"content-type", b"application/json")]

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    501: "invalid_request_error",
    502: "server_error",
    503: "service_unavailable_error",
    504: "timeout_error",
    505: "invalid_request_error",
}


def error_body(status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
    """The JSON of a refusal."""
    kind = error_type(status)
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code or status}})


def error_type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def refuse(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Headers | None = None,
    close: bool = False,
) -> Respond:
    """A whole answer that refuses a request."""
    body = error_body(status, message, code=code, param=param)
    return Respond(status, JSON + headers if headers else JSON, body, close, message)


def sentence(text: str) -> str:
    """A reason as a message of its own."""
    return text[:1].upper() + text[1:] + "."
