"""Manifests written for a cluster, run here by the simulator and our syncer."""

import time
from pathlib import Path

import msgspec
import pytest
from workloads import Running, config_map, run, spec, workload

from headgate.api.inference import InferencePool, PickerRef
from headgate.api.load import load
from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import (
    ConfigMap,
    Container,
    ContainerPort,
    EnvSource,
    EnvVar,
    HttpGet,
    KeyRef,
    Probe,
    SecretVolume,
    Service,
    ServicePort,
    Volume,
    VolumeMount,
)
from headgate.runtime.client import Client
from headgate.runtime.pods.roles import is_picker, moved, roles
from headgate.runtime.sources import Sources

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL_SERVER = {
    "image": "vllm/vllm-openai:v0.8.5",
    "ports": (ContainerPort(8000, "http"),),
    "readiness_probe": Probe(http_get=HttpGet(port="http", path="/health"), period_seconds=1),
}


async def models(address: str, port: int = 8000) -> set[str]:
    client = Client()
    try:
        answer = await client.fetch("GET", address, port, "/v1/models")
        return {entry["id"] for entry in msgspec.json.decode(answer.body)["data"]}
    finally:
        client.close()


async def served(pods: Running, expected: set[str]) -> None:
    """Wait until every server has these models."""
    for found in pods.servers:
        deadline = time.monotonic() + 20
        while (has := await models(found.address)) != expected:
            assert time.monotonic() < deadline, has


def edited(objects: Snapshot, before: str, after: str) -> Snapshot:
    def edit(found: ConfigMap) -> ConfigMap:
        data = {name: text.replace(before, after) for name, text in found.data.items()}
        return msgspec.structs.replace(found, data=data)

    return msgspec.structs.replace(objects, config_maps=tuple(map(edit, objects.config_maps)))


def test_the_guides_manifest_comes_up_without_its_secret_and_loads_adapters_as_they_are_written(tmp_path):
    objects, _ = load(Sources([str(EXAMPLES / "vllm-llama3")]).read()[0])
    base = "meta-llama/Llama-3.1-8B-Instruct"

    async def story(pods: Running) -> None:
        pods.pods.apply(objects)
        await pods.until(lambda: pods.ready == len(pods.rows) > 0)
        assert len([text for text in pods.said if "the simulator does without" in text]) == 1
        await served(pods, {base, "food-review", "cad-fabricator"})
        pods.pods.apply(edited(objects, "cad-fabricator", "poetry"))
        await served(pods, {base, "food-review", "cad-fabricator", "poetry"})
        assert all(row.restarts == 0 for row in pods.rows)

    run(tmp_path, story, speed=0.0)


def test_a_shell_line_that_serves_vllm_serves_the_simulator(tmp_path):
    async def story(pods: Running) -> None:
        line = Container(
            name="c", command=("bash", "-c"), args=("pip install x && vllm serve $(MODEL)",), **MODEL_SERVER
        )
        line = msgspec.structs.replace(line, env=(EnvVar("MODEL", "tiny/model"),))
        pods.apply(workloads=(workload(2, spec(line), annotations={}),))
        await pods.until(lambda: pods.ready == 2)
        await served(pods, {"tiny/model"})

    run(tmp_path, story, speed=0.0)


def test_the_simulator_keeps_the_names_of_mounted_models_and_needs_neither_secrets_nor_downloaders(tmp_path):
    async def story(pods: Running) -> None:
        server = Container(
            name="c",
            args=("--model", "/models/llama"),
            env=(EnvVar("TOKEN", value_from=EnvSource(secret_key_ref=KeyRef("hf", "token"))),),
            volume_mounts=(VolumeMount("weights", "/models"), VolumeMount("credentials", "/secrets")),
            **MODEL_SERVER,
        )
        volumes = (Volume("weights", "csi"), Volume("credentials", "secret", secret=SecretVolume("gcs")))
        fetch = Container(name="fetch", image="google/cloud-sdk", command=("gsutil", "cp", "gs://x", "/models"))
        pods.apply(workloads=(workload(1, spec(server, volumes=volumes, init_containers=(fetch,)), annotations={}),))
        await pods.until(lambda: pods.ready == 1)
        await served(pods, {"/models/llama"})
        for words in (
            "google/cloud-sdk: can't run here",
            "'weights' (csi) can't be had",
            "Secret default/hf key 'token'",
        ):
            assert sum(words in text for text in pods.said) == 1

    run(tmp_path, story, speed=0.0)


DECODE = Container(
    name="vllm",
    image="ghcr.io/llm-d/llm-d:v0.3.0",
    command=("vllm", "serve"),
    args=("tiny/model", "--port", "8200"),
    ports=(ContainerPort(8200, "engine"),),
    startup_probe=Probe(http_get=HttpGet(port=8200, path="/health"), period_seconds=1),
    readiness_probe=Probe(http_get=HttpGet(port="engine", path="/v1/models"), period_seconds=1),
)
ROUTING = Container(
    name="proxy",
    image="ghcr.io/llm-d/llm-d-routing-sidecar:v0.3.0",
    args=("--port=8000", "--vllm-port=8200", "--connector=nixlv2"),
    ports=(ContainerPort(8000),),
    restart_policy="Always",
)


@pytest.mark.parametrize("network", ["127.78.0.0/24", "off"])
def test_where_llm_ds_routing_sidecar_is_left_out_vllm_serves_on_its_port(tmp_path, network):
    async def story(pods: Running) -> None:
        line = Container(
            name="c", command=("sh", "-c"), args=("vllm serve tiny/model --port 8200",), ports=DECODE.ports
        )
        beside = msgspec.structs.replace(ROUTING, restart_policy=None)
        pods.apply(
            workloads=(
                workload(2, spec(DECODE, init_containers=(ROUTING,)), annotations={}, name="decode"),
                workload(1, spec(line, beside), annotations={}, name="line"),
            )
        )
        await pods.until(lambda: pods.ready == 3)
        for found in pods.servers:
            assert await models(found.address, found.mapped.get(8000, 8000)) == {"tiny/model"}
        said = [text for text in pods.said if "serves on its port 8000 instead of 8200" in text]
        assert len(said) == 1
        assert "not split" not in said[0]  # the simulator does it

    run(tmp_path, story, speed=0.0, network=network)


def test_the_pods_of_a_pools_picker_service_are_done_by_headgate_whatever_their_image(tmp_path):
    async def story(pods: Running) -> None:
        picker = Container(name="c", image="example.com/my-own-scheduler:v1", args=("--pool", "p"))
        work = workload(1, spec(picker), name="scheduler", annotations={})
        pool = InferencePool(
            Meta("p"), "inference.networking.k8s.io", "v1", {"app": "web"}, (8000,), picker=PickerRef("epp")
        )
        pods.apply(workloads=(work,), pools=(pool,))
        await pods.until(lambda: any("can't run" in row.message for row in pods.rows))
        await pods.until(lambda: len(pods.servers) == 1)
        service = Service(Meta("epp"), {"app": "scheduler"}, (ServicePort(9002),))
        pods.apply(workloads=(work,), pools=(pool,), services=(service,))
        await pods.until(lambda: [row.ready for row in pods.rows] == [True] and not pods.servers)
        assert "done by headgate" in pods.rows[0].message

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("namespace", "selector", "name"),
    [("other", {"app": "scheduler"}, "epp"), ("default", {}, "epp"), ("default", {"app": "scheduler"}, "another")],
)
def test_a_service_that_is_not_the_pools_picker_makes_no_picker(namespace, selector, name):
    pool = InferencePool(Meta("p"), "inference.networking.k8s.io", "v1", {}, (8000,), picker=PickerRef("epp"))
    service = Service(Meta(name, namespace), selector, (ServicePort(9002),))
    assert not is_picker("default", {"app": "scheduler"}, Snapshot(pools=(pool,), services=(service,)))


def test_what_serves_a_model_stays_so_even_where_the_pickers_service_selects_it():
    beside = Container(name="x", image="example.com/x")
    assert roles(spec(DECODE, beside), {}, picker=True) == {"vllm": "engine", "x": "unknown"}
    assert roles(spec(beside, ROUTING), {}, picker=False) == {"x": "unknown", "proxy": "unknown"}


@pytest.mark.parametrize(
    ("sidecar", "engine", "expected"),
    [
        (("--port=8000", "--vllm-port=8200"), ("--port", "8200"), {8200: 8000}),
        (("-port=9000", "-vllm-port=8001"), ("--port=8001",), {8001: 9000}),
        (("--connector=nixlv2",), ("--port=8200",), {8200: 8000}),
        (("--port", "8080"), (), {8000: 8080}),
        (("--port=8000",), (), {}),
    ],
)
def test_an_engine_moves_to_the_port_of_its_routing_sidecar(sidecar, engine, expected):
    of = spec(Container("v", image="vllm/vllm-openai", args=engine), Container("r", ROUTING.image, args=sidecar))
    assert moved(of, roles(of, {}, picker=False)) == expected


def test_the_real_vllm_is_waited_for_where_it_is_not_installed(tmp_path):
    async def story(pods: Running) -> None:
        server = Container(name="c", args=("--model", "m"), **MODEL_SERVER)
        pods.apply(workloads=(workload(2, spec(server), annotations={}),), config_maps=(config_map("x"),))
        await pods.until(lambda: all("no module `vllm`" in row.message for row in pods.rows))
        assert not any(row.pending for row in pods.rows)

    run(tmp_path, story, engine="vllm", vllm_python="/no/such/python")
