"""`read` against pages of each engine, and against a slow parser that reads everything."""

import math
import string
from collections import defaultdict

from hypothesis import example, given
from hypothesis import strategies as st
from vllm_page import vllm_page

from headgate.fleet.endpoint import Load, Served
from headgate.fleet.read import read

BEFORE = Load(waiting=9, running=9, kv_usage=0.9, models=(Served("m"),), at=1.0)


def test_a_whole_vllm_page_is_read():
    assert read(vllm_page(waiting="3.0", running="7.0", kv="0.25"), "vllm", BEFORE, 5.0) == Load(
        waiting=3,
        running=7,
        kv_usage=0.25,
        adapters_running=frozenset({"food-review"}),
        adapters_waiting=frozenset({"cad-fabricator"}),
        max_adapters=2,
        block_size=16,
        blocks=27767,
        models=(Served("m"),),
        at=5.0,
    )


def test_the_newest_lora_series_counts_and_its_names_are_trimmed():
    page = (
        b'vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""} 1.7e9\n'
        b'vllm:lora_requests_info{max_lora="4",running_lora_adapters=" a , b",waiting_lora_adapters="c,"} 1.8e9\n'
        b'vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1.6e9\n'
    )
    load = read(page, "vllm", Load(), 0.0)
    assert load.adapters_running == {"a", "b"}
    assert load.adapters_waiting == {"c"}
    assert load.max_adapters == 4


def test_the_name_of_older_vllm_for_kv_usage_is_known_but_the_new_one_wins():
    old = b'vllm:gpu_cache_usage_perc{model_name="m"} 0.5\n'
    assert read(old, "vllm", Load(), 0.0).kv_usage == 0.5
    assert read(old + b"vllm:kv_cache_usage_perc 0.25\n", "vllm", Load(), 0.0).kv_usage == 0.25


def test_data_parallel_engines_of_one_address_add_up_and_their_kv_usage_is_averaged():
    page = (
        b'vllm:num_requests_running{engine="0"} 2\nvllm:num_requests_running{engine="1"} 3\n'
        b'vllm:num_requests_waiting{engine="0"} 1\nvllm:num_requests_waiting{engine="1"} 10\n'
        b'vllm:kv_cache_usage_perc{engine="0"} 0.2\nvllm:kv_cache_usage_perc{engine="1"} 0.6\n'
        b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100",engine="0"} 1\n'
        b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100",engine="1"} 1\n'
    )
    load = read(page, "vllm", Load(), 0.0)
    assert (load.running, load.waiting, load.block_size, load.blocks) == (5, 11, 16, 200)
    assert load.kv_usage is not None
    assert math.isclose(load.kv_usage, 0.4)


def test_of_several_series_of_one_engine_the_newest_counts_and_the_first_of_equals():
    newest = b'vllm:num_requests_waiting{a="1"} 1 100\nvllm:num_requests_waiting{a="2"} 2 300\n'
    assert read(newest + b'vllm:num_requests_waiting{a="3"} 3 200\n', "vllm", Load(), 0.0).waiting == 2
    assert (
        read(b'vllm:num_requests_waiting{a="1"} 1\nvllm:num_requests_waiting{a="2"} 2\n', "vllm", Load(), 0).waiting
        == 1
    )


def test_an_empty_page_knows_nothing_but_keeps_the_models():
    assert read(b"", "vllm", BEFORE, 2.0) == Load(models=(Served("m"),), at=2.0)


def test_a_last_line_that_was_cut_off_does_not_count():
    assert read(b"vllm:num_requests_waiting 1", "vllm", Load(), 0.0).waiting is None
    assert read(b"vllm:num_requests_waiting 12\n", "vllm", Load(), 0.0).waiting == 12


def test_the_name_in_comments_labels_and_longer_names_is_not_the_metric():
    page = (
        b"# HELP vllm:num_requests_waiting vllm:num_requests_waiting 5\n"
        b"# vllm:num_requests_waiting 6\n"
        b"vllm:num_requests_waiting_by_reason 7\n"
        b'other{why="vllm:num_requests_waiting 8"} 1\n'
        b"not_vllm:num_requests_waiting 9\n"
    )
    assert read(page, "vllm", Load(), 0.0).waiting is None
    assert read(page + b"vllm:num_requests_waiting 2\n", "vllm", Load(), 0.0).waiting == 2


def test_not_a_number_and_infinities_are_no_values():
    for text in (b"NaN", b"+Inf", b"-Inf", b"", b"x"):
        assert read(b"vllm:num_requests_waiting " + text + b"\n", "vllm", Load(), 0.0).waiting is None


def test_usage_stays_between_0_and_1_and_counts_are_not_negative():
    assert read(b"vllm:kv_cache_usage_perc 1.5\n", "vllm", Load(), 0.0).kv_usage == 1.0
    assert read(b"vllm:num_requests_waiting -1\n", "vllm", Load(), 0.0).waiting == 0


def test_sglang_is_read_by_its_own_names():
    page = (
        b'sglang:num_running_reqs{model_name="m",tp_rank="0"} 4.0\n'
        b'sglang:num_queue_reqs{model_name="m",tp_rank="0"} 2.0\n'
        b'sglang:token_usage{model_name="m",tp_rank="0"} 0.28\n'
        b'sglang:cache_config_info{model_name="m",num_pages="4000",page_size="64"} 1.0\n'
    )
    expected = Load(waiting=2, running=4, kv_usage=0.28, block_size=64, blocks=4000, at=1.0)
    assert read(page, "sglang", Load(), 1.0) == expected


def test_trtllm_serve_is_read_by_its_own_names():
    page = (
        b"trtllm_num_requests_running 4\ntrtllm_num_requests_waiting 2\ntrtllm_kv_cache_utilization 0.5\n"
        b"trtllm_kv_cache_tokens_per_block 32\ntrtllm_kv_cache_max_blocks 1000\n"
    )
    expected = Load(waiting=2, running=4, kv_usage=0.5, block_size=32, blocks=1000, at=1.0)
    assert read(page, "trtllm-serve", Load(), 1.0) == expected


def test_triton_with_tensorrt_llm_tells_its_gauges_apart_by_a_label():
    page = (
        b"# TYPE nv_trt_llm_request_metrics gauge\n"
        b'nv_trt_llm_request_metrics{model="t",request_type="context",version="1"} 9\n'
        b'nv_trt_llm_request_metrics{model="t",request_type="scheduled",version="1"} 4\n'
        b'nv_trt_llm_request_metrics{model="t",request_type="waiting",version="1"} 2\n'
        b'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="t"} 0.125\n'
        b'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="t"} 64\n'
        b'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="t"} 6239\n'
    )
    expected = Load(waiting=2, running=4, kv_usage=0.125, block_size=64, blocks=6239, at=1.0)
    assert read(page, "triton-tensorrt-llm", Load(), 1.0) == expected


def test_plain_triton_tells_what_waits_for_all_of_its_models():
    page = (
        b'nv_inference_pending_request_count{model="a",version="1"} 3\n'
        b'nv_inference_pending_request_count{model="b",version="1"} 4\n'
        b'nv_inference_exec_count{model="a",version="1"} 123456\n'
    )
    load = read(page, "triton", Load(), 1.0)
    assert load.waiting == 7
    assert load.running is None  # executions since the start are no load


def test_an_engine_that_nobody_knows_is_read_as_vllm():
    assert read(b"vllm:num_requests_waiting 4\n", "my-engine", Load(), 0.0).waiting == 4


# The law: what `read` finds is what a parser of the whole page finds.

NAMES = [
    "vllm:num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:lora_requests_info",
]
DECOYS = ["vllm:num_requests_waiting_by_reason", "vllm:num_requests", "x_vllm:num_requests_running", "up"]
TEXT = st.text(string.ascii_letters + ' ,={}"\\\n#é', max_size=12)
BLANK = st.sampled_from(["", " ", "\t", "  "])
GAP = st.sampled_from([" ", "\t", "  "])
NUMBER = st.one_of(
    st.integers(0, 10**6).map(str),
    st.floats(0, 1e9).map(repr),
    st.floats(0, 1e9).map(lambda number: f"{number:.3e}"),
    st.sampled_from(["NaN", "+Inf", "1e3", "0.0", "-2"]),
)
LABELS = st.dictionaries(
    st.sampled_from(["engine", "model_name", "max_lora", "running_lora_adapters", "waiting_lora_adapters", "le"]),
    st.one_of(TEXT, st.sampled_from(["0", "1", "2", "a,b", " a , c"])),
    max_size=5,
)


def escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@st.composite
def sample_lines(draw, name, plain):
    pairs = draw(LABELS).items()
    if plain:
        inside = ",".join(f'{key}="{escape(value)}"' for key, value in pairs)
        return f"{name}{{{inside}}} {draw(NUMBER)}"
    comma = draw(st.sampled_from([",", ", ", " ,"]))
    inside = comma.join(f'{key}{draw(BLANK)}={draw(BLANK)}"{escape(value)}"' for key, value in pairs)
    labels = (
        draw(BLANK) + "{" + inside + draw(st.sampled_from(["", ","])) * bool(pairs) + "}" if draw(st.booleans()) else ""
    )
    time = draw(GAP) + str(draw(st.integers(0, 5))) if draw(st.booleans()) else ""
    return draw(BLANK) + name + labels + draw(GAP) + draw(NUMBER) + time + draw(BLANK)


@st.composite
def pages(draw):
    lines = []
    plain = draw(st.booleans())  # as client libraries write them
    for name in draw(st.lists(st.sampled_from(NAMES + DECOYS), unique=True)):
        if plain or draw(st.booleans()):
            lines += [f"# HELP {name} about {name} {draw(NUMBER)}", f"# TYPE {name} gauge"]
        for _ in range(draw(st.integers(0, 4))):
            lines.append(draw(sample_lines(name, plain)))
            lines += [] if plain else draw(st.sampled_from([[], [], [""], ["# a remark about " + name]]))
    end = draw(st.sampled_from(["\n", "\n", ""]))
    return ("\n".join(lines) + end).encode()


def parse(page: str) -> list[tuple[str, dict[str, str], float, int]]:
    """Every sample of a page in the Prometheus text format, character by character."""
    found = []
    for line in page.split("\n")[:-1]:
        rest = line.strip(" \t")
        if not rest or rest.startswith("#"):
            continue
        size = next((n for n, char in enumerate(rest) if not (char.isalnum() or char in "_:")), len(rest))
        name, rest, labels = rest[:size], rest[size:].lstrip(" \t"), {}
        if rest.startswith("{"):
            rest = rest[1:].lstrip(" \t,")
            while not rest.startswith("}"):
                key, _, rest = rest.partition("=")
                rest = rest.lstrip(" \t")[1:]
                value, place = "", 0
                while rest[place] != '"':
                    if rest[place] == "\\":
                        place += 1
                        value += {"n": "\n"}.get(rest[place], rest[place])
                    else:
                        value += rest[place]
                    place += 1
                labels[key.strip()] = value
                rest = rest[place + 1 :].lstrip(" \t,")
            rest = rest[1:]
        parts = rest.split()
        found.append((name, labels, float(parts[0]), int(parts[1]) if len(parts) > 1 else 0))
    return found


def expected_values(page: bytes, name: str) -> list[float]:
    by_engine = defaultdict(list)
    for found, labels, value, time in parse(page.decode()):
        if found == name and math.isfinite(value):
            by_engine[labels.get("engine", "")].append((time, value))
    return [max(series, key=lambda pair: pair[0])[1] for series in by_engine.values()]


@given(pages())
@example(b'vllm:num_requests_waiting{a="} 5 "} 1\n')
@example(b'vllm:num_requests_waiting{a="x\\\\"} 2 7\n')
def test_reading_a_few_families_is_as_good_as_reading_the_whole_page(page):
    load = read(page, "vllm", Load(), 0.0)
    waiting = expected_values(page, "vllm:num_requests_waiting")
    running = expected_values(page, "vllm:num_requests_running")
    usage = expected_values(page, "vllm:kv_cache_usage_perc")
    assert load.waiting == (max(0, int(sum(waiting))) if waiting else None)
    assert load.running == (max(0, int(sum(running))) if running else None)
    assert load.kv_usage == (min(1.0, max(0.0, sum(usage) / len(usage))) if usage else None)
    lora = [
        (v, labels) for n, labels, v, _ in parse(page.decode()) if n == "vllm:lora_requests_info" and math.isfinite(v)
    ]
    newest = max(lora, key=lambda pair: pair[0])[1] if lora else {}
    names = newest.get("running_lora_adapters", "").split(",")
    assert load.adapters_running == {name.strip() for name in names if name.strip()}


@given(st.binary(max_size=300))
def test_no_page_whatever_it_holds_is_an_error(page):
    read(b"vllm:num_requests_waiting" + page, "vllm", Load(), 0.0)
    read(page + b"\nvllm:lora_requests_info{" + page + b"\n", "vllm", Load(), 0.0)


@given(st.integers(0, 5000))
def test_a_page_cut_off_anywhere_gives_the_true_value_or_none(cut):
    load = read(vllm_page(waiting="3.0", running="17.0", kv="0.25")[:cut], "vllm", Load(), 0.0)
    assert load.waiting in (None, 3)
    assert load.running in (None, 17)
    assert load.kv_usage in (None, 0.25)
