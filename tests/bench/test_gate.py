"""The regression gate: what headgate costs, in multiples of the barest proxy that Python can be, measured in turns."""

from pathlib import Path
from statistics import median

from bench.backend import backend
from bench.cases import CASES
from bench.measure import measure

LIMIT = 9.0  # CPU per short chat request; about 1.5 times what is usual (docs/performance.md)
ROUNDS = 3


def test_a_short_chat_request_stays_within_its_multiple_of_a_bare_proxy(tmp_path: Path) -> None:
    case = CASES["chat-short"]()
    ratios = []
    with backend(case, tmp_path / "backend") as canned:
        for number in range(ROUNDS):
            floor, headgate = (
                measure(case, system, canned, 0.7, tmp_path / f"{number}-{system}", "own")
                for system in ("floor", "headgate")
            )
            assert (floor.errors, headgate.errors) == (0, 0), floor.why or headgate.why
            ratios.append(headgate.figures["cpu_us_per_request"] / floor.figures["cpu_us_per_request"])
    assert median(ratios) < LIMIT, f"headgate costs {[round(ratio, 1) for ratio in ratios]} × a bare proxy"
