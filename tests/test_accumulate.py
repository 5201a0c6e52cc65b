"""Batches joined to one step, and samples that weigh differently: against one large batch, and the losses' own weights."""
import numpy as np
import pytest
from numpy.testing import assert_allclose
from training_case import bits, made, small, trainer

import lanewise as lw
from lanewise import nn, optim
from lanewise.callbacks import Callback

WEIGHT = [0.5, 2.0, 1.0, 3.0]


def trained(data, batch_size, loss_fn=None, model=None, **kw):
    """(weights, history) in float64, after two epochs in order."""
    model = (model or small()).double()
    t = lw.Trainer(model, loss_fn or nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 5e-2, momentum=0.9))
    t.fit(data, 2, batch_size, shuffle=False, **kw)
    return np.concatenate([p.data.ravel() for p in model.parameters()]), t.history


def same(a, b):
    """Equal but for rounding, weights and history; the weights moved."""
    start = np.concatenate([p.data.ravel() for p in small().double().parameters()])
    assert np.abs(a[0] - start).max() > 1e-3
    assert_allclose(a[0], b[0], rtol=1e-9, atol=1e-12)
    assert_allclose(a[1]["loss"], b[1]["loss"], rtol=1e-12)
    assert a[1]["accuracy"] == b[1]["accuracy"]


LOSSES = {"mean": nn.CrossEntropyLoss(), "sum": nn.CrossEntropyLoss(reduction="sum"), "smoothed": nn.CrossEntropyLoss(
    label_smoothing=0.1), "weighted": nn.CrossEntropyLoss(WEIGHT), "ignoring": nn.CrossEntropyLoss(ignore_index=2),
    "hinge": nn.MultiMarginLoss(weight=WEIGHT)}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("k", [2, 3, 4, 9])
def test_one_large_batch(name, k, rng):
    """50 samples in batches of 8, k a step: the step of a batch of 8 k, and a last one of what is left, of unequal batches."""
    x, _ = made(kind=np.float64)
    data = x, rng.integers(0, 4, 50)                    # labels whose weights differ from batch to batch
    many, one = trained(data, 8, LOSSES[name], accumulate=k), trained(data, 8 * k, LOSSES[name])
    if name == "sum":                                   # its history is of batches
        many[1]["loss"] = one[1]["loss"]
    same(many, one)


def test_accumulate_with_weights(rng):
    x, y = made(kind=np.float64)
    w = rng.uniform(0.1, 3, 50)
    kw = dict(sample_weight=w, class_weight={0: 2.0, 3: 0.25})
    same(trained((x, y), 8, accumulate=4, **kw), trained((x, y), 32, **kw))


def test_accumulate_a_regression(rng):
    x, _ = made(kind=np.float64)
    data, results = (x, rng.standard_normal((50, 4))), []
    for size, k in (7, 5), (35, 1):
        results.append(trained(data, size, nn.MSELoss(), accumulate=k))
    assert_allclose(results[0][0], results[1][0], rtol=1e-9, atol=1e-12)
    assert_allclose(results[0][1]["loss"], results[1][1]["loss"], rtol=1e-12)


def test_accumulate_one_is_the_loop():
    data, results = made(), []
    for kw in {}, dict(accumulate=1):
        t = trainer()
        t.fit(data, 2, 8, rng=0, **kw)
        results.append(bits(t.model))
    assert results[0] == results[1]


def test_the_plain_loop_accumulates():
    """backward() adds to what is there, as in PyTorch: k losses over k are one large batch's."""
    x, y = made(32, np.float64)
    model, loss_fn = small().double(), nn.CrossEntropyLoss()
    for i in range(0, 32, 8):
        (loss_fn(model(x[i:i + 8]), y[i:i + 8]) / 4).backward()
    parts = [p.grad.copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    loss_fn(model(x), y).backward()
    for part, p in zip(parts, model.parameters()):
        assert_allclose(part, p.grad, rtol=1e-10, atol=1e-14)


def test_steps_are_joined_batches():
    """Callbacks, schedule and optimizer see one step for k batches."""
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, batch, logs):
            seen.append((batch, logs["size"], self.params["steps"], self.trainer.schedule.last_epoch))
    t = trainer()
    t.fit(made(), 1, 8, accumulate=3, callbacks=[Look()], schedule=optim.lr_scheduler.StepLR(t.optimizer, 1))
    assert seen == [(0, 24, 3, 1), (1, 24, 3, 2), (2, 2, 3, 3)]
    assert t.optimizer.state_dict()["state"][0]["step"] == 3


def test_nan_in_a_joined_step():
    """In the second of three batches: weights, and a BatchNorm's statistics, are those before the step."""
    lw.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 4))
    x, y = made()
    x[36] = np.nan
    kept = []

    class Keep(Callback):
        def on_train_batch_end(self, batch, logs):
            kept.append(bits(self.model))
    t = trainer(model=model)
    with pytest.raises(lw.NonFiniteError, match="epoch 1, batch 2 of 3: the loss is nan"):
        t.fit((x, y), 1, 8, shuffle=False, accumulate=3, callbacks=[Keep()])
    assert len(kept) == 1 and bits(model) == kept[0]


# -- weights ----------------------------------------------------------------------------------------------------------

def test_class_weight_is_the_losss():
    """{class: weight} as CrossEntropyLoss(weight); a class without one weighs 1."""
    data = made(kind=np.float64)
    same(trained(data, 8, class_weight={0: 0.5, 1: 2, 3: np.float32(3)}), trained(data, 8, nn.CrossEntropyLoss(WEIGHT)))


def test_balanced_is_sklearns():
    weights = pytest.importorskip("sklearn.utils.class_weight")
    x, y = made(kind=np.float64)
    y = np.minimum(y, 2)                                # 13, 13 and 24, none of class 3
    balanced = dict(enumerate(weights.compute_class_weight("balanced", classes=np.arange(3), y=y)))
    same(trained((x, y), 8, class_weight="balanced"), trained((x, y), 8, class_weight=balanced))
    for kind in np.uint8, np.float32:
        images, _ = made(kind=kind)
        results = []
        for data in (images, y), lw.data.Dataset(images, y):
            t = trainer()
            t.fit(data, 1, 8, class_weight="balanced", rng=1)
            results.append(bits(t.model))
        assert results[0] == results[1]


def test_sample_weight(rng):
    """Weight 0 is a sample left out, weight 2 one that is there twice; rows are found after shuffling."""
    x, y = made(48, np.float64)
    w = np.repeat([1.0, 0.0, 2.0], 16)
    twice = np.r_[0:16, 32:48, 32:48]
    some, all_alike = trained((x, y), 48, sample_weight=w), trained((x[twice], y[twice]), 48)
    all_alike[1]["accuracy"] = some[1]["accuracy"]      # counts samples, whatever they weigh
    same(some, all_alike)
    t, other = trainer(), trainer()
    x = x.astype(np.float32)
    t.fit((x, y), 2, 8, rng=3, sample_weight=w)
    order = np.random.default_rng(3)
    for _ in range(2):
        rows = order.permutation(48)
        for at in range(0, 48, 8):
            r = rows[at:at + 8]
            other.optimizer.zero_grad()
            other.loss_fn(other.model(x[r]), y[r], w[r]).backward()
            other.optimizer.step()
    assert bits(t.model) == bits(other.model)


def test_evaluate_weighs_batches(monkeypatch):
    """The mean of a loss with classes' weights is that of all samples at once, in however many calls."""
    x, y = made(kind=np.float64)
    y = np.sort(y)
    t = lw.Trainer(small().double(), nn.CrossEntropyLoss(WEIGHT))
    whole = t.evaluate((x, y))["loss"]
    monkeypatch.setattr("lanewise.train.CHUNK", 16)
    assert_allclose(t.evaluate((x, y))["loss"], whole, rtol=1e-12)


def test_wrong_arguments():
    x, y = made(8)
    for kw, kind, words in [
            (dict(accumulate=0), ValueError, "Trainer.fit: expected accumulate of 1 or more, got 0"),
            (dict(accumulate=2.0), ValueError, "expected accumulate of 1 or more, got 2.0"),
            (dict(class_weight="even"), TypeError, "expected class_weight to be {class: weight} or 'balanced', got 'even'"),
            (dict(class_weight=[1, 2]), TypeError, r"expected class_weight to be .*, got \[1, 2\]"),
            (dict(class_weight={0: -1.0}), ValueError, "expected sample_weight of finite numbers of 0 or more, got -1.0"),
            (dict(sample_weight=np.ones(7)), lw.ShapeError, r"expected sample_weight of shape \(8,\), got \(7,\)")]:
        with pytest.raises(kind, match=words):
            trainer().fit((x, y), **kw)
    for unknown in 4, -1, 1000:
        t = trainer()
        before = bits(t.model)
        with pytest.raises(lw.LabelError, match=f"expected class_weight of classes from 0 to 3, .*, got one of {unknown}$"):
            t.fit((x, y), class_weight={0: 2.0, unknown: 3.0})
        assert bits(t.model) == before and not t.history["loss"]
    trainer().fit((x, np.minimum(y, 2)), class_weight={3: 5.0})             # a class of the model's without a sample here
    t = lw.Trainer(small(), nn.MSELoss(), trainer().optimizer)
    with pytest.raises(lw.LabelError, match=r"class_weight expected integer labels \(N,\), got float32 of shape \(8, 4\)"):
        t.fit((x, np.zeros((8, 4), np.float32)), class_weight={0: 1.0})
