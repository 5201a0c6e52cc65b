"""Random numbers: from the seed that manual_seed gave, or from an rng= argument. NumPy's global state is not touched."""
from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._types import Seed

# made when it is first asked for: importing numpy.random is a third of importing lanewise
_generator: np.random.Generator | None = None
_within: ContextVar[np.random.Generator | None] = ContextVar("lanewise.rng", default=None)


def manual_seed(seed: Any) -> None:
    """Seed what lanewise draws from when no rng= is given: initial weights, shuffling."""
    global _generator
    _generator = np.random.default_rng(seed)


@contextmanager
def drawing_from(rng: Seed) -> Iterator[None]:
    """Within it, and in this thread alone, what has no rng= draws from `rng`: estimators side by side keep their seeds, and
    the process's own generator stays as it is."""
    token = _within.set(as_rng(rng))
    try:
        yield
    finally:
        _within.reset(token)


def as_rng(rng: Seed = None) -> np.random.Generator:
    """A Generator from None (the process's own), a seed or a Generator."""
    global _generator
    if rng is None:
        rng = _within.get()
    if rng is None:
        if _generator is None:
            _generator = np.random.default_rng()
        return _generator
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
