"""Trainer: the loop everybody writes, with history, Ctrl-C and failure handled."""
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np

from .data.dataset import Batch, Dataset
from .data.sources import as_source, count_batches
from .errors import NonFiniteError
from .graph import Value, leaf
from .rng import as_rng

CHUNK = 4096            # samples of one forward call in evaluate() and predict()


class _Interrupt:
    """While it is entered, the first Ctrl-C is noted and left to the next step; a second one is raised at once."""

    def __enter__(self):
        self.asked, self._old = False, None
        if threading.current_thread() is threading.main_thread():
            self._old = signal.getsignal(signal.SIGINT)
            if self._old is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *error):
        if self._old is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._old)


class Trainer:
    """Trains `model` with `loss_fn` and `optimizer`; `history` is a dict of lists, one number an epoch."""

    def __init__(self, model, loss_fn, optimizer=None):
        self.model, self.loss_fn, self.optimizer = model, loss_fn, optimizer
        self.history = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": [], "seconds": []}

    def fit(self, data, epochs=1, batch_size=32, validation_data=None, schedule=None, shuffle=True, rng=None,
            on_step=None):
        """Train on (x, y) arrays, a Dataset, augmented as it says, or an iterable of batches (x, y); returns `history`.

        A tuple or list of two is (x, y), a list of tuples batches; these are taken as they come, anew in every epoch.

        `schedule`: its step() follows every optimizer step. `on_step(epoch, step, steps, loss, accuracy, n)` is called after
        every step with running means; `steps` is None for an iterable without a length. A NaN stops training with
        NonFiniteError and the last good weights; Ctrl-C stops after the running step with KeyboardInterrupt and the weights of
        that step."""
        if self.optimizer is None:
            raise ValueError("Trainer.fit: expected an optimizer, got none")
        self._check_loss()
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            raise ValueError(f"Trainer.fit: expected epochs of 1 or more, got {epochs!r}")
        data = as_source(data)
        rng, steps = as_rng(rng), count_batches(data, batch_size)
        self.model.train()
        with _Interrupt() as interrupt:
            for epoch in range(epochs):
                total = correct = counted = seen = 0
                start = time.perf_counter()
                for step, (x, y) in enumerate(data.batches(batch_size, shuffle=shuffle, rng=rng)):
                    self.optimizer.zero_grad()
                    loss = self.loss_fn(self.model(x), y)
                    try:
                        loss.backward()
                    except NonFiniteError as error:
                        of = f" of {steps}" if steps is not None else ""
                        raise NonFiniteError(f"epoch {epoch + 1}, batch {step + 1}{of}: {error}") from None
                    self.optimizer.step()
                    if schedule is not None:
                        schedule.step()
                    seen += len(y)
                    total += loss.item() * len(y)
                    if loss._hits is not None:
                        correct, counted = correct + loss.correct, counted + loss.counted
                    if on_step is not None:
                        on_step(epoch, step, steps, total / seen, correct / max(counted, 1), len(y))
                    if interrupt.asked:
                        raise KeyboardInterrupt
                self._note(total / seen, correct / max(counted, 1) if loss._hits is not None else None,
                           time.perf_counter() - start, validation_data)
        return self.history

    def _note(self, loss, accuracy, seconds, validation_data):
        self.history["loss"].append(loss)
        self.history["seconds"].append(seconds)
        if accuracy is not None:
            self.history["accuracy"].append(accuracy)
        if validation_data is not None:
            result = self.evaluate(validation_data)
            for name, value in result.items():
                self.history["val_" + name].append(value)

    def _check_loss(self):
        if self.loss_fn is None:
            raise ValueError("Trainer: expected a loss, got none")

    def evaluate(self, data):
        """{"loss": mean, "accuracy": share of labels that are right (of a loss over classes)} on (x, y), a Dataset or an
        iterable of batches; no training and no augmentation. The loss is that of batches of at most 4,096 samples, averaged
        by their sizes: where a mean has weights (classes' weights, ignore_index) and the data are more, it is not quite that of
        all samples at once. With reduction "sum" it is the sum."""
        self._check_loss()
        mean = getattr(self.loss_fn, "reduction", "mean") != "sum"
        data, total, correct, counted, seen = as_source(data), 0, 0, 0, 0
        with _evaluating(self.model):
            for x, y in data.batches(CHUNK, shuffle=False, augment=False):
                loss = self.loss_fn(self.model(x), y)
                seen += len(y)
                total += loss.item() * (len(y) if mean else 1)
                if loss._hits is not None:
                    correct, counted = correct + loss.correct, counted + loss.counted
        result = {"loss": total / seen if mean else total}
        if loss._hits is not None:
            result["accuracy"] = correct / max(counted, 1)
        return result

    def predict(self, x):
        """The model's output, (N, ...) array, for an array, a Batch or a Dataset's images."""
        with _evaluating(self.model):
            if isinstance(x, Dataset):
                parts = [b for b, _ in x.batches(CHUNK, shuffle=False, augment=False)]
            else:
                _, feed = leaf(np.asarray(x) if isinstance(x, Batch) else x)
                parts = [feed.array[i:i + CHUNK] for i in range(0, feed.n, CHUNK)]
            return np.concatenate([_numbers(self.model(p)) for p in parts])

    def profile(self, data, batch_size=128, repeats=20):
        """Where a training step's time and memory go: lanewise.profile of this model, loss and optimizer; trains nothing."""
        self._check_loss()
        from .profiling import profile
        return profile(self.model, data, self.loss_fn, self.optimizer, batch_size, repeats)


@contextmanager
def _evaluating(model):
    # Evaluation mode, and afterwards each module's own again: a layer that the user had frozen stays so.
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _numbers(value):
    if not isinstance(value, Value):
        raise TypeError(f"Trainer.predict: expected a model with one output, got {type(value).__name__}")
    return value.numpy()
