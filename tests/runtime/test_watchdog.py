"""The watchdog of the event loop: what it measures, and what it tells."""

from collections.abc import Callable

import pytest

from headgate.runtime import watchdog as watching
from headgate.runtime.exposition import Page
from headgate.runtime.watchdog import Watchdog


class World:
    """The event loop, the clock and the CPU time of a process, all of which stand still but for what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.worked = 100.0
        self.said: list[str] = []
        monkeypatch.setattr(watching, "monotonic", lambda: self.now)
        monkeypatch.setattr(watching, "process_time", lambda: self.worked)
        monkeypatch.setattr(watching.asyncio, "get_running_loop", lambda: self)
        self.watchdog = Watchdog(self.said.append)
        self.watchdog.start()
        self.turn()

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        self.delay, self.call = delay, call

    def turn(self, late: float = 0.0, computing: float = 0.0) -> None:
        """The next tick comes, so much too late, after so much work."""
        self.now += self.delay + late
        self.worked += computing
        self.call()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def samples(watchdog: Watchdog) -> dict[str, float]:
    page = Page()
    watchdog.describe(page)
    return {key: value for family in page.families for key, value in family.samples.items()}


def test_a_stall_is_measured(world: World) -> None:
    world.turn(late=0.15, computing=0.15)
    found = samples(world.watchdog)
    assert world.watchdog.longest == pytest.approx(0.15)
    assert found["headgate_loop_longest_stall_seconds"] == 0.15
    counts = [found[f'headgate_loop_stall_seconds_bucket{{le="{bound}"}}'] for bound in ("0.1", "+Inf")]
    assert counts == [1, 2]


def test_one_in_which_this_process_computed_is_told_in_words(world: World) -> None:
    world.turn(late=0.3, computing=0.2)
    assert world.said == ["The event loop stood still for 300 ms: meanwhile no request moved."]


def test_it_is_told_once_a_minute_at_most(world: World) -> None:
    for _ in range(3):
        world.turn(late=0.2, computing=0.2)
    assert len(world.said) == 1
    told_at = world.now
    while world.now < told_at + 60.0:
        world.turn()
    world.turn(late=0.1, computing=0.1)
    assert "(3 times since this was said last)" in world.said[1]


@pytest.mark.parametrize("computing", [0.0, 0.1], ids=["at rest", "others had the machine"])
def test_one_in_which_it_did_little_is_measured_and_not_told(world: World, computing: float) -> None:
    world.turn(late=0.3, computing=computing)
    assert world.watchdog.longest == pytest.approx(0.3)
    assert world.said == []


def test_at_rest_it_looks_less_often(world: World) -> None:
    world.turn(computing=0.005)
    busy = world.delay
    world.turn(computing=0.0)
    assert world.delay == pytest.approx(5 * busy)


def test_the_longest_of_several_processes_counts() -> None:
    pages = [Page(), Page()]
    for page, longest in zip(pages, (0.2, 0.1), strict=True):
        watchdog = Watchdog(None)
        watchdog.longest = longest
        watchdog.describe(page)
    pages[0].add(pages[1].families)
    assert "headgate_loop_longest_stall_seconds 0.2" in pages[0].text().splitlines()
