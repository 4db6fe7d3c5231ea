"""Where LoRA adapters are: in a GPU slot, in CPU memory, or only on disk; each place is left least recently used
first.
"""

from collections import OrderedDict
from collections.abc import Iterable


class Adapters:
    """`slots` on the GPU (--max-loras) and `memory` on the CPU (--max-cpu-loras, never fewer than the slots)."""

    def __init__(self, slots: int, memory: int) -> None:
        self._slots = slots
        self._memory = max(memory, slots)
        self._on_gpu: OrderedDict[str, None] = OrderedDict()
        self._on_cpu: OrderedDict[str, None] = OrderedDict()

    def load(self, name: str) -> None:
        """Read it into CPU memory, as a load call does before anybody asks for it."""
        self._on_cpu[name] = None
        self._on_cpu.move_to_end(name)
        while len(self._on_cpu) > self._memory:
            gone = next((held for held in self._on_cpu if held not in self._on_gpu), next(iter(self._on_cpu)))
            del self._on_cpu[gone]
            self._on_gpu.pop(gone, None)

    def forget(self, name: str) -> None:
        """It was unloaded."""
        self._on_cpu.pop(name, None)
        self._on_gpu.pop(name, None)

    def use(self, names: Iterable[str]) -> tuple[int, int]:
        """Put what one step needs into the slots; at most as many names as there are slots.

        Returns how many had to be copied from CPU memory, and how many had to be read from disk first.
        """
        wanted = list(dict.fromkeys(names))
        copied = read = 0
        for name in wanted:
            if name in self._on_gpu:
                self._on_gpu.move_to_end(name)
        for name in wanted:
            if name in self._on_gpu:
                continue
            if name in self._on_cpu:
                self._on_cpu.move_to_end(name)
                copied += 1
            else:
                read += 1
            while len(self._on_gpu) >= self._slots:
                self._on_gpu.popitem(last=False)
            self._on_gpu[name] = None
            self.load(name)
        return copied, read

    @property
    def resident(self) -> tuple[str, ...]:
        """What is in the slots, the least recently used first."""
        return tuple(self._on_gpu)
