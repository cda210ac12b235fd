"""Published figures, copied as facts, each row with where it was read.

``sts``: average and single tasks of sentence encoders on the seven STS tasks, Spearman ×100. ``transfer``: accuracy
×100 on SentEval's seven transfer tasks; rows whose method begins with DEV-SET are no test results. ``seed_runs``:
unsupervised SimCSE trained 50 times on each of four backbones (github hppRC/simple-simcse @f9786c9), a row a run.
Averages are as printed; a few sources rounded otherwise or average over more digits than they print.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hncse.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TABLES", "load"]

#: Names of the tables.
TABLES: tuple[str, ...] = ("sts", "transfer", "seed_runs")


def load(name: str) -> pd.DataFrame:
    """Load one of `TABLES` of published figures; a figure its source does not give is NaN.

    Returns:
        A row for each result: ``method`` (``run`` in seed_runs), ``backbone``, a column for each task, ``avg``,
        ``source``.
    """
    if name not in TABLES:
        raise unknown("table of published figures", name, TABLES)
    import pandas as pd

    return pd.read_csv(Path(__file__).parent / f"{name}.csv")
