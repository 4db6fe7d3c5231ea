"""`headgate drain-time`: how long a model server needs to stop without cutting a request off. docs/deploy.md."""

import argparse
import json
import re
from collections.abc import Callable
from math import ceil, inf

from msgspec import Struct, to_builtins

_AMOUNT = re.compile(r"([0-9]*\.?[0-9]+)(ms|s|m|%)?")
_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}

EXAMPLES = """\
examples:
  headgate drain-time --max-model-len 4096 --tpot 10ms
  headgate drain-time --max-model-len 131072 --max-output-tokens 8192 --tpot 60ms --pre-stop 15 -o json

tokens     the fewer of --max-model-len and --max-output-tokens: what one answer can have
request    tokens x TPOT x (1 + --prefill): the longest, at full batches, with the prompts that are computed beside it
grace      (request + preStop) x (1 + --margin), in whole seconds: terminationGracePeriodSeconds
--tpot is the time per output token where the batch is full, which is the slowest that it gets; `headgate explain`, the
metrics and `headgate bench` tell what yours is. docs/deploy.md says where each number comes from.
"""


class Drain(Struct, frozen=True, rename="camel"):
    """All in seconds. `request` is the longest that may be under way when the server is told to stop."""

    tokens: int
    decode_seconds: float
    prefill_seconds: float
    request_seconds: float
    pre_stop_sleep_seconds: int
    margin_seconds: float
    termination_grace_period_seconds: int
    gateway_grace_seconds: int  # what a gateway in front of it should give the same request: `headgate gateway --grace`


def drain(tokens: int, tpot: float, *, prefill: float = 0.2, pre_stop: float = 30, margin: float = 0.5) -> Drain:
    """The steps of GKE's model servers: `tokens` of `tpot` seconds each, `prefill` and `margin` as shares of 1.

    preStop comes first and counts against the grace period, in which kubelet then sends SIGTERM: a server that has
    been taken out of rotation needs the longest request from then on.
    """
    decode = tokens * tpot
    sleep = ceil(pre_stop)
    request = decode * (1 + prefill)
    most = (request + sleep) * (1 + margin)
    return Drain(
        tokens=tokens,
        decode_seconds=_short(decode),
        prefill_seconds=_short(request - decode),
        request_seconds=_short(request),
        pre_stop_sleep_seconds=sleep,
        margin_seconds=_short(most - request - sleep),
        termination_grace_period_seconds=_whole(most),
        gateway_grace_seconds=_whole(request * (1 + margin)),
    )


def _short(seconds: float) -> float:
    return round(seconds, 3)


def _whole(seconds: float) -> int:
    """Rounded up; what is over a whole by the arithmetic of binary fractions alone is not."""
    return ceil(round(seconds, 6))


def add_flags(parser: argparse.ArgumentParser) -> None:
    flag = parser.add_argument
    flag("--max-model-len", type=_tokens, required=True, metavar="N", help="vLLM's: tokens of prompt and answer")
    flag("--max-output-tokens", type=_tokens, metavar="N", help="the longest answer, where something limits it further")
    flag("--tpot", type=_time, required=True, metavar="T", help="per output token at full batches: 60ms, 0.06")
    flag(
        "--pre-stop",
        type=_rest,
        default=30.0,
        metavar="T",
        help="until all load balancers have let go of it, at the 99th percentile (default 30)",
    )
    flag("--prefill", type=_share, default=0.2, metavar="P", help="prompts computed beside it (default 20%%)")
    flag("--margin", type=_share, default=0.5, metavar="P", help="on top, for what nobody expects (default 50%%)")
    flag("-o", "--output", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    tokens = min(arguments.max_model_len, arguments.max_output_tokens or arguments.max_model_len)
    found = drain(
        tokens, arguments.tpot, prefill=arguments.prefill, pre_stop=arguments.pre_stop, margin=arguments.margin
    )
    if arguments.output == "json":
        print(json.dumps(to_builtins(found), indent=2))
    else:
        print(_told(found, arguments), end="")
    return 0


def _told(found: Drain, arguments: argparse.Namespace) -> str:
    rows = (
        (f"{found.tokens:,} tokens at {arguments.tpot * 1000:g} ms", found.decode_seconds),
        (f"prompts beside them, {arguments.prefill:.0%}", found.prefill_seconds),
        ("the longest request", found.request_seconds),
        ("preStop: until load balancers have let go", found.pre_stop_sleep_seconds),
        (f"on top, {arguments.margin:.0%}", found.margin_seconds),
    )
    width = max(len(text) for text, _ in rows)
    steps = "".join(f"{text:<{width}}  {seconds:>9,.1f} s\n" for text, seconds in rows)
    return (
        f"{steps}\n"
        f"terminationGracePeriodSeconds: {found.termination_grace_period_seconds}\n"
        f"lifecycle: {{preStop: {{sleep: {{seconds: {found.pre_stop_sleep_seconds}}}}}}}\n\n"
        f"and a gateway in front of it: --grace {found.gateway_grace_seconds}"
        " (chart headgate: drain.graceSeconds)\n"
    )


def _amount(text: str, units: Callable[[str, float], float | None], examples: str) -> float:
    match = _AMOUNT.fullmatch(text.strip())
    value = units(match[2] or "", float(match[1])) if match else None
    if value is None or value == inf:
        raise argparse.ArgumentTypeError(f"{text!r}: write {examples}")
    return value


def _rest(text: str) -> float:
    """Seconds, 0 or more."""
    return _amount(text, lambda unit, number: number * _SECONDS[unit] if unit in _SECONDS else None, "30, 30s or 1m")


def _time(text: str) -> float:
    """Seconds, above 0 and at most a minute: a token that takes longer is a mistake of the unit."""
    seconds = _amount(
        text, lambda unit, number: number * _SECONDS[unit] if unit in _SECONDS else None, "60ms, 0.06s or 0.06"
    )
    if not 0 < seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is {seconds:g} s for a token: write milliseconds as 60ms")
    return seconds


def _share(text: str) -> float:
    """20% or 0.2."""
    units = {"%": 0.01, "": 1.0}
    return _amount(text, lambda unit, number: number * units[unit] if unit in units else None, "20% or 0.2")


def _tokens(text: str) -> int:
    """4096, 4k (thousands) or 4K (1,024s), as vLLM takes it."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)(k|K|m|M)?", text)
    many = {None: 1, "k": 1000, "m": 10**6, "K": 1024, "M": 2**20}
    tokens = float(match[1]) * many[match[2]] if match else 0
    if tokens < 1 or tokens != int(tokens) or tokens > 10**9:
        raise argparse.ArgumentTypeError(f"{text!r}: write how many tokens, 4096 or 128K")
    return int(tokens)
