"""The simulator's tokenizer: a token is as many whole characters as fit into four bytes of UTF-8.

A sequence of tokens is `bytes`, four per token, padded with zero bytes: as many characters per token as English
prose has with the vocabularies in use, counting costs nothing, and the bytes of a block are its content for prefix
caching. A token's id is those four bytes as a little-endian integer. A text that comes after a control token starts
a token of its own, so that the answer of one turn has the same tokens as part of the next turn's prompt.
"""

from collections.abc import Iterable

WIDTH = 4

# 0xff occurs in no UTF-8 text, so no text can spell a control token.
USER, ASSISTANT, SYSTEM, OTHER, END = (bytes((0xFF, 0xFF, 0xFF, number)) for number in range(1, 6))
CONTROL = {
    USER: "<|user|>",
    ASSISTANT: "<|assistant|>",
    SYSTEM: "<|system|>",
    OTHER: "<|other|>",
    END: "<|end|>",
}
ROLES = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM, "developer": SYSTEM}
VOCABULARY = 1 << 32


def encode(text: str) -> bytes:
    """The tokens of a text. ASCII, nearly all of what is asked, costs one copy."""
    if text.isascii():
        data = text.encode("ascii")
        spare = -len(data) % WIDTH
        return data + bytes(spare) if spare else data
    tokens = []
    token = b""
    for character in text:
        data = character.encode("utf-8", "replace")
        if len(token) + len(data) > WIDTH:
            tokens.append(token.ljust(WIDTH, b"\0"))
            token = data
        else:
            token += data
    tokens.append(token.ljust(WIDTH, b"\0"))
    return b"".join(tokens)


def count(tokens: bytes) -> int:
    """How many tokens these are."""
    return len(tokens) // WIDTH


def decode(tokens: bytes) -> str:
    """The text of these tokens; control tokens are left out, as `skip_special_tokens` does."""
    return "".join(pieces(tokens))


def pieces(tokens: bytes, *, control: bool = False) -> list[str]:
    """The text of each token."""
    return [_piece(tokens[at : at + WIDTH], control) for at in range(0, len(tokens), WIDTH)]


def _piece(token: bytes, control: bool) -> str:
    if token[:1] == b"\xff":
        return CONTROL.get(token, "") if control else ""
    return token.rstrip(b"\0").decode("utf-8", "replace")


def ids(tokens: bytes) -> list[int]:
    """The id of each token."""
    return [int.from_bytes(tokens[at : at + WIDTH], "little") for at in range(0, len(tokens), WIDTH)]


def from_ids(numbers: Iterable[int]) -> bytes:
    """The tokens with these ids. Raises UnknownToken for one that no text has."""
    tokens = []
    for number in numbers:
        if not 0 <= number < VOCABULARY:
            raise UnknownToken(number)
        token = number.to_bytes(WIDTH, "little")
        if token not in CONTROL:
            try:
                token.rstrip(b"\0").decode("utf-8")
            except UnicodeDecodeError:
                raise UnknownToken(number) from None
        tokens.append(token)
    return b"".join(tokens)


def known(numbers: Iterable[int]) -> bytes:
    """The tokens with these ids, unknown ones left out."""
    tokens = []
    for number in numbers:
        try:
            tokens.append(from_ids((number,)))
        except UnknownToken:
            continue
    return b"".join(tokens)


class UnknownToken(ValueError):
    """An id that is not in the vocabulary; `args[0]` is the id."""


def chat(messages: Iterable[tuple[str, str]], *, answer: bool, open_end: bool = False) -> bytes:
    """The tokens of a conversation of (role, text): a marker, the text, an end marker for each message.

    `answer`: the assistant's marker follows, so that its answer comes next. `open_end`: the last message is to be
    continued, so it has no end marker.
    """
    parts: list[bytes] = []
    for role, text in messages:
        parts += (ROLES.get(role, OTHER), encode(text), END)
    if open_end and parts:
        parts.pop()
    elif answer:
        parts.append(ASSISTANT)
    return b"".join(parts)
