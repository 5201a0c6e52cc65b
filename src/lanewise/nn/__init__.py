"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import init, penalty, utils
from .batchnorm import BatchNorm1d, BatchNorm2d, Dropout, Dropout2d
from .containers import ModuleDict, ModuleList
from .conv_transpose import ConvTranspose2d
from .embedding import Embedding
from .layer_norm import GroupNorm, LayerNorm
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Softmax
from .loss import (BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HingeLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss,
                   MultiMarginLoss, NLLLoss, SmoothL1Loss)
from .maxout import Maxout
from .module import Module, Sequential
from .resample import AdaptiveAvgPool2d, Upsample

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Conv2d",
           "ConvTranspose2d", "CrossEntropyLoss", "Dropout", "Dropout2d", "Embedding", "Flatten", "GroupNorm", "HingeLoss",
           "HuberLoss", "Identity", "KLDivLoss", "L1Loss", "LayerNorm", "Linear", "MSELoss", "MaxPool2d", "Maxout", "Module",
           "ModuleDict", "ModuleList", "MultiMarginLoss", "NLLLoss", "Parameter", "ReLU", "Sequential", "SmoothL1Loss",
           "Softmax", "Upsample", "init", "penalty", "utils"]
