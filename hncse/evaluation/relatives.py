"""HNM's relatives, measured: which is only a colder softmax, and what each is worth at its own best temperature.

    print(trained().to_markdown())      # each at its best τ, against SimCSE at its own, verdicts and equivalences
    gradients()                         # the SimCSE temperature each one's gradient is most like

Rows are recorded by `benchmarks.relatives` and `benchmarks.relatives_training`.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from hncse.evaluation import results, statistics, tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["along", "gradients", "nearest", "recorded", "trained"]


def gradients() -> pd.DataFrame:
    """Rows of `benchmarks.relatives`: stage, preset, tau, alike, alike_sd, cosine, length; its docstring says what."""
    return _read("relatives")


def nearest(tau: float = 0.1) -> pd.DataFrame:
    """Of each preset at τ, the most alike first: the SimCSE temperature its gradient is nearest to, and how near.

    PM's presets are left out: on the embedded encoder every anchor is in case B, and PM is SimCSE.

    Returns:
        A row a preset, its name the index: ``alike`` and ``cosine`` before any training, ``alike_after`` and
        ``cosine_after`` one epoch, ``length`` of the gradient in units of SimCSE's at the same τ, before.
    """
    rows = gradients()
    rows = rows[(rows["tau"] == tau) & ~rows["preset"].str.startswith(("pm-", "pm+", "hnm-as"))].set_index("preset")
    first, last = (rows[rows["stage"] == stage] for stage in ("untrained", "one epoch"))
    both = first[["alike", "cosine", "length"]].join(last[["alike", "cosine"]], rsuffix="_after")
    return both.sort_values("cosine", ascending=False)


def along() -> pd.DataFrame:
    """The same columns, each preset at its best τ in its own training; stages start, middle (step 50), end."""
    return _read("relatives_along")


def recorded() -> pd.DataFrame:
    """Runs of `benchmarks.relatives_training` and, of one setting, SimCSE's and HNM's of the sweep; a tidy table.

    Of each preset the τ with its best dev score over the seeds that all of its τ have.
    """
    frame = _all()
    return frame[frame["group"].isin(statistics.tuned(frame))]


def trained() -> tables.Table:
    """Each preset at its own best τ, chosen on STS-B dev, then read on test; `hncse.evaluation.tables.tuned`."""
    return tables.tuned(_all())


def _all() -> pd.DataFrame:
    import pandas as pd

    frame = pd.concat(map(results.recorded, ("sweep", "relatives_training")), ignore_index=True)
    return frame.drop_duplicates(["group", "seed", "measure", "solver"])  # both hold the untrained encoder


def _read(name: str) -> pd.DataFrame:
    import pandas as pd

    with resources.as_file(resources.files("hncse.data") / "results" / f"{name}.csv") as path:
        return pd.read_csv(path)
