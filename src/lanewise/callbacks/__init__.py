"""Callbacks of Trainer.fit(), with Keras's names and meanings: what happens beside training, and when it ends.

`logs` are the numbers so far: of a step its running means and "size", the samples in it; of an epoch what goes into history.
A callback may set `trainer.stop_training = True`, and may add numbers to an epoch's logs: history keeps them too. With
accumulate=k, k batches are one step, and callbacks see one batch."""
from __future__ import annotations

from .average import EMA
from .base import Callback, TerminateOnNaN
from .monitor import EarlyStopping, LearningRateScheduler, ModelCheckpoint
from .report import CSVLogger, ProgressBar, TensorBoard

__all__ = ["CSVLogger", "Callback", "EMA", "EarlyStopping", "LearningRateScheduler", "ModelCheckpoint", "ProgressBar",
           "TensorBoard", "TerminateOnNaN"]
