"""Reading a JSON body as vLLM's request models do: lenient where they are, and with their words where they are not.

vLLM validates with pydantic in its lax mode ("3" and 3.0 are integers, "yes" is true) and reports each mistake as a
dict of type, loc, msg and input. A reader here takes a value and its place, and returns what it read and the
mistakes it found.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

Place = tuple[str | int, ...]


class Mistake(Struct, frozen=True):
    """One entry of pydantic's error list."""

    kind: str
    place: Place
    message: str
    value: Any
    context: Mapping[str, Any] | None = None


Read = tuple[Any, list[Mistake]]
Reader = Callable[[Any, Place], Read]

_INTEGER = re.compile(r"\s*[+-]?\d+(\.0+)?\s*", re.ASCII)
_TRUE = {"1", "on", "t", "true", "y", "yes"}
_FALSE = {"0", "off", "f", "false", "n", "no"}


def wrong(kind: str, place: Place, message: str, value: Any, **context: Any) -> Read:
    """A value that can't be read, and why."""
    return None, [Mistake(kind, place, message, value, context or None)]


def anything(value: Any, place: Place) -> Read:
    return value, []


def string(value: Any, place: Place) -> Read:
    if isinstance(value, str):
        return value, []
    return wrong("string_type", place, "Input should be a valid string", value)


def boolean(value: Any, place: Place) -> Read:
    if isinstance(value, bool):
        return value, []
    if isinstance(value, str):
        word = value.lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE, []
    elif isinstance(value, (int, float)):
        if value in (0, 1):
            return bool(value), []
    else:
        return wrong("bool_type", place, "Input should be a valid boolean", value)
    return wrong("bool_parsing", place, "Input should be a valid boolean, unable to interpret input", value)


def integer(value: Any, place: Place) -> Read:
    if isinstance(value, int):  # bool too, as pydantic has it
        return int(value), []
    if isinstance(value, float):
        if value.is_integer():
            return int(value), []
        message = "Input should be a valid integer, got a number with a fractional part"
        return wrong("int_from_float", place, message, value)
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value.split(".")[0]), []
        message = "Input should be a valid integer, unable to parse string as an integer"
        return wrong("int_parsing", place, message, value)
    return wrong("int_type", place, "Input should be a valid integer", value)


def number(value: Any, place: Place) -> Read:
    if isinstance(value, (int, float)):
        return float(value), []
    if isinstance(value, str):
        try:
            return float(value), []
        except ValueError:
            message = "Input should be a valid number, unable to parse string as a number"
            return wrong("float_parsing", place, message, value)
    return wrong("float_type", place, "Input should be a valid number", value)


def within(reader: Reader, least: int | None = None, most: int | None = None) -> Reader:
    """A number within bounds."""

    def read(value: Any, place: Place) -> Read:
        found, mistakes = reader(value, place)
        if mistakes:
            return found, mistakes
        if least is not None and found < least:
            message = f"Input should be greater than or equal to {least}"
            return wrong("greater_than_equal", place, message, value, ge=least)
        if most is not None and found > most:
            message = f"Input should be less than or equal to {most}"
            return wrong("less_than_equal", place, message, value, le=most)
        return found, []

    return read


def literal(*words: str) -> Reader:
    """One of these words."""
    quoted = [f"'{word}'" for word in words]
    expected = ", ".join(quoted[:-1]) + " or " + quoted[-1] if len(quoted) > 1 else quoted[0]

    def read(value: Any, place: Place) -> Read:
        if isinstance(value, str) and value in words:
            return value, []
        return wrong("literal_error", place, f"Input should be {expected}", value, expected=expected)

    return read


def optional(reader: Reader) -> Reader:
    """The same, or null."""

    def read(value: Any, place: Place) -> Read:
        return (None, []) if value is None else reader(value, place)

    return read


def listed(reader: Reader, most: int | None = None, least: int = 0) -> Reader:
    """A list of `least` to `most` items."""

    def read(value: Any, place: Place) -> Read:
        if not isinstance(value, list):
            return wrong("list_type", place, "Input should be a valid list", value)
        if most is not None and len(value) > most:
            message = f"List should have at most {most} items after validation, not {len(value)}"
            context = {"field_type": "List", "max_length": most, "actual_length": len(value)}
            return None, [Mistake("too_long", place, message, value, context)]
        if len(value) < least:
            message = f"List should have at least {least} item after validation, not {len(value)}"
            context = {"field_type": "List", "min_length": least, "actual_length": len(value)}
            return None, [Mistake("too_short", place, message, value, context)]
        items, mistakes = [], []
        for index, item in enumerate(value):
            found, bad = reader(item, (*place, index))
            items.append(found)
            mistakes += bad
        return items, mistakes

    return read


def iterable(value: Any, place: Place) -> Read:
    """pydantic checks the items of an iterable only when somebody iterates: here nobody does."""
    if isinstance(value, (list, dict)):
        return value, []
    return wrong("iterable_type", place, "Input should be iterable", value)


def mapping(reader: Reader) -> Reader:
    """An object whose values are alike."""

    def read(value: Any, place: Place) -> Read:
        if not isinstance(value, dict):
            return wrong("dict_type", place, "Input should be a valid dictionary", value)
        items, mistakes = {}, []
        for key, item in value.items():
            found, bad = reader(item, (*place, key))
            items[key] = found
            mistakes += bad
        return items, mistakes

    return read


def either(*readers: Reader) -> Reader:
    """The first that reads it without a mistake; the mistakes of all of them when none does."""

    def read(value: Any, place: Place) -> Read:
        mistakes: list[Mistake] = []
        for reader in readers:
            found, bad = reader(value, place)
            if not bad:
                return found, []
            mistakes += bad
        return None, mistakes

    return read


def under(name: str, reader: Reader) -> Reader:
    """A branch of a union, whose name appears in the place of its mistakes."""
    return lambda value, place: reader(value, (*place, name))


def model(
    fields: Mapping[str, Reader],
    required: tuple[str, ...] = (),
    kind: tuple[str, str] = (
        "model_attributes_type",
        "Input should be a valid dictionary or object to extract fields from",
    ),
) -> Reader:
    """An object with these fields, in the order in which mistakes are told; others are ignored."""

    def read(value: Any, place: Place) -> Read:
        if not isinstance(value, dict):
            return wrong(kind[0], place, kind[1], value)
        found = {}
        mistaken = any(name not in value for name in required)
        for name, item in value.items():
            reader = fields.get(name)
            if reader is not None:
                found[name], bad = reader(item, (*place, name))
                mistaken = mistaken or bool(bad)
        return (None, told(value, place)) if mistaken else (found, [])

    def told(value: dict[str, Any], place: Place) -> list[Mistake]:
        # Only now in the order of the fields: there are many more of them than a request has.
        mistakes: list[Mistake] = []
        for name, reader in fields.items():
            if name in value:
                mistakes += reader(value[name], (*place, name))[1]
            elif name in required:
                mistakes.append(Mistake("missing", (*place, name), "Field required", value))
        return mistakes

    return read


TYPED_DICT = ("dict_type", "Input should be a valid dictionary")

# How mistakes are told: at most ten of them, long values cut, containers only counted.
_REPORTED = 10
_INPUT_CHARACTERS = 200
_ENTRY_CHARACTERS = 1000


def tell(mistakes: list[Mistake]) -> tuple[str, str]:
    """The `message` and `param` of vLLM's answer to these mistakes."""
    label = "error" if len(mistakes) == 1 else "errors"
    lines = [f"{len(mistakes)} validation {label}:"]
    lines += [f"  {_entry(mistake)}" for mistake in mistakes[:_REPORTED]]
    if len(mistakes) > _REPORTED:
        lines.append(f"  ...and {len(mistakes) - _REPORTED} more {label}")
    return "\n".join(lines), _dotted(mistakes[0].place)


def tell_late(mistakes: list[Mistake]) -> str:
    """The message when content parts, which are checked only when the prompt is rendered, have mistakes."""
    label = "error" if len(mistakes) == 1 else "errors"
    lines = [f"{len(mistakes)} validation {label} for ValidatorIterator"]
    for mistake in mistakes:
        kind = f"type={mistake.kind}, input_value={mistake.value!r}, input_type={type(mistake.value).__name__}"
        lines += [
            _dotted(mistake.place),
            f"  {mistake.message} [{kind}]",
            f"    For further information visit https://errors.pydantic.dev/2.14/v/{mistake.kind}",
        ]
    return "\n".join(lines)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _entry(mistake: Mistake) -> str:
    entry: dict[str, Any] = {
        "type": mistake.kind,
        "loc": _dotted(mistake.place),
        "msg": mistake.message,
        "input": _summary(mistake.value),
    }
    if mistake.context:
        entry["ctx"] = dict(mistake.context)
    text = str(entry)
    return text if len(text) <= _ENTRY_CHARACTERS else text[:_ENTRY_CHARACTERS] + "...[truncated]"


def _summary(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"<{type(value).__name__} of {len(value)} items>"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _INPUT_CHARACTERS else text[:_INPUT_CHARACTERS] + "...[truncated]"
