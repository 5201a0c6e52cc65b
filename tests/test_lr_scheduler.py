"""Schedules: PyTorch's paths where it has them, the formula elsewhere; state, and what is refused."""
import json
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lanewise import nn, optim
from lanewise.optim import lr_scheduler

torch = pytest.importorskip("torch")

# (name, arguments); LambdaLR and SequentialLR have their own tests
PLAIN = [("StepLR", dict(step_size=7)), ("StepLR", dict(step_size=1, gamma=0.97)),
         ("MultiStepLR", dict(milestones=[30, 4, 5], gamma=0.5)),
         ("ExponentialLR", dict(gamma=0.9)), ("LinearLR", dict()),
         ("LinearLR", dict(start_factor=0.1, end_factor=0.7, total_iters=20)),
         ("CosineAnnealingLR", dict(T_max=40)), ("CosineAnnealingLR", dict(T_max=13, eta_min=0.02)),
         ("CosineAnnealingWarmRestarts", dict(T_0=5)), ("CosineAnnealingWarmRestarts", dict(T_0=4, T_mult=2, eta_min=0.01)),
         ("OneCycleLR", dict(max_lr=0.3, total_steps=51)),
         ("OneCycleLR", dict(max_lr=0.3, total_steps=51, anneal_strategy="linear")),
         ("OneCycleLR", dict(max_lr=0.3, total_steps=51, cycle_momentum=False, pct_start=0.1))]
OURS = [("ExponentialDecay", dict(k=0.05), lambda t: math.exp(-0.05 * t)),
        ("InverseTimeLR", dict(k=0.3), lambda t: 1 / (1 + 0.3 * t)),
        ("LambdaLR", dict(lr_lambda=lambda t: 0.9 ** t + t), lambda t: 0.9 ** t + t)]
SPECIAL = {"LambdaLR", "SequentialLR", "ReduceLROnPlateau", "LRScheduler", *(name for name, _, _ in OURS)}


def pair(kind="SGD", settings=(("momentum", 0.9),), rates=(0.1, 0.4)):
    """An optimizer of two groups, here and in PyTorch."""
    made = []
    for lib, p in ((optim, nn.Parameter), (torch.optim, torch.nn.Parameter)):
        zeros = np.zeros(3, np.float32)
        groups = [{"params": [p(zeros if lib is optim else torch.zeros(3))], "lr": lr} for lr in rates]
        made.append(getattr(lib, kind)(groups, **dict(settings)))
    return made


def follow(mine, theirs, a, b, steps=50, metrics=None):
    """Both schedules for a number of steps: the same rates and momenta."""
    for i in range(steps):
        for one, two in zip(a.param_groups, b.param_groups):
            assert one["lr"] == pytest.approx(two["lr"], rel=1e-9, abs=1e-12), i
            for name in {"momentum", "betas"} & set(one):
                assert one[name] == pytest.approx(two[name], rel=1e-9)
        assert mine.get_last_lr() == [g["lr"] for g in a.param_groups]
        b.step()
        args = () if metrics is None else (metrics[i],)
        mine.step(*args)
        theirs.step(*args)


def test_every_schedule_is_here():
    found = {n for n, c in vars(lr_scheduler).items() if isinstance(c, type) and issubclass(c, lr_scheduler.LRScheduler)}
    assert found == {name for name, _ in PLAIN} | SPECIAL


@pytest.mark.parametrize("name, args", PLAIN, ids=str)
@pytest.mark.parametrize("kind, settings", [("SGD", (("momentum", 0.9),)), ("Adam", ())])
def test_pytorchs_path(name, args, kind, settings):
    a, b = pair(kind, settings)
    follow(getattr(lr_scheduler, name)(a, **args), getattr(torch.optim.lr_scheduler, name)(b, **args), a, b)


@pytest.mark.parametrize("name, args, factor", OURS, ids=lambda v: v if isinstance(v, str) else "")
def test_formula(name, args, factor):
    opt, _ = pair()
    schedule = getattr(lr_scheduler, name)(opt, **args)
    for t in range(50):
        assert_allclose(schedule.get_last_lr(), [0.1 * factor(t), 0.4 * factor(t)], rtol=1e-12)
        schedule.step()


def test_lambda_of_each_group():
    a, b = pair()
    functions = [lambda t: 0.9 ** t, lambda t: 1 / (1 + t)]
    follow(lr_scheduler.LambdaLR(a, functions), torch.optim.lr_scheduler.LambdaLR(b, functions), a, b)
    with pytest.raises(ValueError, match="expected 2 functions, one for each group, got 1"):
        lr_scheduler.LambdaLR(a, functions[:1])


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("after", [("ExponentialLR", dict(gamma=0.9)), ("CosineAnnealingLR", dict(T_max=20)),
                                   ("StepLR", dict(step_size=5))], ids=str)
def test_warm_up_and_then(after):
    """Linear warm-up, another schedule, and a third."""
    made = []
    for opt, lib in zip(pair(), (lr_scheduler, torch.optim.lr_scheduler)):
        parts = [lib.LinearLR(opt, 0.1, total_iters=6), getattr(lib, after[0])(opt, **after[1]), lib.StepLR(opt, 3)]
        made.append((opt, lib.SequentialLR(opt, parts, [6, 30])))
    (a, mine), (b, theirs) = made
    follow(mine, theirs, a, b)


@pytest.mark.parametrize("args", [dict(patience=2), dict(patience=0, factor=0.5, cooldown=3, min_lr=0.02),
                                  dict(mode="max", patience=1),
                                  dict(threshold=0.3, threshold_mode="abs", patience=1), dict(patience=1, eps=0.05),
                                  dict(mode="max", threshold=0.2, threshold_mode="abs", patience=3)], ids=str)
def test_plateau(args, rng):
    a, b = pair()
    metrics = np.exp(-np.arange(50) / 10) + 0.1 * rng.standard_normal(50)
    metrics[30:] = metrics[30]
    follow(lr_scheduler.ReduceLROnPlateau(a, **args), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **args), a, b, 50, metrics)


def make(name, args, opt):
    """A schedule by name; SequentialLR of two."""
    if name == "SequentialLR":
        return lr_scheduler.SequentialLR(opt, [lr_scheduler.LinearLR(opt), lr_scheduler.ExponentialLR(opt, 0.9)], [5])
    return getattr(lr_scheduler, name)(opt, **args)


@pytest.mark.parametrize("name, args", [*PLAIN, *((n, a) for n, a, _ in OURS), ("SequentialLR", {}),
                                        ("ReduceLROnPlateau", dict(patience=1, cooldown=1))],
                         ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("stop", [0, 3, 11])
def test_state_goes_on_where_it_was(name, args, stop):
    """Through JSON into new objects of other settings: the rates that follow are equal, not close."""
    metrics = [1.0 / (1 + t % 6) for t in range(20)]

    def step(schedule, t):
        schedule.step(*([metrics[t]] if name == "ReduceLROnPlateau" else ()))
    through, _ = pair()
    schedule, rates = make(name, args, through), []
    for t in range(20):
        if t == stop:
            saved = json.loads(json.dumps([through.state_dict()["param_groups"], schedule.state_dict()]))
        step(schedule, t)
        rates.append((schedule.get_last_lr(), through.param_groups[0]["momentum"]))
    again, _ = pair(rates=(0.9, 0.9))
    schedule = make(name, args, again)
    again.load_state_dict({"state": {}, "param_groups": saved[0]})
    schedule.load_state_dict(saved[1])
    for t in range(stop, 20):
        step(schedule, t)
        assert (schedule.get_last_lr(), again.param_groups[0]["momentum"]) == rates[t]


def test_one_cycle_ends():
    opt, _ = pair()
    schedule = optim.OneCycleLR(opt, 1.0, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="3 steps were planned and all are done"):
        schedule.step()


def test_mistakes():
    opt, other = pair()[0], pair()[0]
    for call, kind, message in (
            (lambda: lr_scheduler.StepLR(other.param_groups, 3), TypeError, "expected an optimizer, got list"),
            (lambda: lr_scheduler.StepLR(opt, 0), ValueError, "expected step_size of 1 or more, got 0"),
            (lambda: lr_scheduler.LinearLR(opt, 0), ValueError, "expected start_factor from 0 to 1, not 0, got 0"),
            (lambda: lr_scheduler.InverseTimeLR(opt, -1), ValueError, "expected k of 0 or more"),
            (lambda: lr_scheduler.ReduceLROnPlateau(opt, factor=1), ValueError, "expected factor between 0 and 1"),
            (lambda: lr_scheduler.SequentialLR(opt, [lr_scheduler.StepLR(opt, 1)] * 2, []), ValueError, "a milestone between"),
            (lambda: lr_scheduler.SequentialLR(opt, [lr_scheduler.StepLR(opt, 1)] * 3, [3, 2]), ValueError, "that rise"),
            (lambda: lr_scheduler.SequentialLR(opt, [lr_scheduler.StepLR(other, 1)], []), ValueError, "on the optimizer"),
            (lambda: lr_scheduler.SequentialLR(opt, [lr_scheduler.ReduceLROnPlateau(opt)], []), TypeError, "of the step count"),
            (lambda: lr_scheduler.StepLR(opt, 1).load_state_dict(lr_scheduler.ExponentialLR(opt, 1).state_dict()), ValueError,
             "the state is another schedule's")):
        with pytest.raises(kind, match=message):
            call()
