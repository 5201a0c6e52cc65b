"""Optimizers and schedules, with PyTorch's names."""
from . import lr_scheduler
from .lr_scheduler import OneCycleLR
from .optimizer import SGD, Adam, Optimizer

__all__ = ["Adam", "OneCycleLR", "Optimizer", "SGD", "lr_scheduler"]
