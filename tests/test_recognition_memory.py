"""Large blocks are kept by the allocator."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import ctypes, resource, sys
from recognition.memory import reuse_large_blocks
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "reuse":
    assert reuse_large_blocks()
faults = []
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(64 * 2**20)
    ctypes.memset(block, 1, 64 * 2**20)
    libc.free(block)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""


def page_faults(mode):
    done = subprocess.run([sys.executable, "-c", PROBE, mode], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_the_second_block_of_64_mib_costs_no_page_faults():
    first, second = page_faults("reuse")
    assert second < first / 4
    first, second = page_faults("as it is")
    assert second > first / 2, "without the setting every block is faulted in anew"
