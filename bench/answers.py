"""Whether an answer is right, and how old a stream's chunks were when they came."""

import json
import re
from collections.abc import Callable

_STAMP = re.compile(rb"sent-(\d{19})")
_BLANK = b"sent-" + b"0" * 19


def stamps(piece: bytes) -> list[int]:
    """When the events in `piece` were sent, in ns of CLOCK_MONOTONIC."""
    return [int(digits) for digits in _STAMP.findall(piece)]


def _exact(answer: bytes) -> Callable[[bytes], bool]:
    """Byte for byte, but for the digits that the server writes as it sends."""
    if _BLANK in answer:
        return lambda body: _STAMP.sub(_BLANK, body) == answer
    return lambda body: body == answer


def _meant(answer: bytes) -> Callable[[bytes], bool]:
    """What a client reads out of it: the text, why it ended, the usage where there is one."""
    wanted = _said(answer)

    def right(body: bytes) -> bool:
        try:
            return _said(body) == wanted
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return False

    return right


def _said(body: bytes) -> tuple[object, ...]:
    if not body.startswith(b"data:"):
        value = json.loads(body)
        choice, usage = value["choices"][0], value["usage"]
        tokens = usage["prompt_tokens"], usage["completion_tokens"]
        return choice["message"]["role"], choice["message"]["content"], choice["finish_reason"], tokens
    *events, done = (event.removeprefix(b"data: ") for event in body.strip().split(b"\n\n"))
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, choices[-1].get("finish_reason"), done


CHECKS: dict[str, Callable[[bytes], Callable[[bytes], bool]]] = {"exact": _exact, "meaning": _meant}
