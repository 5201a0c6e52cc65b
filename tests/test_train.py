"""Trainer: what fit(), evaluate() and predict() do, and what they say when the data is wrong."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from training_case import bits, made, small, trainer

import lanewise as lw
from lanewise import nn, optim, train
from lanewise.callbacks import EarlyStopping
from lanewise.data import Dataset


def softmax_loss(scores, y):
    """Reference: the mean cross-entropy, float64."""
    scores = scores.astype(np.float64)
    scores -= scores.max(1, keepdims=True)
    return (np.log(np.exp(scores).sum(1)) - scores[np.arange(len(y)), y]).mean()


def test_fit_learns_and_keeps_history():
    """Arrays: one number an epoch for each list, and the loss falls."""
    t = trainer(0.05)
    x, y = made()
    history = t.fit((x, y), epochs=12, batch_size=8, validation_data=(x[:20], y[:20]), rng=0)
    assert history is t.history and set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert all(len(v) == 12 for v in history.values())
    assert history["loss"][-1] < 0.2 * history["loss"][0] and history["accuracy"][-1] > 0.95
    assert min(history["seconds"]) > 0 and all(isinstance(v, float) for v in history["loss"])
    result = t.evaluate((x[:20], y[:20]))
    assert (history["val_loss"][-1], history["val_accuracy"][-1]) == (result["loss"], result["accuracy"])
    t.fit((x, y), epochs=2)
    assert len(history["loss"]) == 14 and len(history["val_loss"]) == 12


@pytest.mark.parametrize("shuffle", [True, False])
def test_trainer_is_the_loop(shuffle, isa):
    """The same order of batches by hand: the same weights to the last bit; also from a Dataset of the same numbers."""
    x, y = made(kind=np.uint8)
    model, order = small(), np.random.default_rng(5)
    opt, loss_fn = optim.Adam(model.parameters(), 1e-2), nn.CrossEntropyLoss()
    schedule = optim.OneCycleLR(opt, 1e-2, total_steps=3 * 7)
    for _ in range(3):
        rows = order.permutation(50) if shuffle else np.arange(50)
        for at in range(0, 50, 8):
            opt.zero_grad()
            loss = loss_fn(model(x[rows[at:at + 8]]), y[rows[at:at + 8]])
            loss.backward()
            opt.step()
            schedule.step()
    for data in (x, y), Dataset(x, y):
        other = small()
        opt = optim.Adam(other.parameters(), 1e-2)
        t = lw.Trainer(other, loss_fn, opt)
        t.fit(data, 3, 8, schedule=optim.OneCycleLR(opt, 1e-2, total_steps=3 * 7), shuffle=shuffle, rng=5)
        assert bits(other) == bits(model)


def test_one_callback():
    """Alone, as in a list."""
    for callbacks in EarlyStopping("loss", patience=0, min_delta=1e9), [EarlyStopping("loss", patience=0, min_delta=1e9)]:
        assert len(trainer().fit(made(), 9, callbacks=callbacks)["loss"]) == 2


def test_history_is_the_mean_over_samples():
    """Batches of 8 and a last one of 2: every sample weighs the same. A rate of 0 keeps the weights."""
    x, y = made()
    t = trainer(0.0)
    before = bits(t.model)
    t.fit((x, y), 1, 8)
    assert bits(t.model) == before
    result = t.evaluate((x, y))
    assert_allclose(t.history["loss"], [result["loss"]], rtol=1e-6)
    assert t.history["accuracy"] == [result["accuracy"]]


class Steps(lw.callbacks.Callback):
    """Calls f(batch, logs) after every step."""

    def __init__(self, f):
        self.f = f

    def on_train_batch_end(self, batch, logs):
        self.f(batch, logs)


def test_schedule_and_steps():
    """The rate moves after every step; a callback sees each step once, with running means."""
    x, y = made()
    t, seen = trainer(), []
    schedule = optim.OneCycleLR(t.optimizer, 0.1, total_steps=14)
    rates = []

    def look(batch, logs):
        seen.append((t.epoch, batch, steps.params["steps"], logs["size"]))
        rates.append(t.optimizer.param_groups[0]["lr"])
        assert np.isfinite(logs["loss"]) and 0 <= logs["accuracy"] <= 1
    steps = Steps(look)
    t.fit((x, y), 2, np.int64(8), schedule=schedule, callbacks=[steps])
    assert seen == [(e, s, 7, 8 if s < 6 else 2) for e in range(2) for s in range(7)]
    assert len(set(rates)) > 10 and max(rates) == pytest.approx(0.1, rel=0.1)
    assert rates[-2] == pytest.approx(0.1 / 25 / 1e4)       # the last step's: callbacks come after schedule.step()


@pytest.mark.parametrize("n", [1, 17, 50])
def test_evaluate_is_numpys(n, isa):
    """The mean cross-entropy and the share of right answers, from the scores in float64."""
    x, y = made(n)
    t = trainer()
    scores = t.predict(x)
    result = t.evaluate((x, y))
    assert_allclose(result["loss"], softmax_loss(scores, y), rtol=1e-5)
    assert result["accuracy"] == (scores.argmax(1) == y).mean()
    summed = lw.Trainer(t.model, nn.CrossEntropyLoss(reduction="sum")).evaluate((x, y))
    assert_allclose(summed["loss"], result["loss"] * n, rtol=1e-5)


def test_evaluate_a_regression(rng):
    """No labels, no accuracy."""
    model = nn.Sequential(nn.Linear(5, 3))
    x, y = rng.standard_normal((30, 5)).astype(np.float32), rng.standard_normal((30, 3)).astype(np.float32)
    t = lw.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1))
    assert_allclose(t.evaluate((x, y))["loss"], ((t.predict(x) - y) ** 2).mean(), rtol=1e-5)
    assert list(t.evaluate((x, y))) == ["loss"]
    history = t.fit((x, y), 4, validation_data=(x, y))
    assert len(history["loss"]) == len(history["val_loss"]) == 4 and history["accuracy"] == history["val_accuracy"] == []
    assert history["loss"][-1] < history["loss"][0]


def test_predict(monkeypatch):
    """Arrays of every kind, a Dataset, a list; in chunks as in one: the same bits."""
    x, y = made(kind=np.uint8)
    t = trainer()
    whole = t.predict(x)
    assert whole.shape == (50, 4) and whole.dtype == np.float32
    assert_array_equal(t.predict(Dataset(x, y)), whole)
    assert_allclose(t.predict((x / 255).astype(np.float32)), whole, atol=1e-5)
    assert_array_equal(t.predict(np.asfortranarray(x)), whole)
    monkeypatch.setattr(train, "CHUNK", 16)
    assert_array_equal(t.predict(x), whole)
    assert_array_equal(t.predict(Dataset(x, y)), whole)
    result = t.evaluate((x, y))
    monkeypatch.setattr(train, "CHUNK", 4096)
    assert_allclose(result["loss"], t.evaluate((x, y))["loss"], rtol=1e-6)
    assert result["accuracy"] == t.evaluate((x, y))["accuracy"]


def test_more_than_a_chunk(rng):
    """Beyond CHUNK samples, through the real constant."""
    n = train.CHUNK + 17
    model = nn.Linear(3, 2)
    x = rng.standard_normal((n, 3)).astype(np.float32)
    t = lw.Trainer(model, nn.CrossEntropyLoss())
    expected = x.astype(np.float64) @ model.weight.data.T.astype(np.float64) + model.bias.data
    assert_allclose(t.predict(x), expected, atol=1e-5)
    assert_allclose(t.evaluate((x, np.arange(n) % 2))["loss"], softmax_loss(expected, np.arange(n) % 2), rtol=1e-5)


def test_modes_come_back():
    """evaluate() and predict() leave every module as they found it, also when they fail; fit() trains."""
    x, y = made()
    t = trainer()
    t.model.train()
    t.model[0].eval()                                   # one layer frozen by its owner
    modes = [m.training for m in t.model.modules()]
    t.evaluate((x, y))
    t.predict(x)
    with pytest.raises(lw.ShapeError):
        t.predict(x[:, :1])
    with pytest.raises(lw.LabelError):
        t.evaluate((x, y + 9))
    assert [m.training for m in t.model.modules()] == modes == [True, False, True, True, True]
    t.model.eval()
    t.fit((x, y), 1)
    assert all(m.training for m in t.model.modules())


# -- numbers that are none ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_the_input_stops_training(bad, isa):
    """The sentence says at which step; the weights are, to the last bit, those of the step before."""
    x, y = made()
    good, t = trainer(), trainer()
    seen = []
    good.fit((x[:40], y[:40]), 1, 8, shuffle=False)
    x = x.copy()
    x[41, 0, 2, 2] = bad
    with pytest.raises(lw.NonFiniteError, match=r"epoch 1, batch 6 of 7: .* at step 5.* those before it") as info:
        t.fit((x, y), 3, 8, shuffle=False, callbacks=[Steps(lambda batch, logs: seen.append(batch))])
    assert "\n" not in str(info.value)
    assert bits(t.model) == bits(good.model) and seen == list(range(5))
    assert t.history["loss"] == []                      # no epoch was finished
    t.fit((x[:40], y[:40]), 1, 8)                       # the model and its optimizer go on
    assert np.isfinite(t.evaluate((x[:40], y[:40]))["loss"])


def test_nan_by_a_huge_rate_stops_training():
    x, y = made()
    t, kept = trainer(1e30), []
    with pytest.raises(lw.NonFiniteError, match=r"epoch \d, batch \d of 7: .*the weights are those before it"):
        t.fit((x, y), 5, 8, callbacks=[Steps(lambda batch, logs: kept.append(bits(t.model)))])
    assert kept and bits(t.model) == kept[-1]


def test_nan_in_the_loop():
    """The same without a Trainer: backward() raises, no gradient is left, step() changes nothing."""
    x, y = made(20)
    x[3] = np.nan
    model = small()
    opt, before = optim.Adam(model.parameters()), bits(model)
    with pytest.raises(lw.NonFiniteError, match="the loss is nan at step 0"):
        nn.CrossEntropyLoss()(model(x), y).backward()
    assert all(p.grad is None for p in model.parameters())
    opt.step()
    assert bits(model) == before


# -- bad input --------------------------------------------------------------------------------------------------------

X, Y = made(8)
BAD_INPUT = {
    "channels": (X[:, :1], Y, lw.ShapeError, "[Conv2d '0'] expected input with 2 channels, got 1: input (N, 1, 6, 6)"),
    "rank": (X[:, 0], Y, lw.ShapeError, "[Conv2d '0'] expected an input of 4 dimensions (N, C, H, W), got 3"),
    "no batch": (X[0, 0, 0], Y[:6], lw.ShapeError, "expected an input with the batch first, (N, ...), got shape (6,)"),
    "size": (X[:, :, :5], Y, lw.ShapeError, "[Linear '3'] expected input with 48 features, got 36: input (N, 36)"),
    "too small": (X[:, :, :2], Y, lw.ShapeError, "[Conv2d '0'] expected"),
    "integers": (X.astype(np.int64), Y, lw.DtypeError, "expected an input of float32, float64 or uint8"),
    "float16": (X.astype(np.float16), Y, lw.DtypeError, "got float16"),
    "bool": (X > 0, Y, lw.DtypeError, "got bool"),
    "complex": (X.astype(np.complex64), Y, lw.DtypeError, "got complex64"),
    "objects": (X.astype(object), Y, lw.DtypeError, "got object"),
    "byte order": (X.astype(">f4"), Y, lw.DtypeError, "got >f4"),
    "empty": (X[:0], Y[:0], lw.ShapeError, "expected at least one sample, got an empty batch of shape (0, 2, 6, 6)"),
    "label above": (X, Y + 1, lw.LabelError, "CrossEntropyLoss expected labels from 0 to 3, got 4"),
    "label below": (X, Y - 1, lw.LabelError, "CrossEntropyLoss expected labels from 0 to 3, got -1"),
    "float labels": (X, Y.astype(np.float32), lw.ShapeError,
                     "expected integer class labels, or probabilities of shape (8, 4), got float32 of shape (8,)"),
    "rank of labels": (X, Y[:, None], (lw.ShapeError, lw.LabelError), "(8, 1)"),
    "number of labels": (X, Y[:5], (lw.ShapeError, lw.LabelError), "5"),
}


def test_other_floats():
    """Where a loop of one's own gets a sentence, the Trainer brings floating-point inputs and targets to the network's type."""
    t, wide = trainer(), X.astype(np.float64)
    for x, y, words in [(wide, Y, r"expected one number type, got float32 \(parameter '0.weight'\) and float64 \(the input\)"),
                        (X, np.eye(4)[Y], "CrossEntropyLoss expected targets of float32, got float64")]:
        with pytest.raises(lw.DtypeError, match=words):
            t.loss_fn(t.model(x), y).backward()
    results = []
    for x, y in [(X, np.eye(4, dtype=np.float32)[Y]), (wide, np.eye(4)[Y])]:
        t = trainer()
        t.fit((x, y), 2, 8, rng=1)
        results.append((t.history["loss"], t.evaluate((x, y)), t.predict(x).tolist()))
    assert results[0] == results[1]
    model = trainer().model.double()
    double = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1))
    double.fit((X, Y), 1)
    assert double.predict(X).dtype == np.float64


@pytest.mark.parametrize("way", ["loop", "fit", "evaluate"])
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input(name, way):
    """One sentence, from every way in, and the weights stay."""
    x, y, kind, words = BAD_INPUT[name]
    t = trainer()
    before = bits(t.model)
    with pytest.raises(kind) as info:
        if way == "loop":
            loss = t.loss_fn(t.model(x), y)
            loss.backward()
        elif way == "fit":
            t.fit((x, y), 1, 8)
        else:
            t.evaluate((x, y))
    assert words in str(info.value) and "\n" not in str(info.value)
    assert bits(t.model) == before


def test_bad_targets_of_a_regression(rng):
    model, loss_fn = nn.Linear(3, 2), nn.MSELoss()
    x = rng.standard_normal((4, 3)).astype(np.float32)
    for y, kind, words in [(np.zeros((4, 3), np.float32), lw.ShapeError, r"\(4, 2\).*\(4, 3\)"),
                           (np.zeros(4, np.float32), lw.ShapeError, r"\(4, 2\).*\(4,\)"),
                           (np.zeros((4, 2)), lw.DtypeError, "float32.*float64"),
                           (np.zeros((4, 2), complex), lw.DtypeError, "complex128")]:
        with pytest.raises(kind, match=words):
            loss_fn(model(x), y).backward()


def test_wrong_arguments():
    x, y = made(8)
    t = trainer()
    for kw, words in [(dict(epochs=0), "expected epochs of 1 or more, got 0"), (dict(epochs=1.5), "epochs .*got 1.5"),
                      (dict(epochs=True), "epochs .*got True"),
                      (dict(batch_size=0), "expected a batch_size of 1 or more, got 0"),
                      (dict(batch_size=2.0), "batch_size .*got 2.0"), (dict(batch_size=None), "batch_size .*got None"),
                      (dict(batch_size=True), "batch_size .*got True")]:
        with pytest.raises(ValueError, match=words):
            t.fit((x, y), **kw)
    for data, words in [(x, r"expected \(x, y\) arrays, a Dataset or an iterable of batches, got ndarray"), ((x,), "got tuple"),
                        (None, "got NoneType")]:
        for call in t.fit, t.evaluate:
            with pytest.raises(TypeError, match=words):
                call(data)
    pairs = [(x[:4], y[:4]), (x[4:], y[4:])]
    for more in pairs, (x, y), iter(pairs), [x[:4], x[:3]]:
        with pytest.raises(TypeError, match=r"predict: expected the inputs alone, one array .*, got (list|tuple|list_iterator) "
                                            r"of other things: batches and pairs \(x, y\) are for evaluate"):
            t.predict(more)
    for one in EarlyStopping, 3, [EarlyStopping], "ab":
        with pytest.raises(TypeError, match="expected callbacks, instances of lanewise.callbacks.Callback, got"):
            t.fit((x, y), callbacks=one)
    for schedule in 3, lambda epoch: 0.1:
        with pytest.raises(TypeError, match="Trainer.fit: expected a schedule of optim.lr_scheduler, got (int|function)"):
            t.fit((x, y), schedule=schedule)
    with pytest.raises(ValueError, match="Trainer.fit: expected an optimizer, got none"):
        lw.Trainer(t.model, t.loss_fn).fit((x, y))
    for call in lw.Trainer(t.model, None, t.optimizer).fit, lw.Trainer(t.model, None).evaluate:
        with pytest.raises(ValueError, match="expected a loss, got none"):
            call((x, y))

    for parts, words in [((3, t.loss_fn, t.optimizer), "a Module to train, got <class 'int'>"),
                         ((t.model, "mse", t.optimizer), r"a loss like nn.CrossEntropyLoss\(\), got <class 'str'>"),
                         ((t.model, nn.MSELoss, t.optimizer), "a loss like .*, got <class .*MSELoss'>"),
                         ((t.model, t.optimizer, t.loss_fn), "a loss like .*, got <class .*(Adam|SGD)'>"),
                         ((t.model, t.loss_fn, "adam"), "an optimizer like optim.Adam.*, got <class 'str'>")]:
        with pytest.raises(TypeError, match=f"Trainer: expected {words}"):
            lw.Trainer(*parts)

    class Two(nn.Module):
        def forward(self, x):
            return x, x
    with pytest.raises(TypeError, match="expected a model with one output, got tuple"):
        lw.Trainer(Two(), t.loss_fn).predict(x)


def test_errors_are_the_built_in_ones():
    """Whoever catches ValueError, TypeError or FloatingPointError catches these."""
    for kind in lw.ShapeError, lw.LabelError, lw.DataError, lw.WeightsError:
        assert issubclass(kind, ValueError)
    assert issubclass(lw.DtypeError, TypeError) and issubclass(lw.NonFiniteError, FloatingPointError)


def test_errors_name_nested_layers():
    """The path of the layer, as in state_dict()."""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2))
            self.head = nn.Linear(9, 2)

        def forward(self, x):
            return self.head(self.features(x).flatten(1))
    with pytest.raises(lw.ShapeError) as info:
        Net()(np.zeros((1, 3, 8, 8), np.float32))
    assert str(info.value) == "[Conv2d 'features.0'] expected input with 1 channels, got 3: input (N, 3, 8, 8)"
    with pytest.raises(lw.ShapeError, match=r"\[Linear 'head'\] expected input with 9 features, got 18"):
        Net()(np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(lw.ShapeError, match=r"\[MaxPool2d 'features.1'\] expected an image of at least the window's size 2x2"):
        Net()(np.zeros((1, 1, 3, 8), np.float32))
