"""The package as it is built and imported: a light import, and one sentence where it cannot be compiled."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lanewise as lw
from lanewise import _isa, callbacks, data, nn, optim

ROOT = Path(__file__).parent.parent

COMPILERS = {
    "none": (None, "no C compiler was found ('{}'): install one (for example gcc) and run the command again."),
    "broken": ("exit 1", "'{}' cannot compile a C program: install the C compiler's headers and linker and run"),
    "no OpenMP": ('case "$*" in *-fopenmp*) exit 1;; esac',
                  "'{}' cannot compile an OpenMP program: install the C compiler's OpenMP runtime (libgomp or libomp) and run"),
    "no Python.h": ('case "$*" in *-I*python*|*-I*Python*) exit 1;; esac',
                    "'{}' cannot compile a Python extension: install Python's headers (for example python3-dev) and run"),
}


@pytest.mark.skipif(os.name == "nt", reason="the compilers here are shell scripts")
@pytest.mark.parametrize("name", COMPILERS)
def test_a_compiler_that_cannot(name, tmp_path):
    """setup.py's check, with compilers that lack something: the last line is the sentence, and nothing was compiled."""
    pytest.importorskip("setuptools", "77", reason="pip install setuptools")
    body, sentence = COMPILERS[name]
    compiler = tmp_path / "cc"
    if body:
        compiler.write_text(f"#!/bin/sh\n{body}\n")
        compiler.chmod(0o755)
    done = subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--build-lib", tmp_path / "lib", "--build-temp",
                           tmp_path / "temp"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "CC": str(compiler)})
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert lines[-1].startswith("lanewise: ") and sentence.format(compiler) in lines[-1]
    assert not list(tmp_path.rglob("*.so")) and not list(tmp_path.rglob("*.c"))


def test_import_is_light():
    """Of the standard library too, what is heavy waits until it is used, and numpy.random where NumPy itself leaves it out."""
    code = ("import json, sys, numpy; before = set(sys.modules); import lanewise; "
            "print(json.dumps(sorted(set(sys.modules) - before)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    new = set(json.loads(done.stdout))
    assert "lanewise.graph" in new and "lanewise.train" not in new
    assert not new & {"zipfile", "gzip", "tempfile", "subprocess", "multiprocessing", "asyncio", "unittest", "http", "ssl"}
    if int(np.__version__.split(".")[0]) >= 2:
        assert not new & {"numpy.random", "secrets"}


def test_two_threads_load_kernels(monkeypatch):
    """The variable that one has set for OpenMP is gone in the end, whichever takes it away."""
    for name in "GOMP_SPINCOUNT", "OMP_WAIT_POLICY":
        monkeypatch.delenv(name, raising=False)
    seen = []

    def load(module):
        seen.append(os.environ.pop("GOMP_SPINCOUNT"))   # as another thread does at its end
        return module
    monkeypatch.setattr(_isa.importlib, "import_module", load)
    assert _isa._load("kernels") == "kernels" and seen == [_isa.SPINS] and "GOMP_SPINCOUNT" not in os.environ


def test_version_is_one():
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"$', text, re.M)[1] == lw.__version__


@pytest.mark.parametrize("module", [lw, nn, optim, data, callbacks], ids=lambda m: m.__name__)
def test_public_names(module):
    """What __all__ lists exists, once, and has a docstring that starts with a sentence."""
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing):
            assert thing.__doc__ and thing.__doc__.strip()[-1] in ".:" or "." in thing.__doc__, name
