"""`headgate drain-time`: its arithmetic, and what it says."""

import json
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.cli import main
from headgate.cli.drain import Drain, drain


def test_the_steps_are_those_of_gke_s_model_servers() -> None:
    """4,096 tokens at 10 ms, a fifth for prompts, 30 s of preStop, half of it all on top."""
    found = drain(4096, 0.010)
    assert found == Drain(
        tokens=4096,
        decode_seconds=40.96,
        prefill_seconds=8.192,
        request_seconds=49.152,
        pre_stop_sleep_seconds=30,
        margin_seconds=39.576,
        termination_grace_period_seconds=119,  # 118.7
        gateway_grace_seconds=74,
    )


def test_gke_s_own_numbers_follow_from_its_own_55_seconds() -> None:
    found = drain(1, 55, prefill=0)
    assert (found.request_seconds, found.termination_grace_period_seconds) == (55, 128)  # "130"


def test_a_whole_number_is_not_rounded_up_by_what_binary_fractions_leave() -> None:
    assert drain(1000, 0.1, prefill=0.1, pre_stop=0, margin=0).termination_grace_period_seconds == 110


@given(
    tokens=st.integers(1, 10**6),
    tpot=st.floats(1e-4, 60),
    prefill=st.floats(0, 5),
    pre_stop=st.floats(0, 600),
    margin=st.floats(0, 5),
)
def test_the_longest_request_always_ends_before_kubelet_kills(
    tokens: int, tpot: float, prefill: float, pre_stop: float, margin: float
) -> None:
    found = drain(tokens, tpot, prefill=prefill, pre_stop=pre_stop, margin=margin)
    left = found.termination_grace_period_seconds - found.pre_stop_sleep_seconds
    assert found.pre_stop_sleep_seconds >= pre_stop
    assert left >= found.request_seconds - 0.001
    assert found.gateway_grace_seconds >= found.request_seconds - 0.001
    assert isclose(found.decode_seconds + found.prefill_seconds, found.request_seconds, abs_tol=0.002)


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.floats(0.001, 1))
def test_longer_answers_never_get_less_time(one: int, other: int, tpot: float) -> None:
    fewer, more = sorted((one, other))
    assert drain(fewer, tpot).termination_grace_period_seconds <= drain(more, tpot).termination_grace_period_seconds


def test_json_has_the_names_of_a_pod(capsys: pytest.CaptureFixture[str]) -> None:
    words = "drain-time --max-model-len 128K --max-output-tokens 4096 --tpot 60ms --pre-stop 15 -o json"
    assert main(words.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == 4096
    assert found["preStopSleepSeconds"] == 15
    assert found["terminationGracePeriodSeconds"] == 465  # (4096 x 0.06 x 1.2 + 15) x 1.5 = 464.9


def test_the_text_can_be_pasted_into_a_pod(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain-time", "--max-model-len=4096", "--tpot=10ms", "--margin=50%", "--prefill=20%"]) == 0
    said = capsys.readouterr().out
    assert "terminationGracePeriodSeconds: 119\nlifecycle: {preStop: {sleep: {seconds: 30}}}\n" in said
    assert "--grace 74" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tpot=10ms"], "--max-model-len"),
        (["--max-model-len=4096", "--tpot=100"], "'100' is 100 s for a token: write milliseconds as 60ms"),
        (["--max-model-len=4096", "--tpot=fast"], "write 60ms, 0.06s or 0.06"),
        (["--max-model-len=0", "--tpot=10ms"], "write how many tokens"),
        (["--max-model-len=4096", "--tpot=10ms", "--margin=half"], "write 20% or 0.2"),
        (["--max-model-len=4096", "--tpot=10ms", "--pre-stop=5%"], "write 30, 30s or 1m"),
    ],
)
def test_what_is_wrong_is_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(["drain-time", *words])
    assert status.value.code == 2
    assert told in capsys.readouterr().err
