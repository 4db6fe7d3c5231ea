"""Answers of /v1/completions, whole and in chunks, with vLLM's fields in vLLM's order."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.sim import handover, logprobs, tokens
from headgate.sim.job import DONE, Choice, Heading, Job, data, usage


def job(heading: Heading, choices: tuple[Choice, ...], n: int, limit: int, fields: Mapping[str, Any]) -> Job:
    """The job of a completion request; `n` choices for each prompt."""
    told = _Completion(heading, choices, n, fields)
    source = handover.source(fields.get("kv_transfer_params")) if choices[0].work.pulls else None
    return Job(
        choices, n, limit, bool(fields.get("stream")), told.opening, told.piece, told.closing, told.whole, source
    )


class _Completion:
    def __init__(self, heading: Heading, choices: tuple[Choice, ...], n: int, fields: Mapping[str, Any]) -> None:
        self._heading = heading
        self._choices = choices
        self._prompt_tokens = sum(choice.prompt.count for choice in choices[::n])
        options = fields.get("stream_options") or {}
        self._usage = bool(options.get("include_usage"))
        self._running_usage = self._usage and bool(options.get("continuous_usage_stats"))
        self._ids = bool(fields.get("return_token_ids"))
        self._top: int | None = fields.get("logprobs")
        self._echo = bool(fields.get("echo"))
        self._prompt_top: int | None = fields.get("prompt_logprobs")
        if self._prompt_top is None and self._echo:
            self._prompt_top = self._top
        # With `max_tokens: 0` vLLM generates a token all the same, and does not tell it.
        self._only_echo = self._echo and fields.get("max_tokens") == 0

    def _head(self) -> dict[str, Any]:
        heading = self._heading
        return {"id": heading.id, "object": "text_completion", "created": heading.created, "model": heading.model}

    def _text(self, choice: Choice) -> str:
        spoken = "" if self._only_echo else choice.draft.text
        return tokens.decode(choice.prompt.tokens) + spoken if self._echo else spoken

    def _logprobs(self, choice: Choice, before: int, now: int) -> dict[str, Any] | None:
        if self._top is None:
            return None
        spoken = choice.draft.tokens[before * tokens.WIDTH : now * tokens.WIDTH]
        prompt = choice.prompt.tokens if self._echo and not before else b""
        return logprobs.completion(spoken, self._top, choice.draft.ends[before], prompt)

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int, before: int, now: int) -> bytes:
        choice = self._choices[index]
        draft = choice.draft
        last = now == draft.count
        text = draft.text[draft.ends[before] : draft.ends[now]]
        echoes = self._echo and not before
        if echoes:
            text = tokens.decode(choice.prompt.tokens) + ("" if self._only_echo else text)
        spoken = draft.tokens[before * tokens.WIDTH : now * tokens.WIDTH]
        told = {
            "index": index,
            "text": text,
            "logprobs": self._logprobs(choice, before, now),
            "finish_reason": draft.finish if last else None,
            "stop_reason": draft.stop if last else None,
            # vLLM tells the ids of a prompt that it echoes, whether asked or not.
            "prompt_token_ids": tokens.ids(choice.prompt.tokens) if echoes or (self._ids and not before) else None,
            "token_ids": tokens.ids(spoken) if self._ids else None,
        }
        chunk = self._head() | {"choices": [told]}
        if self._running_usage:
            chunk["usage"] = usage(choice.prompt.count, now)
        if last and not self._usage:
            chunk["system_fingerprint"] = self._heading.fingerprint
        return data(chunk)

    def closing(self) -> bytes:
        if not self._usage:
            return DONE
        completion = sum(choice.draft.count for choice in self._choices)
        chunk = self._head() | {
            "choices": [],
            "usage": usage(self._prompt_tokens, completion),
            "system_fingerprint": self._heading.fingerprint,
        }
        return data(chunk) + DONE

    def whole(self) -> bytes:
        completion = sum(choice.draft.count for choice in self._choices)
        answer = self._head() | {
            "choices": [self._choice(index, choice) for index, choice in enumerate(self._choices)],
            "service_tier": None,
            "system_fingerprint": self._heading.fingerprint,
            "usage": usage(self._prompt_tokens, completion, prompt_tokens_details=None, completion_tokens_details=None),
            "kv_transfer_params": self._heading.kept(self._choices[0].work.id),
            "ec_transfer_params": None,
            "metrics": None,
        }
        return msgspec.json.encode(answer)

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        draft = choice.draft
        return {
            "index": index,
            "text": self._text(choice),
            "logprobs": self._logprobs(choice, 0, draft.count),
            "finish_reason": draft.finish,
            "stop_reason": draft.stop,
            "token_ids": tokens.ids(draft.tokens) if self._ids else None,
            "prompt_logprobs": None
            if self._prompt_top is None
            else logprobs.prompt(choice.prompt.tokens, self._prompt_top),
            "prompt_token_ids": tokens.ids(choice.prompt.tokens) if self._ids else None,
            "routed_experts": None,
        }
