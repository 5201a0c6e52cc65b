"""Labelled images in memory, and the batches drawn from them."""
import numpy as np

from ..errors import DataError, DtypeError, LabelError, ShapeError
from ..graph import Feed
from ..rng import as_rng


def check_batch_size(value):
    """The batch size, or one sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"expected a batch_size of 1 or more, got {value!r}")
    return int(value)


def rows(n, batch_size, shuffle=True, drop_last=False, rng=None):
    """Yield the row numbers of each batch over n samples."""
    size = check_batch_size(batch_size)
    order = as_rng(rng).permutation(n) if shuffle else np.arange(n)
    for at in range(0, n - size + 1 if drop_last else n, size):
        yield order[at:at + size]


class Batch:
    """Some rows of an image array, normalised on their way into the engine's lanes: what a model is called with.

    `np.asarray(batch)` is the same batch as a float32 array."""

    def __init__(self, images, index, scale=None):
        self.images, self.index, self.scale = images, index, scale

    @property
    def shape(self):
        """(N, C, H, W)."""
        return (len(self.index), *self.images.shape[1:])

    def __len__(self):
        return len(self.index)

    def as_leaf(self):
        """What graph.leaf() asks: the signature of the input, and what is bound to it."""
        return (self.images.shape[1:], self.images.dtype.name, self.scale, False), Feed(self.images, self.index)

    def __array__(self, dtype=None, copy=None):
        x = self.images[self.index]
        if self.scale:
            x = x.astype(np.float32)
            c = len(self.scale) // 2
            shape = (1, c) + (1,) * (x.ndim - 2)
            x = x * np.float32(self.scale[:c]).reshape(shape) + np.float32(self.scale[c:]).reshape(shape)
        return np.asarray(x, dtype)


class Dataset:
    """Images (N, C, H, W), uint8 or float32, and integer labels (N,). uint8 stays uint8 in memory and enters a network as
    (x / 255 - mean) / std per channel; float32 enters as it is.

    ShapeError, DtypeError or LabelError for arrays that do not fit together."""

    def __init__(self, images, labels, mean=0.0, std=1.0, classes=None):
        images, labels = np.asarray(images), np.asarray(labels)
        if images.dtype not in (np.uint8, np.float32, np.float64):
            raise DtypeError(f"Dataset expected uint8 or float32 images, got {images.dtype}")
        if images.ndim < 2:
            raise ShapeError(f"Dataset expected images (N, C, H, W), got shape {images.shape}")
        if labels.shape != images.shape[:1]:
            raise ShapeError(f"Dataset expected {len(images)} labels for {len(images)} images, got shape {labels.shape}")
        if not images.size:
            raise ShapeError(f"Dataset expected at least one image, got shape {images.shape}")
        if labels.dtype.kind not in "iu":
            raise LabelError(f"Dataset expected integer labels, got {labels.dtype}")
        self.images, self.labels = np.ascontiguousarray(images), np.ascontiguousarray(labels, np.int64)
        channels = images.shape[1] if images.ndim == 4 else 1
        self.mean, self.std = (tuple(float(v) for v in np.broadcast_to(a, channels)) for a in (mean, std))
        if min(self.std) <= 0:
            raise ValueError(f"Dataset expected std above 0, got {self.std}")
        self.classes = list(classes) if classes is not None else None
        self.scale = None
        if images.dtype == np.uint8:
            self.scale = (*(1 / 255 / s for s in self.std), *(-m / s for m, s in zip(self.mean, self.std)))

    def __len__(self):
        return len(self.images)

    @property
    def shape(self):
        """(C, H, W) of an image."""
        return self.images.shape[1:]

    @property
    def n_classes(self):
        """How many classes there are: the names given, or the greatest label + 1."""
        return len(self.classes) if self.classes else int(self.labels.max()) + 1

    def batch(self, index=None):
        """(Batch, labels) of the rows `index`, or of all."""
        index = np.arange(len(self)) if index is None else np.ascontiguousarray(index, np.int64)
        if index.size and not -1 < int(index.min()) <= int(index.max()) < len(self):
            raise DataError(f"batch expected rows from 0 to {len(self) - 1}, got {int(index.min())} to {int(index.max())}")
        return Batch(self.images, index, self.scale), self.labels[index]

    def batches(self, batch_size, shuffle=True, drop_last=False, rng=None):
        """Yield (Batch, labels) over the whole set, in a new random order each time unless shuffle is False."""
        for index in rows(len(self), batch_size, shuffle, drop_last, rng):
            yield Batch(self.images, index, self.scale), self.labels[index]
