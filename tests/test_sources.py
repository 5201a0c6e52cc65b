"""What batches come from: views by rows, memory maps, splits, statistics, tables and strings, other people's batches."""
import mmap
import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import nn, optim
from lanewise.data import Augment, Dataset, pixels, sources, split, statistics


def made(rng, n=40, classes=4, kind=np.uint8):
    """A Dataset of uneven classes, each of at least two images."""
    x = rng.integers(0, 256, (n, 1, 4, 5), np.uint8).astype(kind)
    return Dataset(x, np.concatenate([np.repeat(np.arange(classes), 2), rng.integers(0, classes, n - 2 * classes)]), 0.4, 0.3)


def trainer(features, classes=2):
    """A linear network in a Trainer that learns nothing."""
    lw.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
    return lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1))


# -- views -------------------------------------------------------------------------------------------------------------

def test_subset_is_a_view(rng):
    """Row numbers or a mask, of a subset too: labels and images in that order, from the one array."""
    ds = made(rng)
    rows = rng.permutation(40)[:17]
    part = ds.subset(rows)
    mask = np.arange(17) % 3 == 0
    for got, index in (part, rows), (part.subset([4, 2, 2]), rows[[4, 2, 2]]), (part.subset(mask), rows[mask]):
        assert len(got) == len(index) and got.shape == ds.shape and got.n_classes == 4 and got.mean == ds.mean
        assert_array_equal(got.images, ds.images[index])
        assert_array_equal(got.labels, ds.labels[index])
        batch, y = got.batch([1, 0])
        assert batch.images is ds.images
        assert_array_equal(np.asarray(batch), np.asarray(ds.batch(index[[1, 0]])[0]))
        assert_array_equal(nn.Identity()(batch).numpy(), nn.Identity()(ds.batch(index[[1, 0]])[0]).numpy())
        seen = [(b.index, y) for b, y in got.batches(5, rng=1)]
        assert sorted(np.concatenate([i for i, _ in seen])) == sorted(index)
        assert all((ds.labels[i] == y).all() for i, y in seen)
    assert ds.subset(ds.labels == 0).n_classes == 4
    for piece in slice(3, 9), slice(None, None, -2), slice(-5, None):
        assert_array_equal(ds.subset(piece).images, ds.images[piece])
        assert_array_equal(ds.batch(piece)[1], ds.labels[piece])
    for wrong in [0.5, 2.0], "a", [True, False]:
        with pytest.raises(lw.DataError, match=r"expected row numbers, a slice or a mask \(40,\), got (float64|<U1|bool)"):
            ds.subset(wrong)
    with pytest.raises(lw.DataError, match="at least one"):
        ds.subset(slice(9, 3))
    for wrong, words in [([40], "subset expected rows from 0 to 39, got 40 to 40"), ([-1], "got -1 to -1"),
                         ([], r"subset expected row numbers \(n,\), at least one, got shape \(0,\)"), ([[1]], "got shape")]:
        with pytest.raises(lw.DataError, match=words):
            ds.subset(np.array(wrong, int))


def test_a_set_far_larger_than_memory(tmp_path, rng):
    """100 GB that are not there: a sparse file. Nothing is read but the rows that are trained on."""
    n, shape = 400_000, (1, 512, 512)
    path = tmp_path / "images.bin"
    with open(path, "wb") as file:
        try:
            os.truncate(file.fileno(), n * 512 * 512)
        except OSError:
            pytest.skip("this file system has no sparse files of 100 GB: set TMPDIR to one that has")
    x = np.memmap(path, np.uint8, "r+", shape=(n, *shape))
    rows = np.sort(rng.choice(n, 24, replace=False))
    x[rows] = rng.integers(0, 256, (24, *shape), np.uint8)
    labels = np.zeros(n, np.int8)
    labels[rows[::2]] = 1
    whole = Dataset(x, labels)
    assert np.shares_memory(whole.images, x) and len(whole) == n
    part = whole.subset(rows).normalised()
    training, validation = split(part, 0.25, seed=0)
    assert np.shares_memory(training.batch()[0].images, x)
    assert_allclose(part.mean, (x[rows] / 255).mean(), rtol=1e-12)
    t = trainer(512 * 512)
    t.fit(training.augmented(Augment(shift=4, flip=True)), 2, 16, validation_data=validation)
    t.fit((x[rows[0]:rows[0] + 20], np.arange(20) % 2), 1, 8)
    assert len(t.history["val_loss"]) == 2 and t.predict(validation).shape == (6, 2)
    assert os.stat(path).st_blocks * 512 < 5e7          # reading a hole leaves it one; writing would not


def test_memory_maps(tmp_path, rng):
    """np.load(mmap_mode="r") is bound as it is; one that would have to be copied is refused."""
    x = rng.integers(0, 256, (30, 1, 4, 4), np.uint8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ds = Dataset(mapped, np.arange(30) % 2)
    assert isinstance(ds.batch()[0].images.base, (np.memmap, mmap.mmap)) and not ds.images.flags.writeable
    for kind in ds, (mapped, np.arange(30) % 2):
        trainer(16).fit(kind, 1, 8)
    assert_array_equal(np.asarray(ds.batch([3, 9])[0]), np.float32(x[[3, 9]]) * np.float32(1 / 255))
    assert_array_equal(Dataset(mapped[10:], np.arange(20)).images, x[10:])
    for strange in mapped[::2], mapped[:, :, ::2], mapped.T:
        with pytest.raises(lw.ShapeError, match=r"expected a C-contiguous memory map, .* got strides .*: use subset\(\)"):
            Dataset(strange, np.arange(len(strange)))


# -- split -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.31, 12, np.int64(30)])
def test_split(fraction, stratify, rng):
    """Sizes and classes' shares as scikit-learn's train_test_split; every row in one part, in order; the seed decides."""
    model_selection = pytest.importorskip("sklearn.model_selection", reason="pip install scikit-learn")
    ds = made(rng, 70)
    training, validation = split(ds, fraction, 5, stratify)
    theirs = model_selection.train_test_split(np.arange(70), test_size=fraction, stratify=ds.labels if stratify else None)
    assert (len(training), len(validation)) == tuple(map(len, theirs))
    rows = [part.batch()[0].index for part in (training, validation)]
    assert_array_equal(np.sort(np.concatenate(rows)), np.arange(70))
    assert all((np.diff(r) > 0).all() for r in rows)
    if stratify:
        for part in validation, training:
            ideal = np.bincount(ds.labels) * len(part) / 70
            assert abs(np.bincount(part.labels, minlength=4) - ideal).max() < 1
        assert abs(np.bincount(validation.labels) - np.bincount(ds.labels[theirs[1]])).max() <= 1
    again = split(ds, fraction, np.random.default_rng(5), stratify)
    assert_array_equal(again[1].batch()[0].index, rows[1])
    assert (split(ds, fraction, 6, stratify)[1].batch()[0].index != rows[1]).any()
    lw.manual_seed(0)
    assert any((split(ds, fraction, None, stratify)[1].batch()[0].index != rows[1]).any() for _ in range(3))


def test_split_of_arrays(rng):
    """Tuples of arrays, with strings or, not stratified, numbers as targets; a Dataset's augmentation stays with training."""
    x, names = rng.standard_normal((20, 3)).astype(np.float32), np.array(["b", "a"] * 10)
    (xt, yt), (xv, yv) = split((x, names), 4, seed=0)
    assert xt.shape == (16, 3) and sorted(yv) == ["a", "a", "b", "b"] and len(yt) == 16
    for a, b in zip(xv, yv):
        at = (x == a).all(1).argmax()
        assert names[at] == b
    (only,), (rest,) = split([x], 0.5, stratify=False)
    assert len(only) == len(rest) == 10
    training, validation = split(made(rng).augmented(Augment(flip=True)), 0.2)
    assert training.augment == Augment(flip=True) and validation.augment is None


def test_split_mistakes(rng):
    ds = made(rng)
    for fraction in 0.0, 1.0, -0.1, "a", True, None, float("nan"):
        with pytest.raises(ValueError, match="expected a fraction between 0 and 1, or a number of rows, got"):
            split(ds, fraction)
    for fraction in 0, 40, -3, 0.99:
        with pytest.raises(ValueError, match="expected at least one of 40 rows in each part, got"):
            split(ds, fraction)
    with pytest.raises(ValueError, match="at least 4 rows in each part, one for each class, got 37 and 3: pass stratify=False"):
        split(ds, 3)
    assert len(split(ds, 3, stratify=False)[1]) == 3
    x = np.zeros((6, 2), np.float32)
    with pytest.raises(lw.DataError, match="at least two of each class to stratify by, got one of 7: pass stratify=False"):
        split((x, np.array([0, 0, 0, 0, 0, 7])))
    for arrays, words in [((x,), "got none"), ((x, x), r"got float32 of shape \(6, 2\)"), ((x, x[:, 0]), "got float32 of")]:
        with pytest.raises(lw.DataError, match=f"expected class labels .*{words}.*: pass stratify=False"):
            split(arrays, 0.5)
    for call in (lambda: split(x, np.arange(6), 0.2), lambda: split(x, np.arange(6)), lambda: split(x), lambda: split(3),
                 lambda: split((x, np.arange(6)), [0.2])):
        with pytest.raises(TypeError, match=r"split expected .*, which are one argument, split\(\(x, y\), 0.2\), got (ndarray|"
                                            "int|tuple) and "):
            call()
    for arrays in (x, np.zeros(5, int)), (), (x, 3):
        with pytest.raises(lw.ShapeError, match="expected a Dataset or arrays of one length, got shapes"):
            split(arrays, 0.5)


# -- statistics --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7, 3, 5, 4), (1, 1, 1, 1), (12, 6), (40, 2, 10, 20)])
@pytest.mark.parametrize("piece", [1, 1000, pixels.PIECE])
def test_statistics(kind, shape, piece, monkeypatch, rng):
    """NumPy's mean and std of all pixels of a channel, over several pieces too; a far mean loses nothing."""
    monkeypatch.setattr(pixels, "PIECE", piece)
    x = rng.integers(0, 256, shape, np.uint8) if kind == np.uint8 else (rng.standard_normal(shape) + 1e4).astype(kind)
    index = rng.permutation(shape[0])[:max(1, shape[0] // 2)]
    for got, picked in (statistics(x), x), (statistics(x, index), x[index]):
        expected = picked.astype(float) / (255 if kind == np.uint8 else 1)
        axes = (0, 2, 3) if len(shape) == 4 else None
        assert got[0].dtype == got[1].dtype == np.float64 and got[0].shape == (shape[1] if axes else 1,)
        assert_allclose(got[0], np.atleast_1d(expected.mean(axes)), rtol=1e-12)
        assert_allclose(got[1], np.atleast_1d(expected.std(axes)), rtol=1e-9, atol=1e-12)


def test_normalised(rng):
    """The network sees each channel with mean 0 and variance 1, or with the numbers that are given."""
    x = (rng.integers(0, 256, (50, 3, 6, 6)) * [[[[0.2]], [[0.5]], [[0.9]]]]).astype(np.uint8)
    ds = Dataset(x, np.zeros(50, int)).subset(np.arange(10, 50))
    seen = np.asarray(ds.normalised().batch()[0]).astype(float)
    assert_allclose(seen.mean((0, 2, 3)), 0, atol=1e-6)
    assert_allclose(seen.std((0, 2, 3)), 1, atol=1e-6)
    assert ds.std == (1, 1, 1) and np.shares_memory(ds.normalised().batch()[0].images, x)
    given = ds.normalised(0.1, (0.2, 0.3, 0.4))
    assert (given.mean, given.std) == ((0.1,) * 3, (0.2, 0.3, 0.4))
    constant = Dataset(np.full((3, 1, 2, 2), 51, np.uint8), np.arange(3)).normalised()
    assert constant.std == (1,) and constant.mean == pytest.approx((0.2,))
    with pytest.raises(lw.DtypeError, match="normalised expected uint8 images, got float32, which enter as they are"):
        Dataset(x.astype(np.float32), np.zeros(50, int)).normalised()
    with pytest.raises(lw.DtypeError, match="statistics expected uint8 or floating-point images, got int64"):
        statistics(np.arange(6).reshape(2, 3))
    for empty in np.zeros((0, 1, 2, 2), np.uint8), np.zeros(3, np.uint8):
        with pytest.raises(lw.ShapeError, match=r"statistics expected at least one image \(N, C, H, W\), got shape"):
            statistics(empty)


# -- labels and array-likes ----------------------------------------------------------------------------------------------

def test_names_as_labels(rng):
    """Sorted, as scikit-learn's LabelEncoder, or numbered as `classes` says."""
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="pip install scikit-learn")
    x, names = rng.integers(0, 256, (9, 1, 3, 3), np.uint8), ["dog", "cat", "Emu", "cat", "dog", "emu", "cat", "dog", "dog"]
    encoder = preprocessing.LabelEncoder().fit(names)
    for labels in names, np.array(names), np.array(names, object):
        ds = Dataset(x, labels)
        assert ds.classes == list(encoder.classes_) and ds.labels.dtype == np.int64 and ds.n_classes == 4
        assert_array_equal(ds.labels, encoder.transform(names))
    given = Dataset(x, names, classes=["emu", "dog", "cat", "Emu", "cow"])
    assert given.labels.tolist() == [1, 2, 3, 2, 1, 0, 2, 1, 1] and given.n_classes == 5
    with pytest.raises(lw.LabelError, match="expected labels among the classes dog, cat, got 'Emu'"):
        Dataset(x, names, classes=["dog", "cat"])
    for wrong in ["a", 1, None] * 3, [0.5] * 9:
        with pytest.raises(lw.LabelError, match="expected integer labels, got (object|float64)"):
            Dataset(x, np.array(wrong))


def test_labels_with_gaps(rng):
    """A class below the greatest label without an image is said where the classes are counted, and only there: a subset has those
    of the whole, and names say themselves which there are."""
    x = rng.integers(0, 256, (12, 1, 3, 3), np.uint8)
    gaps = Dataset(x, np.array([3, 7, 9] * 4))
    first, second = split(gaps, 6, 0)
    for ds in gaps, first, second, gaps.augmented(None), gaps.normalised():
        with pytest.warns(UserWarning, match="labels from 0 to the number of classes less 1, got 9 as the greatest and no image "
                                             "of 0, 1, 2, 4, 5 and 2 more: renumber the labels, np.unique.* or give the names"):
            assert ds.n_classes == 10
    for labels, words in ([0, 1000], "of 1, 2, 3, 4, 5 and 994 more: "), ([0, 2], "of 1: "), ([10 ** 12, 0], "of 1, 2, 3, 4, 5 and"):
        with pytest.warns(UserWarning, match=words):
            assert Dataset(x, np.array(labels * 6)).n_classes == max(labels) + 1
    for lawful in (Dataset(x, np.arange(12) % 3).subset([0, 3]), Dataset(x, [3, 7, 9] * 4, classes=[str(i) for i in range(10)]),
                   Dataset(x, np.unique(gaps.labels, return_inverse=True)[1]), Dataset(x, [-100, 0, 1, 1] * 3)):
        assert lawful.n_classes in (2, 3, 10)
    trainer(1 * 3 * 3).evaluate(Dataset(x.reshape(12, 9), np.zeros(12, int) + 1))           # no class is counted


def test_ragged_lists(rng):
    """Parts of unlike shapes are no array: one sentence."""
    ragged, x = [np.zeros((1, 3, 3)), np.zeros((1, 3, 4))], np.zeros((2, 1, 3, 3), np.float32)
    for call, words in [(lambda: Dataset(ragged, [0, 1]), "Dataset expected images of one shape, got a list of 2 whose shapes"),
                        (lambda: Dataset(x, [[0], [0, 1]]), "Dataset expected labels of one shape, got a list of 2 whose"),
                        (lambda: trainer(9).fit((tuple(ragged), [0, 1])), "expected samples of one shape, got a tuple of 2")]:
        with pytest.raises(lw.ShapeError, match=words):
            call()


class Table:
    """What NumPy makes an array of, as it does of a DataFrame or a Series, and nothing more."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)

    def __iter__(self):
        raise AssertionError("a table is not an iterable of batches")

    def __len__(self):
        return len(self.array)


def test_tables_and_lists(rng):
    """Array-likes train as the arrays that they are."""
    x, y = rng.standard_normal((20, 6)).astype(np.float32), np.arange(20) % 2
    results = []
    for pair in (x, y), (Table(x), Table(y)), [Table(x), y.tolist()], Dataset(Table(x), Table(y)), Dataset(x, y.tolist()):
        t = trainer(6)
        t.fit(pair, 2, 8, rng=1, validation_data=pair)
        results.append((t.history["loss"], t.history["val_loss"], t.predict(Table(x)).tolist()))
    assert all(r == results[0] for r in results)
    images = rng.integers(0, 256, (4, 1, 2, 2), np.uint8)
    assert_array_equal(Dataset(Table(images), ["a", "b", "a", "b"]).images, images)
    t = trainer(6)
    t.fit((Table(x.astype(float)), y), 2, 8, rng=1, validation_data=Dataset(x.astype(float), y))
    assert (t.history["loss"], t.history["val_loss"], t.predict(x.tolist()).tolist()) == results[0]
    with pytest.raises(TypeError, match=r"expected \(x, y\) arrays, a Dataset or an iterable of batches, got Table"):
        trainer(6).fit(Table(x))


def test_pandas(rng):
    """A DataFrame and a Series, of numbers, as pandas makes them or float32, and of strings."""
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    x, names = rng.standard_normal((20, 6)).astype(np.float32), ["no", "yes"] * 10
    frame, series = pandas.DataFrame(x, index=np.arange(20) + 100), pandas.Series(names, index=np.arange(20) + 100)
    ds = Dataset(frame, series)
    assert ds.classes == ["no", "yes"]
    assert_array_equal(ds.images, x)
    t = trainer(6)
    t.fit((frame, (series == "yes").astype(int)), 1)
    assert t.predict(frame).shape == (20, 2) and len(split((frame, series), 0.5)[0][0]) == 10
    plain = pandas.DataFrame({c: x[:, c].tolist() for c in range(6)}, index=frame.index)
    assert set(plain.dtypes) == {np.dtype(float)}
    again = trainer(6)
    again.fit((plain, (series == "yes").astype(int)), 1)
    assert again.history["loss"] == t.history["loss"]
    assert_array_equal(again.predict(plain), t.predict(frame))
    assert Dataset(plain, series).images.dtype == Dataset(plain.round().astype(int), series).images.dtype == np.float32


def test_one_batch(rng):
    """What batch() gives is data too: evaluated and predicted as its rows, normalised."""
    ds = made(rng)
    t, rows = trainer(20, 4), rng.permutation(40)[:30]
    whole, part = t.predict(ds), ds.batch(rows)
    assert_allclose(t.predict(part[0]), whole[rows], rtol=1e-5, atol=1e-5)
    assert t.evaluate(part)["loss"] == pytest.approx(t.evaluate(ds.subset(rows))["loss"], rel=1e-5)


# -- batches of others ---------------------------------------------------------------------------------------------------

class Loader:
    """Makes the batches of arrays anew in each pass, as lists, like torch's DataLoader."""

    def __init__(self, x, y, size):
        self.x, self.y, self.size, self.passes = x, y, size, 0

    def __iter__(self):
        self.passes += 1
        for at in range(0, len(self.x), self.size):
            yield [self.x[at:at + self.size], self.y[at:at + self.size]]


@pytest.mark.parametrize("kind", ["loader", "list", "torch", "Dataset"])
def test_batches_of_others(kind, rng):
    """Any iterable of (x, y) trains as the arrays do, in its own order and sizes, and is evaluated with each sample alike."""
    x, y = rng.standard_normal((50, 6)).astype(np.float32), np.arange(50) % 2
    source = Loader(x, y, 8)
    if kind == "list":
        source = [tuple(pair) for pair in source]
    elif kind == "torch":
        torch = pytest.importorskip("torch", reason="pip install torch")
        source = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=8)
    elif kind == "Dataset":
        source = list(Dataset(x, y).batches(8, False))
    steps = []

    class Count(lw.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            steps.append((self.trainer.epoch, batch, self.params["steps"]))
    ours, theirs = trainer(6), trainer(6)
    ours.fit((x, y), 3, 8, shuffle=False, validation_data=(x, y))
    theirs.fit(source, 3, 999, validation_data=source, callbacks=[Count()])
    for name in "loss", "accuracy", "val_accuracy":
        assert ours.history[name] == theirs.history[name]
    assert_allclose(ours.history["val_loss"], theirs.history["val_loss"], rtol=1e-6)
    assert steps == [(e, s, None if kind == "loader" else 7) for e in range(3) for s in range(7)]
    if kind == "loader":
        assert source.passes == 6


def test_batches_that_are_used_up(rng):
    """A generator lasts for one pass: the second says so. Pairs that are none, and nothing at all."""
    x, y = rng.standard_normal((24, 6)).astype(np.float32), np.arange(24) % 2
    t = trainer(6)
    t.fit(((x, y) for _ in range(3)), 1)
    once = iter([(x, y), (x, y)])
    with pytest.raises(lw.DataError, match="expected at least one batch, got none: an iterator gives its batches once"):
        t.fit(once, 2)
    assert len(t.history["loss"]) == 2
    with pytest.raises(lw.DataError, match="got none: the iterable is empty"):
        t.evaluate(Loader(x[:0], y[:0], 8))
    for source, kind, words in [(iter([x]), TypeError, r"batch 1: expected a pair \(x, y\), got ndarray"),
                                (iter([(x, y), (x, y, y)]), TypeError, r"batch 2: expected a pair \(x, y\), got tuple"),
                                ([(x, y), (x, y[:3])], lw.ShapeError, r"batch 2: .* as many .*\(24, 6\) and \(3,\)")]:
        with pytest.raises(kind, match=words):
            t.fit(source, 1)
    with pytest.raises(lw.NonFiniteError, match="epoch 1, batch 2: the loss is nan"):
        t.fit(((x * [[np.float32(np.nan if i else 1)]], y) for i in range(2)), 1)
    for wrong in "ab", {"x": x}, 3, [x], (x, y, y):
        with pytest.raises(TypeError, match=r"expected \(x, y\) arrays, a Dataset or an iterable of batches, got"):
            sources.as_source(wrong)
