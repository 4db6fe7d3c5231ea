"""The charts by real helm. The files of golden/, and deploy/gke/*/helm-*.yaml, say in their heads of which command they
are the output: there the guides' own, word for word but for the chart. `pytest tests/deploy --update` writes them anew;
then read the diff."""

import re
import shlex
from itertools import product
from pathlib import Path

import pytest
import yaml
from rendered import CHARTS, POOL, ROOT, Object, helm, named, objects, template
from valid import faults

from headgate import __version__
from headgate.cli import bbr, epp_flags
from headgate.cli.arguments import parser
from headgate.cli.go_flags import parse

GOLDEN = [*sorted((Path(__file__).parent / "golden").glob("*.yaml")), *sorted(ROOT.glob("deploy/gke/*/helm-*.yaml"))]
PARSER = parser()
each_golden = pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
NAMES = ("headgate", "headgate-body-based-routing", "headgate-inferencepool")


def _head(golden: Path) -> tuple[list[str], str]:
    """The comment that it begins with, and the rest."""
    lines = golden.read_text().splitlines(keepends=True)
    length = next((at for at, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    return [line[2:].rstrip("\n") for line in lines[:length]], "".join(lines[length:])


def _command(comment: list[str]) -> list[str]:
    """The words of the command as `helm template` takes them; `# on a cluster that serves KIND` is for it alone."""
    text = "\n".join(line for line in comment if not line.startswith("on a cluster"))
    words = shlex.split(text.replace("\\\n", " "))
    assert words[:2] == ["helm", "install"]
    served = [line.removeprefix("on a cluster that serves ") for line in comment if line.startswith("on a cluster")]
    return ["template", *words[2:], *[f"--api-versions={one}" for one in served]]


@each_golden
def test_a_command_renders_what_was_agreed_and_all_of_it_is_valid(golden: Path, update: bool) -> None:
    comment, agreed = _head(golden)
    done = helm(*_command(comment))
    assert done.returncode == 0, done.stderr
    if update:
        golden.write_text("".join(f"# {line}\n" for line in comment) + done.stdout)
    else:
        assert done.stdout == agreed, f"{golden.name} differs: if that is right, run with --update"
    rendered = objects(done.stdout)
    assert not faults(rendered)
    _agree(rendered)


def _agree(rendered: list[Object]) -> None:
    """References within a release lead to what is there."""
    keys = {(one["kind"], one["metadata"]["name"]) for one in rendered}
    for one in rendered:
        if one["kind"].endswith("RoleBinding"):
            assert (one["roleRef"]["kind"], one["roleRef"]["name"]) in keys
    ports = {port["name"]: port for one in rendered if one["kind"] == "Deployment" for port in _container(one)["ports"]}
    for service in named(rendered, "Service").values():
        for port in service["spec"]["ports"]:
            target = port["targetPort"]
            assert target in ports or target in [one["containerPort"] for one in ports.values()]
    for monitoring in named(rendered, "PodMonitoring").values():
        for endpoint in monitoring["spec"]["endpoints"]:
            assert endpoint["port"] in ports
            if "authorization" in endpoint:
                assert ("Secret", endpoint["authorization"]["credentials"]["secret"]["name"]) in keys
    for pool in named(rendered, "InferencePool").values():
        picker = pool["spec"].get("endpointPickerRef") or pool["spec"]["extensionRef"]
        number = picker["port"]["number"] if "port" in picker else picker["portNumber"]
        assert number in [port["port"] for port in named(rendered, "Service")[picker["name"]]["spec"]["ports"]]


def _container(deployment: Object) -> Object:
    container: Object = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


@each_golden
def test_containers_are_started_with_words_that_the_command_line_takes(golden: Path) -> None:
    for deployment in named(objects(_head(golden)[1]), "Deployment").values():
        command, *words = _container(deployment)["args"]
        if command == "epp":
            options = epp_flags.read(words)
            assert not options.parsed.notes  # of flags that mean nothing
            assert options.pool.rpartition("/")[2] == deployment["metadata"]["name"].removesuffix("-epp")
        elif command == "bbr":
            parsed = parse(words, bbr._FLAGS, bbr._UNHEEDED, {})
            assert not parsed.notes
            assert bbr._plugins(parsed.values["plugin"])
        else:
            _, strange = PARSER.parse_known_args([command, *words])
            assert not strange


def test_containers_need_no_privilege_and_no_disk_of_their_image() -> None:
    for golden in GOLDEN:
        for deployment in named(objects(_head(golden)[1]), "Deployment").values():
            pod, container = deployment["spec"]["template"]["spec"], _container(deployment)
            assert pod["securityContext"]["runAsNonRoot"]
            assert isinstance(pod["securityContext"]["runAsUser"], int)
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "exec" not in str(container.get("lifecycle"))  # there is no shell, and no sleep, in the image
            assert container["resources"]["limits"]["memory"]


def test_a_gateway_s_pods_get_the_time_that_their_preStop_and_their_grace_take() -> None:
    rendered = objects(template("headgate", "headgate", "--set=drain.preStopSeconds=12,drain.graceSeconds=300"))
    pod = named(rendered, "Deployment")["headgate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 12}}
    assert "--grace=300" in pod["containers"][0]["args"]
    assert pod["terminationGracePeriodSeconds"] == 12 + 300 + 10


@pytest.mark.parametrize("chart", NAMES)
def test_a_chart_is_lint_free_and_of_the_version_of_the_code(chart: str) -> None:
    done = helm("lint", "--strict", f"deploy/helm/{chart}", POOL if chart == "headgate-inferencepool" else "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert (about["name"], about["version"], about["appVersion"]) == (chart, __version__, __version__)


@pytest.mark.parametrize(
    ("chart", "values", "told"),
    [
        ("headgate-inferencepool", [], "modelServers.matchLabels is missing: say which Pods"),
        ("headgate-inferencepool", [POOL, "--set=inferencePool.selector.matchLabels.app=other"], "write one of them"),
        ("headgate-inferencepool", [POOL, "--set=inferencePool.tagetPort=1"], "tagetPort is not allowed"),
        ("headgate-inferencepool", [POOL, "--set=provider.name=gcp"], "provider.name must be one of"),
        ("headgate-inferencepool", [POOL, "--set=inferenceExtension.pluginsConfigFile=mine.yaml"], "does not have"),
        ("headgate-inferencepool", [POOL, "--set=inferencePool.modelServerProtocol=grpc"], "modelServerProtocol"),
        ("headgate-inferencepool", [POOL, "--set=modelServerAutoscaling.enabled=true"], "deployment is missing"),
        ("headgate", ["--set=autoscaling.enabled=true,autoscaling.cpuUtilization=null"], "needs a measure"),
        (
            "headgate-body-based-routing",
            ["--set=provider.name=istio,provider.istio.envoyFilter.operation=INSERT_AFTER"],
            "say before or after which",
        ),
    ],
)
def test_values_that_are_wrong_are_told_with_what_to_write(chart: str, values: list[str], told: str) -> None:
    done = helm("template", "some", f"deploy/helm/{chart}", *values)
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_is_in_the_schema_and_told_in_words(chart: str) -> None:
    text = (CHARTS / chart / "values.yaml").read_text()
    schema = yaml.safe_load((CHARTS / chart / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(yaml.safe_load(text))
    assert len(re.findall("#", text)) >= 8


@pytest.mark.parametrize(
    ("chart", "values", "told"),
    [
        ("headgate-inferencepool", [POOL, "--set=inferencePool.modelServerType=sglang"], "engine-type: sglang"),
        ("headgate-inferencepool", [POOL, "--set=provider.name=gke"], "provider.gke.healthCheck.path"),
        ("headgate", [], "gatewayClassName: headgate"),
        ("headgate-body-based-routing", [], "X-Gateway-Model-Name"),
    ],
)
def test_notes_teach_what_comes_next(chart: str, values: list[str], told: str, tmp_path: Path) -> None:
    """helm shows them where it installs alone; here they are made an object of a copy of the chart."""
    copy = tmp_path / chart
    for file in (path for path in (CHARTS / chart).rglob("*") if path.is_file()):
        target = copy / file.relative_to(CHARTS / chart)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text())
    (copy / "notes.txt").write_text((copy / "templates" / "NOTES.txt").read_text())
    (copy / "templates" / "notes.yaml").write_text('{"notes": {{ tpl (.Files.Get "notes.txt") . | toJson }}}')
    done = helm("template", "some", str(copy), "--show-only=templates/notes.yaml", *values)
    assert done.returncode == 0, done.stderr
    notes = next(one for one in objects(done.stdout))["notes"]
    assert told in notes
    assert max(map(len, notes.splitlines())) <= 125
    assert "\n\n\n" not in notes


def _granted(of: list[Object]) -> dict[tuple[str, str, str], set[str]]:
    """group, resource, verb → in which namespaces, "" for all."""
    granted: dict[tuple[str, str, str], set[str]] = {}
    for role in of:
        if role["kind"] in ("ClusterRole", "Role"):
            for rule in role["rules"]:
                for one in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                    granted.setdefault(one, set()).add(role["metadata"].get("namespace", ""))
    return granted


def test_a_gateway_may_do_what_deploy_rbac_says() -> None:
    agreed = objects((ROOT / "deploy" / "rbac" / "gateway.yaml").read_text())
    ours = objects(template("headgate", "headgate", "--namespace=headgate-system"))
    assert _granted(ours) == _granted(agreed)


def test_a_gateway_of_two_namespaces_may_read_no_other() -> None:
    ours = _granted(objects(template("headgate", "headgate", "--namespace=system", "--set=namespaces={one,two}")))
    everywhere = {resource for (_, resource, _), where in ours.items() if "" in where}
    assert everywhere == {"namespaces", "gatewayclasses", "gatewayclasses/status"}
    agreed = set(_granted(objects((ROOT / "deploy" / "rbac" / "gateway.yaml").read_text())))
    assert set(ours) == agreed
    assert ours["", "secrets", "list"] == {"one", "two"}
    assert ours["", "services", "list"] == {"one", "two", "system"}  # there by its name, its own alone
    assert ours["coordination.k8s.io", "leases", "update"] == {"system"}
