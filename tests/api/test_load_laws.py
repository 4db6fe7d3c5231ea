"""Laws of `load`: it never raises, and the order of what it reads does not show."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.api import Meta, Snapshot, Text, Where, load

VALID = [path.read_text() for path in sorted((Path(__file__).parent / "valid").glob("*.yaml"))]
OBJECTS = [each for text in VALID for each in yaml.safe_load_all(text)]
BROKEN = [
    text
    for path in sorted((Path(__file__).parent / "broken").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
    for text in (case.get("files") or {"": case["manifest"]}).values()
]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["", "*", "1"])
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner))
syntax = st.text(alphabet=st.sampled_from(list("abk: -\n\t'\"{}[],&*!|>?%#@`<01.~\\\r\ufeff\x07\x85")), max_size=120)
WORDS = sorted({word for text in VALID for word in text.split() if len(word) < 30})


def dump(value: Any) -> str:
    return yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True)


def loads(*texts: str) -> Snapshot:
    """Loads, and looks at all that comes: a problem that cannot be printed would be one of ours."""
    files = [Text(f"{i}.yaml", text) for i, text in enumerate(texts)]
    snapshot, problems = load(files)
    again, _ = load(files, snapshot)
    assert again == snapshot
    for problem in problems:
        assert str(problem).startswith(problem.where.file)
        assert "\n" not in str(problem)
        assert problem.where.line >= 1
    return snapshot


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    if not path:
        return to
    head, *rest = path
    if isinstance(value, list):
        return [changed(child, tuple(rest), to) if i == head else child for i, child in enumerate(value)]
    return {key: changed(child, tuple(rest), to) if key == head else child for key, child in value.items()}


@given(st.text(max_size=200) | syntax)
def test_any_text_loads(text: str) -> None:
    loads(text)


@given(st.lists(st.sampled_from([*WORDS, "\n", "\n  ", "\n    ", "---\n"]), max_size=40).map(" ".join))
def test_any_salad_of_words_loads(text: str) -> None:
    loads(text)


@given(trees)
def test_any_tree_loads(tree: Any) -> None:
    loads(dump(tree))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_value_in_any_place_of_a_valid_object_loads(data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(OBJECTS))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(value)))
        value = changed(value, path, data.draw(trees | st.sampled_from(OBJECTS)))
    loads(dump(value))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(VALID + BROKEN), st.data())
def test_any_cut_or_change_of_a_text_loads(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    loads(text[:start] + data.draw(syntax | st.sampled_from(WORDS)) + text[end:])


@settings(max_examples=30, deadline=None)
@given(st.permutations(OBJECTS), st.integers(1, 4))
def test_the_order_of_objects_and_files_does_not_show(objects: list[Any], files: int) -> None:
    texts = ["\n---\n".join(dump(each) for each in objects[i::files]) for i in range(files)]
    straight = "\n---\n".join(map(dump, OBJECTS))
    assert _anywhere(loads(*texts)) == _anywhere(loads(straight))


def _anywhere(value: Any) -> Any:
    """The snapshot without the places where things were written."""
    if isinstance(value, Where):
        return None
    if isinstance(value, tuple):
        return tuple(_anywhere(each) for each in value)
    if isinstance(value, (Snapshot, Meta)) or hasattr(value, "__struct_fields__"):
        return (type(value), tuple(_anywhere(getattr(value, name)) for name in value.__struct_fields__))
    return value


def test_a_bomb_of_aliases_costs_little() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    lines += [f"m{i}: &m{i} {{" + ", ".join(f"k{j}: *a{i}" for j in range(10)) + "}" for i in range(30)]
    loads("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\n" + "\n".join(lines))


def test_no_depth_is_too_deep() -> None:
    for text in ("[" * 50_000, "{a: " * 20_000, "- " * 20_000, "a: " + "[" * 9_000 + "]" * 9_000):
        loads(text, f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {text}\n")


def test_long_values_are_told_as_soon_as_short_ones() -> None:
    route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {rules: [RULE]}\n"
    for rule in (
        "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: 'VALUEé'}]}}]}",
        "{matches: [{path: {type: RegularExpression, value: 'VALUE'}}], name: 'VALUE!'}",
        "{backendRefs: [{name: 'VALUE', port: 'VALUE', kind: 'VALUE-'}], 'VALUE': 1}",
    ):
        for value in ("a" * 4_000, "a-" * 100_000, "[" * 200_000, "<a" * 100_000):
            loads(route.replace("RULE", rule).replace("VALUE", value))


def test_every_kind_is_among_the_valid_ones() -> None:
    snapshot = loads(*VALID)
    assert all(getattr(snapshot, shelf) for shelf in snapshot.__struct_fields__)
