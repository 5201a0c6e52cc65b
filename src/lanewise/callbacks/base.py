"""The base of callbacks, and how fit() calls them."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NonFiniteError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..nn.module import Module
    from ..train import Trainer


def check_every(owner: str, name: str, value: Any) -> None:
    """ValueError unless value is "epoch" or a number of steps."""
    if value != "epoch" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{owner}: expected {name} to be 'epoch' or a number of steps of 1 or more, got {value!r}")


class Callback:
    """The base: write the methods that are needed. `self.trainer`, `self.model`, `self.params` ({"epochs", "steps" of an
    epoch, "samples", "validation", "verbose"}; None where data does not tell) are there while fit() runs."""
    trainer: Any                            # the Trainer
    params: dict[str, Any]
    trainer, params = None, {}
    first = False                       # called before the others

    @property
    def model(self) -> Module:
        """The model that is trained."""
        found: Module = self.trainer.model
        return found

    def on_train_begin(self) -> None:
        """Before the first epoch, and before load_state_dict() of a run that is resumed."""

    def on_train_end(self) -> None:
        """After the last epoch, also where training was stopped."""

    def on_train_error(self, error: BaseException) -> bool | None:
        """When NonFiniteError, Ctrl-C or another error ends training, after which there is no on_train_end(); returning True
        makes it an ordinary end. The epoch that ran is not in history."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before the first step of epoch 0, 1, ...; not again where a run is resumed in the middle of one."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """After the epoch's steps and validation, when history has its numbers."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """After optimizer step 0, 1, ... of the epoch."""

    def on_test_begin(self) -> None:
        """Before validation."""

    def on_test_end(self, logs: dict[str, Any]) -> None:
        """After validation."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: JSON-able values with string keys, and NumPy arrays."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what state_dict() gave."""


class CallbackList:
    """The callbacks of one fit(), called in their order, but `first` ones before the others."""

    def __init__(self, callbacks: Iterable[Callback], trainer: Trainer, params: dict[str, Any]) -> None:
        for c in callbacks:
            if not isinstance(c, Callback):
                raise TypeError(f"Trainer.fit: expected callbacks, instances of lanewise.callbacks.Callback, got {c!r}")
        self.callbacks = sorted(callbacks, key=lambda c: not c.first)
        for c in self.callbacks:
            c.trainer, c.params = trainer, params

    def __len__(self) -> int:
        return len(self.callbacks)

    def call(self, method: str, *args: Any) -> None:
        """Call a method of each."""
        for c in self.callbacks:
            getattr(c, method)(*args)

    def handled(self, error: BaseException) -> bool:
        """Tell each of an error; whether one of them has dealt with it."""
        return any([c.on_train_error(error) for c in self.callbacks])

    def state_dict(self) -> list[Any]:
        """[name, state] of each."""
        return [[type(c).__name__, c.state_dict()] for c in self.callbacks]

    def check(self, states: Any) -> None:
        """WeightsError if what state_dict() gave is of other callbacks."""
        names, own = [name for name, _ in states], [type(c).__name__ for c in self.callbacks]
        if names != own:
            raise WeightsError(f"the run had the callbacks {', '.join(names) or 'none'}, expected these again, got "
                               f"{', '.join(own) or 'none'}")

    def load_state_dict(self, states: Any) -> None:
        """Take what state_dict() gave."""
        for c, (_, state) in zip(self.callbacks, states):
            c.load_state_dict(state)


class TerminateOnNaN(Callback):
    """Makes NonFiniteError an ordinary end: fit() returns its history, and the error is kept in `error`.

    Without it fit() raises the error. Either way the step that was not finite is not made, the weights are those before it,
    and the epoch is not in history: Keras, which has made the step by then, keeps both."""
    error: BaseException | None = None

    def on_train_begin(self) -> None:
        """Forget the last fit()'s error."""
        self.error = None

    def on_train_error(self, error: BaseException) -> bool:
        """Keep a NonFiniteError."""
        if isinstance(error, NonFiniteError):
            self.error = error
        return self.error is error
