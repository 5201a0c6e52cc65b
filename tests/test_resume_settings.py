"""A run goes on only with the settings it began with: one sentence names the one that differs, and nothing is changed."""
import re

import numpy as np
import pytest
from training_case import made, small, trainer

import lanewise as lw
from lanewise import io, nn, optim
from lanewise.callbacks import EMA, EarlyStopping, LearningRateScheduler, ModelCheckpoint


def test_another_run(tmp_path):
    """Settings, callbacks or files that do not belong to the run: one sentence, and nothing is changed."""
    path, data = tmp_path / "run", made()
    trainer().fit(data, 1, 8, checkpoint=path, callbacks=[EarlyStopping("loss")])
    ok = dict(checkpoint=path, resume=True, callbacks=[EarlyStopping("loss")])

    def adam(t):
        return lw.Trainer(t.model, t.loss_fn, optim.Adam(t.model.parameters()))
    for change, kind, words in [
            (dict(batch_size=4), ValueError, "run: expected batch_size 8, with which the run began, got 4"),
            (dict(accumulate=2), ValueError, "expected accumulate 1, with which the run began, got 2"),
            (dict(shuffle=False), ValueError, "expected shuffle True, with which the run began, got False"),
            (dict(data=made(48)), ValueError, "expected samples 50, with which the run began, got 48"),
            (dict(callbacks=[]), lw.WeightsError, "the run had the callbacks EarlyStopping, expected these again, got none"),
            (dict(callbacks=[EMA()]), lw.WeightsError, "callbacks EarlyStopping, expected these again, got EMA"),
            (dict(rng=3), ValueError, "expected generator .the process's., with which the run began, got 'PCG64'")]:
        t = trainer()
        before = {k: v.tobytes() for k, v in t.model.state_dict().items()}
        with pytest.raises(kind, match=words):
            t.fit(**{"data": data, "epochs": 2, "batch_size": 8, **ok, **change})
        assert {k: v.tobytes() for k, v in t.model.state_dict().items()} == before
    with pytest.raises(ValueError, match="expected optimizer 'SGD', with which the run began, got 'Adam'"):
        adam(trainer()).fit(data, 2, 8, **ok)
    t = trainer()
    with pytest.raises(ValueError, match="expected schedule None, with which the run began, got 'StepLR'"):
        t.fit(data, 2, 8, schedule=optim.lr_scheduler.StepLR(t.optimizer, 1), **ok)
    with pytest.raises(ValueError, match=r"expected metrics \[\], with which the run began, got \['top2'\]"):
        trainer(metrics=["top2"]).fit(data, 2, 8, **ok)
    t.fit(data, 1, 8, callbacks=[ModelCheckpoint(tmp_path / "model")])
    lw.save(t.model, tmp_path / "weights")
    for name in "model", "weights":
        with pytest.raises(lw.WeightsError, match=r"expected the checkpoint of a run, which fit\(checkpoint=...\) writes"):
            t.fit(data, 1, 8, checkpoint=tmp_path / name, resume=True)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(lw.WeightsError, match="expected a safetensors file, got a truncated one"):
        t.fit(data, 2, 8, **ok)
    with pytest.raises(ValueError, match="resume expected a checkpoint to go on from, got none"):
        t.fit(data, resume=True)
    for every in (0, "step", 2.0):
        with pytest.raises(ValueError, match="Trainer.fit: expected every to be 'epoch' or a number of steps of 1 or more, got"):
            t.fit(data, checkpoint=path, every=every)


def test_another_loss_augmentation_or_rate(tmp_path):
    """What is trained on and towards: one sentence says which setting it is, and the file stays. The rate is that of the
    optimizer as it was made, whatever a schedule did since; a file of a version that kept fewer settings is taken."""
    path, (x, y) = tmp_path / "run", made(kind=np.uint8)
    data, w = lw.data.Dataset(x, y), np.linspace(0.5, 1, 50)

    def fit(data=data, loss=None, opt=optim.SGD, lr=0.01, groups=1, **kw):
        net = small()
        params = list(net.parameters())
        opt = opt(params if groups == 1 else [{"params": params[:2], "lr": 0.5}, {"params": params[2:]}], lr)
        t = lw.Trainer(net, loss or nn.CrossEntropyLoss(weight=[1, 2, 1, 1]), opt)
        t.fit(data, batch_size=8, rng=1, checkpoint=path, **{
            "epochs": 1, "class_weight": {1: 2.0, 0: 0.5}, "sample_weight": w, **kw},
            schedule=optim.lr_scheduler.StepLR(opt, 3))
        return t

    def refused(words, **kw):
        with pytest.raises(ValueError) as info:
            fit(epochs=2, resume=True, **kw)
        assert re.fullmatch(f"{path}: expected {words}", re.sub("['\"]", "", str(info.value)))
        assert path.read_bytes() == kept
    began = ", with which the run began, got "
    flipped = data.augmented(lw.data.Augment(flip=True))
    fit()
    kept = path.read_bytes()
    refused(rf"augment None{began}Augment\(.*flip=True.*\)", data=flipped)
    refused(rf"class_weight {{0: 0.5, 1: 2.0}}{began}{{1: 3.0}}", class_weight={1: 3})
    refused(rf"class_weight {{0: 0.5, 1: 2.0}}{began}{{0: 0.96.*}}", class_weight="balanced")
    refused(rf"class_weight {{0: 0.5, 1: 2.0}}{began}None", class_weight=None)
    refused(rf"sample_weight sha256 [0-9a-f]{{16}}{began}sha256 [0-9a-f]{{16}}", sample_weight=w[::-1])
    refused(rf"sample_weight sha256 [0-9a-f]{{16}}{began}None", sample_weight=None)
    refused(rf"loss CrossEntropyLoss\(.*label_smoothing=0.0, .*{began}CrossEntropyLoss\(.*label_smoothing=0.1, .*",
            loss=nn.CrossEntropyLoss(weight=[1, 2, 1, 1], label_smoothing=0.1))
    refused(rf"loss CrossEntropyLoss\(weight=\[1, 2, 1, 1\], .*{began}CrossEntropyLoss\(weight=None, .*",
            loss=nn.CrossEntropyLoss())
    refused(rf"loss CrossEntropyLoss.*{began}MultiMarginLoss.*", loss=nn.MultiMarginLoss())
    refused(rf"lr 0.01{began}0.02", lr=0.02)
    refused(rf"lr 0.01{began}\[0.5, 0.01\]", groups=2)
    refused(rf"momentum 0.0{began}0.9", opt=lambda p, lr: optim.SGD(p, lr, momentum=0.9))
    refused(rf"optimizer SGD{began}Adam", opt=optim.Adam)
    t = fit(epochs=2, resume=True, sample_weight=w.tolist(), class_weight={np.int64(0): 0.5, 1: 2})
    assert t.optimizer.param_groups[0]["lr"] != 0.01
    t.fit(data, 3, 8, rng=1, schedule=t.schedule, checkpoint=path, resume=True, class_weight={0: 0.5, 1: 2}, sample_weight=w)
    assert len(t.history["loss"]) == 3
    path.unlink()

    def function(scores, labels):
        return nn.CrossEntropyLoss()(scores, labels)
    plain = dict(class_weight=None, sample_weight=None, data=flipped)
    fit(loss=function, opt=optim.Adam, **plain)
    kept = path.read_bytes()
    refused(rf"loss <function .*function>{began}<function .*<lambda>>", opt=optim.Adam, **plain,
            loss=lambda scores, labels: nn.CrossEntropyLoss()(scores, labels))
    refused(rf"augment Augment\(.*flip=True.*\){began}Augment\(shift=1, .*\)", opt=optim.Adam, loss=function,
            **{**plain, "data": data.augmented(lw.data.Augment(1))})
    assert len(fit(epochs=2, resume=True, loss=function, opt=optim.Adam, **plain).history["loss"]) == 2

    arrays, about = io.read(path)
    for name in "augment", "class_weight", "sample_weight", "loss", "lr", "betas", "eps":
        del about["metadata"]["settings"][name]
    io.save(arrays, path, about)
    assert len(fit(epochs=3, resume=True, loss=function, opt=optim.Adam, **plain).history["loss"]) == 3


def lr(name, *args, **kw):
    """A function of the optimizer that makes a schedule."""
    return lambda opt: getattr(optim.lr_scheduler, name)(opt, *args, **kw)


def warm(n, top=20):
    """Warm-up, then a cosine."""
    return lambda opt: lr("SequentialLR", [lr("LinearLR", total_iters=n)(opt), lr("CosineAnnealingLR", top)(opt)], [n])(opt)


@pytest.mark.parametrize("began, got, words", [
    (lr("StepLR", 3), lr("StepLR", 4), "StepLR's step_size 3, {}, got 4"),
    (lr("StepLR", 3), lr("StepLR", 3, 0.5), "StepLR's gamma 0.1, {}, got 0.5"),
    (lr("MultiStepLR", [2, 4]), lr("MultiStepLR", [2, 5]), "MultiStepLR's milestones '[2, 4]', {}, got '[2, 5]'"),
    (lr("OneCycleLR", 0.1, 14), lr("OneCycleLR", 0.1, 21), "OneCycleLR's total_steps 14, {}, got 21"),
    (lr("OneCycleLR", 0.1, 14), lr("OneCycleLR", 0.2, 14), "OneCycleLR's rates '[0.004, 0.1, 4e-07]', {}, got '[0.008, 0.2, "),
    (lr("CosineAnnealingLR", 14), lr("CosineAnnealingLR", 14, 1e-4), "CosineAnnealingLR's eta_min 0.0, {}, got 0.0001"),
    (warm(3), warm(3, 30), "SequentialLR's schedulers '[LinearLR(start_factor=0.3333333333333333, end_factor=1.0, "
                           "total_iters=3), CosineAnnealingLR(T_max=20, eta_min=0.0)]', {}, got"),
    (lr("StepLR", 3), lr("ExponentialLR", 0.9), "schedule 'StepLR', {}, got 'ExponentialLR'")])
def test_another_schedule(began, got, words, tmp_path):
    """Each of a schedule's own settings, in fit() and in a callback; what its steps have changed is none of them."""
    def fit(epochs, made_by, inside, t=None):
        t = t or trainer()
        schedule = t.schedule or made_by(t.optimizer)
        t.fit(made(), epochs, 8, rng=1, checkpoint=tmp_path / f"run {inside}", resume=True, **(
            dict(callbacks=[LearningRateScheduler(schedule)]) if inside else dict(schedule=schedule)))
        return t
    for inside in False, True:
        fit(1, began, inside)
        kept = (tmp_path / f"run {inside}").read_bytes()
        with pytest.raises(ValueError) as info:
            fit(2, got, inside)
        expected = words.format("with which the run began") if not inside else "expected callbacks' schedules ["
        assert expected in str(info.value) and (tmp_path / f"run {inside}").read_bytes() == kept
    fit(2, began, True)
    t = fit(2, began, False)
    assert len(fit(2, began, False, t).history["loss"]) == 2                # the same object goes on
    arrays, about = io.read(tmp_path / "run False")
    about["metadata"]["settings"] = {k: v for k, v in about["metadata"]["settings"].items() if "'s" not in k}
    io.save(arrays, tmp_path / "run False", about)
    assert len(fit(2, began, False).history["loss"]) == 2                   # a file of a version that kept fewer


def test_a_schedule_of_another_kind(tmp_path):
    """Whatever has step() and a state goes on: of it the class is compared."""
    class Halved:
        def __init__(self, optimizer):
            self.groups = optimizer.param_groups

        def step(self):
            self.groups[0]["lr"] /= 2

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass
    for epochs in 1, 2:
        t = trainer()
        t.fit(made(8), epochs, 8, schedule=Halved(t.optimizer), checkpoint=tmp_path / "run", resume=True)
    assert t.optimizer.param_groups[0]["lr"] == 0.0025 and len(t.history["loss"]) == 2
    with pytest.raises(ValueError, match="expected schedule 'Halved', with which the run began, got 'StepLR'"):
        t.fit(made(8), 3, 8, schedule=lr("StepLR", 3)(t.optimizer), checkpoint=tmp_path / "run", resume=True)


def test_a_schedule_shows_what_it_was_made_of():
    """repr() and `made` stay while it steps, and are no state."""
    schedule = lr("ReduceLROnPlateau", patience=2)(trainer().optimizer)
    shown = repr(schedule)
    assert shown == ("ReduceLROnPlateau(mode='min', factor=0.1, threshold=0.0001, threshold_mode='rel', patience=2, "
                     "cooldown=0, min_lr=0.0, eps=1e-08)")
    for _ in range(5):
        schedule.step(1.0)
    assert repr(schedule) == shown and "made" not in schedule.state_dict() and schedule.state_dict()["best"] == 1.0
