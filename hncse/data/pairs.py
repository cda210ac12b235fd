"""Rows of (anchor, positive, hard negatives …): which columns they are, and NLI's triplets for SimCSE's recipe.

Taught in notebooks/02_hard_negatives.ipynb.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hncse.data.readers import Bad, Rows, Tally, pick_column
from hncse.errors import HncseError

__all__ = ["Columns", "is_table", "nli_triplets", "plain", "read_table", "read_tuples"]

#: Columns that sentence-transformers takes for labels and no inputs, and the figures that `hncse.mining` writes.
_LABELS, _FIGURES = ("label", "labels", "score", "scores"), "_similarity"


@dataclass(frozen=True)
class Columns:
    """Which columns of a source make a row.

    Attributes:
        names: Of the anchor, then of its positive where there is one, then of its hard negatives; None stands for the
            only column, or the one called ``text``.
        positive: Whether the second is the positive.
        in_order: All columns of text instead, in their order: anchor, positive, then hard negatives.
    """

    names: tuple[str | None, ...] = (None,)
    positive: bool = False
    in_order: bool = False

    @classmethod
    def of(
        cls, column: str | None, positives: str | None, negatives: str | Sequence[str] | None, pairs: bool
    ) -> Columns:
        """Complete what was asked for; in rows of several columns the anchor is in ``anchor``, if nothing is said.

        Raises:
            HncseError: A column is named twice, or columns are named that are to be taken in order.
        """
        hard = [negatives] if isinstance(negatives, str) else list(negatives or ())
        if pairs:
            if asked := [name for name in (column, positives, *hard) if name is not None]:
                raise HncseError(f"pairs takes all columns in their order; leave {asked[0]!r} out, or pairs")
            return cls(positive=True, in_order=True)
        others = [*([] if positives is None else [positives]), *hard]
        names = (column or "anchor" if others else column, *others)
        if len(set(names)) < len(names):
            raise HncseError(f"a column is named twice for one row: {', '.join(map(str, names))}")
        return cls(names, positives is not None)

    def named(self, columns: Sequence[str], first: Mapping[str, Any] | None, source: str, notes: Tally) -> list[str]:
        """The columns to read, out of those that are there; ``first`` is a row of values, to tell which are text."""
        if not self.in_order:
            keys = [pick_column(columns, name, source) for name in self.names]
            notes.unused(columns, keys)
            return keys
        keys = [name for name in columns if first is None or isinstance(first.get(name), str)]
        keys = [name for name in keys if name.lower() not in _LABELS and not name.lower().endswith(_FIGURES)]
        if len(keys) < 2:
            raise HncseError(
                f"{source} has {len(keys) or 'no'} column(s) of text ({', '.join(columns)}); a pair has two at least, "
                "anchor and positive"
            )
        roles = ["anchor", "positive", *["negative"] * (len(keys) - 2)]
        listed = ", ".join(f"{role} {key!r}" for role, key in zip(roles, keys, strict=True))
        notes.remarks.append(f"columns taken in their order: {listed}")
        notes.remarks += [f"column {name!r} is not used" for name in columns if name not in keys]
        return keys

    def has_positive(self) -> bool:
        """Whether rows are pairs at least."""
        return self.positive or self.in_order


def plain(text: str) -> str:
    """A text without what makes no difference: case, spacing, and how its characters are composed (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def is_table(rows: Any) -> bool:
    """Whether an object has named columns: a ``datasets.Dataset``, a ``DataFrame``, a list of dictionaries."""
    return hasattr(rows, "column_names") or hasattr(rows, "columns") or _is_record(rows)


def _is_record(rows: Any) -> bool:
    return isinstance(rows, Sequence) and len(rows) > 0 and isinstance(rows[0], Mapping)


def read_table(rows: Any, columns: Columns, notes: Tally) -> Rows:
    """Read the rows of an object for which `is_table` holds.

    Raises:
        HncseError: A set of several splits, or columns that are not there.
    """
    records = _is_record(rows)
    names = list(rows[0]) if records else getattr(rows, "column_names", None) or list(rows.columns)
    if isinstance(names, Mapping):
        raise HncseError(f"this dataset has the splits {', '.join(names)}; give one of them, as in dataset['train']")
    first = dict(rows[0]) if records else {name: next(iter(rows[name]), None) for name in names}
    keys = columns.named([str(name) for name in names], first, "what was given", notes)
    values = ([row.get(key) for row in rows] if records else rows[key] for key in keys)
    for number, row in enumerate(zip(*values, strict=True), 1):
        yield number, tuple(value if isinstance(value, str) else Bad("no text in the record") for value in row)


def read_tuples(rows: Iterable[Any]) -> Rows:
    """Read rows given as tuples or lists of texts: anchor, positive, hard negatives …; None for a text is a gap.

    Raises:
        HncseError: Rows of different lengths, or of one text.
    """
    width = 0
    for number, row in enumerate(rows, 1):
        if not isinstance(row, tuple | list) or len(row) != (width or len(row)) or len(row) < 2:
            seen = f"{len(row)} texts" if isinstance(row, tuple | list) else f"a {type(row).__name__}"
            right = f"{width}, as the first has" if width else "two at least: anchor, positive, hard negatives …"
            raise HncseError(f"row {number} of what was given has {seen}; every row must have {right}")
        width = len(row)
        yield number, tuple(Bad("no text in the record") if text is None else text for text in row)


def nli_triplets(rows: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Make triplets of natural language inference, as SimCSE does (arXiv:2104.08821, section 4).

    Args:
        rows: (premise, hypothesis, label), the label ``entailment``, ``neutral`` or ``contradiction``.

    Yields:
        (premise, a hypothesis that it entails, one that contradicts it), for each entailment of a premise that has a
        contradiction; where it has several, they take turns.
    """
    entailed, contradicting = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for premise, hypothesis, label in rows:
        if label in ("entailment", "contradiction"):
            (entailed if label == "entailment" else contradicting)[premise].append(hypothesis)
    for premise, hypotheses in entailed.items():
        if hard := contradicting.get(premise):
            yield from ((premise, text, hard[i % len(hard)]) for i, text in enumerate(hypotheses))
