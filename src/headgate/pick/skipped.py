"""What a policy that could not be asked gave: nothing, and why."""

from collections.abc import Iterable


class Skipped(tuple[float, ...]):
    """In place of scores, all of them 0; in place of those that a filter removed, empty."""

    why: str

    def __new__(cls, values: Iterable[float], why: str) -> "Skipped":
        made = super().__new__(cls, values)
        made.why = why
        return made
