"""Which servers belong to a pool, and at which addresses."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.endpoint import Endpoint, Server
from headgate.fleet.members import by_label, members, narrowed

LABELS = {"app": "vllm", "tier": "gpu"}


def server(name="a", **more):
    given = {"namespace": "ns", "address": "10.0.0.1", "labels": LABELS, "ready": True, "ports": {"http": 8000}}
    return Server(name=name, **{**given, **more})


def hostports(*servers, ports=(8000,), selector=None):
    return [endpoint.hostport for endpoint in members("ns", selector or {"app": "vllm"}, ports, servers)]


def test_a_pool_has_one_endpoint_for_each_server_and_port():
    found = members("ns", {"app": "vllm"}, (8000, 8001), [server("b"), server("a", address="10.0.0.2")])
    assert [(endpoint.name, endpoint.hostport) for endpoint in found] == [
        ("ns/a-rank-0", "10.0.0.2:8000"),
        ("ns/a-rank-1", "10.0.0.2:8001"),
        ("ns/b-rank-0", "10.0.0.1:8000"),
        ("ns/b-rank-1", "10.0.0.1:8001"),
    ]


def test_every_label_of_the_selector_must_be_there_with_its_value():
    assert hostports(server(), selector={"app": "vllm", "tier": "gpu"})
    assert not hostports(server(), selector={"app": "vllm", "tier": "cpu"})
    assert not hostports(server(), selector={"app": "vllm", "zone": "a"})


def test_an_empty_selector_selects_nothing():
    assert members("ns", {}, (8000,), [server()]) == ()


def test_servers_of_other_namespaces_are_others():
    assert not hostports(server(namespace="other"))


def test_a_port_by_name_is_looked_up_and_skipped_where_it_is_missing():
    assert hostports(server(), ports=("http",)) == ["10.0.0.1:8000"]
    assert hostports(server(ports={}), ports=("http", 9000)) == ["10.0.0.1:9000"]


def test_a_server_with_a_port_of_its_own_is_one_endpoint_there():
    found = members("ns", {"app": "vllm"}, (8000, 8001), [server(address="::1", port=9999)])
    assert [(endpoint.name, endpoint.hostport) for endpoint in found] == [("ns/a-rank-0", "[::1]:9999")]


def test_ports_that_others_stand_for_keep_their_names_and_ranks():
    moved = server(address="127.0.0.1", mapped={8000: 20001}, annotations={"llm-d.ai/active-ports": "8000,8001"})
    assert hostports(moved, ports=(8000, 8001)) == ["127.0.0.1:20001", "127.0.0.1:8001"]
    assert hostports(moved, ports=("http",)) == ["127.0.0.1:20001"]


def test_only_active_ports_serve_and_ranks_stay():
    for name in ("llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"):
        found = members("ns", {"app": "vllm"}, (8000, 8001, 8002), [server(annotations={name: "8002, 8001,x"})])
        assert [endpoint.name for endpoint in found] == ["ns/a-rank-1", "ns/a-rank-2"]
    assert not hostports(server(annotations={"llm-d.ai/active-ports": ""}))


def test_the_new_name_of_a_label_wins_over_the_old_one():
    both = {**LABELS, "llm-d.ai/engine-type": "sglang", "inference.networking.k8s.io/engine-type": "triton"}
    old = {**LABELS, "inference.networking.k8s.io/engine-type": "triton"}
    engines = [members("ns", LABELS, (1,), [server(labels=labels)])[0].engine for labels in (both, old, LABELS)]
    assert engines == ["sglang", "triton", "vllm"]


def test_ray_serve_is_known_by_its_labels():
    for labels in ({**LABELS, "ray.io/cluster": "x"}, {"app": "rayserve"}):
        assert members("ns", labels, (1,), [server(labels=labels)])[0].ray
    assert not members("ns", LABELS, (1,), [server()])[0].ray


def test_what_the_server_is_its_endpoints_are():
    (found,) = members("ns", LABELS, (1,), [server(ready=False, draining=True)])
    assert found == Endpoint("ns/a-rank-0", "10.0.0.1", 1, LABELS, ready=False, draining=True)


_LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))


@given(st.lists(st.tuples(st.sampled_from(["ns", "other"]), _LABELS), max_size=8), _LABELS)
def test_looking_by_label_finds_the_same_members(given_servers, selector):
    servers = [server(f"s{n}", namespace=where, labels=labels) for n, (where, labels) in enumerate(given_servers)]
    few = narrowed("ns", selector, by_label(servers))
    assert members("ns", selector, (8000,), few) == members("ns", selector, (8000,), servers)
