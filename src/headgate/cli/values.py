"""What words of the command line must be: each takes the text, and says what is wrong with it."""

import argparse
import ipaddress
from collections.abc import Callable


def at_least_0(text: str) -> float:
    return _number(text, float, 0)


def interval(text: str) -> float:
    value = _number(text, float, 0.01)
    if value > 1:
        raise argparse.ArgumentTypeError("must be 1 or less: what is older than 2 seconds counts as unknown")
    return value


def count(text: str) -> int:
    return int(_number(text, int, 0))


def at_least_1(text: str) -> int:
    return int(_number(text, int, 1))


def workers(text: str) -> int:
    workers = at_least_1(text)
    if workers > 256:
        raise argparse.ArgumentTypeError("must be 256 or less")
    return workers


def _number(text: str, kind: Callable[[str], float], least: float) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be {least} or more")
    return value


def address(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if not host or ":" in host or "/" in host:
            raise argparse.ArgumentTypeError(
                f"{text!r}: write an address or a name, without a port; the Gateway's listeners have the ports"
            ) from None
    return host


def metrics(text: str) -> tuple[str, int] | None:
    if text == "off":
        return None
    if not text:
        return ("", 9090)  # at the address that is usual for the command
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: write HOST:PORT, a port alone, or off")
    return host.strip("[]") or "127.0.0.1", int(port)


def network(text: str) -> str:
    if text != "off":
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}: write a network such as 127.77.0.0/24, or off") from None
    return text
