"""Measures of a result."""
import numpy as np
import pytest

import lanewise as lw


def test_psnr(rng):
    """By hand: an error of 0.1 everywhere is 20 dB; bytes do not wrap; equal arrays have no noise."""
    x = rng.random((3, 8, 8))
    assert lw.metrics.psnr(x, x + 0.1) == pytest.approx(20)
    a, b = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert lw.metrics.psnr(a, b, peak=255) == lw.metrics.psnr(b, a, peak=255) == 0
    assert lw.metrics.psnr(x, x) == np.inf
    with pytest.raises(lw.ShapeError, match=r"psnr: expected two arrays of one shape, got \(2,\) and \(3,\)"):
        lw.metrics.psnr(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="psnr: expected a peak above 0, got 0"):
        lw.metrics.psnr(x, x, 0)
