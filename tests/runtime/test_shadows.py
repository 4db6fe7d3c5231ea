"""What shadow policies found, as rows and as metrics."""

from headgate.pick.shadow import Tally
from headgate.runtime.exposition import Page
from headgate.runtime.shadows import describe, rows

FOUND = {
    "ns/q": Tally("x"),
    "ns/p": Tally("x", 8, 6, 7, 0.7, 1.4, {"queue-scorer": 1, "chance": 1, "filter mine": 2}),
}


def test_rows_are_means_and_the_most_frequent_reason():
    assert rows(FOUND) == [
        {
            "pool": "ns/p",
            "profile": "x",
            "requests": 8,
            "same_percent": 75.0,
            "mean_regret": 0.1,
            "mean_cost": 0.2,
            "reason": "filter mine",
            "reasons": {"filter mine": 2, "chance": 1, "queue-scorer": 1},
        },
        {
            "pool": "ns/q",
            "profile": "x",
            "requests": 0,
            "same_percent": None,
            "mean_regret": None,
            "mean_cost": None,
            "reason": "",
            "reasons": {},
        },
    ]


def test_metrics_are_sums_and_there_are_none_without_a_shadow():
    page = Page()
    describe(FOUND, page)
    text = page.text()
    assert 'headgate_shadow_requests_total{pool="ns/p",choice="same"} 6\n' in text
    assert 'headgate_shadow_requests_total{pool="ns/p",choice="other"} 2\n' in text
    assert 'headgate_shadow_weighed_requests_total{pool="ns/p"} 7\n' in text
    assert 'headgate_shadow_regret_total{pool="ns/p"} 0.7\n' in text
    assert 'headgate_shadow_cost_total{pool="ns/p"} 1.4\n' in text
    assert 'headgate_shadow_reasons_total{pool="ns/p",reason="filter mine"} 2\n' in text
    empty = Page()
    describe({}, empty)
    assert empty.families == []
