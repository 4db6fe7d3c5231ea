"""A configuration that was named itself must be right at the beginning: picking by another would be a surprise."""

from pathlib import Path

import pytest

from headgate.runtime.files import Files
from headgate.runtime.policies import Policies

PICKER = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: {plugin}\n"
OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
NO_CODE = PICKER.format(plugin="python\n  module: ./mine.py\n  function: best")


def unusable(**named: str) -> list[str]:
    files = Files((), Policies(lambda text: None), **named)
    return list(files.unusable(files.read(None)))


@pytest.mark.parametrize("role", ["config", "shadow"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PICKER.format(plugin="quue-scorer"), "picker.yaml:4: plugins[0].type"),
        (NO_CODE, "mine.py can't be read: No such file or directory"),
        (OTHER, ""),
        ("", ""),
    ],
)
def test_what_is_wrong_with_a_file_is_told_and_that_nothing_is_started(
    tmp_path: Path, role: str, text: str, why: str
) -> None:
    config = tmp_path / "picker.yaml"
    config.write_text(text)
    *lines, last = unusable(**{role: str(config)})
    assert last == f"{config} holds no EndpointPickerConfig that can be used: nothing is started"
    assert any(why in line for line in lines) or not why


def test_a_right_one_will_do_by_whatever_name(tmp_path: Path) -> None:
    config, other = tmp_path / "picker.yaml", tmp_path / "link.yaml"
    config.write_text(PICKER.format(plugin="queue-scorer"))
    other.symlink_to(config)
    assert unusable(config=str(config), shadow=str(other)) == []
    files = Files((str(tmp_path),), Policies(lambda text: None), config=str(other))
    assert list(files.unusable(files.read(None))) == []
    assert unusable(text=config.read_text()) == []
    assert unusable() == []


def test_one_of_two_that_are_named_is_told_alone(tmp_path: Path) -> None:
    config = tmp_path / "picker.yaml"
    config.write_text(PICKER.format(plugin="queue-scorer"))
    told = unusable(config=str(config), shadow=str(tmp_path / "nowhere.yaml"))
    assert [line for line in told if "nothing is started" in line] == [
        f"{tmp_path}/nowhere.yaml holds no EndpointPickerConfig that can be used: nothing is started"
    ]
