"""Image sets: readers of the published formats, and batches that reach the engine without a copy."""
from .dataset import Batch, Dataset
from .readers import read_cifar10, read_idx, read_npz
from .sets import SETS, home, load, where

__all__ = ["Batch", "Dataset", "SETS", "home", "load", "read_cifar10", "read_idx", "read_npz",
           "where"]
