"""Cards: what a model server costs, in files. `headgate sim --fit LOG` writes one, `--card FILE` reads it."""

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from headgate.runtime.progress import progress
from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.sim.fit import REPLAYS, Fit, Measured, fit

LIMITS = ("block_size", "num_blocks", "max_num_seqs", "max_num_batched_tokens", "max_model_len")


class Unusable(ValueError):
    """A file that is no use; the text says why, for people."""


class Card(Struct, frozen=True, forbid_unknown_fields=True):
    """The constants, the limits of the server that they were found at, and how well they fit (None: not fitted)."""

    cost: Cost
    block_size: int
    num_blocks: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    requests: int | None = None
    ttft_error: float | None = None
    tpot_error: float | None = None

    @property
    def config(self) -> Config:
        """A server of it; adapters share it as in vLLM where nothing else is said."""
        return Config(**{name: getattr(self, name) for name in LIMITS}, max_loras=4, max_cpu_loras=64, cost=self.cost)


class _Line(Struct):
    """Of the access log what is needed here."""

    time: str
    duration_ms: float
    first_byte_ms: float | None
    status: int
    stream: bool
    endpoint: str = ""
    tries: int = 1
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


_line = msgspec.json.Decoder(_Line).decode


def read_card(path: str) -> Card:
    """Raises Unusable."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Card)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise Unusable(f"{path} is no card as `headgate sim --fit` writes them: {error}") from None


def read_log(path: str) -> list[Measured]:
    """The whole streams in an access log of `headgate gateway`. Raises Unusable."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    found = []
    for number, text in enumerate(lines, 1):
        try:
            line = _line(text)
            at = datetime.fromisoformat(line.time).timestamp()
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unusable(f"{path}:{number}: not a line of headgate's access log: {error}") from None
        if line.status != 200 or not line.stream or line.tries != 1 or not line.completion_tokens:
            continue
        if line.first_byte_ms is None or not line.prompt_tokens:
            continue
        found.append(
            Measured(
                at,
                line.prompt_tokens,
                line.completion_tokens,
                line.first_byte_ms / 1000,
                line.duration_ms / 1000,
                min(line.cached_tokens or 0, line.prompt_tokens - 1),
                line.endpoint,
            )
        )
    return found


def fitted(path: str, config: Config) -> Card:
    """The card of the servers in an access log, whose limits are those of `config`. Raises Unusable."""
    measured = read_log(path)
    longest = max((one.prompt + one.output for one in measured), default=0)
    if longest > config.num_blocks * config.block_size:
        raise Unusable(
            f"{path}: {longest} tokens of one request do not fit into a KV cache of {config.num_blocks} blocks"
        )
    try:
        found = fit(measured, config, progress("fit", REPLAYS, "replays"))
    except ValueError as error:
        raise Unusable(f"{path}: {error}; only whole streams count whose tokens the server has told") from None
    return _card(found, config)


def _card(found: Fit, config: Config) -> Card:
    return Card(
        Cost(*(float(f"{getattr(found.cost, name):.4g}") for name in found.cost.__struct_fields__)),
        **{name: getattr(config, name) for name in LIMITS},
        requests=found.requests,
        ttft_error=round(found.ttft_error, 4),
        tpot_error=round(found.tpot_error, 4),
    )
