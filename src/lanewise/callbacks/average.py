"""The average of the weights."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import Callback

if TYPE_CHECKING:
    from typing import Any


class EMA(Callback):
    """Exponential moving average of the weights: after every step a <- decay a + (1 - decay) w, a the weights at first.

    Of parameters and floating-point buffers (a BatchNorm's statistics); counts are taken as they are. The model has a from
    the end of an epoch's steps, so in validation, until the next begins, and after fit(): what other callbacks save and
    restore is a. A further fit() with the same EMA goes on from w, unless the model was given other weights in between.
    swap() exchanges the two by hand. Polyak and Juditsky (1992)."""

    first = True                        # so that the others see the average

    def __init__(self, decay: float = 0.999) -> None:
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
            raise ValueError(f"EMA: expected decay from 0 to below 1, got {decay!r}")
        self.decay = float(decay)
        self.average: Any = None                        # states of the model, or none yet
        self.weights: Any = None

    def swap(self) -> None:
        """Put the average into the model, or the weights back."""
        if self.weights is None:
            self.weights = self.model.state_dict()
            self.model.load_state_dict(self.average)
        else:
            self.model.load_state_dict(self.weights)
            self.weights = None

    def on_train_begin(self) -> None:
        """The average is the weights at first."""
        now = self.model.state_dict()
        if self.weights is not None and all(np.array_equal(now[k], a) for k, a in self.average.items()):
            self.swap()
        elif self.average is None or self.weights is not None:
            self.average, self.weights = now, None

    def on_epoch_begin(self, epoch: int) -> None:
        """Train the weights themselves."""
        if self.weights is not None:
            self.swap()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Move the average."""
        for name, p in self.model._named_state():
            a = self.average[name]
            if a.dtype.kind == "f":
                a += (1 - self.decay) * (p.data - a)
            else:
                a[...] = p.data

    def on_test_begin(self) -> None:
        """Validate the average."""
        if self.weights is None:
            self.swap()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Leave the average in the model."""
        self.on_test_begin()

    def state_dict(self) -> dict[str, Any]:
        """The average, and the weights while the model has the average."""
        return {"average": self.average, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        self.__dict__.update(state)
