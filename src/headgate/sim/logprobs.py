"""Made-up log probabilities in the forms in which vLLM tells them: plausible, and the same for the same tokens."""

from typing import Any

from headgate.sim import tokens

_RUNNERS_UP = ("the", " and", " of", "ing", ".", " a", "er", " to", " in", ",", "s", "tion", "al", "or", "\n", "an",
               "re", "on", "it", " is")  # fmt: skip


def logprob(token: bytes, rank: int = 0) -> float:
    """Between -0.01 and -2.5 for the token itself, less for each that came after it."""
    number = int.from_bytes(token, "little") * 2654435761 % 1000
    return -(0.01 + number / 400) - rank * 1.25


def chat(spoken: bytes, top: int) -> dict[str, Any]:
    """`choices[].logprobs` of chat for these tokens, each with `top` candidates of which it is the first."""
    content = []
    for at in range(0, len(spoken), tokens.WIDTH):
        token = spoken[at : at + tokens.WIDTH]
        text = tokens.decode(token)
        candidates = [(text, logprob(token))]
        candidates += [(other, logprob(token, rank)) for rank, other in enumerate(_others(text), 1)]
        entries = [{"token": told, "logprob": value, "bytes": list(told.encode())} for told, value in candidates]
        content.append(entries[0] | {"top_logprobs": entries[:top]})
    return {"content": content}


def completion(spoken: bytes, top: int, offset: int, prompt: bytes = b"") -> dict[str, Any]:
    """`choices[].logprobs` of text completions; with `prompt`, its tokens come first, as with echo."""
    texts, values, offsets, best = [], [], [], []
    everything = prompt + spoken
    for at in range(0, len(everything), tokens.WIDTH):
        token = everything[at : at + tokens.WIDTH]
        text = tokens.decode(token)
        first = prompt and at == 0  # nothing comes before it, so nothing predicts it
        texts.append(text)
        offsets.append(offset)
        values.append(None if first else logprob(token))
        candidates = {text: logprob(token)}
        candidates.update((other, logprob(token, rank)) for rank, other in enumerate(_others(text)[: top - 1], 1))
        best.append(None if first else candidates)
        offset += len(text)
    return {"text_offset": offsets, "token_logprobs": values, "tokens": texts, "top_logprobs": best}


def prompt(asked: bytes, top: int) -> list[Any]:
    """`prompt_logprobs`: for each token of the prompt but the first, candidates by id."""
    entries: list[Any] = []
    for at in range(0, len(asked), tokens.WIDTH):
        token = asked[at : at + tokens.WIDTH]
        if at == 0:
            entries.append(None)
            continue
        text = tokens.decode(token)
        told = [(token, text), *((tokens.encode(other), other) for other in _others(text)[: max(top - 1, 0)])]
        entries.append(
            {
                str(tokens.ids(data)[0]): {"logprob": logprob(token, rank), "rank": rank + 1, "decoded_token": other}
                for rank, (data, other) in enumerate(told)
            }
        )
    return entries


def _others(text: str) -> list[str]:
    return [other for other in _RUNNERS_UP if other != text]
