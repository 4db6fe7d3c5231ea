"""The request models of vLLM 0.32 as far as the simulator heeds their fields, in their order."""

from typing import Any

from headgate.sim.lax import (
    TYPED_DICT,
    Place,
    Read,
    Reader,
    anything,
    boolean,
    either,
    integer,
    iterable,
    listed,
    literal,
    mapping,
    model,
    number,
    optional,
    string,
    under,
    within,
    wrong,
)

_INT64 = 2**63
_SEED = optional(within(integer, -_INT64, _INT64 - 1))
_STOP = either(optional(string), listed(string, 4))
_STREAM_OPTIONS = optional(model({"include_usage": optional(boolean), "continuous_usage_stats": optional(boolean)}))
_RESPONSE_FORMAT = optional(
    either(
        model({"type": literal("text", "json_object", "json_schema"), "json_schema": anything}, ("type",)),
        model({"type": literal("structural_tag"), "format": anything}, ("type", "format")),
        model(
            {"type": literal("structural_tag"), "structures": listed(anything), "triggers": listed(string)},
            ("type", "structures", "triggers"),
        ),
    )
)
_PLAIN_ROLES = ("user", "assistant", "system", "developer")
_CONTENT = either(string, iterable)
_TYPES: dict[str, tuple[dict[str, Reader], tuple[str, ...]]] = {
    "ChatCompletionDeveloperMessageParam": (
        {"content": _CONTENT, "role": literal("developer"), "name": string},
        ("content", "role"),
    ),
    "ChatCompletionSystemMessageParam": (
        {"content": _CONTENT, "role": literal("system"), "name": string},
        ("content", "role"),
    ),
    "ChatCompletionUserMessageParam": (
        {"content": _CONTENT, "role": literal("user"), "name": string},
        ("content", "role"),
    ),
    "ChatCompletionAssistantMessageParam": (
        {"role": literal("assistant"), "content": optional(_CONTENT), "name": string},
        ("role",),
    ),
    "ChatCompletionToolMessageParam": (
        {"content": _CONTENT, "role": literal("tool"), "tool_call_id": string},
        ("content", "role", "tool_call_id"),
    ),
    "ChatCompletionFunctionMessageParam": (
        {"content": optional(string), "name": string, "role": literal("function")},
        ("content", "name", "role"),
    ),
    "CustomChatCompletionMessageParam": (
        {"role": string, "content": optional(either(string, listed(anything))), "name": string},
        ("role",),
    ),
}
_ANY_MESSAGE = either(
    *(under(name, model(fields, required, TYPED_DICT)) for name, (fields, required) in _TYPES.items()),
    under("Message", model({"author": anything, "content": listed(anything)}, ("author", "content"))),
)


def _message(value: Any, place: Place) -> Read:
    # Nearly every message is one of these: only the others take the long way, which finds out what is wrong with them.
    if isinstance(value, dict) and value.get("role") in _PLAIN_ROLES and isinstance(value.get("content"), str):
        return value, []
    return _ANY_MESSAGE(value, place)


PARTS = listed(
    either(
        *(
            under(name, model({field: anything, "type": literal(kind)}, (field, "type"), TYPED_DICT))
            for name, field, kind in (
                ("ChatCompletionContentPartTextParam", "text", "text"),
                ("ChatCompletionContentPartImageParam", "image_url", "image_url"),
                ("ChatCompletionContentPartInputAudioParam", "input_audio", "input_audio"),
                ("File", "file", "file"),
            )
        )
    )
)
_TOOL = model({"type": literal("function"), "function": model({"name": string}, ("name",))}, ("function",))

# What chat and text completions share, before and after the fields of their own.
_SAMPLING: dict[str, Reader] = {
    "use_beam_search": boolean,
    "top_k": optional(integer),
    "min_p": optional(number),
    "repetition_penalty": optional(number),
    "length_penalty": number,
    "stop_token_ids": optional(listed(integer)),
    "include_stop_str_in_output": boolean,
    "ignore_eos": boolean,
    "min_tokens": integer,
    "skip_special_tokens": boolean,
    "truncate_prompt_tokens": optional(within(integer, -1, _INT64 - 1)),
    "truncation_side": optional(literal("left", "right")),
    "prompt_logprobs": optional(integer),
    "bad_words": listed(string),
}
_TAIL: dict[str, Reader] = {
    "response_format": _RESPONSE_FORMAT,
    "priority": within(integer, -_INT64, _INT64 - 1),
    "request_id": string,
    "return_token_ids": optional(boolean),
    "cache_salt": optional(string),
    "kv_transfer_params": optional(mapping(anything)),
}

CHAT = model(
    {
        "messages": listed(_message),
        "model": optional(string),
        "frequency_penalty": optional(number),
        "logit_bias": optional(mapping(number)),
        "logprobs": optional(boolean),
        "top_logprobs": optional(integer),
        "max_tokens": optional(integer),
        "max_completion_tokens": optional(integer),
        "n": optional(integer),
        "presence_penalty": optional(number),
        "response_format": _RESPONSE_FORMAT,
        "seed": _SEED,
        "stop": _STOP,
        "stream": optional(boolean),
        "stream_options": _STREAM_OPTIONS,
        "temperature": optional(number),
        "top_p": optional(number),
        "tools": optional(listed(_TOOL)),
        "tool_choice": anything,
        "reasoning_effort": optional(literal("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "parallel_tool_calls": optional(boolean),
        "user": optional(string),
        **_SAMPLING,
        "echo": boolean,
        "add_generation_prompt": boolean,
        "continue_final_message": boolean,
        "add_special_tokens": boolean,
        "chat_template": optional(string),
        "chat_template_kwargs": optional(mapping(anything)),
        **{name: reader for name, reader in _TAIL.items() if name != "response_format"},
    },
    ("messages",),
)
CHAT_BATCH = model(
    {
        "messages": listed(listed(_message, least=1), least=1),
        "model": optional(string),
        "max_tokens": optional(integer),
        "max_completion_tokens": optional(integer),
        "seed": _SEED,
        "stop": _STOP,
        "temperature": optional(number),
        "top_p": optional(number),
    },
    ("messages",),
)
_TOKENS = listed(within(integer, 0))
COMPLETION = model(
    {
        "model": optional(string),
        "prompt": optional(either(_TOKENS, listed(_TOKENS), string, listed(string))),
        "echo": optional(boolean),
        "frequency_penalty": optional(number),
        "logit_bias": optional(mapping(number)),
        "logprobs": optional(integer),
        "max_tokens": optional(integer),
        "n": integer,
        "presence_penalty": optional(number),
        "seed": _SEED,
        "stop": _STOP,
        "stream": optional(boolean),
        "stream_options": _STREAM_OPTIONS,
        "suffix": optional(string),
        "temperature": optional(number),
        "top_p": optional(number),
        "user": optional(string),
        **_SAMPLING,
        "add_special_tokens": boolean,
        **_TAIL,
    }
)
RESPONSE = model(
    {
        "background": optional(boolean),
        "input": either(string, listed(anything)),
        "instructions": optional(string),
        "max_output_tokens": optional(integer),
        "metadata": optional(mapping(anything)),
        "model": optional(string),
        "previous_response_id": optional(string),
        "store": optional(boolean),
        "stream": optional(boolean),
        "temperature": optional(number),
        "top_p": optional(number),
        "user": optional(string),
        "tools": optional(listed(anything)),
        "priority": integer,
        "seed": _SEED,
        "stop": _STOP,
        "ignore_eos": boolean,
    },
    ("input",),
)
_BLOCK = model(
    {
        "text": anything,
        "type": literal(
            "text",
            "image",
            "tool_use",
            "tool_result",
            "tool_reference",
            "thinking",
            "redacted_thinking",
            "tool_addition",
            "tool_removal",
        ),
    },
    ("type",),
)
_ANTHROPIC_MESSAGE = model(
    {"role": literal("user", "assistant", "system"), "content": either(string, listed(_BLOCK))}, ("role", "content")
)


def _named(value: Any, place: Place) -> Read:
    found, mistakes = string(value, place)
    if mistakes or found:
        return found, mistakes
    text = "Model is required"
    return wrong("value_error", place, f"Value error, {text}", value, error=ValueError(text))


def _positive(value: Any, place: Place) -> Read:
    found, mistakes = integer(value, place)
    if mistakes or found > 0:
        return found, mistakes
    text = "max_tokens must be positive"
    return wrong("value_error", place, f"Value error, {text}", value, error=ValueError(text))


MESSAGE = model(
    {
        "model": _named,
        "messages": listed(_ANTHROPIC_MESSAGE),
        "max_tokens": _positive,
        "stop_sequences": optional(listed(string, 4)),
        "stream": optional(boolean),
        "system": optional(either(string, listed(_BLOCK))),
        "temperature": optional(number),
        "top_k": optional(integer),
        "top_p": optional(number),
    },
    ("model", "messages", "max_tokens"),
)
COUNT_TOKENS = model({"model": _named, "messages": listed(_ANTHROPIC_MESSAGE)}, ("model", "messages"))
TOKENIZE_PROMPT = model(
    {
        "model": optional(string),
        "prompt": string,
        "add_special_tokens": boolean,
        "return_token_strs": optional(boolean),
    },
    ("prompt",),
)
TOKENIZE_CHAT = model(
    {
        "model": optional(string),
        "messages": listed(_message),
        "add_generation_prompt": boolean,
        "continue_final_message": boolean,
        "return_token_strs": optional(boolean),
    },
    ("messages",),
)
TOKENIZE = either(TOKENIZE_PROMPT, TOKENIZE_CHAT)
DETOKENIZE = model({"model": optional(string), "tokens": listed(within(integer, 0))}, ("tokens",))
LOAD_ADAPTER = model(
    {"lora_name": string, "lora_path": string, "load_inplace": boolean, "is_3d_lora_weight": boolean},
    ("lora_name", "lora_path"),
)
UNLOAD_ADAPTER = model({"lora_name": string, "lora_int_id": optional(integer)}, ("lora_name",))
