"""Variables, paths, programs, addresses: what the pure parts make of what is written."""

import msgspec
import pytest

from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import (
    ConfigMap,
    ConfigMapVolume,
    Container,
    EnvFrom,
    EnvSource,
    EnvVar,
    FieldRef,
    HttpGet,
    KeyPath,
    KeyRef,
    Pod,
    PodSpec,
    Probe,
    Projected,
    Projection,
    ResourceFieldRef,
    Resources,
    Secret,
    SecretVolume,
    SourceRef,
    Volume,
)
from headgate.runtime.pods.addressed import addressed, parse, unreadable
from headgate.runtime.pods.backoff import Backoff
from headgate.runtime.pods.environment import Environment, Identity, environment, expand
from headgate.runtime.pods.mounts import rewriter
from headgate.runtime.pods.probes import Streak
from headgate.runtime.pods.programs import (
    Engine,
    classify,
    engine_program,
    named_model,
    port,
    reason,
    refusal,
    repository,
    syncer_program,
)
from headgate.runtime.pods.volumes import VolumeError, contents

WHO = Identity("web-1", "prod", "u-1", "127.77.0.1", {"app": "web"}, {"a/b": "c"}, "node", "", 4, 8 * 2**30)
OBJECTS = Snapshot(
    config_maps=(
        ConfigMap(Meta("cm", "prod"), {"color": "red", "bad key": "x"}),
        ConfigMap(Meta("cm"), {"color": "no"}),
    ),
    secrets=(Secret(Meta("s", "prod"), {"token": b"t0"}),),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C)", "$(C)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$$", "$"),
        ("$()", "$()"),
    ],
)
def test_references_expand_as_in_kubernetes(text, expected):
    assert expand(text, {"A": "1", "B": "2"}) == expected


def variables(*env: EnvVar, env_from: tuple[EnvFrom, ...] = (), own=None, optional: bool = False) -> Environment:
    return environment(Container("c", env=env, env_from=env_from), WHO, OBJECTS, own or {}, secrets_optional=optional)


def key(kind: str, name: str, of: str, *, optional: bool = False) -> EnvSource:
    reference = KeyRef(name, of, optional)
    return EnvSource(config_map_key_ref=reference) if kind == "ConfigMap" else EnvSource(secret_key_ref=reference)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "prod"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['a/b']", "c"),
        ("metadata.labels['none']", ""),
        ("status.podIP", "127.77.0.1"),
        ("status.hostIP", "127.0.0.1"),
        ("spec.nodeName", "node"),
        ("spec.serviceAccountName", "default"),
    ],
)
def test_fields_of_the_pod(path, expected):
    assert variables(EnvVar("X", value_from=EnvSource(field_ref=FieldRef(path)))).variables == {"X": expected}


def test_a_field_that_is_not_one_is_waited_for_and_said():
    found = variables(EnvVar("X", value_from=EnvSource(field_ref=FieldRef("status.phase"))))
    assert found == Environment({}, ("field status.phase (for X)",))


LIMITED = Resources({"cpu": "1500m", "memory": "3Gi"}, {"cpu": "500m"})


@pytest.mark.parametrize(
    ("resource", "divisor", "of", "expected"),
    [
        ("limits.cpu", "1", LIMITED, "2"),
        ("limits.cpu", "1m", LIMITED, "1500"),
        ("requests.cpu", "1m", LIMITED, "500"),
        ("limits.memory", "1Mi", LIMITED, "3072"),
        ("requests.memory", "2Gi", LIMITED, "2"),  # the limit, as the API server would have filled in
        ("limits.cpu", "1", Resources(), "4"),  # the machine's
        ("limits.memory", "3Gi", Resources(), "3"),
        ("requests.cpu", "1", Resources(), "0"),
        ("limits.ephemeral-storage", "1", Resources(), "0"),
    ],
)
def test_resources_are_the_containers_else_the_machines_rounded_up(resource, divisor, of, expected):
    who = msgspec.structs.replace(WHO, resources={"c": of, "other": Resources({"cpu": "9"})})
    asks = Container(
        "c", env=(EnvVar("X", value_from=EnvSource(resource_field_ref=ResourceFieldRef(resource, divisor=divisor))),)
    )
    assert environment(asks, who, OBJECTS, {}, secrets_optional=False).variables == {"X": expected}


def test_resources_of_another_container_can_be_asked_for_by_its_name():
    who = msgspec.structs.replace(WHO, resources={"c": Resources(), "other": Resources({"cpu": "9"})})
    for name, expected in (("other", {"X": "9"}), ("none", {})):
        reference = ResourceFieldRef("limits.cpu", name)
        asks = Container("c", env=(EnvVar("X", value_from=EnvSource(resource_field_ref=reference)),))
        assert environment(asks, who, OBJECTS, {}, secrets_optional=False).variables == expected


def test_later_variables_see_earlier_ones_and_not_the_other_way_round():
    found = variables(EnvVar("A", "$(B)"), EnvVar("B", "b"), EnvVar("C", "$(A)$(B)"))
    assert found.variables == {"A": "$(B)", "B": "b", "C": "$(B)b"}


def test_config_maps_and_secrets_of_the_namespace_give_values():
    found = variables(
        EnvVar("COLOR", value_from=key("ConfigMap", "cm", "color")),
        EnvVar("TOKEN", value_from=key("Secret", "s", "token")),
        EnvVar("NONE", value_from=key("Secret", "s", "none", optional=True)),
        env_from=(EnvFrom("P_", SourceRef("cm")), EnvFrom("", None, SourceRef("away", optional=True))),
    )
    assert found == Environment({"P_color": "red", "COLOR": "red", "TOKEN": "t0"})


@pytest.mark.parametrize(
    "source", [key("ConfigMap", "cm", "none"), key("ConfigMap", "x", "y"), key("Secret", "x", "y")]
)
def test_what_is_not_there_is_waited_for(source):
    found = variables(EnvVar("X", value_from=source))
    assert not found.variables
    assert len(found.missing) == 1
    assert "(for X)" in found.missing[0]


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN"])
def test_a_hugging_face_token_comes_from_the_users_own_environment(name):
    token = EnvVar(name, value_from=key("Secret", "hf-token", "token"))
    assert variables(token, own={"HF_TOKEN": "mine"}).variables == {name: "mine"}
    assert variables(token).missing
    other = EnvVar("PASSWORD", value_from=key("Secret", "hf-token", "token"))
    assert variables(other, own={"PASSWORD": "mine"}).missing


def test_the_simulator_does_without_secrets_but_not_without_config_maps():
    found = variables(
        EnvVar("HF_TOKEN", value_from=key("Secret", "hf-token", "token")),
        EnvVar("X", value_from=key("ConfigMap", "away", "x")),
        env_from=(EnvFrom("", None, SourceRef("away")),),
        optional=True,
    )
    assert found.variables == {}
    assert found.missing == ("ConfigMap prod/away key 'x' (for X)",)
    assert found.unset == ("Secret prod/away", "Secret prod/hf-token key 'token' (for HF_TOKEN)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/real/d"),
        ("/data/x", "/real/d/x"),
        ("/data/", "/real/d/"),
        ("--model=/data/m", "--model=/real/d/m"),
        ("/data/deep/x", "/real/deep/x"),
        ("/database", "/database"),
        ("/old/data", "/old/data"),
        ("x/data", "x/data"),
        ("a=/data:/data/b", "a=/real/d:/real/d/b"),
        ("name=/data/lora,other=/data/deep", "name=/real/d/lora,other=/real/deep"),
        ('{"path": "/data/x"}', '{"path": "/real/d/x"}'),
        ("cat '/data/x' > /data/y; ls", "cat '/real/d/x' > /real/d/y; ls"),
        ("http://host:8000/data/x", "http://host:8000/data/x"),
        ("https://host/data", "https://host/data"),
        ("file:///data/x", "file:///real/d/x"),
        ("$(pwd)/data ${HOME}/data", "$(pwd)/data ${HOME}/data"),
        ("/data.bak /data-old", "/data.bak /data-old"),
    ],
)
def test_paths_below_a_mount_are_rewritten_and_no_others(text, expected):
    assert rewriter({"/data": "/real/d", "/data/deep/": "/real/deep"})(text) == expected


def test_without_mounts_nothing_is_rewritten():
    assert rewriter({})("/data") == "/data"
    assert rewriter({"/": "/real"})("/data") == "/data"


VLLM = "vllm/vllm-openai:v0.8.5"
API = ("python3", "-m", "vllm.entrypoints.openai.api_server")


@pytest.mark.parametrize(
    ("image", "command", "args", "kind"),
    [
        (VLLM, (), ("--model", "m"), "engine"),
        (VLLM, API, ("--model", "m"), "engine"),
        ("registry.example:5000/team/my-vllm@sha256:abc", (), (), "engine"),
        ("ghcr.io/llm-d/llm-d-inference-sim:v0.5", (), ("--model", "m"), "engine"),
        ("ghcr.io/llm-d/llm-d-cuda:v0.4", ("vllm", "serve"), ("m",), "engine"),
        ("python:3.12", (), (*API, "--model", "m"), "engine"),
        ("x", ("/bin/bash", "-ec"), ("exec vllm serve m --port 8000",), "engine"),
        ("x", ("sh", "-c", "python3 -m vllm.entrypoints.openai.api_server --model m"), (), "engine"),
        (VLLM, ("sh", "-c", "sleep 10"), (), "unknown"),
        (VLLM, ("python3", "download.py"), (), "unknown"),
        ("us-central1-docker.pkg.dev/x/gateway-api-inference-extension/lora-syncer:main", (), (), "syncer"),
        ("registry.k8s.io/dynamic-lora-sidecar", (), (), "syncer"),
        ("registry.k8s.io/gateway-api-inference-extension/epp:v1.0.0", (), (), "gateway"),
        ("registry.k8s.io/gateway-api-inference-extension/bbr:v1.0.0", (), (), "gateway"),
        ("ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9", (), (), "gateway"),
        ("ghcr.io/llm-d/llm-d-inference-scheduler:v0.4", (), (), "gateway"),
        ("ghcr.io/llm-d/llm-d-routing-sidecar:v0.3.0", (), ("--port=8000", "--vllm-port=8200"), "router"),
        ("ghcr.io/llm-d/llm-d-pd-sidecar:v1", (), (), "router"),
        ("ghcr.io/llm-d/llm-d-router-disagg-sidecar:v1", (), (), "router"),
        ("lmcache/vllm-router", (), (), "unknown"),
        ("nginx:1.27", (), (), "unknown"),
        ("bbrowser/tool", ("sh",), (), "unknown"),
    ],
)
def test_an_image_and_a_command_say_what_a_container_is(image, command, args, kind):
    assert classify(Container("c", image=image, command=command, args=args), {}) == kind


def test_a_command_of_a_vllm_image_that_can_not_run_here_is_named():
    grpc = Container("c", image=VLLM, command=("python3", "-m", "vllm.entrypoints.grpc_server"), args=("--model", "m"))
    assert classify(grpc, {}) == "unknown"
    assert refusal(grpc).startswith(f"image {VLLM} can't run `python3 -m vllm.entrypoints.grpc_server` on this machine")
    line = Container("c", image=VLLM, command=("sh", "-c", "set -e\n" + "sleep 1; " * 50))
    assert "`sh -c set -e sleep 1;" in refusal(line)
    assert len(reason(line)) < 200
    assert reason(Container("c", image="nginx", command=("x",))) == "image nginx can't run on this machine"
    assert reason(Container("c")) == "image (none) can't run on this machine"


def test_a_command_runs_on_the_host_only_where_the_pod_says_so():
    one = Container("c", image="nginx", command=("nginx",))
    assert classify(one, {"headgate.dev/run": "host"}) == "host"
    assert classify(Container("c", image="nginx"), {"headgate.dev/run": "host"}) == "unknown"
    assert classify(Container("c", image=VLLM), {"headgate.dev/run": "host"}) == "engine"


SIM = Engine("sim", ("headgate", "sim"))


@pytest.mark.parametrize(
    ("command", "args", "flags"),
    [
        ((), ("--model", "m", "--port", "8000"), "--model m --port 8000"),
        ((), ("m", "--port=8000"), "--model m --port=8000"),
        (API, ("--model=m", "--host", "0.0.0.0"), "--model=m"),
        (("vllm", "serve", "m"), ("--host=::", "--port", "1"), "--model m --port 1"),
        (("/usr/bin/vllm", "serve"), ("--port", "1"), "--port 1"),
        (("python3", "-u", *API[1:]), ("--model", "m"), "--model m"),
        ((), ("vllm", "serve", "m"), "--model m"),
    ],
)
def test_vllm_gets_its_flags_and_the_pods_address(command, args, flags):
    made = engine_program(SIM, command, args, "127.77.0.9")
    assert " ".join(made.argv) == f"headgate sim {flags} --host 127.77.0.9"
    assert not made.shims


def test_a_shell_line_is_run_as_it_is_with_shims():
    made = engine_program(SIM, ("sh", "-c"), ("vllm serve m",), "127.77.0.9")
    assert made.argv == ("sh", "-c", "vllm serve m")
    assert made.shims


def test_the_syncer_keeps_its_flags_whatever_its_command_was():
    made = syncer_program("py", ("python", "/app/sidecar.py", "--reconcile-trigger", "1"), ("--config", "c"))
    assert " ".join(made.argv) == "py -P -m headgate lora-syncer --reconcile-trigger 1 --config c"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("vllm/vllm-openai:v1", "vllm/vllm-openai"),
        ("host:5000/a/b:c", "a/b"),
        ("ghcr.io/A/b@sha256:00", "a/b"),
        ("localhost/x:1", "x"),
    ],
)
def test_repositories_have_no_registry_and_no_tag(image, name):
    assert repository(image) == name


def test_ports_and_names_are_read_from_flags():
    assert port(Container("c", args=("--port", "9000"))) == 9000
    assert port(Container("c", command=("sh", "-c", "vllm serve m --port=9001 --x"))) == 9001
    assert port(Container("c")) == 8000
    assert named_model(("--model", "m")) == "m"
    assert named_model(("--model=m", "--served-model-name=n")) is None
    assert named_model(()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:8000", ("10.0.0.1", 8000)),
        ("[fd00::1]:80", ("fd00::1", 80)),
        ("gpu-1.lan:8000", ("gpu-1.lan", 8000)),
        ("fd00::1:80", None),
        ("host", None),
        ("host:0", None),
        ("host:70000", None),
        (":80", None),
        ("http://host:80", None),
        ("host:", None),
    ],
)
def test_addresses_are_host_and_port(text, expected):
    assert parse(text) == expected


def test_servers_that_run_elsewhere_are_ready_unless_a_probe_has_to_tell():
    at = {"headgate.dev/address": "10.0.0.1:8000"}
    probe = Probe(http_get=HttpGet(port="http"))
    objects = Snapshot(
        pods=(
            Pod(Meta("a", annotations=at, labels={"app": "x"}), None),
            Pod(Meta("b", annotations=at), PodSpec((Container("c", readiness_probe=probe),))),
            Pod(Meta("c", annotations={"headgate.dev/address": "nowhere"}), None),
            Pod(Meta("d"), PodSpec((Container("c"),))),
        )
    )
    a, b = addressed(objects)
    assert (a.server.name, a.server.address, a.server.port, a.server.ready) == ("a", "10.0.0.1", 8000, True)
    assert a.server.labels == {"app": "x"}
    assert (b.server.name, b.server.ready, b.probe) == ("b", False, probe)
    (text,) = unreadable(objects)
    assert "'nowhere' is no address" in text


def test_back_off_starts_at_once_doubles_and_is_forgotten():
    backoff, delays = Backoff(), []
    for _ in range(12):
        delay, backoff = backoff.after(ran=1, ready=0)
        delays.append(delay)
    assert delays == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert backoff.after(ran=600, ready=0)[0] == 0
    assert backoff.after(ran=20, ready=6) == (0, Backoff(1.0))
    assert backoff.after(ran=20, ready=1)[0] == 300


def test_thresholds_count_answers_in_a_row():
    probe = Probe(success_threshold=2, failure_threshold=3)
    streak, verdicts = Streak(), []
    for good in (True, False, True, True, False, False, True, False, False, False, True, True):
        streak = streak.then(good, probe)
        verdicts.append(streak.well)
    assert verdicts == [None, None, None, True, True, True, True, True, True, False, False, True]


def files(*volumes: Volume, optional: bool = False) -> dict[str, dict[str, bytes]]:
    made = contents(PodSpec((Container("c"),), volumes=volumes), "prod", OBJECTS, secrets_optional=optional)
    return {name: dict(content.files) for name, content in made.items()}


def test_volumes_hold_the_files_of_their_objects():
    config = Volume("a", "configMap", config_map=ConfigMapVolume("cm", (KeyPath("color", "etc/color.txt"),)))
    secret = Volume("b", "secret", secret=SecretVolume("s"))
    both = Projected(
        (Projection(ConfigMapVolume("cm", (KeyPath("color", "c"),))), Projection(None, ConfigMapVolume("s")))
    )
    found = files(config, secret, Volume("c", "projected", projected=both), Volume("d"))
    assert found == {"a": {"etc/color.txt": b"red"}, "b": {"token": b"t0"}, "c": {"c": b"red", "token": b"t0"}}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "..data", "", "a//b", "."])
def test_no_file_of_a_volume_lies_outside_of_it(path):
    with pytest.raises(VolumeError, match="does not lie below"):
        files(Volume("a", "configMap", config_map=ConfigMapVolume("cm", (KeyPath("color", path),))))


def test_objects_and_keys_that_are_not_there_are_said():
    with pytest.raises(VolumeError, match="ConfigMap prod/away is not there"):
        files(Volume("a", "configMap", config_map=ConfigMapVolume("away")))
    with pytest.raises(VolumeError, match="has no key 'x'"):
        files(Volume("a", "configMap", config_map=ConfigMapVolume("cm", (KeyPath("x", "x"),))))
    with pytest.raises(VolumeError, match="Secret prod/away is not there"):
        files(Volume("a", "secret", secret=SecretVolume("away")))
    assert files(Volume("a", "secret", secret=SecretVolume("away")), optional=True) == {"a": {}}
    assert files(Volume("a", "configMap", config_map=ConfigMapVolume("away", optional=True))) == {"a": {}}
