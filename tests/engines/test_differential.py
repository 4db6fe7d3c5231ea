"""The same requests to a real vLLM and to the simulator: their answers must agree in all but what the model says."""

import corpus
import pytest
from pair import Pair
from wire_shape import differences

# What a random model says is chance, and with it, rarely, the form of the answer: no text at all, a stop by the end
# token. A generating request that came out differently is asked again, so often at most.
ATTEMPTS = 6
GENERATING = ("completions", "/v1/responses", "/v1/messages", "/invocations")


@pytest.mark.parametrize("name", corpus.NAMES)
def test_vllm_and_the_simulator_answer_alike(pair: Pair, name: str) -> None:
    case = corpus.CASES[corpus.NAMES.index(name)]
    found = differences(pair.theirs[name], pair.ours[name])
    attempts = ATTEMPTS if case["path"].endswith(GENERATING) and pair.theirs[name]["status"] == 200 else 1
    while found and attempts > 1:
        attempts -= 1
        found = pair.again(case)
    assert found == []
