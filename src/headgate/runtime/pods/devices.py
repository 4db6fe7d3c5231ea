"""The GPUs of this machine: found once, given to Pods, taken back."""

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from headgate.runtime.pods.gpus import allocate, listed

_ASKING = 20.0  # seconds; drivers that nobody used since the machine started take some


def find_devices(own: Mapping[str, str], root: Path = Path("/dev")) -> tuple[str, ...]:
    """The devices that the user lets us have, as CUDA_VISIBLE_DEVICES names them; `own` is the user's environment."""
    devices: tuple[str, ...] = ()
    tool = shutil.which("nvidia-smi", path=own.get("PATH"))
    if tool is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = subprocess.run([tool, "-L"], check=False, capture_output=True, text=True, timeout=_ASKING)
            devices = listed(asked.stdout)
    if not devices and root.is_dir():
        count = sum(re.fullmatch(r"nvidia\d+", entry.name) is not None for entry in root.iterdir())
        devices = tuple(map(str, range(count)))
    chosen = own.get("CUDA_VISIBLE_DEVICES")
    if not devices or chosen is None:
        return devices
    names = [name.strip() for name in chosen.split(",")]
    end = next((at for at, name in enumerate(names) if name in ("", "-1")), len(names))
    return tuple(names[:end])  # as CUDA: what comes after one that is none does not count


class Devices:
    """Who has which; `find` is asked when somebody first wants some."""

    def __init__(self, find: Callable[[], tuple[str, ...]]) -> None:
        self._find = find
        self._finding: asyncio.Task[tuple[str, ...]] | None = None
        self._held: dict[str, tuple[str, ...]] = {}
        self._wanting: dict[str, int] = {}
        self._returned = asyncio.Event()

    async def claim(self, pod: str, count: int, tell: Callable[[int, int], None]) -> tuple[str, ...]:
        """So many, as soon as they are free; none where the machine has none. `tell` hears how many are free, of all.

        They are held until `release`.
        """
        if self._finding is None:
            self._finding = asyncio.create_task(asyncio.to_thread(self._find))
        devices = await asyncio.shield(self._finding)
        if not devices:
            return ()
        self._wanting[pod] = count
        try:
            while True:
                given = allocate(devices, self._held, self._wanting)
                if pod in given:
                    self._held[pod] = given[pod]
                    return given[pod]
                tell(len(devices) - sum(map(len, self._held.values())), len(devices))
                await self._returned.wait()
        finally:
            del self._wanting[pod]

    def release(self, pod: str) -> None:
        if self._held.pop(pod, None):
            self._returned.set()
            self._returned = asyncio.Event()
