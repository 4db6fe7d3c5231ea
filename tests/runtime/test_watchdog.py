"""The watchdog of the event loop: what it measures, and what it tells."""

import asyncio
from time import monotonic, sleep

from headgate.runtime.exposition import Page
from headgate.runtime.watchdog import Watchdog


def compute(seconds: float) -> None:
    ends = monotonic() + seconds
    while monotonic() < ends:
        pass


def watched(*stalls: tuple[str, float]) -> tuple[Watchdog, list[str]]:
    """A loop that stands still so often, and what was said of it."""
    said: list[str] = []

    async def main() -> Watchdog:
        watchdog = Watchdog(said.append)
        watchdog.start()
        for how, seconds in stalls:
            await asyncio.sleep(0.03)
            (compute if how == "computes" else sleep)(seconds)
        await asyncio.sleep(0.03)
        watchdog.stop()
        return watchdog

    return asyncio.run(main()), said


def samples(watchdog: Watchdog) -> dict[str, float]:
    page = Page()
    watchdog.describe(page)
    return {key: value for family in page.families for key, value in family.samples.items()}


def test_a_stall_is_measured() -> None:
    watchdog, _ = watched(("computes", 0.15))
    found = samples(watchdog)
    assert 0.09 <= watchdog.longest < 5  # of rest before it up to 50 ms are taken off
    assert found["headgate_loop_longest_stall_seconds"] == round(watchdog.longest, 6)
    counts = [found[f'headgate_loop_stall_seconds_bucket{{le="{bound}"}}'] for bound in ("0.1", "+Inf")]
    assert counts[1] > counts[0] > 0, "most ticks were on time, one was not"


def test_one_in_which_this_process_computed_is_told_in_words() -> None:
    _, said = watched(("computes", 0.3))
    assert said
    assert "stood still for" in said[0]


def test_it_is_told_once_a_minute_at_most() -> None:
    _, said = watched(("computes", 0.2), ("computes", 0.2), ("computes", 0.2))
    assert len(said) == 1


def test_one_in_which_it_did_nothing_is_measured_and_not_told() -> None:
    watchdog, said = watched(("sleeps", 0.3))
    assert watchdog.longest > 0.25
    assert said == []


def test_the_longest_of_several_processes_counts() -> None:
    pages = [Page(), Page()]
    for page, longest in zip(pages, (0.2, 0.1), strict=True):
        watchdog = Watchdog(None)
        watchdog.longest = longest
        watchdog.describe(page)
    pages[0].add(pages[1].families)
    assert "headgate_loop_longest_stall_seconds 0.2" in pages[0].text().splitlines()
