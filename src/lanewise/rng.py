"""Random numbers: from the seed that manual_seed gave, or from an rng= argument. NumPy's global state is not touched."""
import numpy as np

_generator = None               # made when it is first asked for: importing numpy.random is a third of importing lanewise


def manual_seed(seed):
    """Seed what lanewise draws from when no rng= is given: initial weights, shuffling."""
    global _generator
    _generator = np.random.default_rng(seed)


def as_rng(rng=None):
    """A Generator from None (the process's own), a seed or a Generator."""
    global _generator
    if rng is None:
        if _generator is None:
            _generator = np.random.default_rng()
        return _generator
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
