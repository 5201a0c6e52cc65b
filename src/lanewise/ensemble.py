"""Several networks as one: the mean of their answers, or of their weights."""
from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from . import ops
from .data.dataset import Dataset
from .data.sources import as_source, count_batches, number_type
from .errors import LabelError, ShapeError, WeightsError
from .nn.module import Module
from .optim import lr_scheduler
from .train import CHUNK, Trainer, _evaluating

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from ._types import Array, Data, Operand, Seed


class Ensemble:
    """The mean of classifiers' probabilities: p = 1 / M sum_m softmax(s_m), s_m (N, C) the scores of model m.

    combine "logits": p = softmax(1 / M sum_m s_m), the geometric mean of the probabilities, normalised. models: Modules that
    give (N, C), each asked in evaluation mode; x: an array (N, ...) or a Dataset. ShapeError for scores of different shapes.
    Source: Hansen and Salamon, "Neural network ensembles" (1990)."""

    def __init__(self, models: Iterable[Module], combine: str = "probabilities") -> None:
        self.models, self.combine = list(models), combine
        if not self.models or not all(isinstance(m, Module) for m in self.models):
            raise TypeError(f"Ensemble: expected one or more Modules, got {[type(m).__name__ for m in self.models]}")
        if combine not in ("probabilities", "logits"):
            raise ValueError(f"Ensemble: expected combine 'probabilities' or 'logits', got {combine!r}")

    def predict_proba(self, x: Operand | Dataset) -> Array:
        """Probabilities (N, C), in the scores' number type."""
        total: Any = None
        for i, model in enumerate(self.models):
            scores = Trainer(model, None).predict(x)
            if scores.ndim != 2 or total is not None and scores.shape != total.shape:
                raise ShapeError(f"Ensemble: expected scores of shape {'(N, C)' if total is None else total.shape}, got "
                                 f"{scores.shape} of model {i}")
            scores = scores if self.combine == "logits" else ops.softmax(scores, 1)
            total = scores.astype(np.float64) + (0 if total is None else total)
        mean = (total / len(self.models)).astype(scores.dtype)
        return ops.softmax(mean, 1) if self.combine == "logits" else mean

    def predict(self, x: Operand | Dataset) -> Array:
        """The most probable class, (N,) integers."""
        return self.predict_proba(x).argmax(1)

    def evaluate(self, data: Dataset | Sequence[ArrayLike]) -> dict[str, float]:
        """{"loss": mean of -log p[label], "accuracy": share of labels that are right} on (x, y) or a Dataset. A probability
        that rounds to 0 counts as the smallest number above it. LabelError for labels outside 0 .. C - 1."""
        if isinstance(data, Dataset):
            x, y = data, data.labels
        elif isinstance(data, (tuple, list)) and len(data) == 2:
            x, y = data[0], np.asarray(data[1])
        else:
            raise TypeError(f"Ensemble.evaluate: expected (x, y) arrays or a Dataset, got {type(data).__name__}")
        p = self.predict_proba(x)
        if y.shape != p.shape[:1] or y.dtype.kind not in "iu":
            raise LabelError(f"Ensemble.evaluate: expected {len(p)} integer labels, got {y.dtype} of shape {y.shape}")
        if y.min() < 0 or y.max() >= p.shape[1]:
            raise LabelError(f"Ensemble.evaluate: expected labels from 0 to {p.shape[1] - 1}, got {y.min()} to {y.max()}")
        right = np.maximum(p[np.arange(len(p)), y], np.finfo(p.dtype).tiny)
        return {"loss": float(-np.log(right.astype(np.float64)).mean()), "accuracy": float((p.argmax(1) == y).mean())}


def snapshots(trainer: Trainer, data: Data, cycles: int, epochs: int, batch_size: int = 32, rng: Seed = None,
              rate: str = "cosine") -> list[Module]:
    """Train on in `cycles` of `epochs` and give a copy of the model at each one's end: [Module], in evaluation mode.

    rate "cosine": in each cycle the rate falls from the optimizer's to 0, step by step, and starts again, so that every copy
    sits in a minimum of its own: an Ensemble for the price of one network (Huang et al., "Snapshot ensembles", 2017).
    "constant": copies along the way of a large rate, for average_weights (Izmailov et al., "Averaging weights leads to wider
    optima", 2018). data: (x, y) or a Dataset. ValueError for other rates or counts."""
    if not isinstance(trainer, Trainer):
        raise TypeError(f"snapshots: expected a Trainer, got {type(trainer).__name__}")
    for name, count in (("cycles", cycles), ("epochs", epochs)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"snapshots: expected {name} of 1 or more, got {count!r}")
    if rate not in ("cosine", "constant"):
        raise ValueError(f"snapshots: expected rate 'cosine' or 'constant', got {rate!r}")
    if trainer.optimizer is None:
        raise ValueError("snapshots: expected a Trainer with an optimizer, got one without")
    schedule, models = None, []
    if rate == "cosine":
        steps = count_batches(as_source(data), batch_size)
        if steps is None:
            raise ValueError("snapshots: expected data with a length, whose rate can fall over a cycle, got an iterable without")
        schedule = lr_scheduler.CosineAnnealingWarmRestarts(trainer.optimizer, T_0=steps * epochs)
    for _ in range(cycles):
        trainer.fit(data, epochs=epochs, batch_size=batch_size, schedule=schedule, rng=rng)
        models.append(copy.deepcopy(trainer.model).eval())
    return models


def average_weights(models: Iterable[Module | Mapping[str, ArrayLike]]) -> dict[str, Array]:
    """The uniform mean of weights, 1 / M sum_m w_m summed in float64: a state_dict for load_state_dict().

    models: Modules or state_dicts of one network, on one way of training: the mean of networks that were initialised
    differently is none. Counts are the last one's. A network with BatchNorm then needs update_bn(), as its running statistics
    are not means of the members'. WeightsError for other names or shapes."""
    states: list[dict[str, Any]] = [m.state_dict() if isinstance(m, Module) else dict(m) for m in models]
    if not states:
        raise ValueError("average_weights: expected one or more models, got none")
    shapes = {k: np.shape(v) for k, v in states[0].items()}
    for i, state in enumerate(states):
        got = {k: np.shape(v) for k, v in state.items()}
        if got != shapes:
            wrong = next(k for k in {**shapes, **got} if shapes.get(k) != got.get(k))
            raise WeightsError(f"average_weights: expected '{wrong}' of shape {shapes.get(wrong)} as in model 0, got "
                               f"{got.get(wrong)} in model {i}")
    return {k: np.mean([s[k] for s in states], 0, np.float64).astype(last.dtype) if last.dtype.kind == "f" else last.copy()
            for k, last in ((k, np.asarray(v)) for k, v in states[-1].items())}


def update_bn(data: Any, model: Module, batch_size: int = CHUNK) -> None:
    """Make BatchNorm's running statistics those of `data` under the weights as they are: the mean over its batches.

    data: an array (N, ...), (x, y) or a Dataset; the weights and the modes stay. A last batch of a single sample is left out.
    PyTorch: torch.optim.swa_utils.update_bn."""
    if not isinstance(model, Module):
        raise TypeError(f"update_bn: expected data and then a Module, got {type(model).__name__}")
    norms: list[Any] = [m for m in model.modules() if getattr(m, "track_running_stats", False)]
    if not norms:
        return
    if isinstance(data, np.ndarray):
        data = (data, np.zeros(len(data), np.int64))
    momenta = [m.momentum for m in norms]
    with _evaluating(model):
        model.train()
        try:
            for m in norms:
                m.momentum = None                       # the mean of all batches since the count was 0
                m.num_batches_tracked.data[...] = 0
            for x, y in as_source(data, number_type(model)).batches(batch_size, shuffle=False, augment=False):
                if len(y) > 1:
                    model(x).numpy()
        finally:
            for m, momentum in zip(norms, momenta):
                m.momentum = momentum
