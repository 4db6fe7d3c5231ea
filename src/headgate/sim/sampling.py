"""vLLM's own checks of what a request asks for, in the order in which it makes them."""

import math
from collections.abc import Mapping
from typing import Any

from headgate.sim import tokens
from headgate.sim.draft import Sampling
from headgate.sim.refusals import Refusal, bad

_MOST_LOGPROBS = 20  # --max-logprobs
_MOST_CHOICES = 16384  # VLLM_MAX_N_SEQUENCES


def before(data: Mapping[str, Any]) -> Refusal | None:
    """What is checked on the body as it came, before its fields are read."""
    if data.get("stream_options") and not data.get("stream"):
        return bad("Stream options can only be defined when `stream=True`.", "stream_options")
    if "cache_salt" in data and data["cache_salt"] is not None:
        salt = data["cache_salt"]
        if not isinstance(salt, str) or not salt:
            return bad("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt")
    return _before_prompt_logprobs(data)


def _before_prompt_logprobs(data: Mapping[str, Any]) -> Refusal | None:
    asked = data.get("prompt_logprobs")
    if asked is None:
        return None
    if not isinstance(asked, (int, float)):
        return bad("`prompt_logprobs` must be an integer.", "prompt_logprobs", asked)
    if data.get("stream") and (asked > 0 or asked == -1):
        return bad("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
    if asked < 0 and asked != -1:
        return bad("`prompt_logprobs` must be a positive value or -1.", "prompt_logprobs", asked)
    return None


def before_chat(data: Mapping[str, Any]) -> Refusal | None:
    """The same for chat, with what only chat has."""
    messages = data.get("messages", [])
    if not isinstance(messages, (list, str, dict)):
        kind = "NoneType" if messages is None else type(messages).__name__
        return bad(f"'{kind}' object is not iterable")
    if data.get("continue_final_message") and data.get("add_generation_prompt"):
        return bad("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    return _before_response_format(data) or _before_tools(data) or _before_top_logprobs(data) or before(data)


def _before_response_format(data: Mapping[str, Any]) -> Refusal | None:
    asked = data.get("response_format")
    if isinstance(asked, dict) and asked.get("type") == "json_schema" and asked.get("json_schema") is None:
        message = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        return bad(message, "response_format")
    return None


def _before_tools(data: Mapping[str, Any]) -> Refusal | None:
    if data.get("tools") == []:
        message = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        return bad(message, "tools")
    choice = data.get("tool_choice")
    if choice is None or choice == "none":
        return None
    if data.get("tools") is None:
        return bad("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if isinstance(choice, dict):
        return _before_named_tool(choice, data["tools"])
    if choice not in ("auto", "required"):
        message = (
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.'
        )
        return bad(message, "tool_choice")
    return None


def _before_named_tool(choice: Mapping[str, Any], tools: Any) -> Refusal | None:
    usage = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'
    function = choice.get("function")
    if not isinstance(function, dict):
        message = f"Invalid value for `function`: `{function}` in `tool_choice`! {usage}"
        return bad(message, "tool_choice.function")
    if "name" not in function:
        message = f"Expected field `name` in `function` in `tool_choice`! {usage}"
        return bad(message, "tool_choice.function.name")
    name = function["name"]
    if not isinstance(name, str) or not name:
        message = f"Invalid `name` in `function`: `{name}` in `tool_choice`! {usage}"
        return bad(message, "tool_choice.function.name")
    known = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if not any(isinstance(one, dict) and one.get("name") == name for one in known):
        message = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        return bad(message, "tool_choice")
    return None


def parser_needed(fields: Mapping[str, Any]) -> Refusal | None:
    """Tools are for servers that were started with a parser of tool calls, which the simulator has not."""
    choice = fields.get("tool_choice", "auto")
    if not fields.get("tools") or choice == "none":
        return None
    if isinstance(choice, dict):
        return bad(f'tool_choice=function "{choice["function"]["name"]}" requires --tool-call-parser to be set')
    if choice == "required":
        return bad('tool_choice="required" requires --tool-call-parser to be set')
    return bad('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')


def _before_top_logprobs(data: Mapping[str, Any]) -> Refusal | None:
    asked = data.get("top_logprobs")
    if asked is None:
        return None
    if not isinstance(asked, (int, float)):
        return bad("`top_logprobs` must be an integer.", "top_logprobs", asked)
    if asked < 0 and asked != -1:
        return bad("`top_logprobs` must be a positive value or -1.", "top_logprobs", asked)
    if asked and not data.get("logprobs"):
        return bad("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    return None


def too_long(prompt_tokens: int, context: int) -> Refusal | None:
    """A prompt over the context. vLLM stops counting one token beyond it."""
    if prompt_tokens <= context:
        return None
    message = (
        f"This model's maximum context length is {context} tokens. However, your prompt contains at least "
        f"{context + 1} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt."
    )
    return bad(message, "input_tokens", context + 1)


def too_much(asked: int | None, context: int, name: str = "max_tokens") -> Refusal | None:
    """More output asked for than the context holds; checked before the prompt is looked at."""
    if asked is None or asked <= context:
        return None
    message = f"{name}={asked} cannot be greater than max_model_len={context}. Please request fewer output tokens."
    return bad(message, name, asked)


def cut(asked: bytes, fields: Mapping[str, Any], context: int) -> bytes | Refusal:
    """The prompt's tokens after `truncate_prompt_tokens`, -1 of which means what the context holds."""
    keep = fields.get("truncate_prompt_tokens")
    if keep is None:
        return asked
    if keep > context:
        message = (
            f"truncate_prompt_tokens={keep} cannot be greater than max_model_len = {context}. "
            "Please request a smaller truncation size."
        )
        return bad(message, "truncate_prompt_tokens", keep)
    width = (context - 1 if keep == -1 else keep) * tokens.WIDTH
    return asked[-width:] if width and fields.get("truncation_side") == "left" else asked[:width]


def settle(fields: Mapping[str, Any], limit: int | None, room: int, *, logprobs: int | None) -> Sampling | Refusal:
    """The sampling that these fields ask for: `limit` tokens at most, `room` of which fit behind the prompt."""
    most = room if limit is None else min(limit, room)
    least = fields.get("min_tokens") or 0
    stop = fields.get("stop") or ()
    words = (stop,) if isinstance(stop, str) else tuple(stop)
    if fields.get("stop") == "":
        words = ("",)
    n = 1 if fields.get("n") is None else fields["n"]
    refusal = _numbers(fields, n) or _amounts(most, least) or _logprobs(fields, logprobs)
    if refusal is None and any(not word for word in words):
        refusal = bad("stop cannot contain an empty string.")
    unwanted = fields.get("bad_words") or []
    if refusal is None and "" in unwanted:
        refusal = bad(f"bad_words cannot contain an empty string. Got bad_words={unwanted}")
    refusal = refusal or _bias(fields)
    if refusal is not None:
        return refusal
    return Sampling(
        n,
        most,
        least,
        words,
        tuple(fields.get("stop_token_ids") or ()),
        bool(fields.get("include_stop_str_in_output")),
        bool(fields.get("ignore_eos")),
        fields.get("seed") or 0,
        _schema(fields.get("response_format")),
    )


def _schema(asked: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The JSON schema of the answer; None when it may be any text."""
    if asked is None or asked["type"] not in ("json_object", "json_schema"):
        return None
    described = asked.get("json_schema") or {}
    schema = described.get("schema") if isinstance(described, dict) else None
    return schema if isinstance(schema, dict) else {}


_NUMBERS = frozenset(
    ("n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "top_k", "min_p")
)


def _numbers(fields: Mapping[str, Any], n: int) -> Refusal | None:
    if _NUMBERS.isdisjoint(fields):
        return None

    def value(name: str, default: float) -> float:
        found = fields.get(name)
        return default if found is None else float(found)

    if n < 1:
        return bad(f"n must be at least 1, got {n}.")
    if n > _MOST_CHOICES:
        limit = "To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
        return bad(f"n must be at most {_MOST_CHOICES}, got {n}. {limit}")
    for name in ("presence_penalty", "frequency_penalty"):
        if not -2 <= value(name, 0) <= 2:
            return bad(f"{name} must be in [-2, 2], got {value(name, 0)}.")
    repetition = value("repetition_penalty", 1)
    if not math.isfinite(repetition):
        return bad(f"repetition_penalty must be a finite number, got {repetition}.")
    if repetition <= 0:
        return bad(f"repetition_penalty must be greater than zero, got {repetition}.")
    temperature = value("temperature", 1)
    refusal = _temperature(temperature)
    if refusal is not None:
        return refusal
    top_p = value("top_p", 1)
    if not 0 < top_p <= 1:
        return bad(f"top_p must be in (0, 1], got {top_p}.", "top_p", top_p)
    top_k = fields.get("top_k") or 0
    if top_k < -1:
        return bad(f"top_k must be 0 (disable), or at least 1, got {top_k}.")
    if not 0 <= value("min_p", 0) <= 1:
        return bad(f"min_p must be in [0, 1], got {value('min_p', 0)}.")
    if n > 1 and temperature == 0 and not fields.get("use_beam_search"):
        return bad(f"n must be 1 when using greedy sampling, got {n}.")
    return None


def _temperature(value: float) -> Refusal | None:
    if not math.isfinite(value):
        return bad(f"temperature must be a finite number, got {value}.", "temperature", value)
    if value < 0:
        return bad(f"temperature must be non-negative, got {value}.", "temperature", value)
    if value > 2:
        return bad(f"temperature must be in [0, 2], got {value}.", "temperature", value)
    return None


def _amounts(most: int, least: int) -> Refusal | None:
    if most < 1:
        return bad(f"max_tokens must be at least 1, got {most}.", "max_tokens", most)
    if least < 0:
        return bad(f"min_tokens must be greater than or equal to 0, got {least}.")
    if least > most:
        return bad(f"min_tokens must be less than or equal to max_tokens={most}, got {least}.")
    return None


def _logprobs(fields: Mapping[str, Any], asked: int | None) -> Refusal | None:
    for name, count in (("logprobs", asked), ("prompt_logprobs", fields.get("prompt_logprobs"))):
        if count is None:
            continue
        count = tokens.VOCABULARY if count == -1 else count
        if count > _MOST_LOGPROBS:
            kind = "sample" if name == "logprobs" else "prompt"
            message = f"Requested {kind} logprobs of {count}, which is greater than max allowed: {_MOST_LOGPROBS}"
            return bad(message, name, count)
    return None


def _bias(fields: Mapping[str, Any]) -> Refusal | None:
    strangers = []
    asked = fields.get("logit_bias") or ()
    words = [key for key in asked if not key.strip().lstrip("-").isdecimal()]
    if words:
        message = f"logit_bias contains key(s) that cannot be converted to integer token IDs: {words}"
        return bad(message, "logit_bias", words)
    for key in asked:
        try:
            tokens.from_ids([int(key)])
        except tokens.UnknownToken:
            strangers.append(int(key))
    if strangers:
        message = (
            f"token_id(s) {strangers} in logit_bias contain out-of-vocab token ids. "
            f"Vocabulary size: {tokens.VOCABULARY}"
        )
        return bad(message, "logit_bias", strangers)
    return None
