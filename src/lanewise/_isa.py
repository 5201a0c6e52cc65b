"""Which build of the kernels this process uses: picked by cpuid, or forced by LANEWISE_ISA."""
from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from ._kernels import cpu

if TYPE_CHECKING:
    from typing import Any

SPINS = "5000"              # of a waiting OpenMP thread before it sleeps: 0.1 ms, the Python between two calls of a large network
LEVEL = cpu.level()
VBMI = LEVEL == 4 and cpu.vbmi()    # bytes are looked up in registers: more than v4; read when a plan is made
ISAS = ["v4", "v3", "v2"] if LEVEL else ["generic"]


def supported() -> list[str]:
    """The builds that this processor can run, best first."""
    names = [isa for isa in ISAS if isa == "generic" or int(isa[1]) <= LEVEL]
    if not names:
        raise ImportError(f"lanewise needs a processor of level x86-64-v2 or above, and this one is x86-64-v{LEVEL}")
    return names


def choose() -> str:
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
_modules: dict[tuple[str, Any, str], Any] = {}


def kernels(name: str, dtype: Any, build: str | None = None) -> Any:
    """The compiled module "engine" or "arrays" for "float32" or "float64"; `build`: of another ISA than the process's own."""
    key = (build or isa, dtype, name)               # a dtype or its name: the text of one costs microseconds
    found = _modules.get(key)
    if found is None:
        found = _modules[key] = _load(f"lanewise._kernels.{key[0]}_{dtype}.{name}")
    return found


def _load(module: str) -> Any:
    # OpenMP's runtime reads the time that a waiting thread spins when it is first loaded. Its default, about 10 ms, is for a
    # machine of one's own: beside another busy process a step then takes 20 times as long. What the user asks for stands.
    asked = "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ
    if not asked:
        os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        return importlib.import_module(module)
    finally:
        if not asked:
            os.environ.pop("GOMP_SPINCOUNT", None)      # another thread that loads may have been faster


def engine(dtype: Any, build: str | None = None) -> Any:
    """The compiled engine."""
    return _modules.get((build or isa, dtype, "engine")) or kernels("engine", dtype, build)
