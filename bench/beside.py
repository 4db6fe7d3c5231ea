"""`python -m bench.beside DIRECTORY`: Envoy with a picker beside it, as DIRECTORY/beside.json says; both end together.

Their process ids are left in DIRECTORY/pids.json, for who wants to know what each of them costs.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_READY_S = 30.0


def main(directory: Path) -> int:
    given = json.loads((directory / "beside.json").read_text())
    picker = subprocess.Popen(given["picker"], env={**os.environ, **given["env"]})
    _until_open(given["port"], picker)
    proxy = subprocess.Popen(given["proxy"])
    (directory / "pids.json").write_text(json.dumps({"picker": picker.pid, "proxy": proxy.pid}))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return proxy.wait()
    finally:
        for process in (proxy, picker):
            process.kill()


def _until_open(port: int, picker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while picker.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the picker does not listen")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
