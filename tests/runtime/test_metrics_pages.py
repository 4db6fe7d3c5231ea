"""Pages of metrics: written, sent, and added up."""

import msgspec

from headgate.runtime.exposition import Family, Page


def _page(count: int, began: float) -> Page:
    page = Page()
    page.family("a_total", "counter", "Of a.")
    page.sample("a_total", (("model", 'of "x"\n\\'),), count)
    if count > 1:
        page.sample("a_total", (("model", "more"),), 1)
    page.one("began", "gauge", "When.", began, alike=True)
    return page


def _sent(page: Page) -> list[Family]:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(page.families), type=list[Family])


def test_samples_of_several_processes_add_up_but_for_those_that_are_alike() -> None:
    page = _page(1, 5.0)
    other = _page(2, 6.0)
    other.one("only_here", "gauge", "Of the other.", 7)
    page.add(_sent(other))
    page.add(_sent(other))
    assert page.text().splitlines() == [
        "# HELP a_total Of a.",
        "# TYPE a_total counter",
        r'a_total{model="of \"x\"\n\\"} 5',
        'a_total{model="more"} 2',
        "# HELP began When.",
        "# TYPE began gauge",
        "began 5.0",
        "# HELP only_here Of the other.",
        "# TYPE only_here gauge",
        "only_here 14",
    ]


def test_adding_to_a_page_changes_nothing_of_what_was_added() -> None:
    page, other = Page(), _page(1, 5.0)
    page.add(other.families)
    page.add(other.families)
    assert "} 1\n" in other.text()
    assert "} 2\n" in page.text()
