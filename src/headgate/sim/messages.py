"""Answers of /v1/messages (Anthropic's form), whole and as events, as vLLM tells them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.sim.job import Choice, Heading, Job, event

_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def job(heading: Heading, choice: Choice, limit: int, fields: Mapping[str, Any]) -> Job:
    """The job of a message: one choice."""
    told = _Message(heading, choice)
    return Job((choice,), 1, limit, bool(fields.get("stream")), told.opening, told.piece, told.closing, told.whole)


def as_chat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The chat request that vLLM makes of it."""
    messages = [{**message, "content": _content(message["content"])} for message in fields["messages"]]
    if fields.get("system"):
        messages.insert(0, {"role": "system", "content": _content(fields["system"])})
    chat = {name: fields[name] for name in ("temperature", "top_k", "top_p") if fields.get(name) is not None}
    return chat | {"messages": messages, "stop": fields.get("stop_sequences") or []}


def _content(content: Any) -> Any:
    """Content as chat takes it: texts, and pictures as such; what passes between tools is left out."""
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for block in content:
        if block["type"] == "text":
            parts.append({"type": "text", "text": block.get("text", "")})
        elif block["type"] == "image":
            parts.append({"type": "image_url", "image_url": {"url": ""}})
    return parts


class _Message:
    def __init__(self, heading: Heading, choice: Choice) -> None:
        self._heading = heading
        self._choice = choice

    def _end(self) -> tuple[str, str | None]:
        draft = self._choice.draft
        if isinstance(draft.stop, str):
            return "stop_sequence", draft.stop
        return _REASONS[draft.finish], None

    def opening(self) -> bytes:
        message: dict[str, Any] = {
            "id": self._heading.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._heading.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._choice.prompt.count, "output_tokens": 0},
        }
        block = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}, "index": 0}
        begun = event({"type": "message_start", "message": message})
        return begun + event(block) if self._choice.draft.text else begun

    def piece(self, index: int, before: int, now: int) -> bytes:
        draft = self._choice.draft
        text = draft.text[draft.ends[before] : draft.ends[now]]
        if not text:
            return b""
        return event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}, "index": index})

    def closing(self) -> bytes:
        reason, sequence = self._end()
        accounts = {"input_tokens": self._choice.prompt.count, "output_tokens": self._choice.draft.count}
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        ended = event({"type": "message_delta", "delta": delta, "usage": accounts}) + event({"type": "message_stop"})
        return event({"type": "content_block_stop", "index": 0}) + ended if self._choice.draft.text else ended

    def whole(self) -> bytes:
        reason, sequence = self._end()
        answer = {
            "id": self._heading.id,
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": self._choice.draft.text}],
            "model": self._heading.model,
            "stop_reason": reason,
        }
        if sequence is not None:
            answer["stop_sequence"] = sequence
        accounts = {"input_tokens": self._choice.prompt.count, "output_tokens": self._choice.draft.count}
        return msgspec.json.encode(answer | {"usage": accounts})
