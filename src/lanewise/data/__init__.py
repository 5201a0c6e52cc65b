"""Image sets: readers of files and folders, and batches that reach the engine without a copy, augmented on the way."""
from .augment import Augment
from .dataset import Batch, Dataset
from .folder import from_folder
from .readers import read_cifar10, read_idx, read_npz
from .sets import SETS, home, load, where
from .splits import split
from .pixels import statistics

__all__ = ["Augment", "Batch", "Dataset", "SETS", "from_folder", "home", "load", "read_cifar10", "read_idx", "read_npz", 
           "split", "statistics", "where"]
