"""Tokens and the text that the simulator makes up."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.sim import tokens
from headgate.sim.draft import Draft, Prompt, Sampling, draft

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)


def prompt(text: str = "What is the meaning of life?") -> Prompt:
    return Prompt(tokens.chat([("user", text)], answer=True), text)


@given(texts)
def test_the_tokens_of_a_text_are_the_text_again(text: str) -> None:
    spoken = tokens.encode(text)
    assert tokens.decode(spoken) == text
    assert "".join(tokens.pieces(spoken)) == text
    assert tokens.from_ids(tokens.ids(spoken)) == spoken
    assert tokens.count(spoken) * 4 == len(spoken)
    assert all(len(piece.encode()) <= 4 for piece in tokens.pieces(spoken))


@given(texts, texts)
def test_a_longer_text_begins_with_the_tokens_of_a_shorter_one_but_for_the_last(text: str, more: str) -> None:
    short, long = tokens.encode(text), tokens.encode(text + more)
    assert long.startswith(short[:-4])


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system", "wizard"]), texts), max_size=4))
def test_a_conversation_begins_with_the_tokens_of_its_earlier_turns(turns: list[tuple[str, str]]) -> None:
    earlier = tokens.chat(turns, answer=True)
    later = tokens.chat([*turns, ("assistant", "Yes."), ("user", "Why?")], answer=True)
    assert later.startswith(earlier + tokens.encode("Yes."))


@pytest.mark.parametrize("number", [-1, 1 << 32, 99999999, 0xFFFFFFFF])
def test_an_id_that_no_text_has_is_unknown(number: int) -> None:
    with pytest.raises(tokens.UnknownToken):
        tokens.from_ids([number])
    assert tokens.known([number]) == b""


def test_the_answer_is_a_function_of_model_prompt_and_seed() -> None:
    one = draft("llama", prompt(), Sampling(limit=500))
    assert one == draft("llama", prompt(), Sampling(limit=500))
    others = [
        draft("gemma", prompt(), Sampling(limit=500)),
        draft("llama", prompt("What is the meaning of death?"), Sampling(limit=500)),
        draft("llama", prompt(), Sampling(limit=500, seed=1)),
        draft("llama", prompt(), Sampling(limit=500), choice=1),
    ]
    assert all(other.text != one.text for other in others)


def test_the_answer_is_readable_and_about_the_question() -> None:
    text = draft("llama", prompt("Please explain photosynthesis to a gardener"), Sampling(limit=500)).text
    assert "photosynthesis" in text
    assert text[0] in string.ascii_uppercase
    assert text.endswith((".", "?"))
    assert "{" not in text
    assert 3 <= text.count(".") <= 8
    tuned = draft("food-review", prompt("Please review the soup"), Sampling(limit=500)).text
    assert any(word in tuned for word in ("dish", "food", "kitchen", "service", "sauce", "dessert"))


@given(texts, st.integers(1, 200), st.integers(0, 200), st.booleans())
def test_the_limits_of_a_request_are_kept(text: str, limit: int, least: int, ignore_end: bool) -> None:
    least = min(least, limit)
    spoken = draft("llama", prompt(text), Sampling(limit=limit, least=least, ignore_end=ignore_end))
    assert least <= spoken.count <= limit
    assert spoken.finish == ("length" if spoken.count == limit and not ends(spoken) else "stop")
    if ignore_end:
        assert (spoken.count, spoken.finish) == (limit, "length")
    assert spoken.text == tokens.decode(spoken.tokens)
    told = [spoken.text[before:now] for before, now in zip(spoken.ends, spoken.ends[1:], strict=False)]
    assert len(told) == spoken.count
    assert "".join(told) == spoken.text


def ends(spoken: Draft) -> bool:
    return spoken.tokens.endswith(tokens.END)


@given(st.lists(st.text(alphabet="abcdefgh .", min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 30),
       st.booleans())  # fmt: skip
def test_nothing_is_told_from_a_stop_string_on(stops: list[str], least: int, keep: bool) -> None:
    whole = draft("llama", prompt(), Sampling(limit=300))
    spoken = draft("llama", prompt(), Sampling(limit=300, least=least, stop=tuple(stops), keep_stop=keep))
    told = [spoken.text[before:now] for before, now in zip(spoken.ends, spoken.ends[1:], strict=False)]
    assert "".join(told) == spoken.text
    assert whole.text.startswith(spoken.text)
    if spoken.stop is None:
        assert spoken.text == whole.text
    else:
        assert spoken.finish == "stop"
        assert spoken.stop in stops
        assert keep == spoken.text.endswith(spoken.stop) or not keep
        assert spoken.count > least
        if not least:
            before = spoken.text[: -len(spoken.stop)] if keep else spoken.text
            assert whole.text.startswith(before + spoken.stop)
            assert not any(stop in before for stop in stops)


def test_a_stop_token_ends_the_answer_and_is_not_told() -> None:
    whole = draft("llama", prompt(), Sampling(limit=300))
    third = tokens.ids(whole.tokens)[2]
    spoken = draft("llama", prompt(), Sampling(limit=300, stop_ids=(third,)))
    assert (spoken.finish, spoken.stop, spoken.count) == ("stop", third, 3)
    assert spoken.text == whole.text[:8]


def test_who_asks_for_json_gets_json_of_the_schema() -> None:
    any_object = draft("llama", prompt(), Sampling(limit=500, schema={}))
    assert set(json.loads(any_object.text)) == {"answer"}
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9},
            "stars": {"type": "integer", "minimum": 1, "maximum": 5},
            "kind": {"enum": ["soup", "bread"]},
            "open": {"type": "boolean"},
            "dishes": {"type": "array", "items": {"$ref": "#/$defs/dish"}, "minItems": 2},
        },
        "$defs": {"dish": {"type": "object", "properties": {"price": {"type": "number"}, "more": {"$ref": "#"}}}},
    }
    told = json.loads(draft("llama", prompt(), Sampling(limit=30000, schema=schema)).text)
    assert len(told["name"]) <= 9
    assert 1 <= told["stars"] <= 5
    assert told["kind"] in ("soup", "bread")
    assert isinstance(told["open"], bool)
    assert [type(dish["price"]) for dish in told["dishes"]] == [int, int]


schemas = st.recursive(
    st.sampled_from([5, None, True, "string", {}, {"$ref": "#"}, {"$ref": "#/nowhere"}, {"type": "integer"}, [1]]),
    lambda parts: st.dictionaries(
        st.sampled_from(["type", "properties", "items", "enum", "anyOf", "required", "minItems", "maximum", "const"]),
        parts | st.lists(parts, max_size=3) | st.sampled_from(["object", "array", 10**30, -1, float("inf")]),
        max_size=4,
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "items", "enum", "allOf"]), schemas, max_size=4))
def test_a_schema_that_makes_no_sense_still_gets_json(schema: dict[str, object]) -> None:
    json.loads(draft("llama", prompt(), Sampling(limit=30000, schema=schema)).text)
