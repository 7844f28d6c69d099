"""Keeping large blocks of memory between allocations, where the C library would return them each time."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def reuse_large_blocks(limit: int = 2**30) -> bool:
    """Tell glibc to keep freed blocks of up to ``limit`` bytes for the next allocation; for the whole process.

    By default it gives every block above 32 MiB back to the system, and the next map of that size faults in page
    after page: a sixth of the CPU time of LGD-3D ResNet-50 on clips of 16x120x160. Call it once at the start of a
    program. The process then holds on to its peak memory. Returns False, changing nothing, without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, limit) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
