"""Augmentation on the way into lanes: against NumPy and SciPy in float64, exact where pixels only move, the same bits for any
threads and batch size."""
import numpy as np
import pytest
from augment_reference import augmented, drawn, philox
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import beta, kstest

import lanewise as lw
from lanewise import nn, optim
from lanewise.data import Augment, Dataset
from lanewise.data.augment import BETWEEN, betas
from lanewise.errors import LabelError

CASES = {
    "shift": dict(shift=2), "shift edge": dict(shift=3, pad="edge"), "shift reflect": dict(shift=4, pad="reflect"),
    "flip": dict(flip=True), "crop": dict(shift=1, flip=True), "crop reflect": dict(shift=4, pad="reflect", flip=True),
    "rotate": dict(rotate=30), "rotate edge": dict(rotate=180, pad="edge"), "scale": dict(scale=(0.4, 1.7)),
    "scale reflect": dict(scale=(0.2, 0.5), pad="reflect"), "affine": dict(rotate=90, scale=(0.7, 1.2), shift=3, flip=True),
    "affine reflect": dict(rotate=45, scale=(0.5, 1.5), shift=2, flip=True, pad="reflect"),
    "cutout": dict(cutout=3), "cutout large": dict(cutout=20), "brightness": dict(brightness=0.4),
    "contrast": dict(contrast=0.8), "mixup": dict(mixup=0.4),
    "all": dict(shift=2, pad="edge", flip=True, rotate=20, scale=(0.8, 1.25), cutout=2, brightness=0.2, contrast=0.3, mixup=1),
    "all whole": dict(shift=2, flip=True, cutout=4, brightness=0.2, contrast=0.3, mixup=0.2), "nothing": {},
}
EXACT = [name for name, case in CASES.items() if set(case) <= {"shift", "flip", "pad"}]


def made(rng, n, shape, kind):
    """A Dataset whose images have every value."""
    shape = (n + 5, *shape)
    x = rng.integers(0, 256, shape, np.uint8) if kind == "uint8" else rng.standard_normal(shape).astype(kind)
    mean, std = rng.uniform(0.2, 0.6, shape[1]), rng.uniform(0.2, 0.4, shape[1])
    return Dataset(x, np.arange(n + 5) % 3, mean, std).subset(rng.permutation(n + 5)[:n])


def passed(ds, size, rng=7, **kw):
    """One pass: (batches, targets, (key, mix))."""
    pairs = list(ds.batches(size, rng=rng, **kw))
    draws = [b.draws for b, _ in pairs]
    assert all(d[0] == draws[0][0] for d in draws) and [d[1] for d in draws] == list(range(0, len(ds), size))[:len(draws)]
    mix = None if draws[0][2] is None else np.concatenate([d[2] for d in draws])
    return [b for b, _ in pairs], [y for _, y in pairs], (draws[0][0], mix)


def test_generator():
    """Known answers of Philox4x32-10, published with Random123 (Salmon, Moraes, Dror and Shaw 2011)."""
    assert philox(0, 0) == [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
    ones = (1 << 32) - 1
    assert philox((1 << 64) - 1, ones, ones, ones, ones) == [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 7, 6), (3, 5, 9)])
@pytest.mark.parametrize("name", CASES)
def test_against_numpy(name, shape, kind, isa, rng):
    """Each transformation and all together, for batches around a shard; copies of pixels to the last bit."""
    for n in 1, 15, 16, 17, 33:
        ds = made(rng, n, shape, kind).augmented(Augment(**CASES[name]))
        (batch,), _, (key, mix) = passed(ds, n)
        x = batch.images[batch.index]
        got, want = np.asarray(batch), augmented(x, ds.augment, key, 0, mix, ds.mean, ds.std)
        assert got.dtype == (np.float32 if kind == "uint8" else kind) and got.shape == want.shape
        error = 5e-6 if kind != "float64" else 3e-7 if ds.augment.move == BETWEEN else 1e-13    # weights are of 24 bits
        assert_allclose(got, want, rtol=0, atol=error * max(1, np.abs(want).max()))
        if name in EXACT and kind != "uint8":
            assert_array_equal(got, want.astype(kind))
        elif name in EXACT:                             # bytes moved first and normalised then
            raw = np.rint(augmented(x.astype(float), ds.augment, key)).astype(np.uint8)
            assert_array_equal(got, nn.Identity()(Dataset(raw, np.zeros(n, int), ds.mean, ds.std).batch()[0]).numpy())
        if ds.augment.cutout:
            box = drawn(ds.augment, key, 0, shape)
            assert mix is not None or (got[0, :, box["row"], box["col"]] == 0).all()


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("pad", ["zero", "edge", "reflect"])
@pytest.mark.parametrize("shape", [(1, 3, 300), (2, 290, 5), (1, 257, 270), (3, 20, 33)])
def test_large_and_long_images(shape, pad, kind, isa, rng):
    """Rows of more pixels than are worked out at once; places many times the image's size outside, or none outside; weights as
    exact as in small images."""
    n = 2 if min(shape[1:]) > 100 else 18
    for case in dict(rotate=180, scale=(0.04, 0.3)), dict(rotate=30, scale=(0.9, 3), shift=2, flip=True):
        ds = made(rng, n, shape, kind).augmented(Augment(pad=pad, **case))
        (batch,), _, (key, _) = passed(ds, n)
        got, want = np.asarray(batch), augmented(batch.images[batch.index], ds.augment, key, 0, None, ds.mean, ds.std)
        assert_allclose(got, want, rtol=0, atol=(3e-7 if kind == "float64" else 5e-6) * max(1, np.abs(want).max()))


def test_frame_holds_every_place(rng):
    """Corners turned by angles up to the greatest, at the least factor; a frame is at most three images and some lines wide."""
    cases = dict(rotate=15), dict(rotate=90), dict(rotate=180, scale=(0.9, 1.1)), dict(scale=(0.3, 2)), dict(rotate=3, shift=1)
    for shape in (1, 28, 28), (3, 32, 20), (1, 1, 40), (2, 7, 300):
        for case in cases:
            augment = Augment(**case) if min(shape[1:]) > 1 else Augment(**{**case, "shift": 0})
            above, beside, within = augment.frame(shape)
            turn = np.exp(1j * np.radians(np.linspace(-augment.rotate, augment.rotate, 721))) / augment.scale[0]
            down, right = ((n - 1) / 2 for n in shape[1:])
            corner = np.array([[right + augment.shift + 1j * (down + augment.shift)]])
            corners = np.concatenate([corner, -corner, corner.conj(), -corner.conj()])
            beyond = (abs((corners * turn).imag).max() - down, abs((corners * turn).real).max() - right)
            assert within == (np.ceil(np.round(beyond, 9)) <= shape[1:]).all()
            assert above <= shape[1] + 2 and beside <= shape[2] + 2
            if within:
                assert above - 3.01 < beyond[0] <= above - 2 + 1e-9 and beside - 3.01 < beyond[1] <= beside - 2 + 1e-9


def test_image_of_one_pixel_a_side(isa, rng):
    """Edges that meet: one row or column, every way to pad."""
    for pad in "zero", "edge", "reflect":
        for shape in (1, 1, 1), (2, 1, 5), (1, 6, 1):
            for case in dict(rotate=90, scale=(0.3, 1.5)), dict(rotate=10, scale=(0.9, 1.1)):
                ds = made(rng, 20, shape, "uint8").augmented(Augment(flip=True, pad=pad, **case))
                (batch,), _, (key, _) = passed(ds, 20)
                want = augmented(batch.images[batch.index], ds.augment, key, 0, None, ds.mean, ds.std)
                assert_allclose(np.asarray(batch), want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("name", ["all", "all whole", "crop", "affine"])
def test_same_bits(name, kind, isa, rng):
    """For 1, 2 and 3 threads, any batch size (even ones, of mixup), from run to run; another seed, other numbers."""
    ds = made(rng, 70, (3, 6, 7), kind).augmented(Augment(**CASES[name]))

    def whole(size, seed=7):
        batches, targets, _ = passed(ds, size, seed)
        return np.concatenate([np.asarray(b) for b in batches]), np.concatenate(targets)
    lw.set_num_threads(1)
    x, y = whole(70)
    for threads in 1, 2, 3:
        lw.set_num_threads(threads)
        for size in (70, 2, 16, 34) if ds.augment.mixup else (70, 1, 16, 17, 33):
            again = whole(size)
            assert_array_equal(again[0], x)
            assert_array_equal(again[1], y)
    assert (whole(70, 8)[0] != x).any()


def test_every_pass_draws_anew(rng):
    """The order of a seed is the same with an augmentation and without; augment=False and batch() leave images alone."""
    ds = made(rng, 20, (1, 6, 6), "uint8")
    changed = ds.augmented(Augment(shift=2, flip=True))
    assert ds.augment is None and changed.augment == Augment(shift=2, flip=True)
    generator = np.random.default_rng(3)
    first, second = (np.concatenate([np.asarray(b) for b, _ in changed.batches(8, False, rng=generator)]) for _ in range(2))
    plain = np.asarray(ds.batch()[0])
    assert (first != second).any() and (first != plain).any()
    for (a, y), (b, z) in zip(changed.batches(8, rng=5), ds.batches(8, rng=5)):
        assert_array_equal(a.index, b.index)
        assert_array_equal(y, z)
    assert_array_equal(np.concatenate([np.asarray(b) for b, _ in changed.batches(8, False, augment=False)]), plain)
    assert_array_equal(np.asarray(changed.batch()[0]), plain)
    assert_array_equal(np.asarray(next(changed.augmented(None).batches(20, False))[0]), plain)
    assert len(list(changed.batches(8, drop_last=True))) == 2


def test_what_is_drawn(rng):
    """Over many samples: every shift as often, half of the images mirrored, factors and angles between their limits."""
    a = Augment(shift=2, flip=True, rotate=30, scale=(0.8, 1.5), brightness=0.3, contrast=0.2)
    d = [drawn(a, 99, n, (1, 8, 8)) for n in range(4000)]
    for name in "dy", "dx":
        values, counts = np.unique([x[name] for x in d], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2] and abs(counts - 800).max() < 110
    assert abs(np.mean([x["flip"] for x in d]) - 0.5) < 0.04
    for name, low, high in [("angle", -np.pi / 6, np.pi / 6), ("factor", 0.8, 1.5), ("brightness", -0.3, 0.3),
                            ("contrast", 0.8, 1.2)]:
        values = np.array([x[name] for x in d])
        assert low <= values.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * (high - low)
        assert abs(np.corrcoef(values, [x["dy"] for x in d])[0, 1]) < 0.06


@pytest.mark.parametrize("n", [1, 6, 17])
def test_mixup_targets(n, rng):
    """p of the own class, 1 - p of the partner's, of a last one without a partner all; the loss takes them."""
    ds = made(rng, n, (1, 5, 5), "uint8").augmented(Augment(mixup=0.7))
    (batch,), (y,), (_, mix) = passed(ds, n)
    labels, want = batch.index % 3, np.zeros((n, 3))
    assert 0 <= mix.min() and mix.max() <= 1
    for i in range(n):
        other = i ^ 1 if i ^ 1 < n else i
        want[i, labels[i]] += mix[i]
        want[i, labels[other]] += 1 - mix[i]
    assert y.dtype == np.float32
    assert_allclose(y, want, rtol=0, atol=1e-7)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 3))
    loss = nn.CrossEntropyLoss()(model(batch), y)
    scores = model(batch).numpy()
    loss.backward()
    assert loss.correct == (scores.argmax(1) == y.argmax(1)).sum() and loss.counted == n
    assert made(rng, 6, (1, 5, 5), "float64").augmented(Augment(mixup=1)).batches(6).__next__()[1].dtype == np.float64


@pytest.mark.parametrize("a", [0.2, 0.4, 1, 2.5, 40])
def test_parts_are_of_the_beta_distribution(a):
    """Kolmogorov and Smirnov's distance of 20,000 parts is what chance leaves; at 0 and 1, where float32 ends, not beyond."""
    x = betas(a, 20000, np.random.default_rng(4))
    assert 0 <= x.min() and x.max() <= 1 and x.dtype == np.float64
    inside = x[(x > 1e-6) & (x < 1 - 1e-6)]
    low, high = beta.cdf([1e-6, 1 - 1e-6], a, a)
    assert kstest(inside, lambda v: (beta.cdf(v, a, a) - low) / (high - low)).pvalue > 0.001
    assert abs((x <= 1e-6).mean() - low) < 0.01 and abs((x >= 1 - 1e-6).mean() - (1 - high)) < 0.01
    assert np.array_equal(x, betas(a, 20000, np.random.default_rng(4)))


def test_labels_that_cannot_be_mixed(rng):
    """Those outside the classes are named, own and partner's."""
    for labels in ([0, 3, 1, 2], [3, 0, 1, 2], [0, 1, -1, 2]):
        ds = Dataset(rng.random((4, 1, 5, 5)).astype(np.float32), labels, classes=["a", "b", "c"], augment=Augment(mixup=1))
        with pytest.raises(LabelError, match="expected labels from 0 to 2 to mix, got (3|-1)"):
            list(ds.batches(4))


def test_training_with_a_border_and_gradients(isa, rng):
    """A first convolution with padding, dropout, an augmented batch: the loss and weights are those of the same numbers as an
    array."""
    ds = made(rng, 40, (3, 6, 7), "uint8").augmented(Augment(shift=2, flip=True, rotate=10, cutout=3, mixup=0.5))
    made_by = []
    for as_array in False, True:
        lw.manual_seed(2)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(168, 3))
        opt = optim.SGD(model.parameters(), 0.1)
        for x, y in ds.batches(16, rng=1):
            opt.zero_grad()
            nn.CrossEntropyLoss()(model(np.asarray(x) if as_array else x), y).backward()
            opt.step()
        made_by.append(np.concatenate([p.data.ravel() for p in model.parameters()]))
    assert_allclose(made_by[0], made_by[1], rtol=0, atol=1e-6)


def test_trainer_augments_in_training_alone(rng):
    """fit() learns from changed images; evaluate() and predict() see them as they are."""
    ds = made(rng, 48, (1, 6, 6), "uint8")
    changed = ds.augmented(Augment(shift=3, brightness=0.5, mixup=0.3))
    results = []
    for data in ds, changed:
        lw.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.0))
        history = trainer.fit(data, 1, 16, validation_data=data, rng=4)
        results.append((history["loss"][0], history["val_loss"][0], trainer.evaluate(data), trainer.predict(data)))
    assert results[0][0] != results[1][0] and results[0][1] == results[1][1] and results[0][2] == results[1][2]
    assert_array_equal(results[0][3], results[1][3])
    with pytest.raises(lw.DtypeError, match="expected targets of float64, got float32"):
        lw.Trainer(model.double(), nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.0)).fit(changed)


def test_mistakes(rng):
    for kw, words in [(dict(shift=-1), "expected shift to be a whole number of pixels, got -1"), (dict(shift=1.5), "got 1.5"),
                      (dict(shift=True), "got True"), (dict(cutout="4"), "expected cutout .*got '4'"),
                      (dict(pad="wrap"), "expected pad 'zero', 'edge' or 'reflect', got 'wrap'"),
                      (dict(flip=0.5), "expected flip to be True or False, got 0.5"),
                      (dict(rotate=-3), "expected rotate to be a number from 0 to 180, got -3"), (dict(rotate=200), "got 200"),
                      (dict(rotate=float("nan")), "rotate .*got nan"), (dict(contrast=-1), "contrast .*of 0 or more, got -1"),
                      (dict(brightness=float("inf")), "brightness .*got inf"), (dict(mixup=None), "mixup .*got None"),
                      (dict(scale=1.2), "expected scale to be two factors"), (dict(scale=(1.2, 0.8)), "two factors"),
                      (dict(scale=(0, 1)), "expected scale to be a number from 0.01 to 100, got 0")]:
        with pytest.raises(ValueError, match=words):
            Augment(**kw)
    ds = made(rng, 4, (1, 5, 8), "uint8")
    with pytest.raises(lw.ShapeError, match="more than shift=5 pixels a side, got 5x8"):
        ds.augmented(Augment(shift=5))
    with pytest.raises(lw.ShapeError, match=r"Augment expected images \(N, C, H, W\), got \(N, 9\)"):
        Dataset(np.zeros((4, 9), np.uint8), np.zeros(4, int), augment=Augment())
    with pytest.raises(TypeError, match="expected augment to be an Augment, got dict"):
        ds.augmented({"flip": True})
