"""What the array functions share: arrays in, arrays out, threads."""
import numpy as np

from .. import _isa, threads
from ..errors import DtypeError, ShapeError

FEW = 16384     # units of work (about a nanosecond each) below which one thread does it: waking a second takes 1 to 13 us


def kernels(x):
    """The compiled array functions for an array's number type."""
    return _isa.kernels("arrays", "float32" if x.dtype.itemsize == 4 else "float64")


def crew(work):
    """How many threads so many units of work are worth."""
    return 1 if work < FEW else threads.get_num_threads()


def arrays(name, **given):
    """The arrays in given order (None stays None), all float32 or all float64; DtypeError otherwise."""
    found, kind = [], None
    for key, x in given.items():
        if x is not None:
            x = np.asarray(x)
            if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8) or not x.dtype.isnative:
                raise DtypeError(f"{name}: expected {key} of float32 or float64, got {x.dtype}")
            if kind is None:
                kind = x.dtype, key
            elif x.dtype != kind[0]:
                raise DtypeError(f"{name}: expected {key} of {kind[0]}, as {kind[1]} is, got {x.dtype}")
        found.append(x)
    return found if len(found) > 1 else found[0]


def packed(*xs):
    """C-contiguous and aligned, copied only where they are not."""
    found = [x if x is None or x.flags.c_contiguous and x.flags.aligned else x.copy() for x in xs]
    return found if len(found) > 1 else found[0]


def ndim(name, key, x, n, letters):
    """ShapeError unless x has n dimensions."""
    if x.ndim != n:
        raise ShapeError(f"{name}: expected {key} of {n} dimensions ({letters}), got shape {x.shape}")


def shape(name, key, x, expected):
    """ShapeError unless x (or None) has the expected shape."""
    if x is not None and x.shape != tuple(expected):
        raise ShapeError(f"{name}: expected {key} of shape {tuple(expected)}, got {x.shape}")


def image(name, key, x):
    """x as (N, C, H, W), and whether it came without its N, (C, H, W)."""
    if x.ndim == 3:
        return x[None], True
    ndim(name, key, x, 4, "N, C, H, W")
    return x, False


def pair(name, key, value, least=1):
    """An int or a pair of ints, each `least` or more: a pair."""
    two = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(two) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least for v in two):
        raise ShapeError(f"{name}: expected {key} to be an integer of {least} or more or a pair of them, got {value!r}")
    return int(two[0]), int(two[1])


def axis(name, x, dim):
    """A dimension of x counted from the front."""
    if not isinstance(dim, (int, np.integer)) or not -max(1, x.ndim) <= dim < max(1, x.ndim):
        raise ShapeError(f"{name}: expected dim to name one of {x.ndim} dimensions, got {dim!r}")
    return int(dim) % max(1, x.ndim)


class Result:
    """Where a result is written: `array`, C-contiguous; `done()` returns it, or `out` with the numbers moved there.
    `inputs`: what the kernel reads while it writes; `in_place`: it may also write where exactly the first of them lies."""

    def __init__(self, name, out, shape, dtype, inputs=(), in_place=False):
        shape = tuple(shape)
        self.out = out
        if out is not None:
            if not isinstance(out, np.ndarray) or out.dtype != dtype:
                raise DtypeError(f"{name}: expected out to be an array of {dtype}, got "
                                 f"{out.dtype if isinstance(out, np.ndarray) else type(out).__name__}")
            if out.shape != shape:
                raise ShapeError(f"{name}: expected out of shape {shape}, got {out.shape}")
            if not out.flags.writeable:
                raise ValueError(f"{name}: expected out to be writable, got a read-only array")
        same = in_place and out is not None and inputs[0] is not None and out.ctypes.data == inputs[0].ctypes.data
        usable = out is not None and out.flags.c_contiguous and out.flags.aligned and not any(
            x is not None and np.may_share_memory(out, x) for x in (inputs[1:] if same else inputs))
        self.array = out if usable else np.empty(shape, dtype)

    def done(self):
        """The result."""
        if self.out is None or self.out is self.array:
            return self.array
        self.out[...] = self.array
        return self.out
