"""Pods that share one address: which ports they serve, and every place that names one."""

import socket
import sys

import msgspec
import pytest
from workloads import SERVER, Running, container, run, spec, workload

from headgate.api.workload import Container, ContainerPort, EnvVar, Exec, HttpGet, PodSpec, Probe, TcpSocket
from headgate.fleet.members import members
from headgate.runtime.client import Client
from headgate.runtime.pods.addresses import AddressError, Addresses
from headgate.runtime.pods.ports import listing, served, text, variables, words

PORTS = {8000: 20001, 8080: 20002}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("--port 8000", "--port 20001"),
        ("--port=8000", "--port=20001"),
        ("--http-port 8080", "--http-port 20002"),
        ("--port 80000", "--port 80000"),
        ("--port 9000", "--port 9000"),
        ("--max-model-len 8000", "--max-model-len 8000"),
        ("--report 8000x", "--report 8000x"),
        ("curl http://localhost:8000/health", "curl http://localhost:20001/health"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:20002"),
        ("--bind 0.0.0.0:8000", "--bind 0.0.0.0:20001"),
        ("--listen=:8000", "--listen=:20001"),
        (":8000", ":20001"),
        ("[::]:8000", "[::]:20001"),
        ("http://other:8000/", "http://other:8000/"),
        ("10.127.0.0.1:8000", "10.127.0.0.1:8000"),
        ('{"max_tokens":8000}', '{"max_tokens":8000}'),
        ("image:8000", "image:8000"),
        ("notlocalhost:8000", "notlocalhost:8000"),
    ],
)
def test_a_command_line_names_the_ports_that_stand_for_its_own(written, expected):
    assert " ".join(words(written.split(" "), PORTS)) == expected
    assert text(written, PORTS) == expected  # as a shell line
    assert " ".join(words(written.split(" "), {})) == text(written, {}) == written


def test_quotes_are_of_shell_lines_and_p_is_of_command_lines():
    assert text("vllm serve m --port '8000' -p 8000", PORTS) == "vllm serve m --port '20001' -p 8000"
    assert words(("-p", "8000", "8000", "-p"), PORTS) == ("-p", "20001", "8000", "-p")


def test_variables_name_ports_by_their_own_name_or_by_an_address():
    written = {
        "PORT": "8000",
        "HTTP_PORT": "8080",
        "PORTAL": "8000",
        "REPORT": "8000",
        "TOKENS": "8000",
        "URL": "http://localhost:8000/v1",
        "OTHER_PORT": "9000",
    }
    assert variables(written, PORTS) == {
        **written,
        "PORT": "20001",
        "HTTP_PORT": "20002",
        "URL": "http://localhost:20001/v1",
    }
    assert variables(written, {}) == written
    assert listing(PORTS) == "8000=20001,8080=20002"


DECLARED = (ContainerPort(8000, "http"), ContainerPort(9000, protocol="UDP"))


@pytest.mark.parametrize(
    ("kind", "args", "env", "expected"),
    [
        ("engine", (), {}, (8000,)),
        ("engine", ("--port", "8200"), {}, (8000, 8200)),
        ("engine", ("--port=$(P)",), {"P": "8300"}, (8000, 8300)),
        ("engine", ("vllm serve a --port 8001 & vllm serve b --port 8002",), {}, (8000, 8001, 8002)),
        ("syncer", (), {}, (8080,)),
        ("syncer", ("--metrics-port", "8090"), {}, (8080, 8090)),
        ("host", ("--port", "8000"), {}, (8000,)),
        ("host", ("-m", "http.server", "-p", "8000"), {}, (8000,)),
        ("host", ("--listen", "0.0.0.0:8000"), {}, (8000,)),
        ("host", (), {"PORT": "8000"}, (8000,)),
        ("host", ("--port", "7000"), {}, ()),  # it is not declared: nobody asks for it
        ("host", ("8000",), {}, ()),  # it may be a port, it may be anything
        ("gateway", ("--port", "9002"), {}, ()),
        ("unknown", ("--port", "8000"), {}, ()),
    ],
)
def test_ports_that_can_be_moved_are_those_that_the_command_names(kind, args, env, expected):
    one = Container("c", args=args, ports=DECLARED, env=tuple(EnvVar(*pair) for pair in env.items()))
    assert served(PodSpec((one,)), {"c": kind}) == expected


def test_init_containers_that_end_serve_nothing():
    side = Container("side", args=("--metrics-port", "8090"))
    ends = Container("ends", args=("--port", "1234"))
    of = PodSpec((Container("c", ports=DECLARED),), (side, ends))
    assert served(of, {"c": "engine", "side": "syncer"}) == (8000, 8080, 8090)


def claimed(network: str) -> tuple[Addresses, list[str]]:
    said: list[str] = []
    return Addresses(network, said.append), said


def test_each_pod_has_an_address_of_its_own_and_the_next_one_another():
    addresses, said = claimed("127.79.0.0/29")
    claims = [addresses.claim([8000]) for _ in range(3)]
    assert [(claim.address, claim.ports) for claim in claims] == [(f"127.79.0.{n}", {}) for n in (1, 2, 3)]
    claims[0].release()
    claims.append(addresses.claim([]))
    assert claims[-1].address == "127.79.0.4"
    other, _ = claimed("127.79.0.0/29")  # another Headgate
    claims.append(other.claim([]))
    assert claims[-1].address == "127.79.0.1"
    assert not said
    claims += [addresses.claim([]) for _ in range(2)]
    with pytest.raises(AddressError, match="all 6 addresses are in use"):
        addresses.claim([])


def test_without_addresses_of_their_own_pods_have_free_ports_that_nobody_else_gets():
    addresses, said = claimed("off")
    first, second = addresses.claim([8000, 8080]), addresses.claim([8000])
    assert (first.address, set(first.ports)) == ("127.0.0.1", {8000, 8080})
    other, _ = claimed("off")
    third = other.claim([8000, 20_003])
    used = [*first.ports.values(), *second.ports.values(), *third.ports.values()]
    assert len(set(used)) == 5
    assert not {8000, 8080, 20_003} & set(used)
    for port in used:
        with socket.create_server(("127.0.0.1", port)):
            pass  # a Pod's server can have it
    with socket.create_server(("127.0.0.1", used[0])):
        for claim in (first, second, third):
            claim.release()
        assert used[0] not in claimed("off")[0].claim(range(1, 20)).ports.values()
    assert not said


def test_a_machine_without_the_networks_addresses_is_told_of_once_and_shares_one():
    addresses, said = claimed("192.0.2.0/28")  # of no machine: TEST-NET-1
    claims = [addresses.claim([8000]) for _ in range(2)]
    assert {claim.address for claim in claims} == {"127.0.0.1"}
    assert len(said) == 1
    assert said[0].startswith("this machine has no address 192.0.2.1 (")


ASKS = """
import os, sys, urllib.request
urllib.request.urlopen(f"http://{os.environ['HEADGATE_POD_ADDRESS']}:{os.environ['HTTP_PORT']}/{sys.argv[1]}")
"""


def test_replicas_at_one_address_are_probed_and_served_at_ports_of_their_own(tmp_path):
    serving = container(
        SERVER.replace("8000", "int(sys.argv[1].rpartition(':')[2])").replace("SAYS", "HOSTNAME"),
        ports=(ContainerPort(8000, "http"),),
        env=(EnvVar("HTTP_PORT", "8000"),),
        startup_probe=Probe(http_get=HttpGet(port=8000), period_seconds=1),
        readiness_probe=Probe(
            exec=Exec((sys.executable, "-I", "-S", "-c", ASKS, "localhost:8000")), period_seconds=1, timeout_seconds=10
        ),
        liveness_probe=Probe(tcp_socket=TcpSocket(port="http"), period_seconds=1),
    )
    serving = msgspec.structs.replace(serving, command=(*serving.command, "0.0.0.0:8000"))

    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(2, spec(serving)),))
        await pods.until(lambda: pods.ready == 2)
        found = [members("default", {"app": "web"}, (port,), pods.servers) for port in (8000, "http")]
        assert found[0] == found[1]
        assert {endpoint.address for endpoint in found[0]} == {"127.0.0.1"}
        client = Client()
        for endpoint in found[0]:
            answer = await client.fetch("GET", endpoint.address, endpoint.port, "/")
            assert f"default/{answer.body.decode()}-rank-0" == endpoint.name
        client.close()
        assert all(row.restarts == 0 for row in pods.rows)

    run(tmp_path, story, network="off")
