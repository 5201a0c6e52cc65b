"""Which build of the kernels this process uses: picked by cpuid, or forced by LANEWISE_ISA."""
import importlib
import os

from ._kernels import cpu

LEVEL = cpu.level()
ISAS = ["v4", "v3", "v2"] if LEVEL else ["generic"]


def supported():
    """The builds that this processor can run, best first."""
    names = [isa for isa in ISAS if isa == "generic" or int(isa[1]) <= LEVEL]
    if not names:
        raise ImportError(f"lanewise needs a processor of level x86-64-v2 or above, and this one is x86-64-v{LEVEL}")
    return names


def choose():
    """The build to use: the best one, or the one that LANEWISE_ISA names."""
    best = supported()
    wanted = os.environ.get("LANEWISE_ISA")
    if not wanted:
        return best[0]
    name = wanted.lower().replace("x86-64-", "")
    if name not in best:
        raise ImportError(f"LANEWISE_ISA={wanted}: expected one of {', '.join(best)}, which this processor can run")
    return name


isa = choose()
_modules = {}


def kernels(name, dtype, build=None):
    """The compiled module "engine" or "arrays" for "float32" or "float64"; `build`: of another ISA than the process's own."""
    key = (build or isa, dtype, name)               # a dtype or its name: the text of one costs microseconds
    found = _modules.get(key)
    if found is None:
        found = _modules[key] = importlib.import_module(f"lanewise._kernels.{key[0]}_{dtype}.{name}")
    return found


def engine(dtype, build=None):
    """The compiled engine."""
    return kernels("engine", dtype, build)
