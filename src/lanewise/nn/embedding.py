"""Embedding, with PyTorch's names, arguments and initialisation."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import apply
from ..nodes import embedding
from ..parameter import Parameter
from ..rng import as_rng
from ._check import count
from .module import Module

if TYPE_CHECKING:
    from .._types import Operand, Seed
    from ..graph import Value


class Embedding(Module):
    """Rows of a table by index, integers (N, ...) -> (N, ..., embedding_dim): y[n, t] = weight[x[n, t]].

    weight (num_embeddings, embedding_dim) from N(0, 1). The row padding_idx, counted from the end where negative, starts at
    zero and gets no gradient. RangeError for an index outside 0 .. num_embeddings - 1, when the step runs; DtypeError for an
    input that is no array of integers (int32, int64, ...; uint8 is for images)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, rng: Seed = None) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = count(num_embeddings, "num_embeddings"), count(embedding_dim, "embedding_dim")
        if padding_idx is not None and not -self.num_embeddings <= padding_idx < self.num_embeddings:
            raise ValueError(f"padding_idx: expected a row of {num_embeddings}, got {padding_idx!r}")
        self.padding_idx = None if padding_idx is None else int(padding_idx) % self.num_embeddings
        self.weight = Parameter(as_rng(rng).standard_normal((self.num_embeddings, self.embedding_dim)).astype(np.float32))
        if padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, x: Operand) -> Value:
        """(N, ...) -> (N, ..., embedding_dim)."""
        return apply(embedding.Embedding(self.weight, self.padding_idx), x)

    def extra_repr(self) -> str:
        """The arguments."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
