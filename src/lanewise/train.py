"""Trainer: the loop everybody writes, with history, Ctrl-C and failure handled."""
from __future__ import annotations

import copy
import signal
import threading
import time
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from .callbacks import ProgressBar
from .callbacks.base import CallbackList
from .data.dataset import Batch, Dataset, as_array, check_batch_size
from .data.sources import as_source, count_batches, number_type, of_type
from .errors import LabelError, NonFiniteError, ShapeError
from .graph import Value, leaf
from .metrics import named
from .nn.module import Module
from .optim.lr_scheduler import ReduceLROnPlateau
from .optim.optimizer import Optimizer
from .resume import Backup, Place, shown, weights_shown
from .rng import as_rng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from numpy.typing import ArrayLike

    from ._types import Array, Data, File, LossFn, Metric, Operand, Seed
    from .callbacks.base import Callback
    from .optim.lr_scheduler import LRScheduler
    from .profiling import Profile

CHUNK = 4096            # samples of one forward call in evaluate() and predict()


class _Interrupt:
    """While it is entered, the first Ctrl-C is noted and left to the next step; a second one is raised at once."""

    def __enter__(self) -> _Interrupt:
        self.asked, self._old = False, None
        if threading.current_thread() is threading.main_thread():
            self._old = signal.getsignal(signal.SIGINT)
            if self._old is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *error: Any) -> None:
        if self._old is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._old)


class Trainer:
    """Trains `model` with `loss_fn` and `optimizer`; `history` is a dict of lists, one number an epoch.

    metrics: names that lanewise.metrics.NAMED has, "top<k>", or functions of (targets, outputs) that give a number: for
    history, with "val_" for validation, and evaluate(). They are measured on the outputs of a whole epoch, kept until its
    end; "accuracy" is there for any loss over classes, and costs nothing."""

    def __init__(self, model: Module, loss_fn: LossFn | None, optimizer: Optimizer | None = None,
                 metrics: Metric | Iterable[Metric] = ()) -> None:
        a_loss = loss_fn is None or callable(loss_fn) and not isinstance(loss_fn, type)
        for what, value, good in (
                ("a Module to train", model, isinstance(model, Module)), ("a loss like nn.CrossEntropyLoss()", loss_fn, a_loss),
                ("an optimizer like optim.Adam(model.parameters())", optimizer,
                 optimizer is None or isinstance(optimizer, Optimizer))):
            if not good:
                raise TypeError(f"Trainer: expected {what}, got {value if isinstance(value, type) else type(value)}")
        self.model, self.loss_fn, self.optimizer = model, loss_fn, optimizer
        pairs = [named(m) for m in ((metrics,) if isinstance(metrics, str) or callable(metrics) else metrics)]
        self.metrics = dict(pairs)
        if len(self.metrics) < len(pairs) or {"loss", "seconds"} & set(self.metrics):
            raise ValueError("Trainer: expected metrics with a name of their own each, not loss or seconds, got "
                             f"{', '.join(name for name, _ in pairs)}")
        names = ["loss", "accuracy", *(m for m in self.metrics if m != "accuracy")]
        self.history: dict[str, list[float]] = {name: [] for name in (*names, *("val_" + n for n in names), "seconds")}
        self.stop_training, self.epoch = False, 0
        self.schedule: LRScheduler | None = None

    def fit(self, data: Data, epochs: int = 1, batch_size: int = 32, validation_data: Data | None = None,
            schedule: LRScheduler | None = None, shuffle: bool = True, rng: Seed = None,
            callbacks: Callback | Iterable[Callback] = (), verbose: int = 0,
            class_weight: dict[int, float] | str | None = None, sample_weight: ArrayLike | None = None, accumulate: int = 1,
            checkpoint: File | None = None, every: int | str = "epoch", resume: bool = False) -> dict[str, list[float]]:
        """Train on (x, y) arrays, a Dataset, augmented as it says, or an iterable of batches (x, y); returns `history`.

        A tuple or list of two is (x, y), a list of tuples batches; these are taken as they come, anew in every epoch.

        `schedule`: its step() follows every optimizer step. `callbacks`: one or several, see lanewise.callbacks; one that sets
        `stop_training` ends training after the running step, whose epoch is ended as any other. verbose: 0 quiet, 1 a line an
        epoch and a live bar on a terminal or in a notebook, 2 lines alone. class_weight: {class: weight}, 1 for others, or
        "balanced", N / (classes times the count of the class), LabelError for a class that the model has not; sample_weight:
        (N,) numbers; a mean is sum w L / sum w. accumulate=k: k batches make one optimizer step, that of one batch of all their
        samples (BatchNorm's statistics apart).

        checkpoint: a file for the whole run, written whole after each epoch and, with every=n, after every n optimizer steps
        of an epoch; FileExistsError for one that is there, without resume. resume: go on from that file, if it is there, to
        the same bits as a run never stopped: weights, history, schedule, callbacks, and the generators, rng and the process's.
        `epochs` counts from the run's beginning. ValueError where the settings are not those with which it began: of the
        batches, augmentation, weights, loss, optimizer, schedule. Data must give the same batches again; where it keeps what it
        drew on its way, give fit() an rng of its own.

        A NaN stops training with NonFiniteError and the last good weights (callbacks.TerminateOnNaN: without the error);
        Ctrl-C stops after the running step with KeyboardInterrupt and the weights of that step, in `checkpoint` too."""
        if self.optimizer is None:
            raise ValueError("Trainer.fit: expected an optimizer, got none")
        self._check_loss()
        for name, value in (("epochs", epochs), ("accumulate", accumulate)):
            if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
                raise TypeError(f"Trainer.fit: expected {name} of 1 or more, got {type(value).__name__}: inputs and targets are "
                                f"one argument, fit((x, y))")
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Trainer.fit: expected {name} of 1 or more, got {value!r}")
        if isinstance(schedule, ReduceLROnPlateau):
            raise TypeError("Trainer.fit: expected a schedule of the step count, got ReduceLROnPlateau: give it to "
                            "callbacks.LearningRateScheduler")
        if schedule is not None and not hasattr(schedule, "step"):
            raise TypeError(f"Trainer.fit: expected a schedule of optim.lr_scheduler, got {type(schedule).__name__}")
        if verbose not in (0, 1, 2):
            raise ValueError(f"Trainer.fit: expected verbose of 0, 1 or 2, got {verbose!r}")
        data, size, rng = as_source(data, number_type(self.model)), check_batch_size(batch_size), as_rng(rng)
        samples, batches = len(data) if hasattr(data, "__len__") else None, count_batches(data, size)
        steps = batches and -(-batches // accumulate)
        callbacks = list(callbacks) if hasattr(callbacks, "__iter__") else [callbacks]
        if verbose and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(ProgressBar(None if verbose == 1 else False))
        hooks = CallbackList(callbacks, self, dict(epochs=epochs, steps=steps, samples=samples, verbose=verbose,
                                                   validation=validation_data is not None))
        self.stop_training, self.epoch, self.schedule, place = False, 0, schedule, Place(self.metrics)
        augment, weights = getattr(data, "augment", None), (None, None)
        if class_weight is not None or sample_weight is not None:
            data = _Weighted(data, class_weight, sample_weight)
            weights = data.classes, data.samples
        backup = Backup(self, checkpoint, every, rng, hooks, dict(
            batch_size=size, accumulate=accumulate, shuffle=bool(shuffle), samples=samples, augment=shown(augment),
            **weights_shown(*weights)), resume)
        run = _Run(self, hooks, backup, steps, accumulate, validation_data,
                   lambda: _groups(data.batches(size, shuffle=shuffle, rng=rng), accumulate), weights[0])
        try:
            hooks.call("on_train_begin")
            if resume:
                place = backup.load(place)
            self.model.train()
            with _Interrupt() as run.interrupt:
                while place.epoch < epochs and (place.step or not self.stop_training):
                    place = run.epoch(place)
        except BaseException as error:
            if not hooks.handled(error):
                raise
            self.stop_training = True
        hooks.call("on_train_end")
        return self.history

    def _check_loss(self) -> None:
        if self.loss_fn is None:
            raise ValueError("Trainer: expected a loss, got none")

    def evaluate(self, data: Data) -> dict[str, float]:
        """{"loss": mean, "accuracy": share of labels that are right (of a loss over classes), each metric: its value} on
        (x, y), a Dataset or an iterable of batches; no training and no augmentation. With reduction "sum" the loss is the
        sum."""
        self._check_loss()
        data, place = as_source(data, number_type(self.model)), Place(self.metrics)
        with _evaluating(self.model):
            for x, y in data.batches(CHUNK, shuffle=False, augment=False):
                output = self.model(x)
                loss = self.loss_fn(output, y)          # type: ignore[misc]  # _check_loss()
                loss.item()
                place.add(loss, loss.mass, y, output)
        result = place.measured()
        return result if loss.mass is not None else {**result, "loss": place.sum}

    def predict(self, x: Operand | Dataset) -> Array:
        """The model's output, (N, ...) array, for an array, a Batch or a Dataset's images: a sample's is the same to the last
        bit whoever is beside it. TypeError for more than inputs: pairs (x, y), an iterable of batches."""
        with _evaluating(self.model):
            if isinstance(x, Dataset):
                parts = [b for b, _ in x.of_type(number_type(self.model)).batches(CHUNK, shuffle=False, augment=False)]
            else:
                _, feed = leaf(of_type(_inputs(x), number_type(self.model)))
                parts = [feed.array[i:i + CHUNK] for i in range(0, feed.n, CHUNK)]
            return np.concatenate([_numbers(self.model(p)) for p in parts])

    def profile(self, data: Data, batch_size: int = 128, repeats: int = 20) -> Profile:
        """Where a training step's time and memory go: lanewise.profile of this model, loss and optimizer; trains nothing."""
        self._check_loss()
        from .profiling import profile
        return profile(self.model, data, self.loss_fn, self.optimizer, batch_size, repeats)


class _Run:
    """The epochs and steps of one fit(). groups(): an epoch's steps, each an iterable of batches (x, y), or (x, y, weights);
    classes: {class: weight} to be held against the model's classes, or None."""

    def __init__(self, trainer: Any, hooks: Any, backup: Any, steps: Any, accumulate: Any, validation_data: Any,
                 groups: Callable[[], Iterator[Any]], classes: dict[int, float] | None) -> None:
        self.trainer, self.hooks, self.backup, self.steps, self.accumulate = trainer, hooks, backup, steps, accumulate
        self.validation_data, self.groups, self.classes = validation_data, groups, classes
        self.interrupt: Any = None
        self.rate = trainer.optimizer.param_groups[0]["lr"]     # of the last step, in the first group

    def epoch(self, place: Place) -> Place:
        """Train from `place` to the end of its epoch; where the next one begins."""
        t, hooks, backup = self.trainer, self.hooks, self.backup
        t.epoch = place.epoch
        if not place.step:
            hooks.call("on_epoch_begin", place.epoch)
            place.start, place.began = backup.states(), time.perf_counter()
        groups = self.groups()
        if place.step:                                  # resumed: the same order of batches, up to where it was
            now = backup.states()
            backup.set(place.start)
            for _, group in zip(range(place.step), groups):
                for _ in group:
                    pass
            backup.set(now)
        for group in groups if not (place.step and t.stop_training) else ():
            size = self._step(place, group)
            if hooks:
                hooks.call("on_train_batch_end", place.step - 1, {**place.means(), "size": size})
            if self.interrupt.asked:
                backup.save(place)
                raise KeyboardInterrupt
            backup.after_step(place)
            if t.stop_training:
                break
        logs = place.measured()
        if t.schedule is not None:
            logs["learning_rate"] = self.rate
        seconds = time.perf_counter() - place.began
        if self.validation_data is not None:
            hooks.call("on_test_begin")
            result = t.evaluate(self.validation_data)
            hooks.call("on_test_end", result)
            logs.update(("val_" + name, value) for name, value in result.items())
        self._note({**logs, "seconds": seconds})
        known = set(logs)
        hooks.call("on_epoch_end", place.epoch, logs)
        self._note({name: value for name, value in logs.items() if name not in known})
        place = Place(t.metrics, place.epoch + 1)
        t.epoch = place.epoch
        backup.save(place)
        if self.interrupt.asked:
            raise KeyboardInterrupt
        return place

    def _note(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.trainer.history.setdefault(name, []).append(value)

    def _step(self, place: Place, group: Any) -> int:
        t = self.trainer
        before = [(b, b.data.copy()) for b in t.model.buffers()] if self.accumulate > 1 else ()
        t.optimizer.zero_grad()
        try:
            size = self._gradients(place, group)
        except NonFiniteError as error:
            for buffer, data in before:
                buffer.data = data
            of = f" of {self.steps}" if self.steps else ""
            raise NonFiniteError(f"epoch {place.epoch + 1}, batch {place.step + 1}{of}: {error}") from None
        t.optimizer.step()
        if t.schedule is not None:
            self.rate = t.optimizer.param_groups[0]["lr"]
            t.schedule.step()
        place.step += 1
        return size

    def _gradients(self, place: Place, group: Any) -> int:
        # Of batches with masses m_i and mean losses L_i: sum m_i dL_i / sum m_i. What is there is kept in units of the batch
        # that is added to it, so that batches of one size are added as they are.
        t, last, total, size = self.trainer, None, 0, 0
        for x, y, *weights in group:
            output = t.model(x)
            loss = t.loss_fn(output, y, *weights)
            if self.classes is not None:
                self._check_classes(loss)
            if last is not None:
                self._scale(last / loss.mass)
            loss.backward()
            if t.metrics and not any(value is output for _, _, value, _ in loss.terms):
                raise ValueError("Trainer: metrics in training expected a loss on the model's output itself, got one on a "
                                 "function of it")
            last = loss.mass
            place.add(loss, last, y, output)
            total, size = total + (last or 0), size + len(y)
        if last is not None and last != total:
            self._scale(last / total)
        return size

    def _check_classes(self, loss: Any) -> None:
        # once, before anything is computed: what is no class of the model's would weigh nothing
        scores: Any = next((value.shape[1] for _, op, value, _ in loss.terms if op.counts), None)
        unknown = [c for c in self.classes or () if scores is not None and not 0 <= c < scores]
        if unknown:
            raise LabelError(f"Trainer.fit: expected class_weight of classes from 0 to {scores - 1}, which the model has, got "
                             f"one of {unknown[0]}")
        self.classes = None

    def _scale(self, factor: float) -> None:
        if factor != 1:
            for group in self.trainer.optimizer.param_groups:
                for p in group["params"]:
                    if p.has_grad:
                        np.multiply(p.grad, factor, out=p.grad)


class _Weighted:
    """Data whose batches have (x, y, what each sample weighs)."""

    def __init__(self, data: Any, class_weight: Any, sample_weight: Any) -> None:
        self.data, self.classes, self.samples = data, class_weight, sample_weight
        if getattr(getattr(data, "augment", None), "mixup", 0):
            raise ValueError("Trainer.fit: class_weight and sample_weight expected data without mixup, whose samples are of two "
                             "classes")
        kept: Any = next((name for name in ("labels", "y") if hasattr(data, name)), None)
        if kept is None and (sample_weight is not None or isinstance(class_weight, str)):
            raise TypeError("Trainer.fit: sample_weight and class_weight 'balanced' expected data with all its targets in "
                            f"memory, got {type(data).__name__}")
        self.y = kept and getattr(data, kept)
        if isinstance(class_weight, str) and class_weight == "balanced":
            names, counts = np.unique(self._labels(self.y), return_counts=True)
            self.classes = dict(zip(names.tolist(), (len(self.y) / (len(names) * counts)).tolist()))
        elif class_weight is not None and (not isinstance(class_weight, dict) or not all(
                isinstance(c, (int, np.integer)) for c in class_weight)):
            raise TypeError(f"Trainer.fit: expected class_weight to be {{class: weight}} or 'balanced', got {class_weight!r}")
        if sample_weight is not None:
            self.samples = np.asarray(sample_weight)
            if self.samples.shape != (len(self.y),):
                raise ShapeError(f"Trainer.fit: expected sample_weight of shape ({len(self.y)},), got {self.samples.shape}")
            self.data = copy.copy(data)                 # its batches' targets are the numbers of their samples
            setattr(self.data, kept, np.arange(len(self.y)))

    @staticmethod
    def _labels(y: Any) -> Any:
        y = np.asarray(y)
        if y.dtype.kind not in "iu" or y.ndim != 1:
            raise LabelError(f"Trainer.fit: class_weight expected integer labels (N,), got {y.dtype} of shape {y.shape}")
        return y

    def batches(self, *args: Any, **kw: Any) -> Iterator[Any]:
        """Yield (x, y, weights)."""
        for x, y in self.data.batches(*args, **kw):
            w = np.ones(len(y))
            if self.samples is not None:
                w, y = self.samples[y].astype(np.float64), self.y[y]
            if self.classes is not None:
                labels = self._labels(y)
                for c, weight in self.classes.items():
                    w[labels == c] *= weight
            yield x, y, w


def _groups(batches: Iterable[Any], k: int) -> Iterator[Any]:
    # Batches in groups of k, the last of what is left, each group to be used up before the next; nothing is read ahead.
    batches = iter(batches)
    for first in batches:
        yield (first,) if k == 1 else chain((first,), islice(batches, k - 1))


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    # Evaluation mode, and afterwards each module's own again: a layer that the user had frozen stays so.
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _inputs(x: Any) -> Any:
    # one array, whose parts have one shape; an iterator's is one of objects
    if hasattr(x, "as_leaf") and not isinstance(x, Batch) or isinstance(x, np.ndarray):
        return x
    try:
        array = as_array("expected inputs", x)
    except ShapeError:
        array = None
    if array is None or array.dtype == object and array.ndim == 0:
        raise TypeError(f"Trainer.predict: expected the inputs alone, one array (N, ...), a Batch or a Dataset, got "
                        f"{type(x).__name__} of other things: batches and pairs (x, y) are for evaluate()")
    return array


def _numbers(value: Any) -> Array:
    if not isinstance(value, Value):
        raise TypeError(f"Trainer.predict: expected a model with one output, got {type(value).__name__}")
    return value.in_lanes()
