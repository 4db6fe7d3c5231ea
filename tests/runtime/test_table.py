"""Tables for people."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.table import table

_LONG = "default/vllm-llama3-8b-instruct-drg49d6xnz-cgvv8-rank-0"


def test_columns_are_as_wide_as_they_need_to_be_and_empty_ones_are_left_out() -> None:
    rows = [{"name": "a", "kv_usage": 0.123456, "note": ""}, {"name": "longer", "kv_usage": None, "note": ""}]
    assert table("endpoints", rows).splitlines() == ["NAME    KV USAGE", "a       0.123", "longer"]


def test_a_long_list_is_counted_after_three() -> None:
    assert table("x", [{"many": list("abcde")}]).splitlines()[1] == "a, b, c and 2 more"


def test_what_only_programs_need_is_left_to_json() -> None:
    assert table("gateways", [{"gateway": "a", "url": "http://x", "address": "x", "port": 1}]).splitlines() == [
        "GATEWAY  URL",
        "a        http://x",
    ]


def test_where_the_terminal_is_narrow_names_lose_their_middle_and_messages_nothing() -> None:
    message = "GET /metrics: the connection was refused, again and again and again and again and again"
    rows = [{"endpoint": _LONG, "pool": "default/vllm-llama3-8b-instruct", "state": "ready", "note": message}]
    told = table("endpoints", rows, width=120).splitlines()[1]
    assert told.endswith(message)
    assert told.startswith("default/")
    assert "…" in told
    assert len(told) - len(message) <= 60
    assert table("endpoints", rows).splitlines()[1] == f"{_LONG}  default/vllm-llama3-8b-instruct  ready  {message}"


def test_adapters_on_a_hundred_endpoints_fit_120_columns() -> None:
    row = {
        "adapter": "food-review",
        "pool": "default/vllm-llama3-8b-instruct",
        "parent": "meta-llama/Llama-3.1-8B-Instruct",
        "running": 0,
        "endpoints": [_LONG] * 100,
    }
    told = table("adapters", [row], width=120)
    assert max(map(len, told.splitlines())) <= 120
    assert told.endswith(" and 98 more")


@settings(deadline=None)
@given(
    st.lists(st.fixed_dictionaries({name: st.text("ab ", max_size=60) for name in "wxyz"}), min_size=1, max_size=4),
    st.integers(60, 200),
)
def test_all_cells_of_a_column_begin_at_the_same_place(rows: list[dict[str, str]], width: int) -> None:
    heads, *lines = table("x", rows, width=width).split("\n") if any(any(r.values()) for r in rows) else [""]
    starts = [at for at, letter in enumerate(heads) if letter != " "]
    for line in lines:
        assert all(len(line) < at or line[at - 1] == " " for at in starts[1:])
