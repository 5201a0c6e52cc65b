"""Learning-rate schedules, with PyTorch's names, arguments and paths. Call step() after the optimizer's.

A schedule is a function of the number of its steps, `last_epoch`, and of each group's rate when the first schedule was made on
it (`initial_lr`): nothing is multiplied up from step to step, so that a rate does not drift, and what a user writes into
`lr` lasts until the next step()."""
from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from .optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


def _whole(owner: str, name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}: expected {name} of {least} or more, got {value!r}")
    return value


class LRScheduler:
    """The base of all schedules: a subclass gives rate(base, t), the rate after t steps of a group that began at base; what
    it needs for that it keeps before it calls this __init__. `made`: that, as it was then."""

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an optimizer, got {type(optimizer).__name__}")
        self.made = dict(self.__dict__)
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self._set()

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        raise TypeError(f"{type(self).__name__} expected a rate() method")

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = self.rate(base, self.last_epoch)

    def step(self) -> None:
        """Set the rate of the next optimizer step."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions, as JSON-able values. The rates themselves are the optimizer's state."""
        return {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "made")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave; ValueError if it is another schedule's."""
        if set(state) != set(self.state_dict()):
            raise ValueError(f"{type(self).__name__}: the state is another schedule's: expected "
                             f"{', '.join(sorted(self.state_dict()))}, got {', '.join(sorted(state))}")
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.made.items())})"


class LambdaLR(LRScheduler):
    """base f(t): lr_lambda is one function of the step count, or one for each group. state_dict() leaves functions out."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]) -> None:
        groups = getattr(optimizer, "param_groups", ())
        self.lr_lambdas: list[Any] = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * len(groups)
        if len(self.lr_lambdas) != len(groups):
            raise ValueError(f"LambdaLR: expected {len(groups)} functions, one for each group, got {len(self.lr_lambdas)}")
        super().__init__(optimizer)

    def _set(self) -> None:
        for group, base, f in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas):
            group["lr"] = float(base * f(self.last_epoch))

    def state_dict(self) -> dict[str, Any]:
        """The count and the base rates."""
        return {k: v for k, v in super().state_dict().items() if k != "lr_lambdas"}


class StepLR(LRScheduler):
    """base gamma^floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _whole("StepLR", "step_size", step_size), gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """base gamma^(number of milestones reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(_whole("MultiStepLR", "milestones", m, 0) for m in milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """base gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return base * self.gamma ** t


class ExponentialDecay(LRScheduler):
    """base e^(-k t): a course's form of ExponentialLR with gamma = e^-k."""

    def __init__(self, optimizer: Optimizer, k: float) -> None:
        self.k = k
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return base * math.exp(-self.k * t)


class InverseTimeLR(LRScheduler):
    """base / (1 + k t)."""

    def __init__(self, optimizer: Optimizer, k: float) -> None:
        if k < 0:
            raise ValueError(f"InverseTimeLR: expected k of 0 or more, got {k!r}")
        self.k = k
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return base / (1 + self.k * t)


class LinearLR(LRScheduler):
    """Warm-up: base times a factor that goes straight from start_factor to end_factor in total_iters steps, and stays."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5) -> None:
        for name, factor in (("start_factor", start_factor), ("end_factor", end_factor)):
            if not (0 < factor if name == "start_factor" else 0 <= factor) or factor > 1:
                raise ValueError(f"LinearLR: expected {name} from 0 to 1{', not 0' if name == 'start_factor' else ''}, "
                                 f"got {factor!r}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = _whole("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return base * (self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / self.total_iters)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2 (Loshchilov and Hutter 2017); after T_max it rises again."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _whole("CosineAnnealingLR", "T_max", T_max), eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """The fall of CosineAnnealingLR, again and again: cycles of T_0, T_0 T_mult, T_0 T_mult^2, ... steps."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        self.T_0, self.T_mult = (_whole("CosineAnnealingWarmRestarts", n, v) for n, v in (("T_0", T_0), ("T_mult", T_mult)))
        self.eta_min = eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        length = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2


class OneCycleLR(LRScheduler):
    """One cycle of the learning rate: up from max_lr / div_factor to max_lr during pct_start of the steps, then down to
    initial / final_div_factor; the momentum (Adam's first beta) the other way, between max_ and base_momentum.

    Cosine ("cos") or straight ("linear") pieces; PyTorch's arguments and defaults (Smith and Topin 2018). ValueError once
    total_steps are done."""

    def __init__(self, optimizer: Optimizer, max_lr: float, total_steps: int, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
                 max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4) -> None:
        self.total_steps, self.anneal = _whole("OneCycleLR", "total_steps", total_steps), anneal_strategy
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: expected pct_start from 0 to 1, got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}")
        self.turn = float(pct_start * total_steps) - 1
        self.rates = [max_lr / div_factor, max_lr, max_lr / div_factor / final_div_factor]
        self.momenta = [max_momentum, base_momentum, max_momentum] if cycle_momentum else None
        super().__init__(optimizer)

    def _at(self, values: Sequence[float]) -> float:
        low, high, end = values
        if self.last_epoch <= self.turn:
            a, b, t = low, high, self.last_epoch / self.turn if self.turn else 1.0
        else:
            a, b, t = high, end, (self.last_epoch - self.turn) / max(self.total_steps - 1 - self.turn, 1e-12)
        return a + (b - a) * t if self.anneal == "linear" else b + (a - b) / 2 * (1 + math.cos(math.pi * t))

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._at(self.rates)
            if self.momenta:
                if "betas" in group:
                    group["betas"] = (self._at(self.momenta), *group["betas"][1:])
                elif group.get("momentum"):
                    group["momentum"] = self._at(self.momenta)

    def step(self) -> None:
        """Set the rate and the momentum of the next optimizer step."""
        if self.last_epoch >= self.total_steps:
            raise ValueError(f"OneCycleLR: {self.total_steps} steps were planned and all are done")
        super().step()


class SequentialLR(LRScheduler):
    """One schedule after the other: the i-th starts, from its step 0, when milestones[i - 1] steps are done."""

    def __init__(self, optimizer: Optimizer, schedulers: Iterable[LRScheduler], milestones: Iterable[int]) -> None:
        self.schedulers, self.milestones = list(schedulers), [_whole("SequentialLR", "milestones", m) for m in milestones]
        if not self.schedulers or len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(f"SequentialLR: expected a milestone between every two schedules, got {len(self.schedulers)} "
                             f"schedules and {len(self.milestones)} milestones")
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"SequentialLR: expected milestones that rise, got {self.milestones}")
        for schedule in self.schedulers:
            if not isinstance(schedule, LRScheduler) or isinstance(schedule, ReduceLROnPlateau):
                raise TypeError(f"SequentialLR: expected schedules of the step count, got {type(schedule).__name__}")
            if schedule.optimizer is not optimizer:
                raise ValueError("SequentialLR: expected schedules on the optimizer that was given")
        super().__init__(optimizer)

    def _set(self) -> None:
        at = bisect_right(self.milestones, self.last_epoch)
        schedule = self.schedulers[at]
        schedule.last_epoch = self.last_epoch - (self.milestones[at - 1] if at else 0)
        schedule._set()

    def state_dict(self) -> dict[str, Any]:
        """The count, and the state of every schedule."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        if len(state.get("schedulers", ())) != len(self.schedulers):
            raise ValueError(f"SequentialLR: expected the state of {len(self.schedulers)} schedules, got "
                             f"{len(state.get('schedulers', ()))}")
        for schedule, own in zip(self.schedulers, state["schedulers"]):
            schedule.load_state_dict(own)
        super().load_state_dict({**state, "schedulers": self.schedulers})


class ReduceLROnPlateau(LRScheduler):
    """lr = max(factor lr, min_lr) when step(metric) has not seen a better metric for more than `patience` steps.

    Better: below best (1 - threshold) ("rel") or best - threshold ("abs"); mode "max": above best (1 + threshold), best +
    threshold. After a cut, `cooldown` steps are not counted; cuts of `eps` or less are not made. PyTorch's form."""

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0,
                 eps: float = 1e-8) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: expected factor between 0 and 1, got {factor!r}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: expected mode 'min' or 'max' and threshold_mode 'rel' or 'abs', got "
                             f"{mode!r} and {threshold_mode!r}")
        self.mode, self.factor, self.threshold, self.threshold_mode = mode, factor, threshold, threshold_mode
        self.patience, self.cooldown = (_whole("ReduceLROnPlateau", n, v, 0) for n, v in (("patience", patience),
                                                                                         ("cooldown", cooldown)))
        self.min_lr, self.eps = min_lr, eps
        super().__init__(optimizer)
        self.num_bad_epochs = self.cooldown_counter = 0
        self.best: float | None = None

    def _set(self) -> None:
        pass                                    # rates change in step() alone, from what they are

    def _better(self, metric: float) -> bool:
        if self.best is None:
            return not math.isnan(metric)
        sign = 1 if self.mode == "min" else -1
        bar = self.best * (1 - sign * self.threshold) if self.threshold_mode == "rel" else self.best - sign * self.threshold
        return sign * metric < sign * bar

    def step(self, metric: Any) -> None:                # type: ignore[override]
        """Look at the metric (a number or a Loss), and cut the rates if it is time."""
        metric = float(metric)
        self.last_epoch += 1
        if self._better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                lr = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
