"""This process, under the names that Prometheus' own clients use."""

import os
import resource
from pathlib import Path
from time import time

from headgate.runtime.exposition import Page

_BEGAN = time()


def describe(page: Page) -> None:
    """CPU time, memory, open files and the start; of those the ones that this platform tells."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = round(usage.ru_utime + usage.ru_stime, 3)
    page.one("process_cpu_seconds_total", "counter", "CPU time of this process, user and system.", seconds)
    page.one("process_start_time_seconds", "gauge", "When this process began, in Unix time.", round(_BEGAN, 3))
    page.one("process_max_fds", "gauge", "How many files it may open.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    statm = Path("/proc/self/statm")
    if statm.exists():
        memory = int(statm.read_text().split()[1]) * resource.getpagesize()
        page.one("process_resident_memory_bytes", "gauge", "Memory of this process that is resident.", memory)
        page.one("process_open_fds", "gauge", "Files and sockets that are open.", len(os.listdir("/proc/self/fd")))
