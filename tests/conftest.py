"""Set before any test imports torch, and passed on to the tools that tests start."""

import os

# Tests run tiny networks: more threads cost more than they bring, and on a busy machine spinning ones much more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
