"""From a request's messages or prompt to the tokens of prompts."""

from collections.abc import Mapping, Sequence
from typing import Any

from headgate.sim import requests, tokens
from headgate.sim.draft import Prompt
from headgate.sim.lax import tell_late
from headgate.sim.refusals import Refusal, bad


def conversation(fields: Mapping[str, Any], model: str) -> Prompt | Refusal:
    """The prompt of a chat: each message between markers, then the assistant's turn."""
    messages = fields["messages"]
    if not messages:
        return bad("Cannot apply chat template to an empty conversation. Provide at least one message.")
    said: list[tuple[str, str]] = []
    question = ""
    for message in messages:
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            content = [*content]
            _, mistakes = requests.PARTS(content, ())
            if mistakes:
                return bad(tell_late(mistakes))
        text = _text(content)
        if text is None:
            return bad(f"{model} is not a multimodal model")
        said.append((message.get("role", ""), text))
        if message.get("role") == "user":
            question = text
    going_on = bool(fields.get("continue_final_message"))
    answer = fields.get("add_generation_prompt", True)
    return Prompt(tokens.chat(said, answer=answer, open_end=going_on), question or said[-1][1])


def _text(content: str | list[Any] | None) -> str | None:
    """What a message says; None when it shows something, which a text model can't see."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        return None
    return "\n".join(str(part["text"]) for part in content)


def prompts(prompt: Any) -> Sequence[Prompt] | Refusal:
    """The prompts of a text completion: a text, tokens, or a list of either."""
    if prompt is None or prompt == "":
        return bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if prompt == []:
        return bad("You must pass at least one prompt")
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        prompt = [prompt]
    if not all(prompt):
        return bad("The decoder prompt cannot be empty")
    try:
        return [_prompt(one) for one in prompt]
    except UnicodeEncodeError:  # half of a surrogate pair
        return bad("TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]")
    except tokens.UnknownToken as unknown:
        return bad(f"Token id {unknown.args[0]} is out of vocabulary")


def _prompt(one: str | list[int]) -> Prompt:
    if isinstance(one, str):
        one.encode()  # raises where a tokenizer would
        return Prompt(tokens.encode(one), one)
    spoken = tokens.from_ids(one)
    return Prompt(spoken, tokens.decode(spoken))
