"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import init, penalty, utils
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Softmax
from .loss import (BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HingeLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss,
                   MultiMarginLoss, NLLLoss, SmoothL1Loss)
from .module import Module, Sequential

__all__ = ["AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "Conv2d", "CrossEntropyLoss", "Flatten", "HingeLoss", "HuberLoss",
           "Identity", "KLDivLoss", "L1Loss", "Linear", "MSELoss", "MaxPool2d", "Module", "MultiMarginLoss", "NLLLoss",
           "Parameter", "ReLU", "Sequential", "SmoothL1Loss", "Softmax", "init", "penalty", "utils"]
