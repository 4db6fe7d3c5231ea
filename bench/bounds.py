"""What the simulated servers could do at best, whoever chooses: what no aim can ask for more than.

Each workload is eased until nothing is left for a picker to get wrong; the requests, and what steps cost, stay.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.standing import Standing
from headgate.trial.cards import SERVERS
from headgate.trial.policies import POLICIES, Dice, Policy, Sent
from headgate.trial.report import report
from headgate.trial.request import Request
from headgate.trial.run import run
from headgate.trial.workload import WORKLOADS

_ROOM = 10  # times the KV cache
_SEED = 1  # that of `headgate bench`
_BASIS = Basis("pool", "dealt", (), (), {})


class Ease(Struct, frozen=True):
    """`how` for people. `warm` makes of the requests what all servers have in their caches before anybody asks."""

    how: str
    policy: Callable[[], Policy]
    room: int = _ROOM
    warm: bool = False
    adapters: bool = True


def _dealt() -> Policy:
    """Each prefix at one endpoint, in the order in which they first come."""
    places: dict[int, int] = {}

    def policy(ask: Ask, standing: Standing, dice: Dice, now: float) -> Sent:
        first = ask.prefix[0][1]
        place = places.setdefault(first, len(places) % len(standing.endpoints))
        return Sent(Decision(_BASIS, standing.endpoints[place]))

    return policy


EASED = {
    "shared-prefix": Ease("all prompts in all KV caches from the beginning", POLICIES["least-request"], warm=True),
    "rag": Ease("each document at one endpoint, dealt evenly; the first request about it computes it", _dealt),
    "multi-lora": Ease("no adapters: each endpoint as good as the other", POLICIES["least-request"], 1, adapters=False),
}


def at_best(name: str) -> dict[str, Any]:
    """The figures, as `headgate bench -o json` tells those of a policy."""
    workload, ease = WORKLOADS[name], EASED[name]
    config = SERVERS[workload.card]
    requests: Sequence[Request] = workload.make(workload.stages, Random(_SEED).random)
    if not ease.adapters:
        requests = [replace(one, adapter="") for one in requests]
    config = replace(config, num_blocks=config.num_blocks * ease.room)
    known = {(one.group, one.number): one for one in requests}.values() if ease.warm else ()
    outcomes = run(requests, ease.policy(), config, workload.endpoints, Random(_SEED + 1).random, warm=tuple(known))
    figures: dict[str, Any] = to_builtins(
        report("at best", outcomes, workload.endpoints, workload.ttft_s, workload.tpot_s)
    )
    return figures
