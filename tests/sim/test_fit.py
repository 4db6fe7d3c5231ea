"""`fit`: what took so long on a server whose constants are known gives these constants back."""

from random import Random

import pytest
from msgspec.structs import replace

from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.sim.fit import Measured, errors, fit, minimise, replay

LIMITS = Config(block_size=16, num_blocks=4096, max_num_seqs=32, max_num_batched_tokens=512, max_model_len=2048)


def asked(seed: int, rate: float, count: int = 80) -> list[Measured]:
    """Requests whose times are not known yet."""
    dice, now = Random(seed), 0.0
    found = []
    for place in range(count):
        now += dice.expovariate(rate)
        prompt = dice.randint(5, 900)
        cached = dice.choice([0, 0, prompt // 2])
        found.append(Measured(now, prompt, dice.randint(1, 40), 0.0, 0.0, cached, f"server-{place % 2}"))
    return found


def took(asks: list[Measured], cost: Cost, noise: float = 0.0) -> list[Measured]:
    dice = Random(9)
    return [
        replace(one, ttft=one.ttft * dice.uniform(1 - noise, 1 + noise), duration=one.duration)
        for one in replay(asks, replace(LIMITS, cost=cost))
    ]


@pytest.mark.parametrize(
    "cost",
    [
        Cost(base=0.02, prefill=0.0001, sequence=0.0004, kv=4e-7, request=0.03),
        Cost(base=0.005, prefill=0.00002, sequence=0.0001, kv=1e-8, request=0.0),
    ],
    ids=["slow", "fast"],
)
def test_a_server_whose_constants_are_known_is_found_again(cost: Cost) -> None:
    found = fit(took(asked(1, 8.0), cost), LIMITS)
    assert found.requests == 80
    assert found.ttft_error < 0.05
    assert found.tpot_error < 0.05
    # And it tells the times of requests that it has not seen, at another rate.
    other = asked(2, 15.0)
    ttft, tpot = errors(took(other, cost), replay(other, replace(LIMITS, cost=found.cost)))
    assert sorted(ttft)[40] < 0.1
    assert sorted(tpot)[len(tpot) // 2] < 0.1


def test_noise_does_not_mislead_it() -> None:
    cost = Cost(base=0.02, prefill=0.0001, sequence=0.0004, kv=4e-7)
    found = fit(took(asked(1, 8.0), cost, noise=0.3), LIMITS)
    assert found.cost.base == pytest.approx(cost.base, rel=0.25)
    assert found.ttft_error < 0.25


def test_what_tells_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="19 streams are too few: give at least 20"):
        fit(asked(1, 8.0, 19), LIMITS)
    short = [replace(one, output=1) for one in asked(1, 8.0)]
    with pytest.raises(ValueError, match="no stream has more than one token"):
        fit(short, LIMITS)


def test_the_least_of_a_valley_is_found() -> None:
    def valley(point: list[float]) -> float:
        return (1 - point[0]) ** 2 + 100 * (point[1] - point[0] ** 2) ** 2

    found = minimise(valley, [-1.0, 2.0], 400)  # type: ignore[arg-type]
    assert found == pytest.approx([1.0, 1.0], abs=0.05)
