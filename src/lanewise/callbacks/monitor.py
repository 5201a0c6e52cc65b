"""Callbacks that watch a number of the logs, and schedules by epochs."""
from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import io
from ..metrics import direction
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .base import Callback, check_every

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._types import File


def check_verbose(name: str, verbose: Any) -> int:
    """0 or 1; ValueError for anything else."""
    if isinstance(verbose, str) or verbose not in (0, 1):
        raise ValueError(f"{name}: expected verbose of 0 or 1, got {verbose!r}")
    return int(verbose)


class Monitor(Callback):
    """A callback that watches one number of the logs, `monitor`; mode "min", "max", or "auto": by its name. verbose 1: it says
    in a line what it does."""

    def __init__(self, monitor: str, mode: str, best: float | None = None, verbose: int = 0) -> None:
        self.name = type(self).__name__
        self.verbose = check_verbose(self.name, verbose)
        if not isinstance(monitor, str):
            raise TypeError(f"{self.name}: expected monitor to be the name of a number, got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{self.name}: expected mode 'auto', 'min' or 'max', got {mode!r}")
        self.monitor, self.mode = monitor, direction(monitor) if mode == "auto" else mode
        if self.mode is None:
            raise ValueError(f"{self.name}: expected mode 'min' or 'max', as the better way is not known of {monitor!r} "
                             f"(known: loss, accuracy, the metrics of Trainer, and each with val_)")
        self._first = (math.inf if self.mode == "min" else -math.inf) if best is None else float(best)
        self.best = self._first

    def say(self, text: str) -> None:
        """Print a line, if that is wanted."""
        if self.verbose:
            print(text, flush=True)

    def on_train_begin(self) -> None:
        """ValueError for a number of validation where there is none."""
        if self.monitor.startswith("val_") and not self.params["validation"]:
            self.value({k: 0 for k in self.trainer.history if not k.startswith("val_") and k != "seconds"})

    def value(self, logs: dict[str, Any]) -> float:
        """The monitored number, or one sentence."""
        if self.monitor not in logs:
            raise ValueError(f"{self.name}: expected monitor to be one of {', '.join(logs)}, got {self.monitor!r}"
                             + (" (fit() has no validation_data)" if not self.params["validation"] else ""))
        return float(logs[self.monitor])

    def better(self, value: float, reference: float, least: float = 0.0) -> bool:
        """Whether value is better than reference by more than `least`; NaN never is."""
        return value + least < reference if self.mode == "min" else value - least > reference


class EarlyStopping(Monitor):
    """Stops when `monitor` has not become better by more than min_delta for `patience` epochs: Keras's rules.

    An epoch improves when it beats the best by more than |min_delta|; the count of epochs without starts again when it also
    beats `baseline` so. An epoch that does not improve, and is not the first, stops training when the count has reached
    patience. Epochs before start_from_epoch are not looked at. restore_best_weights: at the end, stopped or not, the model
    has the weights of the best epoch, whatever the baseline; after an error it does not. `stopped_epoch`: 0, or the epoch
    that stopped, from 0; `best_epoch` likewise. verbose 1: a line when it stops and when it restores."""

    def __init__(self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0, verbose: int = 0,
                 mode: str = "auto", baseline: float | None = None, restore_best_weights: bool = False,
                 start_from_epoch: int = 0) -> None:
        super().__init__(monitor, mode, verbose=verbose)
        for name, count in (("patience", patience), ("start_from_epoch", start_from_epoch)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ValueError(f"EarlyStopping: expected {name} of 0 or more, got {count!r}")
        for name, number in (("min_delta", min_delta), ("baseline", 0.0 if baseline is None else baseline)):
            if isinstance(number, str) or not math.isfinite(number):
                raise ValueError(f"EarlyStopping: expected {name} to be a number, got {number!r}")
        self.min_delta, self.patience, self.baseline = abs(float(min_delta)), patience, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: Any = None

    def on_train_begin(self) -> None:
        """Start afresh: a callback may serve several fit()s."""
        super().on_train_begin()
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best, self.best_weights = self._first, None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Look at the epoch."""
        current = self.value(logs)
        if epoch < self.start_from_epoch:
            return
        improved = self.better(current, self.best, self.min_delta)
        if improved or self.restore_best_weights and self.best_weights is None:
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.state_dict()
        self.wait += 1
        if improved:
            self.best = current
            if self.baseline is None or self.better(current, self.baseline, self.min_delta):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.trainer.stop_training = epoch, True
            self.say(f"epoch {epoch + 1}: stops, {self.monitor} has been no better for {self.wait} epochs")

    def on_train_end(self) -> None:
        """Restore the best weights."""
        if self.best_weights is not None:
            self.say(f"the weights are those of the best epoch, {self.best_epoch + 1}")
            self.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Counters, the best value and its weights."""
        return {k: getattr(self, k) for k in ("wait", "stopped_epoch", "best_epoch", "best", "best_weights")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        self.__dict__.update(state)


class ModelCheckpoint(Monitor):
    """Saves the model to `filepath`, whose {epoch} (from 1) and {name of a number in the logs} are filled in, as
    "{epoch:02d}-{val_loss:.2f}.ckpt"; {batch} (from 1) too, where save_freq is a number of steps and not "epoch".

    What lw.load_checkpoint() reads, or with save_weights_only what lw.load() does. save_best_only: only when `monitor` is
    better than ever, and than initial_value_threshold. Folders are made. verbose 1: a line for each file."""

    def __init__(self, filepath: File, monitor: str = "val_loss", verbose: int = 0, save_best_only: bool = False,
                 save_weights_only: bool = False, mode: str = "auto", save_freq: int | str = "epoch",
                 initial_value_threshold: float | None = None) -> None:
        super().__init__(monitor, mode if save_best_only or mode != "auto" else "min", initial_value_threshold, verbose)
        check_every(self.name, "save_freq", save_freq)
        self.filepath, self.save_best_only, self.save_weights_only = os.fspath(filepath), save_best_only, save_weights_only
        self.save_freq, self.seen = save_freq, 0

    def on_train_begin(self) -> None:
        """Steps are counted from here; the best so far stays, as in Keras."""
        self.seen = 0
        if self.save_best_only:
            super().on_train_begin()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Save after every save_freq steps."""
        self.seen += 1
        if isinstance(self.save_freq, int) and self.seen % self.save_freq == 0:
            self._save({"epoch": self.trainer.epoch + 1, "batch": batch + 1}, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Save after the epoch."""
        if self.save_freq == "epoch":
            self._save({"epoch": epoch + 1}, logs)

    def _save(self, place: Any, logs: dict[str, Any]) -> None:
        if self.save_best_only:
            value = self.value(logs)
            if not self.better(value, self.best):
                return
            self.best = value
        try:
            path = Path(self.filepath.format(**{**logs, **place}))
        except (KeyError, IndexError) as error:
            raise ValueError(f"ModelCheckpoint: expected {{}} in the filepath around one of {', '.join([*place, *logs])}, got "
                             f"{{{error.args[0]}}} in {self.filepath!r}") from None
        except ValueError as error:
            raise ValueError(f"ModelCheckpoint: expected a filepath as str.format() takes it, got {self.filepath!r} ({error})"
                             ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {**place, "logs": logs}
        if self.save_weights_only:
            io.save(self.model, path, about)
        else:
            io.save_checkpoint(path, self.model, self.trainer.optimizer, self.trainer.schedule, about)
        self.say(f"epoch {place['epoch']}: saved {path}" + (f", {self.monitor} {self.best:.5g}" if self.save_best_only else ""))

    def state_dict(self) -> dict[str, Any]:
        """The best value, and the steps seen."""
        return {"best": self.best, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        self.__dict__.update(state)


class LearningRateScheduler(Callback):
    """Sets the learning rate by epochs: schedule(epoch, lr), before each epoch, gives each group's rate from its present
    one; or step() of an optim.lr_scheduler object follows each epoch, a ReduceLROnPlateau's with the number `monitor`.

    Puts "learning_rate", that of the epoch in the first group, into the logs. verbose 1: a line for each epoch's rate. A
    schedule by steps is fit(schedule=)."""

    def __init__(self, schedule: LRScheduler | Callable[..., float], verbose: int = 0, monitor: str = "val_loss") -> None:
        self.verbose = check_verbose("LearningRateScheduler", verbose)
        if not callable(schedule) and not isinstance(schedule, LRScheduler):
            raise TypeError(f"LearningRateScheduler: expected a function of (epoch, lr) or a schedule of optim.lr_scheduler, "
                            f"got {type(schedule).__name__}")
        self.schedule: Any = schedule
        self.own = isinstance(schedule, LRScheduler)
        self.watch = Monitor(monitor, "min") if isinstance(schedule, ReduceLROnPlateau) else None

    def on_train_begin(self) -> None:
        """ValueError for a number of validation where there is none, or for another optimizer's schedule."""
        if self.own and self.schedule.optimizer is not self.trainer.optimizer:
            raise ValueError("LearningRateScheduler: expected a schedule on the trainer's optimizer, got one on another")
        if self.watch:
            self.watch.name, self.watch.trainer, self.watch.params = type(self).__name__, self.trainer, self.params
            self.watch.on_train_begin()

    def on_epoch_begin(self, epoch: int) -> None:
        """Ask the function."""
        for group in self.trainer.optimizer.param_groups if not self.own else ():
            lr = self.schedule(epoch, group["lr"])
            if isinstance(lr, bool) or not isinstance(lr, (int, float, np.number)) or not lr >= 0:
                raise ValueError(f"LearningRateScheduler: expected a rate of 0 or more from the function, got {lr!r} for "
                                 f"epoch {epoch}")
            group["lr"] = float(lr)
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate {self.trainer.optimizer.param_groups[0]['lr']:.5g}", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Note the rate, then step the schedule."""
        logs["learning_rate"] = self.trainer.optimizer.param_groups[0]["lr"]
        if self.watch:
            self.schedule.step(self.watch.value(logs))
        elif self.own:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's; a function has none."""
        return self.schedule.state_dict() if self.own else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""
        if self.own:
            self.schedule.load_state_dict(state)
