"""Learning-rate schedules."""
import math

from .optimizer import Optimizer


class OneCycleLR:
    """One cycle of the learning rate: up from max_lr / div_factor to max_lr during pct_start of the steps, then down to
    initial / final_div_factor; the momentum (Adam's first beta) the other way, between max_ and base_momentum.

    Cosine ("cos") or straight ("linear") pieces; PyTorch's arguments and defaults (Smith and Topin 2018). Call step()
    after every optimizer step; ValueError once total_steps are done."""

    def __init__(self, optimizer, max_lr, total_steps, pct_start=0.3, anneal_strategy="cos", cycle_momentum=True,
                 base_momentum=0.85, max_momentum=0.95, div_factor=25.0, final_div_factor=1e4):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"OneCycleLR: expected an optimizer, got {type(optimizer).__name__}")
        if not isinstance(total_steps, int) or total_steps < 1:
            raise ValueError(f"OneCycleLR: expected total_steps of 1 or more, got {total_steps!r}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: expected pct_start from 0 to 1, got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}")
        self.optimizer, self.total_steps, self.anneal, self.last_step = optimizer, total_steps, anneal_strategy, -1
        self.turn = float(pct_start * total_steps) - 1
        self.rates = (max_lr / div_factor, max_lr, max_lr / div_factor / final_div_factor)
        self.momenta = (max_momentum, base_momentum, max_momentum) if cycle_momentum else None
        self.step()

    def _at(self, values):
        low, high, end = values
        if self.last_step <= self.turn:
            a, b, t = low, high, self.last_step / self.turn if self.turn else 1.0
        else:
            a, b, t = high, end, (self.last_step - self.turn) / max(self.total_steps - 1 - self.turn, 1e-12)
        return a + (b - a) * t if self.anneal == "linear" else b + (a - b) / 2 * (1 + math.cos(math.pi * t))

    def step(self):
        """Set the rate of the next optimizer step."""
        self.last_step += 1
        if self.last_step >= self.total_steps + 1:
            raise ValueError(f"OneCycleLR: {self.total_steps} steps were planned and all are done")
        for group in self.optimizer.param_groups:
            group["lr"] = self._at(self.rates)
            if self.momenta:
                if "betas" in group:
                    group["betas"] = (self._at(self.momenta), *group["betas"][1:])
                elif group["momentum"]:
                    group["momentum"] = self._at(self.momenta)

    def get_last_lr(self):
        """The rate of each group."""
        return [g["lr"] for g in self.optimizer.param_groups]
