"""The random state of whoever calls: no public function may change it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import sklearn.linear_model  # noqa: F401  its first import draws from `random`
import torch


def _state() -> tuple[object, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  the global state is what is looked at
    return torch.get_rng_state().tolist(), random.getstate(), name, keys.tolist(), *rest


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Fail where the block leaves torch's, numpy's or Python's global random state other than it was."""
    before = _state()
    yield
    assert _state() == before
