"""Bodies, and the model that a server finds in them: by Python's own JSON and e-mail parsers."""

import json
import re
from email.parser import BytesParser
from email.policy import HTTP
from random import Random
from typing import Any

from fuzz.mutate import damaged
from headgate.exchange.body import read_body, with_model

_JSON = b"application/json"
_FORM = b"multipart/form-data; boundary=xYz"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a pair of surrogates, perhaps: Python takes it without the other one
_STRINGS = (
    "",
    "base",
    "Yes",
    "off",
    "a/b",
    'q"uote',
    "ü",
    "\U0001f600",
    "back\\slash",
    "x" * 300,
    "line\nend",
    "tab\t",
)
_KEYS = ("model", "model", "stream", "stream", "messages", "prompt", "input", "n", "", "Model", "ü")


def a_body(dice: Random) -> tuple[bytes, bytes, bool]:
    """Content type and body, and whether it is sound: as a client would send it."""
    if dice.random() < 0.15:
        kind, body = _FORM, _form(dice)
    else:
        kind = dice.choice((_JSON, _JSON, _JSON, b"application/json; charset=utf-8", b"application/vnd.x+json"))
        body = _object(dice)
    sound = dice.random() < 0.4
    return kind, body if sound else damaged(dice, body), sound


def _object(dice: Random) -> bytes:
    blank = dice.choice(("", "", " ", "\n", "\t "))
    ascii_only = dice.random() < 0.5
    pairs = [
        f"{blank}{_key(dice, ascii_only)}{blank}:{blank}{_value(dice, 3, ascii_only)}"
        for _ in range(int(dice.random() * 5))
    ]
    return f"{blank}{{{','.join(pairs)}{blank}}}{blank}".encode("utf-8", "surrogatepass")


def _key(dice: Random, ascii_only: bool) -> str:
    text = json.dumps(dice.choice(_KEYS), ensure_ascii=ascii_only)
    return text.replace("e", "\\u0065", 1) if dice.random() < 0.1 else text  # the same key, spelt otherwise


def _value(dice: Random, depth: int, ascii_only: bool) -> str:
    choice = dice.random()
    if choice < 0.5 or not depth:
        return json.dumps(dice.choice(_STRINGS), ensure_ascii=ascii_only)
    if choice < 0.75:
        return dice.choice(
            ("1", "-0", "1e400", "0.1", "true", "false", "null", "12345678901234567890", "NaN", "01", "-", '"\\ud83d"')
        )
    values = [_value(dice, depth - 1, ascii_only) for _ in range(int(dice.random() * 3))]
    if choice < 0.87:
        return f"[{','.join(values)}]"
    return "{" + ",".join(f'"{dice.choice(("model", "a"))}":{value}' for value in values) + "}"


def _form(dice: Random) -> bytes:
    parts = [
        b'--xYz\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (dice.choice((b"model", b"file", b"model2")), dice.choice((b"base", b"", b"a\r\nb", b"--xY")))
        for _ in range(int(dice.random() * 4))
    ]
    return b"".join(parts) + b"--xYz--\r\n"


def the_same_model(kind: bytes, body: bytes, *, sound: bool) -> str:
    """The law that is broken, "" where none is."""
    reading = read_body(kind, body)
    if kind == _FORM:
        return _form_law(kind, body, reading.model, sound=sound) if not reading.error else ""
    value = _loads(body)
    if reading.error:
        return f"a right body is refused: {reading.error}" if _is_right(value) and not _HALF.search(body) else ""
    if value is _NOT_JSON:
        # Members that nobody asks for are skipped, not read: what is wrong in them is for the server to say.
        return ""
    if not isinstance(value, dict):
        return "what is no object is taken for one"
    model = value.get("model")
    if (model or "") != reading.model:
        return f"the model is {model!r}, and is taken for {reading.model!r}"
    if reading.stream != _is_yes(value.get("stream")):
        return f"stream is {value.get('stream')!r}, and is taken for {reading.stream}"
    renamed = with_model(kind, body, "other") if model else None
    if renamed is not None and json.loads(renamed) != {**value, "model": "other"}:
        return f"another name changes more than the name: {renamed!r}"
    return ""


def _is_yes(value: Any) -> bool:
    """As servers read it, which take more than true for it."""
    said = value.lower() if isinstance(value, str) else value
    return said in (1, "1", "true", "t", "yes", "y", "on")


def _form_law(kind: bytes, body: bytes, model: str, *, sound: bool) -> str:
    """Parsers differ in what a damaged form says; a sound one has one reading."""
    if not model:
        return ""
    renamed = with_model(kind, body, "other")
    if renamed is None or len(renamed) - len(body) != len("other") - len(model.encode()):
        return "another name in a form changes more than the name"
    if read_body(kind, renamed).model != "other":
        return "another name in a form is not found again"
    if not sound:
        return ""
    found = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind + b"\r\n\r\n" + body)
    values = [
        part.get_payload(decode=True)
        for part in (found.iter_parts() if found.is_multipart() else ())
        if part.get_param("name", header="content-disposition") == "model"
    ]
    return "" if values[-1:] == [model.encode()] else f"the form's model is {values!r}, not {model!r}"


_NOT_JSON: Any = object()


def _loads(body: bytes) -> Any:
    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(body.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _is_right(value: Any) -> bool:
    """Whether a server would take it: an object, whose model is a name that can stand in a header."""
    if not isinstance(value, dict) or not isinstance(value.get("model", ""), str | None):
        return False
    model = value.get("model") or ""
    return len(model) <= 1024 and not any(character < " " or character == "\x7f" for character in model)
