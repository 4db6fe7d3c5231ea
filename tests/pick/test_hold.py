"""Where a session is: the endpoint itself, as long as the filters leave it."""

from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.decision import Ask
from headgate.pick.hold import hold
from headgate.pick.profile import DEFAULT
from headgate.pick.standing import Standing
from headgate.pick.trail import explain


def standing(*endpoints: Endpoint, **models: tuple[str, ...]) -> Standing:
    loads = {
        endpoint.name: Load(waiting=0, models=tuple(map(Served, models.get(endpoint.name, ("m",)))), at=0.0)
        for endpoint in endpoints
    }
    return Standing("p", endpoints, loads, Ledger(), PrefixIndex())


A, B = Endpoint("a", "10.0.0.1", 80), Endpoint("b", "10.0.0.2", 80)


def test_the_endpoint_of_a_session_is_held_however_busy_it_is():
    pool = standing(A, B)
    for _ in range(9):
        pool.ledger.take("a")
    decision = hold(Ask("m"), pool, DEFAULT, "a")
    assert decision is not None
    assert decision.endpoint is A
    assert decision.candidates == (A,)
    assert explain(decision)["why"] == "the client's session is there"


def test_an_endpoint_that_is_not_fit_is_not_held():
    for unfit in (
        standing(B),
        standing(Endpoint("a", "10.0.0.1", 80, ready=False), B),
        standing(Endpoint("a", "10.0.0.1", 80, draining=True), B),
        standing(A, B, a=("other",)),
    ):
        assert hold(Ask("m"), unfit, DEFAULT, "a") is None
    assert hold(Ask("m", exclude=frozenset({"a"})), standing(A, B), DEFAULT, "a") is None
