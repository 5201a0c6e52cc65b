"""Memory of large results: never given out twice while an array or a view of it lives, given out again afterwards, bounded."""
import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lanewise import ops
from lanewise._kernels import calls

LARGE = 1 << 19         # float32 numbers: 2 MB
get_handler_name = (np._core if hasattr(np, "_core") else np.core).multiarray.get_handler_name


def address(a):
    return a.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def no_other_buffers():
    """What other tests left is driven out by a buffer that is as large as what is kept, and fits no result here."""
    calls.empty((calls.KEPT_BYTES // 4,), np.empty(1, np.float32))
    assert calls.kept_bytes() == calls.KEPT_BYTES


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, LARGE // 4)).astype(np.float32)


def test_a_result_is_not_overwritten_while_a_view_of_it_lives(x):
    y = ops.relu(x)
    view = y[1, 5:-3:2]
    expected = view.copy()
    del y
    kept = [ops.sigmoid(x + k) for k in range(8)]
    for _ in range(8):
        ops.tanh(x)
    assert_array_equal(view, expected)
    assert not any(np.shares_memory(view, k) for k in kept)
    assert len({address(k) for k in kept}) == len(kept)


def test_a_free_buffer_is_used_again(x):
    before = address(ops.relu(x))
    assert address(ops.relu(x)) == before
    assert address(ops.relu(x[:, :-9])) == before              # a little smaller
    assert address(calls.empty((LARGE // 2,), x)) != before    # much smaller


def test_a_result_owns_its_memory_as_numpys_do(x):
    y = ops.relu(x)
    assert y.flags.owndata and y.flags.writeable and y.base is None and address(y) % 64 == 0
    first = y[0].copy()
    y.resize((8, LARGE // 4), refcheck=False)
    assert_array_equal(y[0], first)
    z = ops.relu(x)
    z += 1
    assert_array_equal(z, np.maximum(x, 0) + 1)


def test_numpys_own_arrays_come_from_elsewhere(x):
    """NumPy's allocation is changed for the result alone."""
    assert address(ops.relu(x)) != address(np.empty_like(x))
    assert get_handler_name(ops.relu(x)) == "lanewise"
    assert get_handler_name(np.empty_like(x)) == get_handler_name() == "default_allocator"
    assert get_handler_name(ops.relu(x[:, :5])) == "default_allocator"


def test_kept_memory_is_bounded():
    like, most = np.empty(1, np.float32), calls.KEPT_BYTES
    for megabytes in (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 70):
        arrays = [calls.empty((megabytes << 18,), like) for _ in range(3)]
        arrays[0][::1024] = 1
        del arrays
        gc.collect()
        assert 0 <= calls.kept_bytes() <= most
    sizes = [calls.empty((n << 18,), like) for n in range(1, 40)]
    del sizes
    assert 0 < calls.kept_bytes() <= most


def test_threads_of_the_caller_get_buffers_of_their_own(x):
    """Each result is checked after others were made and dropped by four threads at a time."""
    def work(k):
        y = ops.relu(x + k)
        z = ops.relu(y[:, :-k - 1])
        ok = np.array_equal(y, np.maximum(x + k, 0)) and np.array_equal(z, y[:, :-k - 1])
        return ok and not np.shares_memory(y, z)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(32)))


def test_a_failing_call_leaves_numpys_allocation_alone(x):
    with pytest.raises(MemoryError):
        calls.empty((1 << 48,), x)
    assert get_handler_name() == "default_allocator"
