"""Answers of /v1/responses, whole and as events, with vLLM's fields in vLLM's order."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.sim.job import Choice, Heading, Job, event

# What vLLM tells of a tool beside what it was given.
_TOOL = dict.fromkeys(
    ("strict", "defer_loading", "description", "async", "allowed_callers", "output_schema"),
)


def job(heading: Heading, choice: Choice, limit: int, fields: Mapping[str, Any], new_id: Callable[[], str]) -> Job:
    """The job of a response: one choice."""
    told = _Response(heading, choice, limit, fields, f"msg_{new_id()}")
    return Job((choice,), 1, limit, bool(fields.get("stream")), told.opening, told.piece, told.closing, told.whole)


def turns(items: list[Any]) -> list[dict[str, Any]]:
    """The messages among a response's input items, as chat takes them."""
    said = []
    for item in items:
        if isinstance(item, dict) and "role" in item:
            content = item.get("content")
            if isinstance(content, list):
                content = [_as_chat(part) for part in content]
            said.append({**item, "content": content})
    return said


def _as_chat(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text", "")}
    return part


class _Response:
    def __init__(
        self, heading: Heading, choice: Choice, limit: int, fields: Mapping[str, Any], message_id: str
    ) -> None:
        self._heading = heading
        self._choice = choice
        self._limit = limit
        self._fields = fields
        self._message_id = message_id
        self._events = 0

    def _event(self, kind: str, content: Mapping[str, Any]) -> bytes:
        number = self._events
        self._events += 1
        return event(dict(sorted({**content, "sequence_number": number, "type": kind}.items())))

    def opening(self) -> bytes:
        begun = self._response("in_progress", [], None)
        parts = [
            self._event("response.created", {"response": begun}),
            self._event("response.in_progress", {"response": begun}),
        ]
        if self._choice.draft.text:
            item = self._item("in_progress", [])
            part = _part("", [])
            place = {"content_index": 0, "item_id": self._message_id, "output_index": 0}
            parts.append(self._event("response.output_item.added", {"item": item, "output_index": 0}))
            parts.append(self._event("response.content_part.added", place | {"part": part}))
        return b"".join(parts)

    def piece(self, index: int, before: int, now: int) -> bytes:
        draft = self._choice.draft
        text = draft.text[draft.ends[before] : draft.ends[now]]
        if not text:
            return b""
        place = {"content_index": 0, "item_id": self._message_id, "output_index": index}
        return self._event("response.output_text.delta", place | {"delta": text, "logprobs": []})

    def closing(self) -> bytes:
        text = self._choice.draft.text
        parts = []
        output = []
        if text:
            place = {"content_index": 0, "item_id": self._message_id, "output_index": 0}
            item = self._item("completed", [_part(text, None)])
            output = [item]
            parts.append(self._event("response.output_text.done", place | {"logprobs": [], "text": text}))
            parts.append(self._event("response.content_part.done", place | {"part": _part(text, None)}))
            parts.append(self._event("response.output_item.done", {"item": item, "output_index": 0}))
        ended = self._response(self._status(), output, self._usage())
        parts.append(self._event("response.completed", {"response": ended}))
        return b"".join(parts)

    def whole(self) -> bytes:
        item = self._item("completed", [_part(self._choice.draft.text, None)])
        return msgspec.json.encode(self._response(self._status(), [item], self._usage()))

    def _status(self) -> str:
        return "incomplete" if self._choice.draft.finish == "length" else "completed"

    def _item(self, status: str, content: list[Any]) -> dict[str, Any]:
        return {
            "id": self._message_id,
            "content": content,
            "role": "assistant",
            "status": status,
            "type": "message",
            "phase": None,
        }

    def _usage(self) -> dict[str, Any]:
        asked, told = self._choice.prompt.count, self._choice.draft.count
        return {
            "input_tokens": asked,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": told,
            "output_tokens_details": {
                "reasoning_tokens": 0,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": asked + told,
        }

    def _response(self, status: str, output: list[Any], accounts: dict[str, Any] | None) -> dict[str, Any]:
        fields = self._fields
        temperature = 1.0 if fields.get("temperature") is None else fields["temperature"]
        top_p = 1.0 if fields.get("top_p") is None or not temperature else fields["top_p"]
        return {
            "id": self._heading.id,
            "created_at": self._heading.created,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": fields.get("instructions"),
            "metadata": fields.get("metadata"),
            "model": self._heading.model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": True,
            "temperature": temperature,
            "tool_choice": "auto" if fields.get("tools") else "none",
            "tools": [_TOOL | tool for tool in fields.get("tools") or () if isinstance(tool, dict)],
            "top_p": top_p,
            "background": False,
            "max_output_tokens": self._limit,
            "max_tool_calls": None,
            "previous_response_id": None,
            "prompt": None,
            "reasoning": None,
            "service_tier": "auto",
            "status": status,
            "text": None,
            "top_logprobs": None,
            "truncation": "disabled",
            "usage": accounts,
            "user": fields.get("user"),
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "input_messages": None,
            "output_messages": None,
        }


def _part(text: str, logprobs: list[Any] | None) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}
