"""Dataset: what it refuses, and batches on their way into lanes."""
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lanewise as lw
from lanewise import nn
from lanewise.data import Dataset


def test_dataset_mistakes(rng):
    x, y = rng.integers(0, 256, (6, 3, 4, 4), np.uint8), np.arange(6)
    for images, labels, kind, words in [
            (x.astype(np.int32), y, lw.DtypeError, "expected uint8, float32 or float64 images, got int32: convert"),
            (x.astype(np.float16), y, lw.DtypeError, "got float16"),
            (x[:, 0, 0, 0], y, lw.ShapeError, r"expected images \(N, C, H, W\), got shape \(6,\)"),
            (x, y[:5], lw.ShapeError, r"expected 6 labels for 6 images, got shape \(5,\)"),
            (x, y[:, None], lw.ShapeError, r"got shape \(6, 1\)"),
            (x[:0], y[:0], lw.ShapeError, "expected at least one image"),
            (x, y.astype(np.float32), lw.LabelError, "expected integer labels, got float32"),
            (x, y > 2, lw.LabelError, "expected integer labels, got bool")]:
        with pytest.raises(kind, match=words):
            Dataset(images, labels)
    with pytest.raises(ValueError, match="expected std above 0"):
        Dataset(x, y, std=(1, 0, 1))
    for kw, shape in (dict(mean=(1, 2)), r"\(2,\)"), (dict(std=np.ones((3, 1, 1))), r"\(3, 1, 1\)"):
        with pytest.raises(lw.ShapeError, match=f"expected {next(iter(kw))} to be a number, or one for each of . channels, got "
                                                f"shape {shape}"):
            Dataset(x, y, **kw)
    ds = Dataset(x, y)
    for index in [6], [-1], [0, 99]:
        with pytest.raises(lw.DataError, match="expected rows from 0 to 5, got"):
            ds.batch(index)
    for size in 0, -3, 2.0, True, "8", None:
        with pytest.raises(ValueError, match="expected a batch_size of 1 or more, got"):
            next(ds.batches(size))
    assert ds.n_classes == 6


def test_memory_stays_uint8(rng):
    """No copy of the images, none in float: a batch is the array and row numbers."""
    x = rng.integers(0, 256, (40, 1, 5, 5), np.uint8)
    ds = Dataset(x, np.zeros(40, np.uint8), 0.3, 0.4)
    batch, labels = ds.batch([3, 1])
    assert ds.images is x and batch.images is x and batch.shape == (2, 1, 5, 5) and len(batch) == 2
    assert labels.dtype == np.int64
    assert all(b.images is x for b, _ in ds.batches(7))
    wrong_order = Dataset(np.asfortranarray(x[::2]), np.zeros(20, int))
    assert_array_equal(wrong_order.images, x[::2])


@pytest.mark.parametrize("n", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 7)])
def test_normalised_on_the_way(n, shape, isa, rng):
    """uint8 rows enter the lanes as (x / 255 - mean) / std: np.asarray(batch), the formula and the engine agree."""
    x = rng.integers(0, 256, (50, *shape), np.uint8)
    mean, std = rng.uniform(0.2, 0.6, shape[0]), rng.uniform(0.2, 0.4, shape[0])
    ds = Dataset(x, np.arange(50), mean, std)
    index = rng.permutation(50)[:n]
    batch, labels = ds.batch(index)
    expected = (x[index] / 255 - mean[:, None, None]) / std[:, None, None]
    array = np.asarray(batch)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(nn.Identity()(batch).numpy(), array, rtol=0, atol=1e-6)
    assert_array_equal(labels, index)
    model = nn.Sequential(nn.Conv2d(shape[0], 4, 3), nn.ReLU(), nn.Flatten(),
                          nn.Linear(4 * (shape[1] - 2) * (shape[2] - 2), 5))
    np.testing.assert_allclose(model(batch).numpy(), model(expected.astype(np.float32)).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float_images_enter_as_they_are(kind, rng):
    x = rng.standard_normal((20, 2, 3, 3)).astype(kind)
    batch, _ = Dataset(x, np.zeros(20, int), 0.5, 0.5).batch(np.arange(19, -1, -1))
    assert_array_equal(nn.Identity()(batch).numpy(), x[::-1], strict=True)
    assert_array_equal(np.asarray(batch), x[::-1], strict=True)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n, size", [(10, 3), (9, 3), (2, 5), (1, 1), (32, np.int64(16))])
def test_batches_cover_the_set_once(n, size, drop_last):
    ds = Dataset(np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1), np.arange(n))
    for shuffle in True, False:
        parts = [(np.asarray(b.images[b.index]).ravel(), y) for b, y in ds.batches(size, shuffle, drop_last, 3)]
        assert all(len(y) == size for _, y in parts[:-1])
        got = np.concatenate([y for _, y in parts]) if parts else np.arange(0)
        assert all((x == y).all() for x, y in parts)    # an image keeps its label
        assert len(set(got)) == len(got) == (n // size * size if drop_last else n)
        if not shuffle:
            assert_array_equal(got, np.arange(len(got)))


def test_order_comes_from_rng():
    """The same seed, the same order; the process's own generator otherwise, a new order every time."""
    ds = Dataset(np.zeros((64, 1, 1, 1), np.uint8), np.arange(64))

    def order(rng=None):
        return np.concatenate([y for _, y in ds.batches(10, rng=rng)]).tolist()
    assert order(5) == order(5) != order(6)
    lw.manual_seed(1)
    first, second = order(), order()
    lw.manual_seed(1)
    assert order() == first != second
    generator = np.random.default_rng(5)
    assert order(generator) == order(5) and order(generator) != order(5)
