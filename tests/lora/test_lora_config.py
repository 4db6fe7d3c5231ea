"""The syncer's configuration: what is read, and what is said about what can't be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.lora.config import Adapter, Desired, read

GUIDE = """\
vLLMLoRAConfig:
  name: vllm-llama3.1-8b-instruct
  port: 8000
  defaultBaseModel: meta-llama/Llama-3.1-8B-Instruct
  ensureExist:
    models:
    - id: food-review
      source: Kawon/llama3.1-food-finetune_v14_r8
    - id: cad-fabricator
      source: redcathode/fabricator
      base-model: another/base
  ensureNotExist:
    models:
    - id: old
      source: org/old
    - id: older
"""


def test_the_guides_configuration_is_read_whole():
    desired, problems = read(GUIDE, "configmap.yaml")
    assert problems == ()
    assert desired == Desired(
        host="localhost",
        port=8000,
        name="vllm-llama3.1-8b-instruct",
        exist=(
            Adapter("food-review", "Kawon/llama3.1-food-finetune_v14_r8", "meta-llama/Llama-3.1-8B-Instruct"),
            Adapter("cad-fabricator", "redcathode/fabricator", "another/base"),
        ),
        absent=("old", "older"),
    )


# Text → the problems, each as `line severity: field: message`.
MISTAKES = {
    "": ["1 warning: : is empty, so no adapter is managed; write "],
    "# only a comment\n": ["1 warning: : is empty"],
    "a: [": ["1 error: : is not YAML: "],
    "a: 1\n---\nb: 2\n": ["2 error: : is a second document; write vLLMLoRAConfig alone"],
    "[" * 3000: ["1 error: : is nested too deeply"],
    "\x00": ["1 error: : is not YAML: special characters are not allowed"],
    "- 1\n": ["1 error: : must be a mapping with vLLMLoRAConfig, not a list"],
    "just words\n": ["1 error: : must be a mapping with vLLMLoRAConfig, not text"],
    "vllmLoraConfig: {}\n": [
        "1 warning: vllmLoraConfig: is not known and has no effect; write vLLMLoRAConfig",
        "1 error: vLLMLoRAConfig: is missing; write vLLMLoRAConfig: {ensureExist",
    ],
    "vLLMLoRAConfig: 7\n": ["1 error: vLLMLoRAConfig: must be a mapping with host, port, "],
    "vLLMLoRAConfig:\n  port: '8000'\n": ["2 error: vLLMLoRAConfig.port: must be a port number from 1 to 65535"],
    "vLLMLoRAConfig:\n  port: 0b_\n": ["2 error: vLLMLoRAConfig.port: must be a port number"],
    "vLLMLoRAConfig:\n  port: 70000\n": ["2 error: vLLMLoRAConfig.port: must be a port number"],
    "vLLMLoRAConfig:\n  host: [a]\n": ["2 error: vLLMLoRAConfig.host: must be a string, not a list"],
    "vLLMLoRAConfig:\n  name: 1\n  name: 2\n": [
        '2 error: vLLMLoRAConfig.name: must be a string, not a number; write "1"',
        "3 error: vLLMLoRAConfig.name: is written twice; keep one",
    ],
    "vLLMLoRAConfig:\n  toRemove: {models: []}\n": [
        "2 warning: vLLMLoRAConfig.toRemove: is not known and has no effect; write ensureNotExist"
    ],
    "vLLMLoRAConfig:\n  ensureExists: {models: []}\n": ["2 warning: vLLMLoRAConfig.ensureExists: is not known"],
    "vLLMLoRAConfig:\n  ensureExist: [a]\n": ["2 error: vLLMLoRAConfig.ensureExist: must be a mapping with models"],
    "vLLMLoRAConfig:\n  ensureExist:\n    models: {id: a}\n": [
        "3 error: vLLMLoRAConfig.ensureExist.models: must be a list, not a mapping"
    ],
    "vLLMLoRAConfig:\n  ensureExist:\n    models:\n    - food-review\n    - id: 7\n      source: s\n    - source: s\n"
    "    - id: ''\n      source: s\n": [
        "4 error: vLLMLoRAConfig.ensureExist.models[0]: must be a mapping with id, source or base-model, not text",
        '5 error: vLLMLoRAConfig.ensureExist.models[1].id: must be a string, not a number; write "7"',
        "7 error: vLLMLoRAConfig.ensureExist.models[2].id: is missing; write `id: my-adapter`",
        "8 error: vLLMLoRAConfig.ensureExist.models[3].id: is empty",
    ],
    "vLLMLoRAConfig:\n  ensureExist:\n    models:\n    - {id: a, source: s}\n    - {id: a, source: s}\n"
    "    - {id: a, source: t}\n    - {id: b}\n": [
        "5 warning: vLLMLoRAConfig.ensureExist.models[1].id: 'a' is listed on line 4 already; keep one",
        "6 error: vLLMLoRAConfig.ensureExist.models[2].id: 'a' is listed on line 4 already; keep one",
        "7 error: vLLMLoRAConfig.ensureExist.models[3].source: is missing; write `source: org/repository",
    ],
    "vLLMLoRAConfig:\n  ensureExist:\n    models:\n    - {id: a, source: s, baseModel: b}\n": [
        "4 warning: vLLMLoRAConfig.ensureExist.models[0].baseModel: is not known and has no effect; write base-model"
    ],
    "vLLMLoRAConfig:\n  ensureExist:\n    models: [{id: a, source: s}]\n  ensureNotExist:\n    models:\n"
    "    - id: a\n": ["6 warning: vLLMLoRAConfig.ensureNotExist: 'a' is in ensureExist too, so it is left as it is"],
    "x: &x {<<: 3}\nvLLMLoRAConfig: *x\n": [
        "1 warning: x: is not known",
        "1 error: : is not YAML: expected a mapping or list of mappings for merging",
    ],
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: repr(text[:40]))
def test_every_mistake_is_told_at_once_with_its_line(text):
    _, problems = read(text, "f.yaml")
    told = [f"{problem.where.line} {problem.severity}: {problem.field}: {problem.message}" for problem in problems]
    assert len(told) == len(MISTAKES[text]), told
    for got, wanted in zip(told, MISTAKES[text], strict=True):
        assert got.startswith(wanted)
    assert all(problem.where.file == "f.yaml" for problem in problems)


def test_an_entry_with_a_mistake_is_left_out_and_the_others_stay():
    desired, problems = read("vLLMLoRAConfig: {ensureExist: {models: [{id: a}, {id: b, source: s}]}}")
    assert [adapter.id for adapter in desired.exist] == ["b"]
    assert len(problems) == 1


def test_an_adapter_in_both_lists_is_in_neither_afterwards():
    lists = "{ensureExist: {models: [{id: a, source: s}, {id: b, source: s}]}, ensureNotExist: {models: [{id: a}]}}"
    desired, problems = read(f"vLLMLoRAConfig: {lists}")
    assert ([adapter.id for adapter in desired.exist], desired.absent) == (["b"], ())
    assert [problem.severity for problem in problems] == ["warning"]


@pytest.mark.parametrize(
    "text", ["vLLMLoRAConfig: {ensureExist: {models: }}", "vLLMLoRAConfig: {ensureExist: , name: x}"]
)
def test_a_list_whose_last_entry_was_taken_out_is_an_empty_list(text):
    desired, problems = read(text)
    assert (desired.exist, problems) == ((), ())


def test_anchors_and_merge_keys_mean_what_yaml_says():
    models = "[&a {id: a, source: s, base-model: b}, {<<: *a, id: c}]"
    desired, problems = read(f"vLLMLoRAConfig: {{ensureExist: {{models: {models}}}}}")
    assert problems == ()
    assert desired.exist == (Adapter("a", "s", "b"), Adapter("c", "s", "b"))


@given(st.text(alphabet="vLMoRACnfig:[]{}&*<!|>-'\"#%@\n 01aé\t", max_size=60) | st.binary(max_size=40))
def test_no_text_makes_the_reader_raise(text):
    desired, problems = read(text)
    assert desired is not None or any(problem.severity == "error" for problem in problems)
