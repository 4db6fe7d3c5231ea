"""Flags as Go programs take them, and those of the field's pickers."""

import pytest

from headgate.cli import bbr, epp_flags
from headgate.cli.go_flags import Flag, Wrong, parse

FLAGS = (
    Flag("name", "", "a text"),
    Flag("port", 9002, "a number"),
    Flag("secure", True, "on or off"),
    Flag("wait", 30.0, "a duration"),
    Flag("labels", (), "a list"),
    Flag("plugin", (), "as it is", whole=True),
)


def values(*argv: str) -> dict[str, object]:
    return dict(parse(argv, FLAGS, {"v": "is nothing here"}, {"old": "is gone: write --port"}).values)


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--name", "x"], "name", "x"),
        (["-name=x=y"], "name", "x=y"),
        (["--port=1"], "port", 1),
        (["-port", "1"], "port", 1),
        (["--secure=false"], "secure", False),
        (["--secure", "false"], "secure", False),
        (["--secure"], "secure", True),
        (["--wait", "1m30s"], "wait", 90.0),
        (["--wait=50ms"], "wait", 0.05),
        (["--wait=0"], "wait", 0.0),
        (["--labels", "a=1,b=2", "--labels=c=3"], "labels", ("a=1", "b=2", "c=3")),
        (["--plugin", 'a:b:{"x": 1, "y": 2}', "--plugin=c:d"], "plugin", ('a:b:{"x": 1, "y": 2}', "c:d")),
        (["-v=4", "-v", "4", "--name", "x"], "name", "x"),
    ],
)
def test_values(argv: list[str], name: str, value: object) -> None:
    assert values(*argv)[name] == value


def test_what_is_no_flag_is_left() -> None:
    parsed = parse(["a", "--port", "1", "--secure", "b", "--", "--name"], FLAGS, {}, {})
    assert parsed.rest == ("a", "b", "--name")
    assert parsed.given == {"port", "secure"}


def test_flags_that_mean_nothing_are_told_of_once_and_not_where_they_are_off() -> None:
    unheeded = {"v": "is nothing here", "zap": "is nothing here", "tracing": "is not there yet"}
    parsed = parse(["-v=4", "--zap", "json", "--v", "2", "--tracing=false", "x"], FLAGS, unheeded, {})
    assert parsed.notes == ("--v, --zap: is nothing here",)
    assert parsed.rest == ("x",)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--prot", "1"], "--prot is not known; did you mean --port?"),
        (["--port", "x"], "no whole number"),
        (["--port"], "there is no value"),
        (["--secure=maybe"], "neither true nor false"),
        (["--wait", "5"], "no duration"),
        (["--old", "1"], "is gone: write --port"),
    ],
)
def test_mistakes_say_what_to_write(argv: list[str], said: str) -> None:
    with pytest.raises(Wrong, match=said.replace("?", r"\?")):
        values(*argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "which pool"),
        (["--pool-name", "p", "--endpoint-selector", "a=b", "--endpoint-target-ports", "1"], "give one of them"),
        (["--endpoint-selector", "a=b"], "go together"),
        (["--endpoint-selector", "ab", "--endpoint-target-ports", "1"], "is no label"),
        (["--endpoint-selector", "a=b", "--endpoint-target-ports", "0"], "is no port"),
        (["--pool-name", "p", "--pool-group", "x"], "--pool-group"),
        (["--pool-name", "p", "--ha-enable-leader-election"], "need no leader"),
        (["--pool-name", "p", "--kv-cache-usage-percentage-metric", "x"], "llm-d.ai/engine-type"),
        (["--pool-name", "p", "--tls-min-version", "1.0"], "VersionTLS12"),
        (["--pool-name", "p", "--refresh-metrics-interval", "5s"], "10ms to 1s"),
        (["--pool-name", "p", "--grpc-port", "70000"], "is no port"),
    ],
)
def test_what_a_picker_can_not_do_is_said(argv: list[str], said: str) -> None:
    with pytest.raises(Wrong, match=said):
        epp_flags.read(argv)


def test_the_command_lines_of_published_charts_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESPACE", "models")
    chart = "--pool-name llama --pool-namespace prod --pool-group inference.networking.k8s.io --zap-encoder json "
    chart += "--grpc-port 9002 --grpc-health-port 9003 --metrics-port 9090 --config-file /config/plugins.yaml -v=1 "
    chart += "--tracing=false --ha-enable-leader-election=false --metrics-endpoint-auth=true"
    picked = epp_flags.read(chart.split())
    assert (picked.pool, picked.number("grpc-port"), picked.text("config-file")) == (
        "prod/llama",
        9002,
        "/config/plugins.yaml",
    )
    assert picked.on("metrics-endpoint-auth")
    assert epp_flags.read(["--pool-name", "p"]).pool == "models/p"
    light = [
        "--pool-name",
        "p",
        "--pool-namespace",
        "n",
        "--zap-encoder",
        "json",
        "--grpc-port",
        "9002",
        "--grpc-health-port",
        "9003",
    ]
    assert epp_flags.read(light).pool == "n/p"


def test_help_is_there() -> None:
    text = epp_flags.help_text()
    assert "--pool-name NAME" in text
    assert "(default 9002)" in text


@pytest.mark.parametrize(
    "plugin",
    [
        *("model", "nothing:x", "body-field-to-header:x:{", "base-model-to-header:x:[1]"),
        'body-field-to-header:x:{"fieldName": "a"}',
    ],
)
def test_plugins_that_are_none_are_said(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bbr.main(["--plugin", plugin]) == 2
    assert "headgate bbr: --plugin" in capsys.readouterr().err
