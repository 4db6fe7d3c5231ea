"""Keeps memory for large bodies at hand.

The C library asks the kernel for each piece of 128 KiB and more, and gives it back at once; touching it anew costs a
page fault for each 4 KiB. For prompts of 400 KB that was a fifth of the time.
"""

import ctypes

# mallopt(3), glibc's numbers
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_OWN = 4 << 20  # bytes of a piece from which on it is the kernel's matter, as before
_KEPT = 64 << 20  # bytes that are free at most before some are given back


def keep_memory() -> None:
    """For this process. Does nothing where the C library has no such knob (musl, macOS)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN)
        mallopt(_TRIM_THRESHOLD, _KEPT)
