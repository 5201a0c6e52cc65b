"""A run in one file: what Trainer.fit(checkpoint=..., resume=True) goes on from, bit by bit."""
import hashlib
import json
import os
import re
import time
from pathlib import Path

import numpy as np

from . import io
from .callbacks.base import check_every
from .callbacks.monitor import LearningRateScheduler
from .errors import WeightsError
from .rng import as_rng


class Place:
    """Where a run is: the epoch, the steps of it that are done, and its sums so far. metrics: {name: f(y, output)}."""

    def __init__(self, metrics, epoch=0):
        self.metrics, self.epoch, self.step = metrics, epoch, 0
        self.start = None                                       # the generators' states when the epoch began
        self.began = time.perf_counter()
        self.sum = self.total = self.mass = 0.0
        self.correct = self.counted = 0
        self.over_classes = False
        self.kept = []                                          # [(targets, outputs)] for the metrics

    def add(self, loss, mass, y, output):
        """Count one batch, which has been computed; mass: loss.mass."""
        value, mass = loss.item(), len(y) if mass is None else mass
        self.sum, self.total, self.mass = self.sum + value, self.total + value * mass, self.mass + mass
        if loss._hits is not None:
            self.over_classes = True
            self.correct, self.counted = self.correct + loss.correct, self.counted + loss.counted
        if self.metrics and self._asked():
            self.kept.append((np.array(y), output.numpy()))

    def _asked(self):
        return [m for m in self.metrics if m != "accuracy" or not self.over_classes]

    def means(self):
        """{"loss": mean, "accuracy": of a loss over classes}."""
        if not self.mass:
            raise ValueError("expected data of at least one batch, got none")
        result = {"loss": self.total / self.mass}
        if self.over_classes:
            result["accuracy"] = self.correct / max(self.counted, 1)
        return result

    def measured(self):
        """means(), and the metrics of all that was kept."""
        result, asked = self.means(), self._asked()
        if asked:
            y, output = (np.concatenate(part) for part in zip(*self.kept))
            for name in asked:
                value = self.metrics[name](y, output)
                if np.ndim(value):
                    raise TypeError(f"Trainer: expected a number from the metric {name}, got an array of shape {np.shape(value)}")
                result[name] = float(value)
        return result

    def state_dict(self):
        """All of it, the outputs that are kept as one array, and the seconds so far."""
        self.kept = [tuple(np.concatenate(part) for part in zip(*self.kept))] if self.kept else []
        return {**self.__dict__, "metrics": None, "began": None, "seconds": time.perf_counter() - self.began}

    def load_state_dict(self, state):
        """Take what state_dict() gave; the time in between does not count."""
        self.__dict__.update(state, metrics=self.metrics, began=time.perf_counter() - state.pop("seconds"))


def shown(value):
    """What a loss or an augmentation is, in one line: its repr() but for addresses, which another process has others of."""
    return value if value is None else re.sub(r" at 0x[0-9A-Fa-f]+", "", " ".join(repr(value).split()))


def weights_shown(classes, samples):
    """{"class_weight": ..., "sample_weight": ...} of _Weighted's: {class: weight} in order, a hash of the numbers, or None."""
    return {"class_weight": classes if classes is None else repr({int(c): float(classes[c]) for c in sorted(classes)}),
            "sample_weight": samples if samples is None else
            "sha256 " + hashlib.sha256(np.ascontiguousarray(samples, np.float64)).hexdigest()[:16]}


def schedules_shown(schedule, callbacks):
    """{setting: value} of fit()'s schedule as it was made, and of those that callbacks step or ask."""
    name = None if schedule is None else type(schedule).__name__
    made, plain = getattr(schedule, "made", {}), (bool, int, float, str, type(None))       # none of another library's schedule
    return {"schedule": name, **{f"{name}'s {key}": value if isinstance(value, plain) else shown(value)
                                 for key, value in made.items()},
            "callbacks' schedules": [shown(c.schedule) for c in callbacks if isinstance(c, LearningRateScheduler)]}


class Backup:
    """The file of a run, at `path` (None: none is kept), a new one unless resumed. settings: what must be the same when the
    run goes on."""

    def __init__(self, trainer, path, every, rng, hooks, settings, resume):
        check_every("Trainer.fit", "every", every)
        if path is not None:
            if not resume and os.path.exists(path):
                raise FileExistsError(f"{path}: expected a checkpoint that is not there yet, got a file: give resume=True to go "
                                      f"on from the run in it, or another file")
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.trainer, self.path, self.every, self.rng, self.hooks = trainer, path, every, rng, hooks
        generator = "the process's" if rng is as_rng() else type(rng.bit_generator).__name__
        made = trainer.optimizer.made                           # what schedules do to a rate is no other setting
        self.settings = json.loads(json.dumps({                 # as the file has them
            **settings, "generator": generator, "metrics": list(trainer.metrics), "loss": shown(trainer.loss_fn),
            **schedules_shown(trainer.schedule, hooks.callbacks), "optimizer": type(trainer.optimizer).__name__,
            **{name: made[0][name] if len(made) == 1 else [group[name] for group in made] for name in made[0]}},
            default=io._plain))

    def states(self):
        """The states of the generators that a run draws from: its own, and the process's (dropout)."""
        return [rng.bit_generator.state for rng in (self.rng, as_rng())] if self.path is not None else None

    def set(self, states):
        """Put the generators into these states."""
        for rng, state in zip((self.rng, as_rng()), states):
            rng.bit_generator.state = state

    def after_step(self, place):
        """Save, if it is time."""
        if self.every != "epoch" and place.step % self.every == 0:
            self.save(place)

    def save(self, place):
        """Write the run, whole."""
        if self.path is not None:
            t = self.trainer
            io.save_checkpoint(self.path, t.model, t.optimizer, t.schedule, dict(
                settings=self.settings, place=place.state_dict(), history=t.history, stopped=t.stop_training,
                generators=self.states(), callbacks=self.hooks.state_dict()))

    def load(self, place):
        """Take the run from the file, if there is one: its place. WeightsError for another kind of file or callbacks of
        another kind, ValueError for other settings; then nothing is changed."""
        if self.path is None:
            raise ValueError("Trainer.fit: resume expected a checkpoint to go on from, got none")
        if not os.path.exists(self.path):
            return place
        about = io.read(self.path)[1].get("metadata")
        if not isinstance(about, dict) or "place" not in about:
            raise WeightsError(f"{self.path}: expected the checkpoint of a run, which fit(checkpoint=...) writes, got another "
                               f"file")
        for name, value in self.settings.items():
            began = about["settings"].get(name, value)          # files of earlier versions have fewer
            if began != value:
                raise ValueError(f"{self.path}: expected {name} {began!r}, with which the run began, got {value!r}")
        self.hooks.check(about["callbacks"])
        t = self.trainer
        about = io.load_checkpoint(self.path, t.model, t.optimizer, t.schedule)
        place.load_state_dict(about["place"])
        t.history.clear()
        t.history.update(about["history"])
        t.stop_training = about["stopped"]
        self.set(about["generators"])
        t.epoch = place.epoch
        self.hooks.load_state_dict(about["callbacks"])
        return place
