"""How many threads a step uses."""
from __future__ import annotations

import math
import os

from ._isa import engine

_engine = engine("float32")
MOST = 1024             # more are refused: OpenMP runs out of stack, and no machine gains by them
_forked = False
_wanted: int | None = None


def _quota() -> float:
    """CPUs of the cgroup's quota (v2, then v1), or infinity."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as f:
            limit, period = f.read().split()[:2]
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as f, open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as g:
                limit, period = f.read().strip(), g.read().strip()
        except OSError:
            return math.inf
    return math.inf if limit in ("max", "-1") else max(1, math.ceil(int(limit) / int(period)))


def _variable(name: str) -> float:
    """The thread count in an environment variable (OpenMP allows a list: its first), or infinity."""
    first = os.environ.get(name, "").split(",")[0].strip()
    if not first:
        return math.inf
    if not first.isdigit() or int(first) < 1:
        if name == "LANEWISE_NUM_THREADS":
            raise ValueError(f"{name}={os.environ[name]}: expected a number of threads, 1 or more")
        return math.inf
    return int(first)


def default_threads() -> int:
    """The smallest of CPU affinity, the cgroup's quota, OMP_NUM_THREADS and LANEWISE_NUM_THREADS."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(min(cpus, _quota(), _variable("OMP_NUM_THREADS"), _variable("LANEWISE_NUM_THREADS")))


def get_num_threads() -> int:
    """Threads that the next step uses: what was set or the default, and no more than OpenMP allows (threadpoolctl sets
    that). 1 in a forked child, where OpenMP's threads do not exist."""
    global _wanted
    if _forked:
        return 1
    if _wanted is None:                 # not at import: a wrong variable is then an error of the call, not of the import
        _wanted = default_threads()
    most: int = _engine.max_threads()
    return _wanted if _wanted < most else most


def set_num_threads(n: int) -> None:
    """Use n threads from the next step on. The results do not depend on it, to the last bit."""
    global _wanted
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
        raise ValueError(f"set_num_threads: expected an integer from 1 to {MOST}, got {n!r}")
    _wanted = n
    if not _forked and _engine.max_threads() < n:
        _engine.set_max_threads(n)


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
