"""Optimizers and schedules, with PyTorch's names."""
from . import lr_scheduler
from .first_order import SGD, Adagrad, Adam, Adamax, AdamW, RMSprop
from .lr_scheduler import OneCycleLR
from .optimizer import Optimizer
from .second_order import LBFGS, Newton

__all__ = ["Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Newton", "OneCycleLR", "Optimizer", "RMSprop", "SGD",
           "lr_scheduler"]
