"""The mean and spread of pixels, without more than a piece of them in memory."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array

PIECE = 1 << 24                 # bytes of images at a time


def statistics(images: ArrayLike, index: Array | None = None) -> tuple[Array, Array]:
    """(mean (C,), std (C,)) of each channel's pixels over images (N, C, H, W), of all of them or the rows `index`; of other
    shapes one number each. float64; std = sqrt(mean((x - mean)^2)).

    uint8 pixels count as 0..1, floating-point ones as they are. Images are read in pieces of 16 MB, so that a memory-mapped
    array never is in memory whole. DtypeError for other number types, ShapeError for no images."""
    array = np.asarray(images)
    if array.dtype not in (np.uint8, np.float32, np.float64):
        raise DtypeError(f"statistics expected uint8 or floating-point images, got {array.dtype}")
    if array.ndim < 2 or not array.size or (index is not None and not len(index)):
        raise ShapeError(f"statistics expected at least one image (N, C, H, W), got shape {array.shape}")
    n = len(array) if index is None else len(index)
    channels, step = array.shape[1] if array.ndim == 4 else 1, max(1, PIECE // array[0].nbytes)
    pieces = (array[at:at + step] if index is None else array[index[at:at + step]] for at in range(0, n, step))
    if array.dtype == np.uint8:                         # how often each of the 256 values is there: exact
        counts = np.zeros((channels, 256), np.int64)
        for piece in pieces:
            piece = piece.reshape(len(piece), channels, -1)
            for c in range(channels):
                counts[c] += np.bincount(piece[:, c].ravel(), minlength=256)
        share, levels = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
        mean = share @ levels
        return mean, np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1))
    count, mean, square = 0, np.zeros(channels), np.zeros(channels)
    for piece in pieces:                                # joined as Chan, Golub and LeVeque, 1979
        x = piece.reshape(len(piece), channels, -1).astype(np.float64)
        m, k = x.mean((0, 2)), x.shape[0] * x.shape[2]
        square += ((x - m[:, None]) ** 2).sum((0, 2)) + (m - mean) ** 2 * (count * k / (count + k))
        mean += (m - mean) * (k / (count + k))
        count += k
    return mean, np.sqrt(square / count)
