"""Callbacks: each does what Keras's of its name does; the expected epochs are worked out by hand from Keras's rules."""
import os
import signal

import numpy as np
import pytest
from numpy.testing import assert_allclose
from training_case import Made, bits, made, trainer

import lanewise as lw
from lanewise import io, nn, optim
from lanewise.callbacks import EMA, Callback, EarlyStopping, LearningRateScheduler, ModelCheckpoint, TerminateOnNaN

NAN = float("nan")


class Calls(Callback):
    """Notes what is called, in order."""

    def __init__(self, at=None, do=None):
        self.seen, self.at, self.do = [], at, do

    def note(self, *what):
        self.seen.append(what)
        if what == self.at:
            self.do(self)

    def on_train_begin(self):
        self.note("train_begin")

    def on_train_end(self):
        self.note("train_end")

    def on_train_error(self, error):
        self.note("error", type(error).__name__)

    def on_epoch_begin(self, epoch):
        self.note("epoch_begin", epoch)

    def on_epoch_end(self, epoch, logs):
        self.note("epoch_end", epoch)

    def on_train_batch_end(self, batch, logs):
        self.note("batch_end", batch)

    def on_test_begin(self):
        self.note("test_begin")

    def on_test_end(self, logs):
        assert set(logs) == {"loss", "accuracy"}
        self.note("test_end")


# -- how fit() calls them ---------------------------------------------------------------------------------------------

def test_order_of_calls():
    """Every call of two epochs of two steps, with validation and without."""
    x, y = made(16)
    epoch = [("batch_end", 0), ("batch_end", 1), ("test_begin",), ("test_end",)]
    for validation in (x, y), None:
        c = Calls()
        trainer().fit((x, y), 2, 8, validation_data=validation, callbacks=[c])
        steps = epoch if validation else epoch[:2]
        assert c.seen == [("train_begin",), ("epoch_begin", 0), *steps, ("epoch_end", 0), ("epoch_begin", 1), *steps,
                          ("epoch_end", 1), ("train_end",)]
        assert c.params == dict(epochs=2, steps=2, samples=16, verbose=0, validation=validation is not None)


def test_stop_training():
    """Set after a step, that epoch ends as any other, validation and history too; a new fit() starts afresh."""
    x, y = made(40)
    c = Calls(("batch_end", 1), lambda c: setattr(c.trainer, "stop_training", True))
    t = trainer()
    history = t.fit((x, y), 5, 8, validation_data=(x, y), callbacks=[c])
    assert c.seen[-5:] == [("batch_end", 1), ("test_begin",), ("test_end",), ("epoch_end", 0), ("train_end",)]
    assert len(history["loss"]) == len(history["val_loss"]) == 1 and t.stop_training
    t.fit((x, y), 2, 8)
    assert len(history["loss"]) == 3


def test_added_numbers_are_history():
    t = trainer()
    x, y = made(16)
    assert t.fit((x, y), 3, 8, callbacks=[Made([3, 1, 2])])["made"] == [3, 1, 2]


def test_errors_reach_callbacks():
    """Ctrl-C and an error of a callback's own: told of, then raised."""
    x, y = made(16)
    c = Calls(("batch_end", 0), lambda c: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        trainer().fit((x, y), 2, 8, callbacks=[c])
    assert c.seen[-2:] == [("batch_end", 0), ("error", "KeyboardInterrupt")]

    c = Calls(("epoch_end", 0), lambda c: 1 / 0)
    t = trainer()
    with pytest.raises(ZeroDivisionError):
        t.fit((x, y), 2, 8, callbacks=[c])
    assert c.seen[-1] == ("error", "ZeroDivisionError") and len(t.history["loss"]) == 1


def test_ctrl_c_in_the_last_validation():
    """It is not lost: the epoch is in history, then KeyboardInterrupt."""
    x, y = made(16)
    t = trainer()
    with pytest.raises(KeyboardInterrupt):
        t.fit((x, y), 1, 8, validation_data=(x, y),
              callbacks=[Calls(("test_begin",), lambda c: os.kill(os.getpid(), signal.SIGINT))])
    assert len(t.history["val_loss"]) == 1


def test_what_is_not_a_callback():
    with pytest.raises(TypeError, match=r"Trainer.fit: expected callbacks, instances of lanewise.callbacks.Callback, got <class"):
        trainer().fit(made(8), callbacks=[EMA])


# -- EarlyStopping ----------------------------------------------------------------------------------------------------

# name: (values, arguments, epochs that run, the epoch whose weights are restored)
STOPPING = {
    "the first epoch that does not improve": ([1, .9, .95, .8], {}, 3, 1),
    "patience 1 is patience 0": ([1, .9, .95, .8], dict(patience=1), 3, 1),
    "an equal value is no improvement": ([1, 1, 1], {}, 2, 0),
    "two epochs in a row": ([1, 2, 2, 0], dict(patience=2), 3, 0),
    "an improvement starts the count again": ([5, 6, 4, 6, 5, 3], dict(patience=2), 5, 2),
    "never the first epoch": ([NAN, NAN, 1], {}, 2, 0),
    "NaN does not improve": ([1, NAN, .5, NAN, NAN, .1], dict(patience=2), 5, 2),
    "by less than min_delta": ([1, .95, .91, .5], dict(min_delta=.1, patience=2), 3, 0),
    "by min_delta exactly": ([1, .75, .5], dict(min_delta=.25), 2, 0),
    "by more than min_delta": ([1, .74, .48, .6], dict(min_delta=.25), 4, 2),
    "min_delta without its sign": ([1, .95, .91, .5], dict(min_delta=-.1, patience=2), 3, 0),
    "small steps add up to one": ([1, .95, .89, .5, .5], dict(min_delta=.1, patience=2), 5, 3),
    "max": ([.1, .5, .4, .4, .6], dict(mode="max", patience=2), 4, 1),
    "max by min_delta": ([.5, .75, 1.0], dict(mode="max", min_delta=.25), 2, 0),
    "improving below the baseline goes on": ([1, .9, .8, .7, .75, .1], dict(baseline=.5, patience=3), 5, 3),
    "a baseline that is not beaten": ([1, 1.5, .9, 1, .1], dict(baseline=.5, patience=3), 4, 2),
    "a baseline that is beaten": ([1, .4, .5, .5, .3], dict(baseline=.5, patience=2), 4, 1),
    "beaten by less than min_delta": ([1, .45, .5, .5], dict(baseline=.5, min_delta=.1, patience=3), 3, 1),
    "later epochs alone": ([.1, .2, 1, .9, 1, 1, 0], dict(start_from_epoch=2, patience=2), 6, 3),
    "no stop before the start": ([1, 2, 3], dict(start_from_epoch=9), 3, 2),
    "never stopped, restored all the same": ([3, 1, 2], dict(patience=5), 3, 1),
}


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("name", STOPPING)
def test_early_stopping(name, restore):
    """The weights of each epoch are marked with its number."""
    values, arguments, epochs, best = STOPPING[name]
    t, feed = trainer(), Made(values, mark=True)
    stop = EarlyStopping("made", restore_best_weights=restore, **{"mode": "min", **arguments})
    for _ in range(2):                                  # it may be used again
        t.history.clear()
        history = t.fit(made(8), len(values), 8, callbacks=[feed, stop])
        assert len(history["loss"]) == epochs
        assert t.stop_training == (epochs < len(values) or stop.stopped_epoch > 0)
        assert stop.stopped_epoch == (epochs - 1 if t.stop_training else 0)
        assert t.model[0].bias.data[0] == (best if restore else epochs - 1)
        if "before the start" not in name:
            assert stop.best_epoch == best


def test_the_way_that_is_better():
    """By the name, or said; of an unknown name it must be said."""
    assert EarlyStopping().mode == EarlyStopping("val_mae").mode == EarlyStopping("loss").mode == "min"
    assert EarlyStopping("val_accuracy").mode == EarlyStopping("top5").mode == EarlyStopping("val_f1").mode == "max"
    assert EarlyStopping("accuracy", mode="min").mode == "min"
    with pytest.raises(ValueError, match="EarlyStopping: expected mode 'min' or 'max', as the better way is not known of 'made'"):
        EarlyStopping("made")
    with pytest.raises(ValueError, match="ModelCheckpoint: expected mode 'auto', 'min' or 'max', got 'least'"):
        ModelCheckpoint("m", mode="least")
    for patience in (-1, 1.5, True):
        with pytest.raises(ValueError, match=f"EarlyStopping: expected patience of 0 or more, got {patience}"):
            EarlyStopping(patience=patience)


def test_verbose(capsys, tmp_path):
    """Keras's argument in Keras's place: a line for a stop, restored weights, a file, a rate; nothing by default."""
    calls = [EarlyStopping("made", 0, 1, 1, "max", restore_best_weights=True),
             ModelCheckpoint(tmp_path / "{epoch}", "made", 1, True, mode="max"),
             LearningRateScheduler(lambda epoch, lr: 0.5, 1)]
    trainer().fit(made(8), 9, 8, callbacks=[Made([1, 3, 2]), *calls])
    path = tmp_path / "{}"
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1: learning rate 0.5", f"epoch 1: saved {path}, made 1".replace("{}", "1"), "epoch 2: learning rate 0.5",
        f"epoch 2: saved {path}, made 3".replace("{}", "2"), "epoch 3: learning rate 0.5",
        "epoch 3: stops, made has been no better for 1 epochs", "the weights are those of the best epoch, 2"]
    trainer().fit(made(8), 9, 8, callbacks=[Made([1, 3, 2]), EarlyStopping("made", mode="max")])
    assert capsys.readouterr().out == ""
    for make in (lambda v: EarlyStopping(verbose=v), lambda v: ModelCheckpoint("m", verbose=v),
                 lambda v: LearningRateScheduler(lambda epoch, lr: lr, v)):
        for wrong in (2, "yes"):
            with pytest.raises(ValueError, match="expected verbose of 0 or 1, got"):
                make(wrong)


@pytest.mark.parametrize("arguments", [dict(start_from_epoch=-3), dict(min_delta=NAN), dict(baseline="x")], ids=repr)
def test_early_stopping_refuses(arguments):
    with pytest.raises(ValueError, match=f"EarlyStopping: expected {next(iter(arguments))}"):
        EarlyStopping(**arguments)


@pytest.mark.parametrize("callback", [lambda t: EarlyStopping(), lambda t: ModelCheckpoint("m", save_best_only=True),
                                      lambda t: LearningRateScheduler(optim.lr_scheduler.ReduceLROnPlateau(t.optimizer))])
def test_monitor_of_validation_without_any(callback):
    """Before the first step, not after an epoch; it says which numbers there are."""
    t = trainer()
    before = bits(t.model)
    with pytest.raises(ValueError, match=r"\w+: expected monitor to be one of loss, accuracy, got 'val_loss' \(fit\(\) has no "
                                         r"validation_data\)"):
        t.fit(made(8), 2, callbacks=[callback(t)])
    assert bits(t.model) == before


def test_unknown_monitor():
    with pytest.raises(ValueError, match="EarlyStopping: expected monitor to be one of loss, accuracy, val_loss, val_accuracy, "
                                         "got 'acc'$"):
        trainer().fit(made(8), 2, validation_data=made(8), callbacks=[EarlyStopping("acc", mode="max")])


# -- ModelCheckpoint --------------------------------------------------------------------------------------------------

def test_checkpoint_every_epoch(tmp_path):
    """Names filled in; the file has the weights of its epoch, and load_checkpoint() reads it."""
    t = trainer()
    t.fit(made(8), 3, 8, callbacks=[Made([.5, .25, .75], True),
                                    ModelCheckpoint(tmp_path / "deep" / "{epoch:02d}-{made:.2f}.ckpt")])
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["01-0.50.ckpt", "02-0.25.ckpt", "03-0.75.ckpt"]
    other = trainer()
    about = lw.load_checkpoint(tmp_path / "deep" / "02-0.25.ckpt", other.model, other.optimizer)
    assert about["epoch"] == 2 and about["logs"]["made"] == .25 and about["logs"]["loss"] == t.history["loss"][1]
    assert other.model[0].bias.data[0] == 1 and other.optimizer.state_dict()["state"][0]["step"] == 2


def test_checkpoint_of_the_best(tmp_path):
    """Only better epochs write; as in Keras the best stays for another fit(), and a threshold is the first best."""
    t, path = trainer(), tmp_path / "best"
    keep = ModelCheckpoint(path, "made", save_best_only=True, save_weights_only=True, mode="max")
    t.fit(made(8), 4, 8, callbacks=[Made([1, 3, 2, NAN], True), keep])
    state, about = io.read(path)
    assert state["0.bias"][0] == 1 and about["epoch"] == 2 and keep.best == 3 and set(state) == set(t.model.state_dict())
    t.fit(made(8), 2, 8, callbacks=[Made([2, 4], True), keep])
    assert io.read(path)[1]["logs"]["made"] == 4
    path.unlink()
    t.fit(made(8), 2, 8, callbacks=[Made([2, 4], True), ModelCheckpoint(path, "made", save_best_only=True, mode="max",
                                                                       initial_value_threshold=5)])
    assert not path.exists()


def test_checkpoint_by_steps(tmp_path):
    """After every third step of the run, across epochs of five."""
    t = trainer()
    t.fit(made(40), 2, 8, callbacks=[ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=3)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1-3", "2-1", "2-4"]


def test_inputs_and_targets_apart():
    """What Keras and scikit-learn take as two arguments."""
    with pytest.raises(TypeError, match=r"expected epochs of 1 or more, got ndarray: inputs and targets are one argument, fit"):
        trainer().fit(*made(8))


def test_checkpoint_errors(tmp_path):
    for freq in (0, "batch", 1.0, True):
        with pytest.raises(ValueError, match="ModelCheckpoint: expected save_freq to be 'epoch' or a number of steps of 1 or mor"):
            ModelCheckpoint("m", save_freq=freq)
    with pytest.raises(ValueError, match=r"expected \{\} in the filepath around one of epoch, loss, accuracy, got \{val_loss\}"):
        trainer().fit(made(8), callbacks=[ModelCheckpoint(tmp_path / "{val_loss}")])
    for name in "{epoch:q}", "{epoch":
        with pytest.raises(ValueError, match=rf"expected a filepath as str.format\(\) takes it, got '.*{name}' \("):
            trainer().fit(made(8), callbacks=[ModelCheckpoint(tmp_path / name)])
    for callback in ModelCheckpoint, EarlyStopping:
        with pytest.raises(TypeError, match=f"{callback.__name__}: expected monitor to be the name of a number, got 3"):
            callback("m", monitor=3) if callback is ModelCheckpoint else callback(3)


# -- learning rates ---------------------------------------------------------------------------------------------------

def test_rates_by_a_function():
    """Keras's: before each epoch, from the epoch, 0 first, and the rate there is; each group its own."""
    model, asked = trainer().model, []
    opt = optim.SGD([{"params": [model[0].weight], "lr": 1.0}, {"params": [model[3].weight], "lr": 8.0}], 0.1)
    t = lw.Trainer(model, nn.CrossEntropyLoss(), opt)

    def halve(epoch, lr):
        asked.append((epoch, lr))
        return lr / 2 if epoch else lr
    history = t.fit(made(8), 3, 8, callbacks=[LearningRateScheduler(halve)])
    assert asked == [(0, 1.0), (0, 8.0), (1, 1.0), (1, 8.0), (2, 0.5), (2, 4.0)]
    assert history["learning_rate"] == [1.0, 0.5, 0.25] and opt.param_groups[1]["lr"] == 2.0
    for wrong in (None, -1.0, NAN):
        with pytest.raises(ValueError, match="LearningRateScheduler: expected a rate of 0 or more from the function, got"):
            t.fit(made(8), callbacks=[LearningRateScheduler(lambda epoch, lr: wrong)])


def test_rates_by_a_schedule():
    """A schedule steps once an epoch; a plateau's sees the monitored number: the rates are PyTorch's."""
    t = trainer(0.1)
    step = optim.lr_scheduler.StepLR(t.optimizer, 2, 0.5)
    assert t.fit(made(40), 5, 8, callbacks=[LearningRateScheduler(step)])["learning_rate"] == [.1, .1, .05, .05, .025]
    torch = pytest.importorskip("torch")
    values = [3, 2, 2.5, 2.5, 1.99999, 1, 1.5, 1.5, 1.5]
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    plateau, expected = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, patience=1), []
    for v in values:
        expected.append(theirs.param_groups[0]["lr"])
        plateau.step(v)
    t = trainer(0.1)
    own = optim.lr_scheduler.ReduceLROnPlateau(t.optimizer, patience=1)
    history = t.fit(made(8), len(values), 8, callbacks=[Made(values), LearningRateScheduler(own, monitor="made")])
    assert_allclose(history["learning_rate"], expected)
    assert len(set(expected)) == 3


def test_schedule_errors():
    t = trainer()
    with pytest.raises(TypeError, match=r"expected a function of \(epoch, lr\) or a schedule of optim.lr_scheduler, got float"):
        LearningRateScheduler(0.1)
    with pytest.raises(ValueError, match="expected a schedule on the trainer's optimizer, got one on another"):
        t.fit(made(8), callbacks=[LearningRateScheduler(optim.lr_scheduler.StepLR(trainer().optimizer, 1))])
    with pytest.raises(TypeError, match="expected a schedule of the step count, got ReduceLROnPlateau: give it to callbacks"):
        t.fit(made(8), schedule=optim.lr_scheduler.ReduceLROnPlateau(t.optimizer))


# -- numbers that are none --------------------------------------------------------------------------------------------

def test_terminate_on_nan():
    """The error fit() would raise is kept; weights and history as with it, callbacks are ended."""
    x, y = made(40)
    x[33] = np.nan
    results = []
    for quiet in ([TerminateOnNaN()], []):
        t, c = trainer(), Calls()
        try:
            assert t.fit((x, y), 3, 8, shuffle=False, callbacks=[c, *quiet]) is t.history
        except lw.NonFiniteError as error:
            results.append(str(error))
        results += [str(q.error) for q in quiet]
        assert c.seen[-1 - bool(quiet):] == [("error", "NonFiniteError"), ("train_end",)][:1 + bool(quiet)]
        assert t.history["loss"] == [] and t.stop_training == bool(quiet)
        results.append(bits(t.model))
    assert results[:2] == results[2:] and "epoch 1, batch 5 of 5: the loss is nan" in results[0]
    again = TerminateOnNaN()
    again.error = lw.NonFiniteError("old")
    with pytest.raises(ZeroDivisionError):              # no other error is taken
        t.fit(made(8), callbacks=[again, Calls(("epoch_end", 0), lambda c: 1 / 0)])


# -- the average of the weights ---------------------------------------------------------------------------------------

class Snapshots(Callback):
    """The weights after every step."""

    def __init__(self):
        self.states = []

    def on_train_batch_end(self, batch, logs):
        self.states.append(self.model.state_dict())


def test_ema(tmp_path):
    """By hand from the weights of every step; validation, files and the model afterwards have the average, and training is
    as without."""
    def network():
        lw.manual_seed(1)
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    data, plain = made(40), trainer(model=network())
    plain.fit(data, 3, 8, rng=1)
    t, ema, steps = trainer(model=network()), EMA(0.75), Snapshots()
    average = t.model.state_dict()
    history = t.fit(data, 3, 8, validation_data=data, rng=1, callbacks=[ModelCheckpoint(tmp_path / "{epoch}"), steps, ema])
    for i, state in enumerate(steps.states):
        for k, w in state.items():
            average[k] = w if w.dtype.kind == "i" else average[k] + np.float32(0.25) * (w - average[k])
        if i % 5 == 4:
            saved = io.read(tmp_path / str(i // 5 + 1))[0]
            for k, a in average.items():
                assert_allclose(saved["model." + k], a, rtol=1e-6, atol=1e-7)
    assert bits(t.model) == b"".join(a.tobytes() for a in ema.average.values()) != bits(plain.model)
    assert t.evaluate(data)["loss"] == history["val_loss"][-1]
    ema.swap()
    assert bits(t.model) == bits(plain.model)
    ema.swap()
    plain.fit(data, 1, 8, rng=2)
    t.fit(data, 1, 8, rng=2, callbacks=[ema])           # goes on from the weights, not the average
    assert b"".join(a.tobytes() for a in ema.weights.values()) == bits(plain.model)
    for decay in (1, -0.1, NAN, "0.9"):
        with pytest.raises(ValueError, match="EMA: expected decay from 0 to below 1, got"):
            EMA(decay)


def test_ema_of_other_weights():
    """A model that was given weights between two fit()s keeps them, and the average starts from them."""
    t, ema = trainer(0.0), EMA(0.5)
    t.fit(made(8), 1, 8, callbacks=[ema])
    for p in t.model.parameters():
        p.data[...] = 3
    t.fit(made(8), 1, 8, callbacks=[ema])
    assert all((a == 3).all() for a in (*ema.average.values(), *ema.weights.values()))
