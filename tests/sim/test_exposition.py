"""The Prometheus text: numbers as the clients write them, labels, histograms."""

import pytest

from headgate.sim.exposition import Histogram, label_text, number, only
from headgate.sim.families import Family, decades


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"),
        (480.0, "480.0"),
        (999999.0, "999999.0"),
        (1000000.0, "1e+06"),
        (2183831552.0, "2.183831552e+09"),
        (1795187323.081958, "1.795187323081958e+09"),
        (0.0015211400007046905, "0.0015211400007046905"),
        (-5.0, "-5.0"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert number(value) == text
    assert float(text) == value


def test_labels_are_sorted_and_quoted() -> None:
    assert label_text({"b": 'x"y', "a": "1\\2\n"}) == '{a="1\\\\2\\n",b="x\\"y"}'
    assert label_text({}) == ""


def test_a_histogram_counts_each_value_in_all_buckets_from_its_own_up() -> None:
    histogram = Histogram(Family("h", "histogram", "", (1.0, 5.0)), {}, 0.0)
    for value in (0.5, 1.0, 3.0, 9.0):
        histogram.observe(value)
    histogram.observe(5.0, times=2)
    assert histogram.lines() == [
        'h_bucket{le="1.0"} 2.0',
        'h_bucket{le="5.0"} 5.0',
        'h_bucket{le="+Inf"} 6.0',
        "h_count 6.0",
        "h_sum 23.5",
    ]


def test_buckets_for_tokens_follow_from_the_context() -> None:
    assert decades(1024) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    assert decades(20) == (1, 2, 5, 10, 20)


def test_a_part_of_a_page_is_what_is_named_with_what_is_said_of_it() -> None:
    page = """# HELP a the first
# TYPE a gauge
a{x="1 2"} 1.0
a{x="3"} 2.0
# HELP ab another
# TYPE ab counter
ab 5.0
# HELP c_total counted
# TYPE c_total counter
c_total 7.0
# HELP c_created counted
# TYPE c_created gauge
c_created 1.0
"""
    assert (
        only(page, ["a", "c_total", "nothing"])
        == """# HELP a the first
# TYPE a gauge
a{x="1 2"} 1.0
a{x="3"} 2.0
# HELP c_total counted
# TYPE c_total counter
c_total 7.0
"""
    )
    assert only(page, ["nothing"]) == ""
