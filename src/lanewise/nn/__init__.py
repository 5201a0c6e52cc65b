"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import init, penalty, utils
from .batchnorm import BatchNorm1d, BatchNorm2d, Dropout, Dropout2d
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Softmax
from .loss import (BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HingeLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss,
                   MultiMarginLoss, NLLLoss, SmoothL1Loss)
from .module import Module, Sequential

__all__ = ["AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Conv2d", "CrossEntropyLoss", "Dropout",
           "Dropout2d", "Flatten", "HingeLoss", "HuberLoss", "Identity", "KLDivLoss", "L1Loss", "Linear", "MSELoss",
           "MaxPool2d", "Module", "MultiMarginLoss", "NLLLoss", "Parameter", "ReLU", "Sequential", "SmoothL1Loss", "Softmax",
           "init", "penalty", "utils"]
