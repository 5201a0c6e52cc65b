"""Runs that go on: killed at any moment and started again, they end with the bits of a run that nothing disturbed."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from training_case import Made, bits, made, small, trainer

import lanewise as lw
from lanewise import io, nn, optim
from lanewise.callbacks import (EMA, Callback, CSVLogger, EarlyStopping, LearningRateScheduler, ModelCheckpoint, TensorBoard,
                                TerminateOnNaN)
from lanewise.rng import as_rng

GENERATORS = {"seed": lambda: 5, "process": lambda: None, "twister": lambda: np.random.Generator(np.random.MT19937(3)),
              "philox": lambda: np.random.Generator(np.random.Philox(3))}


class Stop(Exception):
    """What ends a run here, where a kill would."""


class StopAt(Callback):
    """Raises Stop after the n-th call of `method`."""

    def __init__(self, n, method="on_train_batch_end"):
        self.left = n
        setattr(self, method, self._count)

    def _count(self, *args):
        self.left -= 1
        if not self.left:
            raise Stop


def run(folder, stop=None, way="seed", **kw):
    """A run of three epochs of seven steps with all that has a state, begun anew or resumed; what it leaves, in bytes."""
    lw.manual_seed(7)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48, 4))
    opt = optim.Adam(net.parameters(), 1e-2)
    by_steps = way == "seed"
    rates = optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, threshold=0.5)
    ema, early = EMA(0.8), EarlyStopping(patience=1, min_delta=0.02, restore_best_weights=True)
    callbacks = [early, ModelCheckpoint(folder / "best", save_best_only=True), CSVLogger(folder / "log.csv"), ema,
                 *([] if by_steps else [LearningRateScheduler(rates)]), stop or StopAt(0)]
    t = lw.Trainer(net, nn.CrossEntropyLoss(), opt, metrics=["top2"])
    t.fit(made(), 3, 8, validation_data=made(20), rng=GENERATORS[way](), callbacks=callbacks, class_weight={1: 2.0},
          schedule=optim.OneCycleLR(opt, 1e-2, total_steps=21) if by_steps else None, **kw)
    history = {k: v for k, v in t.history.items() if k != "seconds"}
    assert len(t.history["seconds"]) == len(history["loss"]) and min(t.history["seconds"]) > 0
    left = {**net.state_dict(), **{f"ema.{k}": a for k, a in (*ema.average.items(), *ema.weights.items())}}
    return ({k: a.tobytes() for k, a in left.items()}, history, json.dumps(opt.state_dict()["param_groups"]),
            [(m["step"], m["exp_avg_sq"].tobytes()) for m in opt.state_dict()["state"].values()],
            (early.wait, early.best, early.best_epoch, early.stopped_epoch), (folder / "log.csv").read_bytes(),
            io.read(folder / "best")[0]["model.0.weight"].tobytes(), as_rng().integers(1 << 40))


@pytest.mark.parametrize("way", GENERATORS)
def test_stopped_after_every_step(way, tmp_path):
    """At each of the steps: resumed with generators that start afresh, the same to the last bit; with
    checkpoints by steps and by epochs. Keeping checkpoints changes nothing."""
    folders = iter(tmp_path / str(i) for i in range(200))

    def folder():
        f = next(folders)
        f.mkdir()
        return f
    whole = run(folder(), way=way)
    assert len(whole[1]["loss"]) == 3 and len(whole[1]["val_top2"]) == 3
    for every in (1, 3, "epoch"):
        kept = dict(way=way, every=every)
        place = folder()
        assert run(place, checkpoint=place / "run", **kept) == whole
        for step in range(1, 22, 1 if way == "seed" and every == 3 else 6):
            place = folder()
            with pytest.raises(Stop):
                run(place, StopAt(step), checkpoint=place / "run", **kept)
            assert run(place, checkpoint=place / "run", resume=True, **kept) == whole, (every, step)


@pytest.mark.parametrize("method", ["on_epoch_begin", "on_test_begin", "on_test_end", "on_epoch_end"])
def test_stopped_between_steps(method, tmp_path):
    """Around validation and in the callbacks after it, in each epoch: also CSV lines that no checkpoint knows of are gone."""
    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole")
    for epoch in 1, 2, 3:
        folder = tmp_path / str(epoch)
        folder.mkdir()
        with pytest.raises(Stop):
            run(folder, StopAt(epoch, method), checkpoint=folder / "run")
        assert run(folder, checkpoint=folder / "run", resume=True) == whole


def test_twice_and_again(tmp_path):
    """Stopped every four steps until it is done; started once more, a finished run gives what it has."""
    (tmp_path / "whole").mkdir()
    whole, times = run(tmp_path / "whole"), 0
    kw = dict(checkpoint=tmp_path / "run", every=2, resume=True)
    while True:
        try:
            result = run(tmp_path, StopAt(4), **kw)
            break
        except Stop:
            times += 1
    assert result == whole and times >= 5
    assert run(tmp_path, **kw) == whole


CHILD = """if True:
    import json, sys
    import lanewise as lw
    from lanewise import nn, optim
    from lanewise.callbacks import *
    way, folder, checkpoint = sys.argv[1], sys.argv[2], sys.argv[3] or None

    class Tell(Callback):
        def on_train_batch_end(self, batch, logs):
            print(batch, flush=True)
            sys.stdin.readline()                        # goes on when it is told to
    lw.manual_seed(11)
    training, test = lw.data.load("fashion-mnist-mini")
    x, y = training.images[:1000], training.labels[:1000]
    data, validation = lw.data.Dataset(x, y, training.mean, training.std), (test.images[:300], test.labels[:300])
    net = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Dropout(0.3), nn.Linear(144, 10))
    opt = optim.Adam(net.parameters(), 5e-3)
    ema = EMA(0.9)
    callbacks = [EarlyStopping("val_accuracy", patience=1, restore_best_weights=True), CSVLogger(folder + "/log.csv"), ema,
                 Tell()]
    if way == "epochs":
        callbacks.append(LearningRateScheduler(optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, threshold=0.1)))
        kw = dict(accumulate=2, rng=None, every=2, class_weight="balanced")
    else:
        kw = dict(schedule=optim.OneCycleLR(opt, 5e-3, total_steps=80), rng=3, every=3)
    t = lw.Trainer(net, nn.CrossEntropyLoss(), opt, metrics=["top3"])
    t.fit(data, 5, 64 if way == "steps" else 32, validation_data=validation, callbacks=callbacks, checkpoint=checkpoint,
          resume=checkpoint is not None, **kw)
    del t.history["seconds"]
    arrays = {**net.state_dict(), **{"ema." + k: a for k, a in ema.weights.items()}}
    lw.save(arrays, folder + "/end", dict(history=t.history, draw=int(lw.rng.as_rng().integers(1 << 40))))
    """


@pytest.mark.parametrize("way", ["steps", "epochs"])
def test_kill(way, tmp_path):
    """SIGKILL at seeded moments of a run on real images, started again until it is done: the same file at the end, weights,
    averages, history and the generator's next number, and the same lines of CSV."""
    def start(name, checkpoint, stdin):
        (tmp_path / name).mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", CHILD, way, tmp_path / name, checkpoint], stdin=stdin,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    whole = start("whole", "", subprocess.DEVNULL)
    out, err = whole.communicate()
    assert whole.returncode == 0, err.decode()
    steps, moments = out.count(b"\n"), np.random.default_rng(len(way))
    for _ in range(5):
        child = start("killed", tmp_path / "run", subprocess.PIPE)
        for _ in range(moments.integers(3, steps // 5)):
            child.stdout.readline()
            child.stdin.write(b"\n")
            child.stdin.flush()
        time.sleep(moments.uniform(0, 0.01))            # in the next step, in validation, or while the file is written
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
    child = start("killed", tmp_path / "run", subprocess.DEVNULL)
    out, err = child.communicate()
    assert child.returncode == 0, err.decode()
    assert out.count(b"\n") < steps                     # it did go on, and not begin anew
    for name in "end", "log.csv":
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# -- what is refused --------------------------------------------------------------------------------------------------

def test_more_epochs(tmp_path):
    """A finished run may be given more; one that was stopped early stays stopped. Without resume nothing is overwritten."""
    whole, t = trainer(), trainer()
    whole.fit(made(), 5, 8, rng=1)
    for epochs in 2, 5:
        t = trainer()
        t.fit(made(), epochs, 8, rng=1, checkpoint=tmp_path / "run", resume=True)
        assert len(t.history["loss"]) == epochs
    assert t.history["loss"] == whole.history["loss"]
    kept, weights = (tmp_path / "run").read_bytes(), bits(t.model)
    with pytest.raises(FileExistsError, match="run: expected a checkpoint that is not there yet, got a file: give resume=True"):
        t.fit(made(), 6, 8, rng=1, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == kept and bits(t.model) == weights and len(t.history["loss"]) == 5
    for _ in range(2):
        t = trainer()
        t.fit(made(8), 9, 8, checkpoint=tmp_path / "early", resume=True,
              callbacks=[Made([1, 2] + [0] * 7), EarlyStopping("made", mode="min")])
        assert t.history["made"] == [1, 2] and t.stop_training


def test_ctrl_c_is_kept(tmp_path):
    """The step that Ctrl-C let end is in the file."""
    class Press(Callback):
        def on_train_batch_end(self, batch, logs):
            if batch == 2 and press:
                os.kill(os.getpid(), signal.SIGINT)
            steps.append(batch)
    whole, t, steps, press = trainer(), trainer(), [], True
    whole.fit(made(), 1, 8, rng=1)
    with pytest.raises(KeyboardInterrupt):
        t.fit(made(), 1, 8, rng=1, checkpoint=tmp_path / "run", callbacks=[Press()])
    press, t = False, trainer()
    t.fit(made(), 1, 8, rng=2, checkpoint=tmp_path / "run", resume=True, callbacks=[Press()])
    assert steps == list(range(7)) and t.history["loss"] == whole.history["loss"]


def test_what_watches_goes_on(tmp_path):
    """Stopped before each epoch: counts, best values and the best epoch's weights are those of a run not stopped."""
    values, left = [3, 1, 2, 2, 0.9, 2, 2, 2, 0], []
    for stop in range(9):
        folder = tmp_path / str(stop)
        for n in (stop, 0):
            t = trainer()
            early = EarlyStopping("made", patience=3, min_delta=0.05, mode="min", restore_best_weights=True)
            plateau = optim.lr_scheduler.ReduceLROnPlateau(t.optimizer, patience=1)
            keep = ModelCheckpoint(folder / "{epoch}", "made", save_best_only=True, mode="min", save_freq="epoch")
            try:
                t.fit(made(8), 9, 8, rng=1, checkpoint=folder / "run", resume=True, callbacks=[
                    Made(values, True), early, keep, LearningRateScheduler(plateau, monitor="made"), StopAt(n, "on_epoch_begin")])
            except Stop:
                continue
            state = early.state_dict()
            weights = state.pop("best_weights")["0.bias"][0]
            left.append((state, weights, t.model[0].bias.data[0], t.history["made"], t.history["learning_rate"],
                         sorted(p.name for p in folder.iterdir()), keep.state_dict(), plateau.state_dict()))
            break
    assert len(left) == 9 and all(one == left[0] for one in left)
    assert left[0][:4] == (dict(wait=3, stopped_epoch=7, best_epoch=4, best=0.9), 4, 4, values[:8])
    assert left[0][5] == ["1", "2", "5", "run"] and len(set(left[0][4])) == 3


def test_stopped_in_the_middle_of_an_epoch(tmp_path):
    """stop_training set in a step, and the run killed before its epoch ended: it ends, and no step more is made."""
    class Enough(Callback):
        def on_train_batch_end(self, batch, logs):
            self.trainer.stop_training = batch == 3
    results = []
    for stops in [None], [StopAt(1, "on_test_begin"), None]:
        path = tmp_path / str(len(stops))
        for stop in stops:
            t = trainer()
            try:
                t.fit(made(), 4, 8, rng=1, validation_data=made(), callbacks=[Enough(), stop or StopAt(0)], checkpoint=path,
                      every=1, resume=True)
            except Stop:
                continue
        results.append((t.history["loss"], t.history["val_loss"]))
    assert results[0] == results[1] and len(results[0][0]) == 1


def test_the_rest_of_the_states(tmp_path):
    """TensorBoard's files say what is written again; TerminateOnNaN's run ends where it ended."""
    pytest.importorskip("tensorboardX")
    from test_reports import events
    for stop in StopAt(10), StopAt(0):
        try:
            trainer().fit(made(), 2, 8, rng=1, callbacks=[TensorBoard(tmp_path / "tb", update_freq=1), stop],
                          checkpoint=tmp_path / "run", every=4, resume=True)
        except Stop:
            time.sleep(1.1)                             # the files are named by the second
    scalars, _, starts = events(tmp_path / "tb" / "batch")
    assert starts == [8]                                # the checkpoint after the first epoch's 7 steps
    steps = [s for tag, s, _ in scalars if tag == "batch_loss"]
    assert sorted(set(steps)) == list(range(1, 15))
    x, y = made()
    x[30] = np.nan
    for _ in range(2):
        t, end = trainer(), TerminateOnNaN()
        t.fit((x, y), 2, 8, rng=1, callbacks=[end], checkpoint=tmp_path / "nan", every=1, resume=True)
        assert isinstance(end.error, lw.NonFiniteError) and t.history["loss"] == []


def test_arrays_in_metadata(tmp_path):
    """A checkpoint's metadata keeps arrays, where they are, to the last bit."""
    net, path = small(), Path(tmp_path / "c")
    value = {"a": np.arange(3, dtype=np.uint64), "a.b": [np.float32(0.5), {"c": np.zeros((0, 2))}], "d": (1, None, float("nan")),
             "e": 1 << 100}
    lw.save_checkpoint(path, net, metadata=value)
    got = lw.load_checkpoint(path, net)
    assert got["a"].dtype == np.uint64 and got["a"].tolist() == [0, 1, 2] and got["a.b"][0] == 0.5
    assert got["a.b"][1]["c"].shape == (0, 2) and got["d"][:2] == [1, None] and got["d"][2] != got["d"][2]
    assert got["e"] == 1 << 100
