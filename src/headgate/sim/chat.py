"""Answers of /v1/chat/completions, whole and in chunks, with vLLM's fields in vLLM's order."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.sim import handover, logprobs, tokens
from headgate.sim.job import DONE, Choice, Heading, Job, data, usage


def job(heading: Heading, choices: tuple[Choice, ...], n: int, limit: int, fields: Mapping[str, Any]) -> Job:
    """The job of a chat request; `n` choices for each prompt."""
    told = _Chat(heading, choices, n, fields)
    source = handover.source(fields.get("kv_transfer_params")) if choices[0].work.pulls else None
    return Job(
        choices, n, limit, bool(fields.get("stream")), told.opening, told.piece, told.closing, told.whole, source
    )


class _Chat:
    def __init__(self, heading: Heading, choices: tuple[Choice, ...], n: int, fields: Mapping[str, Any]) -> None:
        self._heading = heading
        self._choices = choices
        self._prompt_tokens = sum(choice.prompt.count for choice in choices[::n])
        options = fields.get("stream_options") or {}
        self._usage = bool(options.get("include_usage"))
        self._running_usage = self._usage and bool(options.get("continuous_usage_stats"))
        self._ids = bool(fields.get("return_token_ids"))
        self._top: int | None = (fields.get("top_logprobs") or 0) if fields.get("logprobs") else None
        self._echo = ""
        if fields.get("echo") and fields["messages"][-1].get("role") == "assistant":
            content = fields["messages"][-1].get("content")
            self._echo = content if isinstance(content, str) else ""
        self._prompt_top: int | None = fields.get("prompt_logprobs")
        if self._prompt_top is None and fields.get("echo"):
            self._prompt_top = fields.get("top_logprobs") or 0

    def _head(self, kind: str) -> dict[str, Any]:
        heading = self._heading
        return {"id": heading.id, "object": kind, "created": heading.created, "model": heading.model}

    def _prompt_ids(self) -> list[int] | None:
        return tokens.ids(self._choices[0].prompt.tokens) if self._ids else None

    def opening(self) -> bytes:
        head = self._head("chat.completion.chunk")
        chunks = []
        for index in range(len(self._choices)):
            choice = {
                "index": index,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
            chunk = head | {"choices": [choice]} | self._accounts(0)
            chunks.append(data(chunk | {"prompt_token_ids": self._prompt_ids(), "prompt_text": None}))
        if self._echo:
            for index in range(len(self._choices)):
                choice = {
                    "index": index,
                    "delta": {"content": self._echo},
                    "logprobs": None,
                    "finish_reason": None,
                }
                chunks.append(data(head | {"choices": [choice]} | self._accounts(0)))
        return b"".join(chunks)

    def piece(self, index: int, before: int, now: int) -> bytes:
        draft = self._choices[index].draft
        spoken = draft.tokens[before * tokens.WIDTH : now * tokens.WIDTH]
        last = now == draft.count
        choice: dict[str, Any] = {
            "index": index,
            "delta": {"content": draft.text[draft.ends[before] : draft.ends[now]]},
            "logprobs": None if self._top is None else logprobs.chat(spoken, self._top),
            "finish_reason": draft.finish if last else None,
        }
        if last:
            choice["stop_reason"] = draft.stop
        choice["token_ids"] = tokens.ids(spoken) if self._ids else None
        chunk = self._head("chat.completion.chunk") | {"choices": [choice]} | self._accounts(now)
        if last and not self._usage:
            chunk["system_fingerprint"] = self._heading.fingerprint
        return data(chunk)

    def _accounts(self, completion: int) -> dict[str, Any]:
        if not self._running_usage:
            return {}
        return {"usage": usage(self._prompt_tokens, completion, completion_tokens_details=None)}

    def closing(self) -> bytes:
        if not self._usage:
            return DONE
        completion = sum(choice.draft.count for choice in self._choices)
        chunk = self._head("chat.completion.chunk") | {
            "choices": [],
            "usage": usage(self._prompt_tokens, completion),
            "system_fingerprint": self._heading.fingerprint,
        }
        return data(chunk) + DONE

    def whole(self) -> bytes:
        choices = self._choices
        completion = sum(choice.draft.count for choice in choices)
        answer = self._head("chat.completion") | {
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": self._heading.fingerprint,
            "usage": usage(self._prompt_tokens, completion, prompt_tokens_details=None, completion_tokens_details=None),
            "prompt_logprobs": None
            if self._prompt_top is None
            else logprobs.prompt(choices[0].prompt.tokens, self._prompt_top),
            "prompt_token_ids": self._prompt_ids(),
            "prompt_text": None,
            "kv_transfer_params": self._heading.kept(self._choices[0].work.id),
            "ec_transfer_params": None,
            "metrics": None,
        }
        return msgspec.json.encode(answer)

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        draft = choice.draft
        return {
            "index": index,
            "message": {
                "role": "assistant",
                "content": self._echo + draft.text,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning": None,
            },
            "logprobs": None if self._top is None else logprobs.chat(draft.tokens, self._top),
            "finish_reason": draft.finish,
            "stop_reason": draft.stop,
            "token_ids": tokens.ids(draft.tokens) if self._ids else None,
            "routed_experts": None,
        }
