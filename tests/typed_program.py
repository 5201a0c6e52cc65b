"""A user's program, for type checkers: test_typing.py runs mypy over it, strictly, and compares what it reveals."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import lanewise as lw
from lanewise import nn, ops, optim
from lanewise.graph import Value


class Net(nn.Module):
    """A module of one's own."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding="same", rng=0)
        self.blocks = nn.ModuleList([nn.ReLU(), nn.MaxPool2d(2)])
        self.head = nn.Linear(8 * 14 * 14, classes)
        self.scale = nn.Parameter(np.ones(classes, np.float32))

    def forward(self, x: Value) -> Value:
        x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return 2 * self.head(x.flatten(1)) * self.scale - 0.5


class Best(lw.callbacks.Callback):
    """A callback of one's own."""
    best = np.inf

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.best = min(self.best, float(logs["loss"]))


@lw.elementwise(derivative=lambda x: 2 * x)
def square(x: float) -> float:
    return x * x


def loop(model: nn.Module, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Training by hand."""
    loss_fn, optimizer = nn.CrossEntropyLoss(label_smoothing=0.1), optim.Adam(model.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.StepLR(optimizer, 10)
    loss = loss_fn(model(x), y) + 0.1 * nn.functional.mse_loss(model(x), np.zeros((len(x), 10), np.float32))
    reveal_type(loss)  # R: lanewise.loss.Loss
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    reveal_type(loss.item())  # R: float
    reveal_type(loss.correct)  # R: int
    reveal_type(next(model.parameters()).grad)  # R: NDArray[Any] | None
    return loss.item()


def train(path: str) -> dict[str, list[float]]:
    """Training by Trainer, files."""
    training, test = lw.data.load("fashion-mnist-mini")
    reveal_type(training)  # R: lanewise.data.dataset.Dataset
    model = Net(training.n_classes).train()
    reveal_type(model)  # R: typed_program.Net
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1, momentum=0.9), metrics=["top5"])
    history = trainer.fit(training.augmented(lw.data.Augment(shift=2)), epochs=2, batch_size=64, validation_data=test,
                          callbacks=[Best(), lw.callbacks.EarlyStopping(patience=2)], rng=0)
    reveal_type(trainer.evaluate(test))  # R: dict[str, float]
    reveal_type(trainer.predict(test))  # R: NDArray[Any]
    lw.save(model, path, {"epochs": 2})
    reveal_type(lw.load(path))  # R: lanewise.nn.module.Module
    reveal_type(lw.load(path, model=Net()))  # R: typed_program.Net
    reveal_type(lw.read(path)[0])  # R: dict[str, NDArray[Any]]
    reveal_type(lw.profile(model, test))  # R: lanewise.profiling.Profile
    reveal_type(lw.summary(model, (1, 28, 28)).rows[0].parameters)  # R: int
    reveal_type(lw.Ensemble([model, model.double()]).predict(test))  # R: NDArray[Any]
    return history


def values(model: nn.Module, x: NDArray[np.float32]) -> None:
    """Traced values."""
    v = model(x)
    reveal_type(v)  # R: lanewise.graph.Value
    reveal_type(v.numpy())  # R: NDArray[Any]
    reveal_type((1 - v) ** 2 / 3)  # R: lanewise.graph.Value
    reveal_type(v.mean())  # R: lanewise.loss.Loss
    reveal_type(v.mean(1))  # R: lanewise.graph.Value
    reveal_type(v.shape)  # R: tuple[int, ...]
    reveal_type(v.size(1))  # R: int
    reveal_type(v.argmax(1))  # R: NDArray[Any]
    reveal_type(lw.concat([v, lw.exp(v)]))  # R: lanewise.graph.Value
    reveal_type(square(v))  # R: lanewise.graph.Value
    reveal_type(nn.init.zeros_(next(model.parameters())))  # R: lanewise.parameter.Parameter
    reveal_type(lw.tensor(x, requires_grad=True).grad)  # R: NDArray[Any] | None
    reveal_type(lw.conv_output_size(28, 5))  # R: int
    reveal_type(lw.conv_output_size((28, 32), 5))  # R: tuple[int, ...]
    reveal_type(nn.TotalVariationLoss()(x))  # R: lanewise.loss.Loss
    reveal_type(lw.models.lenet5())  # R: lanewise.nn.module.Sequential


def arrays(x: NDArray[np.float32], w: NDArray[np.float32]) -> None:
    """Array functions."""
    y = ops.conv2d(x, w, stride=(2, 1), padding="valid")
    reveal_type(y)  # R: NDArray[Any]
    reveal_type(ops.conv2d_backward(y, x, w)[0])  # R: NDArray[Any]
    reveal_type(ops.max_pool2d(x, 2))  # R: NDArray[Any]
    reveal_type(ops.max_pool2d(x, 2, return_indices=True)[1])  # R: NDArray[Any]
    reveal_type(lw.metrics.accuracy([0, 1], [1, 1]))  # R: float


def estimate(x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
    """Estimators."""
    mlp = lw.MLPClassifier((32,), max_iter=5, random_state=0).fit(x, y)
    reveal_type(mlp)  # R: lanewise.estimators.mlp.MLPClassifier
    reveal_type(mlp.predict(x))  # R: NDArray[Any]
    reveal_type(lw.CNNRegressor(epochs=1).fit(x, y).predict(x))  # R: NDArray[Any]


def wrong(model: nn.Module, x: NDArray[np.float32]) -> None:
    """Errors that a type checker must see; an ignore that nothing needs is one itself."""
    lw.sumary(model, (1, 28, 28))  # type: ignore[attr-defined]
    nn.Linear("10", 3)  # type: ignore[arg-type]
    optim.Adam(model.parameters(), learning_rate=1e-3)  # type: ignore[call-arg]
    model(x).backward()  # type: ignore[attr-defined]
    lw.Trainer(x, nn.CrossEntropyLoss())  # type: ignore[arg-type]
    ops.relu(x, x)  # type: ignore[call-arg]
