"""What the routes answer that generate or count tokens, in the order in which vLLM checks things."""

from collections.abc import Mapping
from typing import Any

from headgate.sim import bodies, chat, completion, messages, refusals, rendering, requests, responses, sampling, tokens
from headgate.sim.bodies import Ask
from headgate.sim.draft import Prompt, Sampling
from headgate.sim.refusals import Refusal, bad, openai, reply, unknown_model
from headgate.sim.service import Answered, Service


def chat_completions(service: Service, ask: Ask, now: float) -> Answered:
    content = bodies.parse(ask)
    return openai(content) if isinstance(content, Refusal) else _chat(service, ask, content, now)


def _chat(service: Service, ask: Ask, content: dict[str, Any], now: float) -> Answered:
    fields = sampling.before_chat(content) or bodies.fields(content, requests.CHAT)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields.get("model"))
    if model is None:
        return openai(unknown_model(fields["model"], service.catalog.names))
    refusal = sampling.parser_needed(fields)
    if refusal is not None:
        return openai(refusal)
    asked = fields.get("max_completion_tokens")
    asked = fields.get("max_tokens") if asked is None else asked
    prepared = _prepare_chat(service, fields, model, asked)
    if isinstance(prepared, Refusal):
        return openai(prepared)
    heading = service.heading("chatcmpl-", ask, fields, model, now)
    choices = service.choices(model, [prepared], fields)
    return chat.job(heading, choices, prepared[1].n, prepared[1].limit, fields)


def _prepare_chat(
    service: Service, fields: Mapping[str, Any], model: str, asked: int | None, name: str = "max_tokens"
) -> tuple[Prompt, Sampling] | Refusal:
    context = service.catalog.context
    refusal = sampling.too_much(asked, context, name)
    if refusal is not None:
        return refusal
    prompt = rendering.conversation(fields, model)
    if isinstance(prompt, Refusal):
        return prompt
    kept = sampling.cut(prompt.tokens, fields, context)
    if isinstance(kept, Refusal):
        return kept
    prompt = Prompt(kept, prompt.question)
    refusal = sampling.too_long(prompt.count, context)
    if refusal is not None:
        return refusal
    top = fields.get("top_logprobs") if fields.get("logprobs") else None
    settled = sampling.settle(fields, asked, context - prompt.count, logprobs=top)
    return settled if isinstance(settled, Refusal) else (prompt, settled)


def chat_batch(service: Service, ask: Ask, now: float) -> Answered:
    content = bodies.parse(ask)
    if isinstance(content, Refusal):
        return openai(content)
    if content.get("n", 1) not in (None, 1):
        message = "Batch chat completions do not support `n > 1`. Please set `n` to 1."
        return openai(bad(message, "n", content["n"]))
    fields = bodies.fields(content, requests.CHAT_BATCH)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields.get("model"))
    if model is None:
        return openai(unknown_model(fields["model"], service.catalog.names))
    asked = fields.get("max_completion_tokens")
    asked = fields.get("max_tokens") if asked is None else asked
    prepared = []
    for conversation in fields["messages"]:
        one = _prepare_chat(service, {**fields, "messages": conversation}, model, asked)
        if isinstance(one, Refusal):
            return openai(one)
        prepared.append(one)
    heading = service.heading("chatcmpl-", ask, fields, model, now)
    choices = service.choices(model, prepared, fields)
    return chat.job(heading, choices, 1, prepared[0][1].limit, {})


def completions(service: Service, ask: Ask, now: float) -> Answered:
    content = bodies.parse(ask)
    return openai(content) if isinstance(content, Refusal) else _completion(service, ask, content, now)


def _completion(service: Service, ask: Ask, content: dict[str, Any], now: float) -> Answered:
    fields: dict[str, Any] | Refusal
    if content.get("prompt") in (None, "") and content.get("prompt_embeds") is None:
        fields = bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    else:
        fields = sampling.before(content) or bodies.fields(content, requests.COMPLETION)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields.get("model"))
    if model is None:
        return openai(unknown_model(fields["model"], service.catalog.names))
    if fields.get("suffix"):
        message = "suffix is only supported for models with FIM completion rendering"
        return openai(Refusal(400, "BadRequestError", message, "suffix"))
    prepared = _prepare_completion(service, fields)
    if isinstance(prepared, Refusal):
        return openai(prepared)
    heading = service.heading("cmpl-", ask, fields, model, now)
    choices = service.choices(model, prepared, fields)
    return completion.job(heading, choices, prepared[0][1].n, prepared[0][1].limit, fields)


def _prepare_completion(service: Service, fields: Mapping[str, Any]) -> list[tuple[Prompt, Sampling]] | Refusal:
    context = service.catalog.context
    asked = fields.get("max_tokens", 16)
    refusal = sampling.too_much(asked, context)
    if refusal is not None:
        return refusal
    prompts = rendering.prompts(fields["prompt"])
    if isinstance(prompts, Refusal):
        return prompts
    if asked == 0 and fields.get("echo"):
        asked = 1
    prepared = []
    for prompt in prompts:
        kept = sampling.cut(prompt.tokens, fields, context)
        if isinstance(kept, Refusal):
            return kept
        prompt = Prompt(kept, prompt.question)
        refusal = sampling.too_long(prompt.count, context)
        if refusal is not None:
            return refusal
        settled = sampling.settle(fields, asked, context - prompt.count, logprobs=fields.get("logprobs"))
        if isinstance(settled, Refusal):
            return settled
        prepared.append((prompt, settled))
    return prepared


def create_response(service: Service, ask: Ask, now: float) -> Answered:
    content = bodies.parse(ask)
    if isinstance(content, Refusal):
        return openai(content)
    # vLLM gives the request an id before it reads its fields.
    fields = bodies.fields({"request_id": "", **content}, requests.RESPONSE)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields.get("model"))
    if model is None:
        return openai(unknown_model(fields["model"], service.catalog.names))
    if fields.get("background"):
        message = (
            "This vLLM engine does not support `store=True` and therefore does not support the background mode. "
            "To enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when "
            "launching the vLLM server."
        )
        return openai(Refusal(400, "invalid_request_error", message, "background"))
    if fields.get("previous_response_id"):
        return openai(_no_response(fields["previous_response_id"]))
    said = fields["input"]
    turns = [{"role": "user", "content": said}] if isinstance(said, str) else responses.turns(said)
    if fields.get("instructions"):
        turns.insert(0, {"role": "system", "content": fields["instructions"]})
    asked = fields.get("max_output_tokens")
    prepared = _prepare_chat(service, {**fields, "messages": turns}, model, asked, "max_output_tokens")
    if isinstance(prepared, Refusal):
        return openai(prepared)
    heading = service.heading("resp_", ask, {}, model, now)
    (choice,) = service.choices(model, [prepared], fields)
    return responses.job(heading, choice, prepared[1].limit, fields, service.new_id)


def _no_response(identity: str) -> Refusal:
    return Refusal(404, "invalid_request_error", f"Response with id '{identity}' not found.", "response_id")


def stored_response(service: Service, ask: Ask, now: float) -> Answered:
    # Nothing is stored unless VLLM_ENABLE_RESPONSES_API_STORE is set, which we do not simulate.
    return openai(_no_response(ask.path.split("/")[3]))


def create_message(service: Service, ask: Ask, now: float) -> Answered:
    fields = bodies.read(ask, requests.MESSAGE)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields["model"])
    if model is None:
        return refusals.anthropic(unknown_model(fields["model"], service.catalog.names))
    limit = fields["max_tokens"]
    prepared = _prepare_chat(service, messages.as_chat(fields), model, limit, "max_completion_tokens")
    if isinstance(prepared, Refusal):
        return refusals.anthropic(prepared)
    heading = service.heading("chatcmpl-", ask, {}, model, now)
    (choice,) = service.choices(model, [prepared], {})
    return messages.job(heading, choice, prepared[1].limit, fields)


def count_tokens(service: Service, ask: Ask, now: float) -> Answered:
    fields = bodies.read(ask, requests.COUNT_TOKENS)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields["model"])
    if model is None:
        return refusals.anthropic(unknown_model(fields["model"], service.catalog.names))
    prompt = rendering.conversation(messages.as_chat(fields), model)
    if isinstance(prompt, Refusal):
        return refusals.anthropic(prompt)
    counted = {"input_tokens": prompt.count, "context_management": {"original_input_tokens": prompt.count}}
    return reply(200, counted)


def tokenize(service: Service, ask: Ask, now: float) -> Answered:
    fields = bodies.read(ask, requests.TOKENIZE)
    if isinstance(fields, Refusal):
        return openai(fields)
    model = service.catalog.find(fields.get("model"))
    if model is None:
        return openai(unknown_model(fields["model"], service.catalog.names))
    prompt: Prompt | Refusal
    if isinstance(fields.get("prompt"), str):
        prompt = Prompt(tokens.encode(fields["prompt"]), "")
    else:
        prompt = rendering.conversation(fields, model)
    if isinstance(prompt, Refusal):
        return openai(prompt)
    answer = {
        "count": prompt.count,
        "max_model_len": service.catalog.context,
        "tokens": tokens.ids(prompt.tokens),
        "token_strs": tokens.pieces(prompt.tokens, control=True) if fields.get("return_token_strs") else None,
    }
    return reply(200, answer)


def detokenize(service: Service, ask: Ask, now: float) -> Answered:
    fields = bodies.read(ask, requests.DETOKENIZE)
    if isinstance(fields, Refusal):
        return openai(fields)
    if service.catalog.find(fields.get("model")) is None:
        return openai(unknown_model(fields["model"], service.catalog.names))
    return reply(200, {"prompt": tokens.decode(tokens.known(fields["tokens"]))})


def invocations(service: Service, ask: Ask, now: float) -> Answered:
    content = bodies.parse(ask)
    if isinstance(content, Refusal):
        return openai(bodies.for_invocation(content, ask.body))
    if "messages" in content:
        return _chat(service, ask, content, now)
    return _completion(service, ask, content, now)
