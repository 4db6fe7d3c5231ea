"""Ask for usage in a client's stead: `stream_options` of chat and completions (OpenAI's API, and vLLM's additions)."""

import msgspec
from msgspec import Raw

_PATH = "completions"  # /v1/chat/completions, /v1/completions, and the same below other prefixes
_INCLUDED = b',"stream_options":{"include_usage":true}'
_YES = frozenset(("1", "on", "t", "true", "y", "yes"))
_NO = frozenset(("0", "off", "f", "false", "n", "no"))

_decode = msgspec.json.decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


def takes_options(target: str) -> bool:
    """Whether streams of this request target (path and query) can be asked for usage."""
    return target.partition("?")[0].endswith(_PATH)


def truth(value: object) -> bool | None:
    """A boolean as servers read it (pydantic's lax mode): also 1 and "yes". None for what they refuse."""
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    word = value.lower() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else None


def with_usage(body: bytes, options: bytes) -> bytes | None:
    """The body of a stream's request, asking for usage; `options` is its `stream_options`, b"" where it has none.

    None where the client asked for usage itself, or wrote what no server takes: then the answer is the server's affair.
    All other members stay as they are, byte for byte.
    """
    if not options:
        at = body.rindex(b"}")  # behind all others: of one that is spelt with escapes the servers take the last
        view = memoryview(body)
        return b"".join((view[:at], _INCLUDED, view[at:]))
    try:
        asked = _decode(options)
        members = _decode_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(asked, dict | None) or not _declines(asked or {}):
        return None
    asked = {**(asked or {}), "include_usage": True}
    asked.pop("continuous_usage_stats", None)  # without effect before, it would now change each event
    members["stream_options"] = Raw(_encode(asked))
    return _encode(members)


def _declines(options: dict[str, object]) -> bool:
    """Whether these options keep usage out of the stream. Of several servers it is the default where they say nothing.

    Who asks for running counts asks for usage.
    """
    given = options.get("include_usage")
    if given is None:
        return not truth(options.get("continuous_usage_stats"))
    return truth(given) is False
