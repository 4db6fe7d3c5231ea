"""Manifests written for a cluster, run here by the simulator and our syncer."""

import time
from pathlib import Path

import msgspec
from workloads import Running, config_map, run, spec, workload

from headgate.api.load import load
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
    Volume,
    VolumeMount,
)
from headgate.runtime.client import Client
from headgate.runtime.sources import read_texts

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL_SERVER = {
    "image": "vllm/vllm-openai:v0.8.5",
    "ports": (ContainerPort(8000, "http"),),
    "readiness_probe": Probe(http_get=HttpGet(port="http", path="/health"), period_seconds=1),
}


async def models(address: str) -> set[str]:
    client = Client()
    try:
        answer = await client.fetch("GET", address, 8000, "/v1/models")
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
    objects, _ = load(read_texts([str(EXAMPLES / "vllm-llama3")])[0])
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


def test_the_real_vllm_is_waited_for_where_it_is_not_installed(tmp_path):
    async def story(pods: Running) -> None:
        server = Container(name="c", args=("--model", "m"), **MODEL_SERVER)
        pods.apply(workloads=(workload(2, spec(server), annotations={}),), config_maps=(config_map("x"),))
        await pods.until(lambda: all("no module `vllm`" in row.message for row in pods.rows))
        assert not any(row.pending for row in pods.rows)

    run(tmp_path, story, engine="vllm", vllm_python="/no/such/python")
