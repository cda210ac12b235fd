"""Which sentences share a batch: each is a negative of the others there, so the order decides how hard those are.

``shuffled`` is `Trainer`'s own order. ``families`` keeps the families of a corpus such as minimal-pairs together,
``neighbours`` puts sentences side by side that the untrained encoder embeds near each other, whatever the corpus.
Both are shuffled anew every epoch, by the seed alone.

Taught in notebooks/03_train.ipynb.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

__all__ = ["Families", "Neighbours"]


class _Ordered(Sampler[int], ABC):
    """An order of n rows, another one each epoch; a batch is the next ``batch_size`` of them."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins; `Trainer` does, after a resume too."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of rows."""
        return self.n

    def __iter__(self) -> Iterator[int]:
        """Yield the rows of this epoch."""
        return iter(self.order(np.random.default_rng((self.seed, self.epoch))).tolist())

    @abstractmethod
    def order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return every row once."""


class Families(_Ordered):
    """Families in random order, each whole and together: an anchor's batch holds what is hard to tell from it."""

    def __init__(self, families: Sequence[int], seed: int) -> None:
        """Keep the number of the family of each row."""
        super().__init__(len(families), seed)
        _, self.family = np.unique(families, return_inverse=True)

    def order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Sort the rows by a random rank of their family, the family's own by chance."""
        rank = rng.permutation(self.family.max() + 1)
        return np.lexsort((rng.random(self.n), rank[self.family]))


class Neighbours(_Ordered):
    """Batches of sentences that lie near each other: the leaves of a random projection tree (Dasgupta, Freund 2008).

    A node is cut across the line between two of its sentences, drawn at random, so that every leaf is one batch.
    It takes O(n d log n), where exact neighbours would take O(n² d), and other leaves every epoch come for nothing.
    """

    def __init__(self, embeddings: NDArray[np.float32], batch_size: int, seed: int) -> None:
        """Keep the embeddings (n, d), of any length."""
        super().__init__(len(embeddings), seed)
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        self.unit, self.batch_size = embeddings / np.maximum(norms, 1e-12), batch_size  # (n, d)

    def order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Cut the sentences in two until a batch is left; batches come in random order, a short one last."""
        nodes, leaves = [rng.permutation(self.n)], []
        while nodes:
            rows = nodes.pop()
            if len(rows) <= self.batch_size:
                leaves.append(rows)
                continue
            a, b = rows[:2]  # at random: rows are in random order
            middle = -(-len(rows) // self.batch_size) // 2 * self.batch_size
            cut = np.argsort(self.unit[rows] @ (self.unit[a] - self.unit[b]), kind="stable")
            nodes += [rng.permutation(rows[cut[:middle]]), rng.permutation(rows[cut[middle:]])]
        shuffled = [leaves[i] for i in rng.permutation(len(leaves))]
        return np.concatenate(sorted(shuffled, key=lambda leaf: len(leaf) < self.batch_size))
