"""What is told of an API server: once, and when it is over."""

from collections.abc import Callable

from headgate.runtime.kubernetes.troubles import Troubles
from headgate.runtime.kubernetes.watcher import Collection
from headgate.runtime.kubernetes.watching import Trouble

A, B = Collection("/api/v1/pods"), Collection("/api/v1/services")


class Clock:
    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def later(self, _: float, do: Callable[[], None]) -> None:
        self.due.append(do)

    def pass_by(self) -> None:
        due, self.due = self.due, []
        for do in due:
            do()


def test_a_server_that_stays_away_is_told_of_once_and_when_it_is_back() -> None:
    said: list[str] = []
    clock = Clock()
    troubles = Troubles("https://x", said.append, clock.later)
    troubles.tell(A, Trouble("refused"))
    troubles.tell(B, Trouble("refused"))
    clock.pass_by()
    troubles.tell(A, Trouble("refused again"))
    clock.pass_by()
    assert len(said) == 1
    assert "can't be followed: refused" in said[0]
    troubles.tell(A, Trouble(""))
    assert len(said) == 1
    troubles.tell(B, Trouble(""))
    assert said[1:] == ["The API server https://x answers again."]


def test_what_is_over_in_a_moment_is_not_told() -> None:
    said: list[str] = []
    clock = Clock()
    troubles = Troubles("https://x", said.append, clock.later)
    troubles.tell(A, Trouble("reset"))
    troubles.tell(A, Trouble(""))
    clock.pass_by()
    assert said == []


def test_a_right_that_is_missing_is_told_once_until_it_was_there() -> None:
    said: list[str] = []
    troubles = Troubles("https://x", said.append, Clock().later)
    for _ in range(3):
        troubles.tell(A, Trouble("forbidden", 403))
    assert len(said) == 1
    assert said[0].startswith("/api/v1/pods can't be read")
    troubles.tell(A, Trouble(""))
    troubles.tell(A, Trouble("forbidden", 403))
    assert len(said) == 2


def test_a_right_that_is_missing_while_a_server_starts_is_told_if_it_stays_away() -> None:
    said: list[str] = []
    clock = Clock()
    troubles = Troubles("https://x", said.append, clock.later)
    for comes_back in (True, False):
        troubles.tell(A, Trouble("refused"))
        troubles.tell(A, Trouble("forbidden", 403))
        troubles.tell(A, Trouble("forbidden", 403))
        if comes_back:
            troubles.tell(A, Trouble(""))
        assert said == []
        clock.pass_by()
    assert len(said) == 1
    assert said[0].startswith("/api/v1/pods can't be read")
