"""This process: how it keeps its memory, and what it tells of itself."""

import gc
import os
import resource
from pathlib import Path
from time import time

from headgate.runtime.exposition import Page
from headgate.runtime.malloc import keep_memory

_BEGAN = time()
_COLLECT = (100_000, 50, 100)


def settle_memory() -> None:
    """What is there now stays: the collector need not look at it again, nor look as often as small programs want.

    And what large bodies took is kept at hand.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    keep_memory()


def describe(page: Page) -> None:
    """CPU time, memory, open files and the start, under the names that Prometheus' own clients use.

    Of those the ones that this platform tells.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = round(usage.ru_utime + usage.ru_stime, 3)
    page.one("process_cpu_seconds_total", "counter", "CPU time of this process, user and system.", seconds)
    page.one(
        "process_start_time_seconds", "gauge", "When this process began, in Unix time.", round(_BEGAN, 3), alike=True
    )
    page.one("process_max_fds", "gauge", "How many files it may open.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    statm = Path("/proc/self/statm")
    if statm.exists():
        memory = int(statm.read_text().split()[1]) * resource.getpagesize()
        page.one("process_resident_memory_bytes", "gauge", "Memory of this process that is resident.", memory)
        page.one("process_open_fds", "gauge", "Files and sockets that are open.", len(os.listdir("/proc/self/fd")))
