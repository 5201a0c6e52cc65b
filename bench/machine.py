"""What this machine can do, measured in the same run: multiply-adds in registers, numbers to and from memory."""
import os
import time
from concurrent.futures import ThreadPoolExecutor

VARIABLES = ("OMP_NUM_THREADS", "LANEWISE_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
             "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")
STREAM = 8_000_000              # float32 numbers in each of the three arrays: 32 MB, above most L2, three together above L3


def pin(threads):
    """Let this process use so many CPUs: the variables that libraries read when they are imported, and the affinity.
    Call it before NumPy is imported."""
    for name in VARIABLES:
        os.environ[name] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def _together(work, threads):
    """Seconds in which `threads` threads do work(0), work(1), ... at once."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: time.sleep(0.001), range(threads)))         # the threads exist
        start = time.perf_counter()
        list(pool.map(work, range(threads)))
        return time.perf_counter() - start


def bandwidth(threads=1, repeats=15):
    """GB/s of c = a + b on arrays much larger than a core's caches, 12 bytes a number; the best run."""
    import numpy as np
    a, b, c = (np.ones(STREAM, np.float32) for _ in range(3))
    edges = [STREAM * t // threads for t in range(threads + 1)]

    def add(t):
        part = slice(edges[t], edges[t + 1])
        np.add(a[part], b[part], out=c[part])
    return max(12 * STREAM / _together(add, threads) for _ in range(repeats)) / 1e9


def describe(threads):
    """The machine as a dict: processor, build of the kernels, threads, peak and bandwidth."""
    from lanewise import _isa
    from lanewise.cli import cpu_name
    from lanewise.profiling import fma_peak
    return dict(cpu=cpu_name(), isa=_isa.isa, lanes=_isa.engine("float32").lanes, threads=threads,
                peak_gflops=round(fma_peak(threads), 1), memory_gbs=round(bandwidth(threads), 1))


def sentence(machine):
    """describe() in one line."""
    return (f"{machine['cpu']}, kernels {machine['isa']} ({machine['lanes']} lanes), {machine['threads']} threads: "
            f"FMA peak {machine['peak_gflops']:.0f} GFLOP/s, memory {machine['memory_gbs']:.1f} GB/s")
