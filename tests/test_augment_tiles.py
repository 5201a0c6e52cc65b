"""Images of bytes moved between pixels in tiles (kernels/lanes_tiles.h), against NumPy and SciPy in float64: within the bound
that their arithmetic has; and the loop over lanes that takes their place on other processors."""
import numpy as np
import pytest
from augment_reference import augmented
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa
from lanewise.data import Augment, Dataset

CASES = {
    "usual": dict(rotate=15, scale=(0.9, 1.1)), "edge": dict(rotate=15, scale=(0.9, 1.1), pad="edge"),
    "reflect": dict(rotate=15, scale=(0.9, 1.1), pad="reflect"), "steepest": dict(rotate=27.5),
    "smallest": dict(scale=(0.55, 0.7), pad="reflect"), "large": dict(rotate=20, scale=(1, 4), shift=2, flip=True),
    "all": dict(rotate=10, shift=2, flip=True, pad="edge", cutout=2, brightness=0.2, contrast=0.4, mixup=0.6),
}
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 4, 8), (2, 5, 9), (1, 13, 17), (2, 7, 16), (1, 38, 71)]
FLOAT = 5e-6                                            # of the loop over lanes, and of float32


def made(images, augment, rng):
    mean, std = rng.uniform(0.2, 0.6, images.shape[1]), rng.uniform(0.2, 0.4, images.shape[1])
    return Dataset(images, np.arange(len(images)) % 3, mean, std).augmented(augment)


def bound(ds, tiles):
    """How far a normalised pixel may be off: the column's part is off by half of 2^-7, and by the halves of the two numbers of
    12 binary places that it is the sum of, the row's by those of 13 places; the value by half of 1/128."""
    if not tiles:
        return FLOAT * max(1, 1 / np.min(ds.std))
    x = ds.images.astype(int)
    if ds.augment.pad == "zero":
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    across, along = (np.abs(np.diff(x, axis=axis)).max(initial=0) for axis in (3, 2))
    grey = across * (2 ** -8 + 2 ** -12) + along * 2 ** -13 + 2 ** -8
    return grey / 255 * (1 + ds.augment.contrast) / np.min(ds.std) + FLOAT / np.min(ds.std)


def moved(ds, n):
    """(What the kernels make of n samples, what NumPy does)."""
    batch, _ = next(ds.batches(n, rng=7))
    key, _, mix = batch.draws
    return np.asarray(batch), augmented(batch.images[batch.index], ds.augment, key, 0, mix, ds.mean, ds.std)


WAYS = [(isa, "loop") for isa in _isa.supported()] + [("v4", "tiles")] * _isa.VBMI


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def tiles(request, monkeypatch):
    """Whether tiles are taken: in the build that has them where the processor can run them, and not where that is forbidden."""
    isa, way = request.param
    monkeypatch.setattr(_isa, "isa", isa)
    if way == "loop":
        monkeypatch.setattr(_isa, "VBMI", False)
    assert way == "loop" or _isa.engine("float32").tiles
    return way == "tiles"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_against_numpy(name, shape, tiles, rng):
    """Random pixels, a ramp and one grey: a wrong weight shows in the first, what grows over an image in the second."""
    across, down = np.arange(shape[2]) * (250 // shape[2]), np.arange(shape[1])[:, None] * 2
    for images in (rng.integers(0, 256, (33, *shape), np.uint8),
                   np.broadcast_to((across + down) % 256, (33, *shape)).astype(np.uint8), np.full((33, *shape), 77, np.uint8)):
        ds = made(images, Augment(**CASES[name]), rng)
        assert ds.augment.in_tiles(shape)
        for n in 1, 15, 16, 17, 33:
            got, want = moved(ds, n)
            assert_allclose(got, want, rtol=0, atol=bound(ds, tiles))
            if images[0].std() > 50 and min(shape[1:]) > 8 and name in ("usual", "edge", "reflect"):
                assert (abs(got - want).max() > 20 * FLOAT / np.min(ds.std)) == tiles     # the other one was not taken


def test_pixels_that_stay(tiles, rng):
    """An angle of next to nothing leaves every pixel as it is, in the first and last tiles too."""
    for shape in SHAPES:
        for pad in "zero", "edge", "reflect":
            ds = made(rng.integers(0, 256, (20, *shape), np.uint8), Augment(rotate=1e-7, pad=pad), rng)
            want = (ds.images / 255 - np.reshape(ds.mean, (-1, 1, 1))) / np.reshape(ds.std, (-1, 1, 1))
            (batch, _), = ds.batches(20, shuffle=False, rng=1)
            assert_allclose(np.asarray(batch), want, rtol=0, atol=FLOAT if tiles else 2e-5)


def test_same_bits(tiles, rng):
    """For 1, 2 and 3 threads and any batch size."""
    ds = made(rng.integers(0, 256, (70, 2, 13, 18), np.uint8), Augment(rotate=20, shift=2, flip=True, contrast=0.3), rng)

    def whole(size):
        return np.concatenate([np.asarray(b) for b, _ in ds.batches(size, rng=7)])
    lw.set_num_threads(1)
    x = whole(70)
    for threads in 1, 2, 3:
        lw.set_num_threads(threads)
        for size in 70, 1, 16, 17, 33:
            assert_array_equal(whole(size), x)


def test_which_are_moved_in_tiles():
    """What a tile comes from, at the steepest angle and the least factor, is within 14 columns and 6 lines; larger angles,
    smaller factors and images, and those that end outside their frame, are not."""
    pixels = np.array([w + 1j * h for h in range(4) for w in range(8)])
    for rotate in 0.5, 5, 15, 20, 27, 28, 28.6, 30, 45, 90, 180:
        for scale in 0.5, 0.52, 0.6, 0.7, 0.8, 0.9, 1, 2:
            augment = Augment(rotate=rotate, scale=(scale, 3))
            angles = np.exp(1j * np.radians(np.linspace(0, rotate, 400)))[:, None] / scale
            span = [np.ptp(part, axis=1).max() for part in ((pixels * angles).imag, (pixels * angles).real)]
            assert augment.in_tiles((1, 28, 28)) == (span[0] <= 5.99 and span[1] <= 13.9)
    assert Augment(rotate=28).in_tiles((1, 4, 8)) and Augment(scale=(0.55, 1)).in_tiles((1, 28, 28))
    for shape in (1, 3, 8), (1, 4, 7):
        assert not Augment(rotate=15).in_tiles(shape)
    assert not Augment(rotate=1).in_tiles((1, 4, 1000))
    assert not _isa.engine("float64").tiles             # whose places are as exact as before
