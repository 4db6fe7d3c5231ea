"""Cards: what `--fit` finds in an access log, what `--card` makes of it, and what is told of files that are no use."""

import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from headgate.runtime.cards import Card, Unusable, fitted, read_card, read_log
from headgate.runtime.simulator import main
from headgate.runtime.simulator_flags import parse, settings
from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.sim.fit import Measured, replay
from headgate.sim.service import Settings

COST = Cost(base=0.02, prefill=0.0001, sequence=0.0004, kv=4e-7)
LIMITS = Config(block_size=16, num_blocks=2000, max_num_seqs=64, max_num_batched_tokens=1024, max_model_len=4096)
ONE = Measured(0.0, 5, 5, 0.1, 0.2)
FLAGS = [
    "--num-gpu-blocks-override",
    "2000",
    "--max-model-len",
    "4096",
    "--max-num-seqs",
    "64",
    "--max-num-batched-tokens",
    "1024",
]


def line(one: Measured, **more: object) -> str:
    told = {
        "time": datetime.fromtimestamp(1_800_000_000 + one.at, UTC).isoformat(timespec="milliseconds"),
        "duration_ms": round(one.duration * 1000, 2),
        "first_byte_ms": round(one.ttft * 1000, 2),
        "status": 200,
        "stream": True,
        "endpoint": "a",
        "tries": 1,
        "prompt_tokens": one.prompt,
        "cached_tokens": one.cached or None,
        "completion_tokens": one.output,
        "path": "/v1/chat/completions",
    }
    return json.dumps({**told, **more})


def written(path: Path, count: int = 60) -> Path:
    """The access log of a server whose constants are COST."""
    dice, now, asks = Random(4), 0.0, []
    for _ in range(count):
        now += dice.expovariate(6.0)
        asks.append(Measured(now, dice.randint(5, 900), dice.randint(1, 40), 0.0, 0.0))
    lines = [line(one) for one in replay(asks, replace(LIMITS, cost=COST))]
    lines.insert(3, line(asks[0], stream=False))
    lines.insert(7, line(asks[0], status=503, first_byte_ms=None, prompt_tokens=None, completion_tokens=None))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_the_log_of_a_server_tells_makes_a_card_of_which_a_simulator_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--fit", str(written(tmp_path / "access.log")), *FLAGS]) == 0
    told = capsys.readouterr().out
    card = msgspec.json.decode(told, type=Card)
    assert card.requests == 60
    assert (card.ttft_error or 1) < 0.1
    assert card.cost.base == pytest.approx(COST.base, rel=0.2)
    (tmp_path / "card.json").write_text(told)
    flags, unknown = parse(["--card", str(tmp_path / "card.json"), "--max-num-seqs", "7", "--speed", "2"])
    made = settings(flags)
    assert isinstance(made, Settings)
    assert unknown == []
    config = made.config
    assert (config.num_blocks, config.max_num_batched_tokens, config.max_num_seqs) == (2000, 1024, 7)
    assert config.cost.base == card.cost.base / 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ": 0 streams are too few: give at least 20; only whole streams count whose tokens the server has told"),
        ("{}\n", ":1: not a line of headgate's access log: Object missing required field `time`"),
        (line(ONE) + "\n{]\n", ":2: not a line of headgate's access log: JSON is malformed"),
        (line(ONE, time="noon"), ":1: not a line of headgate's access log: Invalid isoformat"),
        (line(replace(ONE, prompt=50_000)), ": 50005 tokens of one request do not fit into a KV cache of 2000"),
    ],
    ids=["empty", "another object", "no JSON", "no time", "too long"],
)
def test_logs_that_are_no_use(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    with pytest.raises(Unusable) as caught:
        fitted(str(path), LIMITS)
    assert str(caught.value).startswith(f"{path}{why}")


def test_files_that_are_not_there_or_no_cards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unusable, match="No such file or directory"):
        read_log(str(tmp_path / "none"))
    (tmp_path / "card").write_text('{"cost": {"base": "slow"}}')
    with pytest.raises(Unusable, match="is no card as `headgate sim --fit` writes them"):
        read_card(str(tmp_path / "card"))
    assert main(["--card", str(tmp_path / "none")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
