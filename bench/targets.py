"""What headgate is to reach, and whether it does: ratios to the others in the same run, and bounds."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from bench.report import Row
from bench.systems import SYSTEMS

_Rows = Mapping[tuple[str, str], Row]


class Target(Struct, frozen=True):
    """`found` gives the figure, or None where a row that it needs is missing or void. It must be at most `limit`."""

    case: str
    what: str
    found: Callable[[_Rows], float | None]
    limit: float
    least: bool = False  # it must be at least `limit`


def _figure(case: str, key: str, system: str = "headgate") -> Callable[[_Rows], float | None]:
    def found(rows: _Rows) -> float | None:
        row = rows.get((case, system))
        return row.figures.get(key) if row else None

    return found


def _ratio(case: str, key: str, to: Sequence[str], system: str = "headgate") -> Callable[[_Rows], float | None]:
    """To the best of `to` in this run."""

    def found(rows: _Rows) -> float | None:
        mine = _figure(case, key, system)(rows)
        others = [other for name in to if (other := _figure(case, key, name)(rows))]
        return mine / min(others) if mine is not None and others else None

    return found


def _share_at_once(rows: _Rows) -> float | None:
    at_once, streams = (_figure("burst-10k", key)(rows) for key in ("at_once", "streams"))
    return at_once / streams if at_once and streams else None


def _first_added(rows: _Rows) -> float | None:
    """By the picker, to what the proxy takes by itself."""
    ours, alone = (_figure("ext-proc-first", "first_p99_ms", system)(rows) for system in (_BESIDE, "envoy"))
    return ours - alone if ours is not None and alone is not None else None


def _picker_to_envoy(rows: _Rows) -> float | None:
    picker, envoy = _figure("ext-proc", _PICKER, _BESIDE)(rows), _figure("ext-proc", _CPU, "envoy")(rows)
    return picker / envoy if picker and envoy else None


_CACHE_AWARE = [name for name, system in SYSTEMS.items() if system.group == "cache-aware"]
_TWO = "headgate-2-workers"
_PICKER, _BESIDE = "picker_us_per_request", "headgate-epp"
_CPU, _CHUNK = "cpu_us_per_request", "cpu_us_per_chunk"

TARGETS = (
    Target("chat-short", "CPU × the best cache-aware peer", _ratio("chat-short", _CPU, _CACHE_AWARE), 0.4),
    Target("chat-short", "CPU × plain Envoy", _ratio("chat-short", _CPU, ["envoy"]), 1.0),
    Target("chat-long", "CPU × the best cache-aware peer", _ratio("chat-long", _CPU, _CACHE_AWARE), 0.4),
    Target("stream", "CPU per chunk × the best cache-aware peer", _ratio("stream", _CHUNK, _CACHE_AWARE), 0.5),
    # With what the server, the client and the kernel take in it: `direct` shows how much that is.
    Target("stream", "p99 ms that a chunk takes at half load", _figure("stream", "half_load_p99_ms"), 1.0),
    Target("idle-1k", "RSS in MB", _figure("idle-1k", "rss_mb"), 80.0),
    Target("idle-1k", "CPU in %", _figure("idle-1k", "cpu_percent"), 1.0),
    Target("scrape-100", "cores", _figure("scrape-100", "cores"), 0.35),
    Target("scrape-100", "pages/s of the 2,000 asked for", _figure("scrape-100", "pages_per_s"), 1900.0, least=True),
    Target("ext-proc", "CPU µs of the picker", _figure("ext-proc", _PICKER, _BESIDE), 150.0),
    # The same for any machine: where the 150 come from, that Envoy took 34.
    Target("ext-proc", "CPU of the picker × plain Envoy", _picker_to_envoy, 4.4),
    Target("ext-proc-long", "CPU µs of the picker", _figure("ext-proc-long", _PICKER, _BESIDE), 3000.0),
    Target("ext-proc-first", "p99 ms to the first chunk, added", _first_added, 10.0),
    Target("burst-10k", "KB per stream", _figure("burst-10k", "kb_per_stream"), 40.0),
    Target("burst-10k", "share of the streams that ran at once", _share_at_once, 0.99, least=True),
    *(
        Target(
            case, "throughput, two workers × one", _ratio(case, "requests_per_s", ["headgate"], _TWO), 0.9, least=True
        )
        for case in ("workers", "chat-short", "chat-long", "stream")
    ),
)


def verdicts(rows: Sequence[Row]) -> str:
    """A table of the targets that this run says something about; "" when there are none."""
    known = {(row.case, row.system): row for row in rows}
    lines = []
    for target in TARGETS:
        if (target.case, "headgate") in known or (target.case, _BESIDE) in known:
            bound = f"{'≥' if target.least else '≤'} {target.limit:g}"
            lines.append([target.case, target.what, bound, *_verdict(target, target.found(known))])
    if not lines:
        return ""
    heads = ["case", "target for headgate", "", "found", ""]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *lines))


def _verdict(target: Target, found: float | None) -> tuple[str, str]:
    if found is None:
        return "", "not measured"
    met = found >= target.limit if target.least else found <= target.limit
    return f"{found:.4g}", "met" if met else "missed"
