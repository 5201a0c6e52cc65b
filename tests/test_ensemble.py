"""Several networks as one: probabilities, snapshots, mean weights, BatchNorm's statistics after it."""
import numpy as np
import pytest

import lanewise as lw
from lanewise import nn, optim


def network(*extra):
    """A small classifier of 1x6x6 images, with what is asked for in the middle."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), *extra, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def softmax(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.fixture
def data(rng):
    """(x, y) of classes that differ in brightness and noise."""
    y = rng.integers(0, 3, 200)
    return (rng.standard_normal((200, 1, 6, 6)) + y[:, None, None, None]).astype(np.float32), y


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize("n", [1, 15, 17, 200])
def test_the_mean(data, combine, n):
    """Against NumPy in float64; a Dataset as arrays; a single member is itself; modes are left as they are."""
    x, y = data[0][:n], data[1][:n]
    models = [network(nn.Dropout(0.5)) for _ in range(3)]
    models[1].eval()
    scores = [lw.Trainer(m, None).predict(x).astype(np.float64) for m in models]
    expected = np.mean([softmax(s) for s in scores], 0) if combine == "probabilities" else softmax(np.mean(scores, 0))
    ensemble = lw.Ensemble(models, combine)
    p = ensemble.predict_proba(x)
    np.testing.assert_allclose(p, expected, rtol=2e-6, atol=1e-7)
    assert p.dtype == np.float32 and (ensemble.predict(x) == p.argmax(1)).all()
    assert [m.training for m in models] == [True, False, True]
    for form in ((x, y), lw.data.Dataset(x, y)):
        result = ensemble.evaluate(form)
        assert result["loss"] == pytest.approx(-np.log(expected[np.arange(n), y]).mean(), rel=1e-5)
        assert result["accuracy"] == (expected.argmax(1) == y).mean()
    one = lw.Ensemble(models[:1], combine).evaluate((x, y))
    assert one == pytest.approx(lw.Trainer(models[0], nn.CrossEntropyLoss()).evaluate((x, y)), rel=1e-5)


def test_float64(data):
    """Members in float64 give float64."""
    x = data[0].astype(np.float64)
    ensemble = lw.Ensemble([network().double(), network().double()])
    assert ensemble.predict_proba(x).dtype == np.float64
    np.testing.assert_allclose(ensemble.predict_proba(x).sum(1), 1, rtol=1e-14)


def test_snapshots(data):
    """The rate falls to 0 in every cycle and starts again; copies are the model at a cycle's end, and stay."""
    x, y = data
    model = network()
    opt = optim.SGD(model.parameters(), 0.1)
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), opt)
    rates, step = [], opt.step
    opt.step = lambda: (rates.append(opt.param_groups[0]["lr"]), step())
    copies = lw.snapshots(trainer, data, 3, 2, batch_size=50, rng=0)
    expected = [0.05 * (1 + np.cos(np.pi * t / 8)) for t in range(8)] * 3
    np.testing.assert_allclose(rates, expected)
    assert len(trainer.history["loss"]) == 6 and len(copies) == 3 and not any(c.training for c in copies)
    last = model.state_dict()
    assert all((copies[2].state_dict()[k] == v).all() for k, v in last.items())
    assert all((copies[0].state_dict()[k] != copies[1].state_dict()[k]).any() for k in last)
    trainer.fit((x, y), epochs=1)
    assert all((copies[2].state_dict()[k] == v).all() for k, v in last.items())
    rates.clear()
    lw.snapshots(trainer, data, 2, 1, batch_size=50, rate="constant")
    assert len(set(rates)) == 1


def test_average_weights():
    """The mean in float64 of Modules or states, a count as the last one's; exact where sums are."""
    models = [network(nn.BatchNorm2d(4)) for _ in range(3)]
    for i, m in enumerate(models):
        for p in m.parameters():
            p.data[...] = i * 2
        m[1].num_batches_tracked.data = np.array(7 + i)
    for given in (models, [m.state_dict() for m in models]):
        mean = lw.average_weights(given)
        assert all((mean[k] == 2).all() and mean[k].dtype == np.float32 for k in ("0.weight", "1.weight", "4.bias"))
        assert mean["1.num_batches_tracked"] == 9 and list(mean) == list(models[0].state_dict())
    target = network(nn.BatchNorm2d(4))
    target.load_state_dict(mean)
    assert (target[0].weight.data == 2).all()
    mean["0.weight"][...] = 5
    assert (models[2][0].weight.data == 4).all()


def test_update_bn(data, rng):
    """The running statistics are the means over batches of what NumPy finds before the layer; weights and modes stay."""
    x, y = data
    model = network(nn.BatchNorm2d(4, momentum=0.3))
    model[1].running_mean.data[...] = 99
    model.eval()
    before = model.state_dict()
    lw.update_bn(x, model, batch_size=40)
    inner = model[0](x).numpy().astype(np.float64).reshape(5, 40, 4, -1)
    np.testing.assert_allclose(model[1].running_mean.data, inner.mean((1, 3)).mean(0), rtol=1e-4, atol=1e-5)
    variances = inner.swapaxes(1, 2).reshape(5, 4, -1).var(2, ddof=1)
    np.testing.assert_allclose(model[1].running_var.data, variances.mean(0), rtol=1e-4)
    assert model[1].momentum == 0.3 and model[1].num_batches_tracked.data == 5 and not model.training
    assert all((v == before[k]).all() for k, v in model.state_dict().items() if "running" not in k and "tracked" not in k)
    found = model[1].running_mean.data.copy()
    for form in ((x, y), lw.data.Dataset(x, y)):
        lw.update_bn(form, model, batch_size=40)
        assert (model[1].running_mean.data == found).all()
    lw.update_bn(x[:41], model, batch_size=40)                  # a batch of one is left out
    assert model[1].num_batches_tracked.data == 1
    plain = network()
    before = plain.state_dict()
    lw.update_bn(x, plain)
    assert all((v == before[k]).all() for k, v in plain.state_dict().items())


def test_recalibration_matters():
    """On the embedded images, the mean of weights along a training beats the mean of the members once its statistics are its
    own."""
    training, test = lw.data.load("fashion-mnist-mini")

    def make():
        return nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(400, 10))

    def accuracy(m):
        return lw.Trainer(m, nn.CrossEntropyLoss()).evaluate(test)["accuracy"]
    lw.manual_seed(3)
    model = make()
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.02, momentum=0.9, weight_decay=1e-3))
    rng = np.random.default_rng(3)
    trainer.fit(training, epochs=4, rng=rng)
    copies = lw.snapshots(trainer, training, 6, 1, rng=rng, rate="constant")
    averaged = make()
    averaged.load_state_dict(lw.average_weights(copies))
    for m in averaged.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.data[...], m.running_var.data[...] = 0, 1
    stale = accuracy(averaged)
    lw.update_bn(training, averaged)
    assert accuracy(averaged) > np.mean([accuracy(c) for c in copies]) and accuracy(averaged) > stale + 0.05


def test_mistakes(data):
    """One sentence."""
    x, y = data
    model = network()
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters()))
    for call, kind, sentence in (
            (lambda: lw.Ensemble([]), TypeError, r"Ensemble: expected one or more Modules, got \[\]"),
            (lambda: lw.Ensemble([model, 3]), TypeError, r"got \['Sequential', 'int'\]"),
            (lambda: lw.Ensemble([model], "vote"), ValueError, "expected combine 'probabilities' or 'logits', got 'vote'"),
            (lambda: lw.Ensemble([model, nn.Flatten()]).predict(x), lw.ShapeError,
             r"expected scores of shape \(200, 3\), got \(200, 36\) of model 1"),
            (lambda: lw.Ensemble([nn.Conv2d(1, 2, 3)]).predict(x), lw.ShapeError, r"expected scores of shape \(N, C\), got"),
            (lambda: lw.Ensemble([model]).evaluate(x), TypeError, r"expected \(x, y\) arrays or a Dataset, got ndarray"),
            (lambda: lw.Ensemble([model]).evaluate((x, y + 1)), lw.LabelError,
             "Ensemble.evaluate: expected labels from 0 to 2, got 1 to 3"),
            (lambda: lw.Ensemble([model]).evaluate((x, y * 1.0)), lw.LabelError, "expected 200 integer labels, got float64"),
            (lambda: lw.Ensemble([model]).evaluate((x, y.astype(str)[1:])), lw.LabelError, r"got <U.* of shape \(199,\)"),
            (lambda: lw.snapshots(trainer, data, 0, 1), ValueError, "snapshots: expected cycles of 1 or more, got 0"),
            (lambda: lw.snapshots(trainer, data, 1, 1.5), ValueError, "snapshots: expected epochs of 1 or more, got 1.5"),
            (lambda: lw.snapshots(trainer, data, 1, 1, rate="step"), ValueError,
             "snapshots: expected rate 'cosine' or 'constant', got 'step'"),
            (lambda: lw.snapshots(lw.Trainer(model, None), data, 1, 1), ValueError, "expected a Trainer with an optimizer"),
            (lambda: lw.snapshots(data, trainer, 1, 1), TypeError, "snapshots: expected a Trainer, got tuple"),
            (lambda: lw.update_bn(model, data), TypeError, "update_bn: expected data and then a Module, got tuple"),
            (lambda: lw.average_weights([]), ValueError, "expected one or more models, got none"),
            (lambda: lw.average_weights([model, network(nn.BatchNorm2d(4))]), lw.WeightsError,
             r"expected '3.weight' of shape \(3, 64\) as in model 0, got None in model 1")):
        with pytest.raises(kind, match=sentence):
            call()
