"""Who is served where: laws, and the cases that people meet."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.plan.plan import Listener
from headgate.runtime.addresses import Assignment, assign

_NAMES = [f"default/{letter}" for letter in "abcde"]
_ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.7", "0.0.0.0", "::1", "::"]

_gateways = st.dictionaries(
    st.sampled_from(_NAMES),
    st.tuples(
        st.sets(st.sampled_from([80, 81, 443, 8080, 8443, 9000]), min_size=1), st.sampled_from(["", "127.0.0.2"])
    ),
)


def _listeners(gateways: dict[str, tuple[set[int], str]]) -> list[Listener]:
    return [
        Listener(name, f"on-{port}", port, addresses=(asked,) if asked else ())
        for name, (ports, asked) in gateways.items()
        for port in ports
    ]


def _keys(assignment: Assignment) -> set[tuple[str, int]]:
    return {(bound.address, bound.port) for bound in assignment.sockets}


@settings(deadline=None)
@given(_gateways, st.sampled_from(_ADDRESSES), st.booleans())
def test_no_two_gateways_share_a_socket_and_every_listener_has_one_or_is_refused(
    gateways: dict[str, tuple[set[int], str]], address: str, privileged: bool
) -> None:
    listeners = _listeners(gateways)
    found = assign(listeners, address, privileged=privileged)
    for bound in found.sockets:
        assert len({(listener.gateway, listener.port) for listener in bound.listeners}) == 1
    for wildcard, family in (("0.0.0.0", "."), ("::", ":")):
        for port in {port for where, port in _keys(found) if where == wildcard}:
            assert [key for key in _keys(found) if key[1] == port and family in key[0]] == [(wildcard, port)]
    served = {listener.gateway for bound in found.sockets for listener in bound.listeners}
    assert served == set(found.addresses)
    assert len(found.refused) == len(gateways) - len(served)
    assert sum(len(bound.listeners) for bound in found.sockets) == sum(
        listener.gateway in served for listener in listeners
    )


@settings(deadline=None)
@given(_gateways, _gateways)
def test_nobody_moves_without_need(
    first: dict[str, tuple[set[int], str]], second: dict[str, tuple[set[int], str]]
) -> None:
    before = assign(_listeners(first), "127.0.0.1").addresses
    again = assign(_listeners(first), "127.0.0.1", before=before)
    assert again.addresses == before
    after = assign(_listeners(second), "127.0.0.1", before=before)
    ports = {name: {here for (owner, _), here in after.ports.items() if owner == name} for name in second}
    for name in before.keys() & second.keys():
        if second[name][1] in ("", before[name]) and after.addresses.get(name) != before[name]:
            rivals = [other for other, where in after.addresses.items() if where == before[name] and other != name]
            alone = assign(_listeners({name: second[name]}), "127.0.0.1").ports.values()
            assert any(ports[rival] & set(alone) for rival in rivals)


@settings(deadline=None)
@given(_gateways, st.randoms())
def test_the_order_of_listeners_does_not_matter(gateways: dict[str, tuple[set[int], str]], dice: object) -> None:
    listeners = _listeners(gateways)
    shuffled = listeners.copy()
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = assign(listeners, "127.0.0.1"), assign(shuffled, "127.0.0.1")
    assert one.addresses == other.addresses
    assert one.ports == other.ports


def test_the_second_gateway_of_a_port_gets_the_next_address_and_keeps_it_when_the_first_is_gone() -> None:
    both = [Listener("default/a", "http", 80), Listener("default/b", "http", 80)]
    found = assign(both, "127.0.0.1")
    assert found.addresses == {"default/a": "127.0.0.1", "default/b": "127.0.0.2"}
    alone = assign(both[1:], "127.0.0.1", before=found.addresses)
    assert alone.addresses == {"default/b": "127.0.0.2"}


def test_gateways_of_different_ports_share_the_first_address() -> None:
    found = assign([Listener("default/a", "http", 80), Listener("default/b", "http", 81)], "127.0.0.1")
    assert _keys(found) == {("127.0.0.1", 8080), ("127.0.0.1", 8081)}


def test_listeners_of_one_port_share_a_socket() -> None:
    found = assign(
        [Listener("default/a", "x", 80, hostname="x.com"), Listener("default/a", "y", 80, hostname="y.com")],
        "127.0.0.1",
    )
    assert [len(bound.listeners) for bound in found.sockets] == [2]


def test_port_80_beside_8080_of_one_gateway_is_moved_once_more_and_that_is_said() -> None:
    found = assign([Listener("default/a", "x", 80), Listener("default/a", "y", 8080)], "127.0.0.1")
    assert found.ports == {("default/a", 80): 16080, ("default/a", 8080): 8080}
    assert found.notes == ("Gateway default/a: port 80 is served at 16080, for it has a listener at 8080 too",)


def test_privileged_ports_are_served_as_they_are_when_asked_for() -> None:
    found = assign([Listener("default/a", "x", 80), Listener("default/a", "y", 8080)], "127.0.0.1", privileged=True)
    assert _keys(found) == {("127.0.0.1", 80), ("127.0.0.1", 8080)}


def test_where_there_is_one_address_only_the_second_gateway_is_refused_with_what_to_do() -> None:
    for address in ("10.0.0.7", "0.0.0.0", "::1", "my-host"):
        found = assign([Listener("default/a", "http", 80), Listener("default/b", "http", 80)], address)
        assert list(found.addresses) == ["default/a"]
        assert found.refused == (
            f"Gateway default/b is not served: it wants {address} port 8080, which Gateway default/a has; "
            "give one of them another port",
        )


def test_an_address_that_is_asked_for_is_given_even_where_somebody_sits_there_unasked() -> None:
    quiet = Listener("default/a", "http", 80)
    asking = Listener("default/b", "http", 80, addresses=("127.0.0.1",))
    before = assign([quiet], "127.0.0.1").addresses
    found = assign([quiet, asking], "127.0.0.1", before=before)
    assert found.addresses == {"default/a": "127.0.0.2", "default/b": "127.0.0.1"}


def test_an_address_of_the_cluster_is_not_one_of_this_machine() -> None:
    found = assign([Listener("default/a", "http", 80, addresses=("10.1.2.3",))], "127.0.0.1")
    assert found.addresses == {"default/a": "127.0.0.1"}
