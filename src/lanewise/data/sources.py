"""What Trainer trains on: a Dataset, arrays, or batches that somebody else makes. Each has batches()."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, ShapeError
from ..graph import leaf
from .dataset import Batch, Dataset, as_array, check_batch_size, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Array, Seed
    from ..nn.module import Module


def number_type(model: Module) -> Any:
    """The number type of a model's parameters, which floating-point inputs are brought to; float32 without any."""
    return next((p.dtype for p in model.parameters()), np.dtype(np.float32))


def of_type(x: Any, dtype: Any) -> Any:
    """An array of floating-point numbers, or what NumPy makes one of, in the type of a network; anything else as it is, and a
    memory map too, which stays where it is."""
    if hasattr(x, "as_leaf") or isinstance(x, np.memmap):
        return x
    x = as_array("expected samples", x)
    return x.astype(dtype) if x.dtype in (np.float32, np.float64) and x.dtype != dtype else x


class Arrays:
    """(x, y) arrays as batches: what a Dataset does, for any kind of target."""

    def __init__(self, x: Any, y: ArrayLike, dtype: Any) -> None:
        (_, _, self.scale, *_), feed = leaf(of_type(np.asarray(x) if isinstance(x, Batch) else x, dtype))
        self.x, self.y = feed.array, of_type(y, dtype)
        if self.y.shape[:1] != self.x.shape[:1]:
            raise ShapeError(f"expected as many targets as inputs ({len(self.x)}), got targets of shape {self.y.shape}")

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, batch_size: int, shuffle: bool = True, rng: Seed = None,
                augment: bool = True) -> Iterator[tuple[Batch, Array]]:
        """Yield (Batch, targets)."""
        for index in rows(len(self), batch_size, shuffle, rng=rng):
            yield Batch(self.x, index, self.scale), self.y[index]


class Batches:
    """An iterable of batches (x, y), a DataLoader for example: taken as they come, anew for each pass."""

    def __init__(self, source: Iterable[Any], dtype: Any) -> None:
        self.source, self.dtype = source, dtype

    def batches(self, batch_size: int | None = None, shuffle: bool = True, rng: Seed = None,
                augment: bool = True) -> Iterator[tuple[Any, Array]]:
        """Yield (x, targets). DataError when there is none, as from an iterator that an earlier pass has used up; TypeError or
        ShapeError for what is not a batch."""
        number = 0
        for number, pair in enumerate(self.source, 1):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(f"batch {number}: expected a pair (x, y), got {type(pair).__name__}")
            x, y = pair
            x, y = of_type(x, self.dtype), of_type(y, self.dtype)
            if y.shape[:1] != x.shape[:1]:
                raise ShapeError(f"batch {number}: expected as many targets as inputs, got shapes {x.shape} and {y.shape}")
            yield x, y
        if not number:
            raise DataError("expected at least one batch, got none: " + (
                "an iterator gives its batches once, and each epoch and evaluation takes them; give a list, or an object whose "
                "__iter__ starts anew" if iter(self.source) is self.source else "the iterable is empty"))


def as_source(data: Any, dtype: Any = np.float32) -> Any:
    """A Dataset, (x, y) arrays or an iterable of batches, as something with batches() of inputs for a network of the number
    type `dtype`; TypeError for anything else."""
    if isinstance(data, Dataset):
        return data.of_type(dtype)
    if isinstance(data, (tuple, list)):
        if isinstance(data, list) and data and all(isinstance(pair, tuple) and len(pair) == 2 for pair in data):
            return Batches(data, dtype)
        if len(data) == 2:
            x, y = data
            return Arrays(x, y, dtype)
    elif hasattr(data, "__iter__") and not isinstance(data, (str, bytes, dict)) and not hasattr(data, "__array__"):
        return Batches(data, dtype)
    raise TypeError(f"expected (x, y) arrays, a Dataset or an iterable of batches, got {type(data).__name__}")


def count_batches(source: Any, batch_size: int) -> int | None:
    """How many batches a pass has; None where the source cannot tell."""
    size = check_batch_size(batch_size)
    if not isinstance(source, Batches):
        return -(-len(source) // size)
    try:
        return len(source.source)                       # type: ignore[arg-type]
    except TypeError:                                   # also what a DataLoader of unknown length raises
        return None
