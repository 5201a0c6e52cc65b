"""Callbacks that tell what happens: lines, the bar, CSV, TensorBoard's files."""
import csv
import struct
import sys
import types

import pytest
from numpy.testing import assert_allclose
from training_case import made, trainer

from lanewise.callbacks import Callback, CSVLogger, ProgressBar, TensorBoard, report


def table(path):
    """The rows of a CSV file, as dicts."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def test_csv(tmp_path):
    """Keras's columns: epoch from 0, then the names in order; NA for what is missing; append writes one header."""
    t, path = trainer(), tmp_path / "log.csv"
    path.write_text("old\n")
    log = CSVLogger(path, ";")
    history = t.fit(made(16), 2, 8, validation_data=made(16), callbacks=[log])
    rows = table(path)
    assert list(rows[0]) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert [r["epoch"] for r in rows] == ["0", "1"] and [float(r["val_loss"]) for r in rows] == history["val_loss"]
    more = CSVLogger(path, ";", append=True)
    t.fit(made(16), 1, 8, callbacks=[more])
    assert path.read_text().count("epoch") == 1 and len(path.read_text().splitlines()) == 4
    t.fit(made(16), 1, 8, callbacks=[log])              # not appending: anew
    assert len(path.read_text().splitlines()) == 2

    class Late(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                del logs["accuracy"]
    t.fit(made(16), 2, 8, callbacks=[Late(), log])
    assert table(path)[1]["accuracy"] == "NA"


def events(folder):
    """(tag, step, value) of the scalars, (tag, step) of the histograms, of the event files in a folder."""
    from tensorboardX.proto.event_pb2 import Event
    scalars, histograms, starts = [], [], []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size, = struct.unpack("<Q", data[at:at + 8])
            event = Event.FromString(data[at + 12:at + 12 + size])
            at += size + 16
            if event.HasField("session_log"):
                starts.append(event.step)
            for v in event.summary.value:
                if v.HasField("histo"):
                    histograms.append((v.tag, event.step))
                else:
                    scalars.append((v.tag, event.step, v.simple_value))
    return scalars, histograms, starts


def test_tensorboard(tmp_path):
    """The numbers of history by epochs, of every second step, the rate, and histograms of each second epoch."""
    pytest.importorskip("tensorboardX")
    t = trainer()
    history = t.fit(made(40), 3, 8, validation_data=made(40), rng=0, callbacks=[TensorBoard(tmp_path, 2, update_freq=2)])
    train, histograms, _ = events(tmp_path / "train")
    for name in "loss", "accuracy":
        assert_allclose([v for tag, _, v in train if tag == f"epoch_{name}"], history[name], rtol=1e-6)
        assert_allclose([v for tag, _, v in events(tmp_path / "validation")[0] if tag == f"epoch_{name}"],
                        history[f"val_{name}"], rtol=1e-6)
    assert [(s, pytest.approx(v)) for tag, s, v in train if tag == "epoch_learning_rate"] == [(e, 0.01) for e in range(3)]
    assert histograms == [(n, e) for e in (0, 2) for n, _ in t.model.named_parameters()]
    batch = events(tmp_path / "batch")[0]
    assert [s for tag, s, _ in batch if tag == "batch_loss"] == [2, 4, 6, 8, 10, 12, 14]
    assert {tag for tag, _, _ in batch} == {"batch_loss", "batch_accuracy", "batch_learning_rate"}


def test_without_tensorboardx(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"callbacks.TensorBoard needs tensorboardX: pip install lanewise\[tensorboard\]"):
        trainer().fit(made(8), callbacks=[TensorBoard("x")])
    with pytest.raises(ValueError, match="TensorBoard: expected update_freq to be 'epoch' or a number of steps of 1 or more"):
        TensorBoard("x", update_freq="batch")
    with pytest.raises(ValueError, match="TensorBoard: expected histogram_freq of 0 or more, got -1"):
        TensorBoard("x", -1)


def test_verbose(capsys):
    """Off a terminal: a line an epoch, no bar; quiet without being asked."""
    t = trainer()
    t.fit(made(16), 2, 8)
    assert capsys.readouterr() == ("", "")
    for verbose in 1, 2:
        t.fit(made(16), 10, 8, validation_data=made(8), verbose=verbose)
        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert err == "" and len(lines) == 10
        assert lines[0].startswith("epoch  1/10  loss ") and " val_loss " in lines[0] and lines[9].startswith("epoch 10/10  ")
        assert lines[0].endswith("samples/s") and " %  val_loss" in lines[0]
    t.fit(made(16), 1, 8, verbose=1, callbacks=[ProgressBar(False, "pictures")])
    assert capsys.readouterr().out.count("\n") == 1     # one bar is enough
    with pytest.raises(ValueError, match="Trainer.fit: expected verbose of 0, 1 or 2, got 'auto'"):
        t.fit(made(16), verbose="auto")


@pytest.mark.parametrize("seconds", [0.001, 0.03, 0.4])
def test_ten_pictures_a_second(seconds, monkeypatch, capsys):
    """On a clock that each step moves by `seconds`: at most ten pictures of the bar a second, and at least nine, or one a
    step where steps are slower."""
    now = [0.0]
    monkeypatch.setattr(report.time, "perf_counter", lambda: now[0])

    class Clock(Callback):
        def on_train_batch_end(self, batch, logs):
            now[0] += seconds
    t = trainer()
    t.fit(made(400), 1, 4, callbacks=[Clock(), ProgressBar(live=True)])
    out, err = capsys.readouterr()
    pictures = [p for p in err.replace("\n", "\r").split("\r") if p.strip(" \x1b[A") and "|" in p]
    steps, most = 100, 100 * seconds * 10 + 1
    assert min(steps, 0.6 * most) - 1 <= len(pictures) <= most
    assert out.startswith("epoch 1/1  loss ") and len(out.splitlines()) == 1


def test_a_notebook_has_a_bar(monkeypatch):
    """Inside a notebook's kernel; neither where its modules are merely there nor in a terminal's IPython."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not ProgressBar().live
    for name, live in ("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False):
        ipython = types.ModuleType("IPython")
        ipython.get_ipython = type(name, (), {})
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert ProgressBar().live is live

