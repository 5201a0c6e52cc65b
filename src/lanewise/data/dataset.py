"""Labelled images in memory or on disk, and the batches drawn from them."""
from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import numpy as np

from .._isa import engine
from .._kernels.step import batch_leaf
from ..errors import DataError, DtypeError, LabelError, ShapeError, in_line
from ..graph import as_value
from ..rng import as_rng
from .augment import Augment, betas
from .pixels import statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Array, Seed, Shape
    from ..graph import Feed


def check_batch_size(value: Any) -> int:
    """The batch size, or one sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"expected a batch_size of 1 or more, got {value!r}")
    return int(value)


def as_array(expected: str, value: Any) -> Array:
    """What NumPy makes an array of, as an array. ShapeError for lists whose parts are of unlike shapes; expected: how its
    sentence begins."""
    try:
        array = np.asarray(value)
    except ValueError:
        if not isinstance(value, (list, tuple)):
            raise
        raise ShapeError(f"{expected} of one shape, got a {type(value).__name__} of {len(value)} whose shapes differ") from None
    return array


def rows(n: int, batch_size: int, shuffle: bool = True, drop_last: bool = False, rng: Seed = None) -> Iterator[Array]:
    """Yield the row numbers of each batch over n samples."""
    size = check_batch_size(batch_size)
    order = as_rng(rng).permutation(n) if shuffle else np.arange(n)
    for at in range(0, n - size + 1 if drop_last else n, size):
        yield order[at:at + size]


class Batch:
    """Some rows of an image array, normalised on their way into the engine's lanes: what a model is called with.

    `augment`: an Augment, with `draws`: (key of its random numbers, position of the first row, parts of mixtures or None).
    `np.asarray(batch)` is the same batch as an array of floating-point numbers, augmented alike."""

    def __init__(self, images: Array, index: Array, scale: tuple[float, ...] | None = None, augment: Augment | None = None,
                 draws: tuple[Any, ...] = ()) -> None:
        self.images, self.index, self.scale, self.augment, self.draws = images, index, scale, augment, draws

    @property
    def shape(self) -> Shape:
        """(N, C, H, W)."""
        return (len(self.index), *self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.index)

    def as_leaf(self) -> tuple[tuple[Any, ...], Feed]:
        """What graph.leaf() asks: the signature of the input, and what is bound to it."""
        return batch_leaf(self.images, self.index, self.scale, self.augment, self.draws)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.augment is not None:
            return np.asarray(as_value(self).numpy(), dtype)
        x = self.images[self.index]
        if self.scale:
            x = x.astype(np.float32)
            c = len(self.scale) // 2
            shape = (1, c) + (1,) * (x.ndim - 2)
            x = x * np.array(self.scale[:c], np.float32).reshape(shape) + np.array(self.scale[c:], np.float32).reshape(shape)
        return np.asarray(x, dtype)


def _labels(labels: Array, classes: Sequence[str] | None) -> tuple[Array, list[str] | None]:
    """(int64 labels, names of the classes or None) of integers, or of strings, which are the names."""
    if labels.dtype.kind in "iu":
        return np.ascontiguousarray(labels, np.int64), list(classes) if classes is not None else None
    if labels.dtype.kind in "OT" and all(isinstance(name, str) for name in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind != "U":
        raise LabelError(f"Dataset expected integer labels, got {labels.dtype} (names of classes are strings)")
    names, codes = np.unique(labels, return_inverse=True)
    if classes is None:
        return codes.astype(np.int64), names.tolist()
    place = {name: i for i, name in enumerate(classes)}
    strange = [name for name in names.tolist() if name not in place]
    if strange:
        raise LabelError(f"Dataset expected labels among the classes {', '.join(map(in_line, classes))}, got "
                         f"'{in_line(strange[0])}'")
    return np.array([place[name] for name in names.tolist()], np.int64)[codes], list(classes)


class Dataset:
    """Images (N, C, H, W), uint8 or float32, and labels (N,): integers, or strings, which become numbers of the sorted names
    (of `classes` where they are given). uint8 stays uint8 in memory and enters a network as (x / 255 - mean) / std per channel;
    float32 enters as it is. Anything that NumPy makes an array of will do: lists, DataFrames, torch tensors; numbers that are
    not in a NumPy array of their own become float32, but for uint8.

    A memory-mapped array (np.memmap, np.load(mmap_mode="r")) is not read before its rows are used, nor copied; it must be
    C-contiguous. augment: an Augment that batches() applies. ShapeError, DtypeError or LabelError for arrays that do not fit
    together."""

    def __init__(self, images: ArrayLike, labels: ArrayLike, mean: ArrayLike = 0.0, std: ArrayLike = 1.0,
                 classes: Sequence[str] | None = None, augment: Augment | None = None) -> None:
        mapped, given = isinstance(images, np.memmap), images
        images, labels = as_array("Dataset expected images", images), as_array("Dataset expected labels", labels)
        if not isinstance(given, np.ndarray) and images.dtype.kind in "iufb" and images.dtype != np.uint8:
            images = images.astype(np.float32)
        if images.dtype not in (np.uint8, np.float32, np.float64):
            raise DtypeError(f"Dataset expected uint8, float32 or float64 images, got {images.dtype}: convert them with "
                             f"images.astype(np.float32)")
        if images.ndim < 2:
            raise ShapeError(f"Dataset expected images (N, C, H, W), got shape {images.shape}")
        if labels.shape != images.shape[:1]:
            raise ShapeError(f"Dataset expected {len(images)} labels for {len(images)} images, got shape {labels.shape}")
        if not images.size:
            raise ShapeError(f"Dataset expected at least one image, got shape {images.shape}")
        if mapped and not images.flags.c_contiguous:
            raise ShapeError(f"Dataset expected a C-contiguous memory map, which it need not read whole, got strides "
                             f"{images.strides} for shape {images.shape}: use subset() for some of its rows")
        self.labels, self.classes = _labels(labels, classes)
        self._array = np.ascontiguousarray(images)
        self._rows: Array | None = None
        self._all: Array | None = None                  # a subset's: the labels of the whole
        self.scale: tuple[float, ...] | None = None
        self._set_scale(mean, std)
        self.augment = self._checked(augment)

    def _set_scale(self, mean: ArrayLike, std: ArrayLike) -> None:
        channels = self.shape[0] if len(self.shape) == 3 else 1
        for name, value in (("mean", mean), ("std", std)):
            if np.shape(value) not in ((), (1,), (channels,)):
                raise ShapeError(f"Dataset expected {name} to be a number, or one for each of {channels} channels, got shape "
                                 f"{np.shape(value)}")
        self.mean, self.std = (tuple(float(v) for v in np.broadcast_to(a, channels)) for a in (mean, std))
        if min(self.std) <= 0:
            raise ValueError(f"Dataset expected std above 0, got {self.std}")
        if self._array.dtype == np.uint8:
            self.scale = (*(1 / 255 / s for s in self.std), *(-m / s for m, s in zip(self.mean, self.std)))

    def _checked(self, augment: Augment | None) -> Augment | None:
        if augment is not None:
            if not isinstance(augment, Augment):
                raise TypeError(f"Dataset expected augment to be an Augment, got {type(augment).__name__}")
            augment.check(self.shape)
        return augment

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Array:
        """(N, C, H, W): the array that was given, or of a subset() a copy of its rows."""
        return self._array if self._rows is None else self._array[self._rows]

    @property
    def shape(self) -> Shape:
        """(C, H, W) of an image."""
        return self._array.shape[1:]

    @property
    def n_classes(self) -> int:
        """How many classes there are: the names given, or the greatest label + 1; of a subset, those of the whole. UserWarning
        where no names are given and a number below the greatest label is no image's."""
        empty = self._without_images()
        if empty:
            warnings.warn(f"Dataset: {empty}: renumber the labels, np.unique(labels, return_inverse=True)[1], or give the names "
                          f"of all classes as `classes`", stacklevel=2)
        return self._count()

    def _count(self) -> int:
        return len(self.classes) if self.classes else int((self.labels if self._all is None else self._all).max()) + 1

    def _without_images(self) -> str:
        """Which classes have no image, as a sentence's beginning; "" where all have one, or names say which there are."""
        if self.classes:
            return ""
        there, n = np.unique(self.labels if self._all is None else self._all), self._count()
        there = there[there >= 0]
        lacking = n - len(there)
        if lacking < 1:
            return ""
        some = np.setdiff1d(np.arange(min(n, len(there) + 5)), there)[:5]       # the first ones lie within these
        more = f" and {lacking - len(some):,} more" if lacking > len(some) else ""
        return (f"expected labels from 0 to the number of classes less 1, got {there[-1]} as the greatest and no image of "
                f"{', '.join(map(str, some))}{more}")

    def _places(self, index: Array) -> Array:
        # rows of the array
        return index if self._rows is None else self._rows[index]

    def _index(self, who: str, index: ArrayLike | slice) -> Array:
        if isinstance(index, slice):
            return np.arange(len(self))[index]
        index = np.asarray(index)
        if index.dtype == bool and index.shape == (len(self),):
            return np.flatnonzero(index)
        if index.size and index.dtype.kind not in "iu":
            raise DataError(f"{who} expected row numbers, a slice or a mask ({len(self)},), got {index.dtype} of shape "
                            f"{index.shape}")
        index = np.ascontiguousarray(index, np.int64)
        if index.size and not -1 < int(index.min()) <= int(index.max()) < len(self):
            raise DataError(f"{who} expected rows from 0 to {len(self) - 1}, got {int(index.min())} to {int(index.max())}")
        return index

    def subset(self, index: ArrayLike | slice) -> Dataset:
        """The Dataset of the rows `index` (integers, in their order, a slice, or a mask (N,) of booleans): a view, whose images
        are those of this one's array. It keeps the classes, mean, std and augmentation. DataError for rows that are not there,
        or none."""
        index = self._index("subset", index)
        if index.ndim != 1 or not index.size:
            raise DataError(f"subset expected row numbers (n,), at least one, got shape {index.shape}")
        new = copy.copy(self)
        new._rows, new.labels = np.ascontiguousarray(self._places(index)), self.labels[index]
        new._all = self.labels if self._all is None else self._all             # a class may have no image here
        return new

    def augmented(self, augment: Augment | None) -> Dataset:
        """The same images, which batches() changes by an Augment; None for no longer."""
        new = copy.copy(self)
        new.augment = self._checked(augment)
        return new

    def normalised(self, mean: ArrayLike | None = None, std: ArrayLike | None = None) -> Dataset:
        """The same images, uint8, that enter a network with this mean and std of each channel, pixels of 0..1; by default
        with their own (statistics()), so that each channel has mean 0 and variance 1. A channel of one value gets std 1.
        DtypeError for floating-point images, which enter as they are."""
        if self._array.dtype != np.uint8:
            raise DtypeError(f"normalised expected uint8 images, got {self._array.dtype}, which enter as they are")
        if mean is None or std is None:
            own = statistics(self._array, self._rows)
            mean = own[0] if mean is None else mean
            std = np.where(own[1] > 0, own[1], 1) if std is None else std
        new = copy.copy(self)
        new._set_scale(mean, std)
        return new

    def of_type(self, dtype: Any) -> Dataset:
        """The same images in the floating-point type of a network: float32 for float64 and back. uint8 images are for any
        network, and a memory map stays as it is."""
        array, dtype = self._array, np.dtype(dtype)
        if array.dtype.kind != "f" or array.dtype == dtype or isinstance(array, np.memmap):
            return self
        new = copy.copy(self)
        new._array = array.astype(dtype)
        return new

    def batch(self, index: ArrayLike | slice | None = None) -> tuple[Batch, Array]:
        """(Batch, labels) of the rows `index`, or of all; never augmented."""
        index = np.arange(len(self)) if index is None else self._index("batch", index)
        return Batch(self._array, self._places(index), self.scale), self.labels[index]

    def batches(self, batch_size: int, shuffle: bool = True, drop_last: bool = False, rng: Seed = None,
                augment: bool = True) -> Iterator[tuple[Batch, Array]]:
        """Yield (Batch, labels) over the whole set, in a new random order each time unless shuffle is False.

        A Dataset with an Augment changes its images, with new numbers each time, unless augment is False; with mixup the labels
        are probabilities (N, classes) of the images' number type, float32 for uint8."""
        rng, at, labels = as_rng(rng), 0, self.labels
        changed = self.augment if augment else None
        mix: Any = None
        for index in rows(len(self), batch_size, shuffle, drop_last, rng):
            batch = Batch(self._array, self._places(index), self.scale)
            if changed is None:
                yield batch, labels[index]
                continue
            if at == 0:                                 # after the order, which is the same with an augmentation and without
                key, n_classes, parts = int(rng.integers(1 << 63)), self._count(), None
                if changed.mixup:
                    parts = betas(changed.mixup, len(self), rng)
                    mix = engine("float64" if self._array.dtype == np.float64 else "float32").mix_labels
            batch.augment = changed
            batch.draws = (key, at, None if parts is None else parts[at:at + len(index)])
            yield batch, labels[index] if parts is None else mix(labels, index, parts, at, n_classes)
            at += len(index)
