"""GPUs: who needs how many, who gets which, and Pods that wait for one."""

import os
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workloads import SERVER, Running, container, pod, run, server, spec, workload

from headgate.api.workload import Container, EnvVar, PodSpec, Resources
from headgate.runtime.pods import PodRow
from headgate.runtime.pods.devices import find_devices
from headgate.runtime.pods.gpus import allocate, listed, need, shares, visible

H200S = """\
GPU 0: NVIDIA H200 (UUID: GPU-5d3e6a0c-0d2f-5ad8-9c3f-0f9a3f7d1a11)
GPU 1: NVIDIA H200 (UUID: GPU-6d3e6a0c-0d2f-5ad8-9c3f-0f9a3f7d1a22)
"""
IN_PARTS = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d3e6a0c)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 3g.20gb     Device  1: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-6d3e6a0c)
"""


def gpus(count: int | str) -> Resources:
    return Resources({"nvidia.com/gpu": str(count)}, {"nvidia.com/gpu": str(count)})


@pytest.mark.parametrize(
    ("args", "resources", "kind", "expected"),
    [
        ((), None, "engine", 1),
        ((), 2, "engine", 2),
        ((), 0, "engine", 0),
        (("--tensor-parallel-size", "4"), None, "engine", 4),
        (("--tensor-parallel-size=4",), None, "engine", 4),
        (("--tensor_parallel_size=4",), None, "engine", 4),
        (("-tp", "2", "-pp", "2"), None, "engine", 4),
        (("-c", "vllm serve m --tensor-parallel-size '2' --data-parallel-size 2"), None, "engine", 4),
        (("--tensor-parallel-size", "$(TP)"), None, "engine", 8),
        (("--tensor-parallel-size", "4"), 2, "engine", 2),
        (("--tensor-parallel-size", "many"), None, "engine", 1),
        (("--tensor-parallel-size", "4"), None, "host", 0),
        ((), 3, "host", 3),
    ],
)
def test_resources_say_how_many_gpus_a_container_needs_else_vllms_flags(args, resources, kind, expected):
    one = Container(
        "c", args=args, env=(EnvVar("TP", "8"),), resources=Resources() if resources is None else gpus(resources)
    )
    assert need(one, kind) == expected


def test_containers_that_stay_have_their_own_and_those_that_end_use_what_comes_after_them():
    def part(name: str, count: int, **fields: object) -> Container:
        return Container(name, resources=gpus(count), **fields)

    of = PodSpec(
        containers=(part("a", 1), part("b", 2), part("none", 0), part("not-run", 4)),
        init_containers=(part("side", 1, restart_policy="Always"), part("fetch", 1), part("convert", 5)),
    )
    kinds = dict.fromkeys(("side", "fetch", "convert", "a", "b", "none"), "host")
    made = shares(of, kinds)
    assert made.total == 6
    assert made.cut("012345") == {
        "side": ("0",),
        "fetch": ("1",),
        "convert": ("1", "2", "3", "4", "5"),
        "a": ("1",),
        "b": ("2", "3"),
    }
    assert made.cut(()) == dict.fromkeys(made.of, ())


@pytest.mark.parametrize(
    ("devices", "held", "wanting", "expected"),
    [
        ("01", {}, {"a": 1, "b": 1}, {"a": "0", "b": "1"}),
        ("01", {"x": "0"}, {"a": 1}, {"a": "1"}),
        ("01", {"x": "1"}, {"a": 1, "b": 1}, {"a": "0"}),
        ("01", {"x": "01"}, {"a": 1}, {}),
        ("0123", {"x": "1"}, {"a": 3, "b": 1}, {"a": "023"}),
        ("0123", {"x": "1"}, {"a": 4, "b": 2}, {"b": "02"}),
        ("", {}, {"a": 1}, {}),
        ("0", {"gone": "7"}, {"a": 1}, {"a": "0"}),
    ],
)
def test_free_gpus_go_to_those_that_came_first(devices, held, wanting, expected):
    assert {pod: "".join(given) for pod, given in allocate(devices, held, wanting).items()} == expected


@given(
    st.integers(0, 8),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3),
    st.dictionaries(st.sampled_from("defgh"), st.integers(1, 5), max_size=5),
)
def test_nobody_shares_a_gpu_and_everybody_has_all_or_nothing(count, holding, wanting):
    devices = [str(number) for number in range(count)]
    held = allocate(devices, {}, holding)
    given_now = allocate(devices, held, wanting)
    out = [device for some in (*held.values(), *given_now.values()) for device in some]
    assert len(out) == len(set(out)) <= count
    assert all(len(some) == wanting[pod] for pod, some in given_now.items())
    left = count - len(out)
    assert all(wanting[pod] > left for pod in wanting if pod not in given_now)


@pytest.mark.parametrize(
    ("written", "expected"),
    [(None, "4,6"), ("0", "4"), ("1, 0", "6,4"), ("2", "4,6"), ("GPU-1", "4,6"), ("", "4,6")],
)
def test_what_a_manifest_writes_of_gpus_counts_among_its_own(written, expected):
    assert visible(("4", "6"), written) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (H200S, ("0", "1")),
        (IN_PARTS, ("MIG-c7384736-a75d-5afc-978f-d2f1294409fd", "MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d", "1")),
        ("No devices found.\n", ()),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", ()),
        ("", ()),
    ],
)
def test_devices_are_those_that_nvidia_smi_lists(text, expected):
    assert listed(text) == expected


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that lists two GPUs."""
    tool = tmp_path / "tools" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{H200S}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, ("0", "1")), ("1", ("1",)), ("1,0", ("1", "0")), ("", ()), ("-1", ()), ("0,-1,1", ("0",))],
)
def test_the_user_may_keep_gpus_from_us(two_gpus, chosen, expected):
    own = dict(os.environ) if chosen is None else {**os.environ, "CUDA_VISIBLE_DEVICES": chosen}
    assert find_devices(own) == expected


def test_without_nvidia_smi_device_files_are_counted(tmp_path):
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert find_devices({"PATH": str(tmp_path)}, tmp_path) == ("0", "1")
    assert find_devices({"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "5"}, tmp_path / "none") == ()


# Says in its log which GPUs it sees, then serves.
SAYS = "import os; print('sees', os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)\n" + SERVER


def with_gpus(count: int) -> Container:
    return msgspec.structs.replace(server(resources=gpus(count)), command=(sys.executable, "-I", "-S", "-c", SAYS))


def test_more_pods_than_gpus_wait_until_one_is_free_and_it_is_said_once(tmp_path, two_gpus):
    def seen(row: PodRow) -> str:
        return Path(row.log).read_text().split()[1]

    async def story(pods: Running) -> None:
        of = spec(with_gpus(1))
        pods.apply(workloads=(workload(4, of),))
        await pods.until(lambda: pods.ready == 2 and not any(row.pending for row in pods.rows))
        ready = {row.name: seen(row) for row in pods.rows if row.ready}
        assert sorted(ready.values()) == ["0", "1"]
        waiting = [row for row in pods.rows if not row.ready]
        assert {(row.phase, row.message) for row in waiting} == {("Pending", "0/2 GPUs free, 1 wanted")}
        assert len([text for text in pods.said if "more Pods than GPUs (2)" in text]) == 1

        pods.apply(workloads=(workload(2, of),))  # those that wait go first
        await pods.until(lambda: len(pods.rows) == 2)
        assert {row.name: seen(row) for row in pods.rows} == ready

        other = workload(1, of, name="other")
        pods.apply(workloads=(workload(2, of), other))
        await pods.until(lambda: any(row.message for row in pods.rows))
        pods.apply(workloads=(workload(1, of), other))  # what one gives back, another gets
        await pods.until(lambda: pods.ready == 2 and len(pods.rows) == 2)
        assert sorted(map(seen, pods.rows)) == ["0", "1"]

    run(tmp_path / "state", story)


def test_a_pod_that_wants_more_gpus_than_there_are_is_told_so(tmp_path, two_gpus):
    async def story(pods: Running) -> None:
        pods.apply(workloads=(workload(1, spec(with_gpus(3))),))
        await pods.until(lambda: any(row.message == "2/2 GPUs free, 3 wanted" for row in pods.rows))
        assert any("wants 3 GPUs, and this machine has 2" in text for text in pods.said)

    run(tmp_path / "state", story)


def test_a_pod_that_has_ended_gives_its_gpus_back(tmp_path, two_gpus):
    async def story(pods: Running) -> None:
        job = spec(container("pass", resources=gpus(2)), restart_policy="Never")
        pods.apply(pods=(pod("job", job),))
        await pods.until(lambda: [row.phase for row in pods.rows] == ["Succeeded"])
        pods.apply(pods=(pod("job", job),), workloads=(workload(2, spec(with_gpus(1))),))
        await pods.until(lambda: pods.ready == 2)

    run(tmp_path / "state", story)
