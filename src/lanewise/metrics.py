"""Measures of a result."""
import numpy as np

from .errors import ShapeError


def psnr(x, y, peak=1.0):
    """Peak signal-to-noise ratio in decibels, 10 log10(peak^2 / mean (x - y)^2), a float; inf for equal arrays.

    x, y: arrays of one shape, integers or floating-point; peak: the greatest value they can have (255 for uint8 images).
    Computed in float64. ShapeError for different shapes or no numbers, ValueError for a peak that is not above 0."""
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.size == 0:
        raise ShapeError(f"psnr: expected two arrays of one shape, got {x.shape} and {y.shape}")
    if not peak > 0:
        raise ValueError(f"psnr: expected a peak above 0, got {peak!r}")
    error = np.mean((x.astype(np.float64) - y.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(float(peak) ** 2 / error))
