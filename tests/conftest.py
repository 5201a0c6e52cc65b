"""Fixtures that many tests share: every ISA build, every number type, the batch sizes around a shard."""
import numpy as np
import pytest

import lanewise as lw
from lanewise import _isa


@pytest.fixture(autouse=True, scope="session")
def own_operations_folder(tmp_path_factory):
    """Operations that tests compile are kept for the run only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANEWISE_OPS", str(tmp_path_factory.mktemp("ops")))
        yield


@pytest.fixture(params=_isa.supported())
def isa(request, monkeypatch):
    """Each build of the kernels that this processor can run."""
    monkeypatch.setattr(_isa, "isa", request.param)
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both engines."""
    return np.dtype(request.param)


@pytest.fixture(autouse=True)
def own_threads_and_seed():
    """Initial weights are the same in every run; a test that changes the number of threads leaves it as it was."""
    lw.manual_seed(2026)
    before = lw.get_num_threads()
    yield
    lw.set_num_threads(before)


@pytest.fixture
def direct():
    """Convolutions by the direct sum, which is exact on integers."""
    lw.set_winograd(False)
    yield
    lw.set_winograd(True)


@pytest.fixture
def rng():
    """A generator, the same for every test."""
    return np.random.default_rng(2026)
