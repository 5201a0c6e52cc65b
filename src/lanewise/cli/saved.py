"""MODEL: a file that `lanewise train` saved, with what its images must be."""
import numpy as np

from .. import io
from ..errors import WeightsError
from .sources import Expected


def about(dataset, model):
    """The metadata of a model that is trained on a Dataset: `size` is a number for square images, else [height, width]."""
    channels, height, width = dataset.shape
    normal = (dataset.mean, dataset.std) if dataset.scale else (None, None)
    return dict(model=model, shape=dict(channels=channels, size=height if height == width else [height, width],
                                        classes=dataset.n_classes), mean=normal[0], std=normal[1], classes=dataset.classes)


def read(path):
    """(model, Expected, metadata) of a file. WeightsError for one without what its images must be."""
    net, found = io.load(path), io.read(path)[1]
    try:
        shape, size = found["shape"], found["shape"]["size"]
        height, width = (size, size) if isinstance(size, int) else size
        channels, n = int(shape["channels"]), int(shape["classes"])
        normal = [None if found[k] is None else tuple(np.broadcast_to(found[k], channels).astype(float).tolist())
                  for k in ("mean", "std")]
        names = found.get("classes") or [str(i) for i in range(n)]
        if len(names) != n or min(channels, height, width) < 1:
            raise ValueError("names or sizes")
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{path}: expected a model that 'lanewise train' saved, got one without its images' shape, mean "
                           f"and std") from None
    return net, Expected(channels, (int(height), int(width)), names, *normal), found


def parameters(net):
    """How many numbers it has learnt."""
    return sum(p.data.size for p in net.parameters())
