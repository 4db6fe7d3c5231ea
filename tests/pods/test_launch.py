"""Command line, variables and directory of a container's process."""

import os
import sys
from pathlib import Path

import msgspec
import pytest
from workloads import config_map

from headgate.api.snapshot import Snapshot
from headgate.api.workload import Container, EnvFrom, EnvVar, SourceRef
from headgate.runtime.pods.environment import Identity
from headgate.runtime.pods.launch import Launch, NotYet, prepare
from headgate.runtime.pods.machine import Machine
from headgate.runtime.pods.programs import Engine, Kind

WHO = Identity("web-1", "default", "u-1", "127.77.0.1", {}, {}, "node")
SIM = Engine("sim", ("headgate", "sim"))
VLLM = Engine("vllm", ("/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server"))
MOUNTS = {"/models": "/real/models", "/etc/conf": "/real/conf"}


def launch(
    directory: Path,
    container: Container,
    kind: Kind = "engine",
    engine: Engine = SIM,
    own: dict[str, str] | None = None,
    who: Identity = WHO,
    devices: tuple[str, ...] = (),
) -> Launch:
    machine = Machine(directory, engine, sys.executable, lambda text: None)
    machine.own = {"PATH": "/bin", "HOME": "/me", "SHELL_SECRET": "x", **(own or {})}
    machine.look_at(Snapshot(config_maps=(config_map("cm", MODEL="/models/b"),)))
    return prepare(container, kind, who, MOUNTS, str(directory), machine, devices)


def test_a_container_has_a_small_environment_of_the_users_and_all_of_its_own(tmp_path):
    made = launch(tmp_path, Container("c", env=(EnvVar("A", "$(B)/models"), EnvVar("CONF", "/etc/conf/x"))))
    assert made.env == {
        "PATH": "/bin",
        "HOME": "/me",
        "HOSTNAME": "web-1",
        "PYTHONUNBUFFERED": "1",
        "A": "$(B)/models",
        "CONF": "/real/conf/x",
        "HEADGATE_POD_ADDRESS": "127.77.0.1",
    }
    assert made.cwd == str(tmp_path)


def test_references_in_arguments_see_the_containers_variables_and_not_the_users(tmp_path):
    made = launch(
        tmp_path,
        Container("c", args=("--model", "$(MODEL)", "--x=$(HOME)"), env_from=(EnvFrom("", SourceRef("cm")),)),
    )
    assert made.argv == ("headgate", "sim", "--model", "/models/b", "--x=$(HOME)", "--host", "127.77.0.1")


@pytest.mark.parametrize(
    ("args", "end"),
    [
        (("--model", "/models/b"), ("--model", "/real/models/b", "--served-model-name", "/models/b")),
        (("--model=/models/b", "--served-model-name=b"), ("--model=/real/models/b", "--served-model-name=b")),
        (
            ("--model", "org/b", "--chat-template", "/etc/conf/t"),
            ("--model", "org/b", "--chat-template", "/real/conf/t"),
        ),
    ],
)
def test_the_real_vllm_finds_its_files_and_keeps_the_name_that_clients_use(tmp_path, args, end):
    made = launch(tmp_path, Container("c", args=args), engine=VLLM)
    kept = [word for word in made.argv[3:] if word not in ("--host", "127.77.0.1")]
    assert made.argv[:3] == VLLM.command
    assert tuple(kept) == end


def test_the_real_vllm_sees_the_users_cuda_and_hugging_face_settings(tmp_path):
    own = {"CUDA_VISIBLE_DEVICES": "1", "HF_HOME": "/cache", "https_proxy": "p", "LD_LIBRARY_PATH": "/l"}
    real = launch(tmp_path, Container("c"), engine=VLLM, own=own).env
    assert own.items() <= real.items()
    assert "SHELL_SECRET" not in real
    assert not own.keys() & launch(tmp_path, Container("c"), own=own).env.keys()


def test_a_containers_gpus_are_named_in_the_order_in_which_they_were_counted(tmp_path):
    def env(*written: EnvVar, **own: str) -> dict[str, str]:
        made = launch(tmp_path, Container("c", env=written), engine=VLLM, own=own, devices=("2", "3")).env
        return {name: value for name, value in made.items() if name.startswith("CUDA_")}

    assert env() == {"CUDA_VISIBLE_DEVICES": "2,3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert env(EnvVar("CUDA_VISIBLE_DEVICES", "1"))["CUDA_VISIBLE_DEVICES"] == "3"
    assert env(EnvVar("CUDA_DEVICE_ORDER", "FASTEST_FIRST"))["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert env(CUDA_VISIBLE_DEVICES="2,3,5") == {"CUDA_VISIBLE_DEVICES": "2,3"}  # the user counted, not we
    assert not launch(tmp_path, Container("c"), engine=VLLM).env.keys() & {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}


def test_what_an_image_sets_for_its_python_does_not_reach_ours(tmp_path):
    theirs = (EnvVar("PYTHONPATH", "/app"), EnvVar("LD_PRELOAD", "x.so"))
    assert not {"PYTHONPATH", "LD_PRELOAD"} & launch(tmp_path, Container("c", env=theirs)).env.keys()
    ours = launch(tmp_path, Container("c", env=theirs), own={"PYTHONPATH": "/src"}).env
    assert ours["PYTHONPATH"] == "/src"
    real = launch(tmp_path, Container("c", env=theirs), engine=VLLM, own={"PYTHONPATH": "/src"}).env
    assert real["PYTHONPATH"] == "/app"


def test_a_shell_line_finds_the_shims_first_and_its_files(tmp_path):
    made = launch(tmp_path, Container("c", command=("sh", "-c", "vllm serve m --x /etc/conf/y")))
    assert made.argv == ("sh", "-c", "vllm serve m --x /real/conf/y")
    assert made.env["PATH"] == f"{tmp_path / 'bin'}{os.pathsep}/bin"


def test_the_syncer_reads_its_configuration_where_it_really_is(tmp_path):
    variable = EnvVar("DYNAMIC_LORA_ROLLOUT_CONFIG", "/etc/conf/configmap.yaml")
    made = launch(tmp_path, Container("c", args=("--config", "/etc/conf/a"), env=(variable,)), "syncer")
    assert made.argv[-3:] == ("lora-syncer", "--config", "/real/conf/a")
    assert made.env["DYNAMIC_LORA_ROLLOUT_CONFIG"] == "/real/conf/configmap.yaml"


SHARED = msgspec.structs.replace(WHO, address="127.0.0.1", ports={8000: 20001, 8080: 20002})


@pytest.mark.parametrize(
    ("container", "kind", "argv"),
    [
        (Container("c"), "engine", ("headgate", "sim", "--port", "20001", "--host", "127.0.0.1")),
        (
            Container("c", args=("--port=8080",)),
            "engine",
            ("headgate", "sim", "--port", "20001", "--port=20002", "--host", "127.0.0.1"),
        ),
        (
            Container("c", command=("x",), args=("--port", "$(PORT)"), env=(EnvVar("PORT", "8000"),)),
            "host",
            ("x", "--port", "20001"),
        ),
        (Container("c", command=("sh", "-c", "serve --port 8080")), "host", ("sh", "-c", "serve --port 20002")),
    ],
)
def test_where_pods_share_an_address_their_ports_are_others(tmp_path, container, kind, argv):
    made = launch(tmp_path, container, kind, who=SHARED)
    assert made.argv == argv
    assert made.env["HEADGATE_POD_PORTS"] == "8000=20001,8080=20002"
    assert made.env["HEADGATE_ENGINE_PORT"] == "20001"
    assert made.command(("curl", "http://localhost:8000/")) == ("curl", "http://127.0.0.1:20001/")


def test_the_syncer_is_told_of_ports_by_a_variable_alone(tmp_path):
    made = launch(tmp_path, Container("c", args=("--metrics-port", "8080")), "syncer", who=SHARED)
    assert made.argv[-2:] == ("--metrics-port", "8080")
    assert made.env["HEADGATE_POD_PORTS"] == "8000=20001,8080=20002"


def test_a_working_directory_of_the_image_matters_only_to_what_runs_on_the_host(tmp_path):
    away = Container("c", command=("x",), working_dir="/no/such/dir")
    assert launch(tmp_path, away).cwd == str(tmp_path)
    with pytest.raises(NotYet, match="no directory /no/such/dir"):
        launch(tmp_path, away, "host")
    assert launch(tmp_path, msgspec.structs.replace(away, working_dir="/"), "host").cwd == "/"


def test_commands_of_probes_and_hooks_ask_the_pod_where_they_say_localhost(tmp_path):
    made = launch(tmp_path, Container("c"))
    command = ("curl", "http://localhost:8000/x", "127.0.0.1:1", "notlocalhost:1", "localhost", "/models/y")
    assert made.command(command) == (
        "curl",
        "http://127.77.0.1:8000/x",
        "127.77.0.1:1",
        "notlocalhost:1",
        "localhost",
        "/real/models/y",
    )
