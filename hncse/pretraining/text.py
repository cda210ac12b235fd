"""Text for masked language modelling: vocabulary, word pieces, batches of similar length, masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SPECIAL", "Tokens", "assemble", "batches", "learn_vocabulary", "mask", "save_tokenizer", "tokenise"]

#: Word pieces without a meaning of their own; they come first in every vocabulary.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
LONGEST = 128  # positions of the model
IGNORE = -100
_LETTERS = 200  # letters kept; rare scripts become [UNK]: a few pieces in ten thousand, and room for words
_PART = 20_000  # sentences tokenised at once


def learn_vocabulary(sentences: Sequence[str], size: int) -> list[str]:
    """Learn a lower-cased WordPiece vocabulary: at most ``size`` pieces in the order of their ids, `SPECIAL` first."""
    from tokenizers import trainers

    tokenizer = _word_piece(None)
    letters = _alphabet(sentences, _LETTERS, tokenizer.normalizer)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        # the trainer numbers "##a" and its like in the order of a hash map, and breaks ties between pieces by number:
        # named here, they have their places before it looks, and the same text gives the same vocabulary
        special_tokens=[*SPECIAL, *(f"##{letter}" for letter in letters if letter.isalnum())],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        min_frequency=2 if len(sentences) < 100_000 else 5,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    found: dict[str, int] = tokenizer.get_vocab()
    return sorted(found, key=found.__getitem__)


def _alphabet(sentences: Sequence[str], most: int, normaliser: Any) -> list[str]:
    """The most frequent letters, sorted; of two as frequent the first in Unicode's order."""
    counts: Counter[str] = Counter()
    for start in range(0, len(sentences), 1000):
        counts.update(normaliser.normalize_str(" ".join(sentences[start : start + 1000])))
    ranked = sorted((letter for letter in counts if not letter.isspace()), key=lambda letter: (-counts[letter], letter))
    return sorted(ranked[:most])


def _word_piece(vocabulary: Sequence[str] | None) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    ids = {"vocab": {piece: i for i, piece in enumerate(vocabulary)}} if vocabulary else {}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", **ids))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def save_tokenizer(vocabulary: Sequence[str], folder: Path, max_length: int = LONGEST) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and ``vocab.txt``, loadable by ``AutoTokenizer``."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "vocab.txt"
    listing.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(listing), do_lower_case=True, model_max_length=max_length)
    tokenizer.save_pretrained(folder)
    listing.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Tokens:
    """A tokenised corpus: ``ids`` (M,) uint16 one sentence after the other, ``lengths`` (n,) int32."""

    ids: NDArray[np.uint16]
    lengths: NDArray[np.int32]
    inside: NDArray[np.bool_]  # (V,) whether a word piece continues a word ("##…")

    @property
    def starts(self) -> NDArray[np.int64]:
        """(n,) position of each sentence's first word piece."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)[:-1]])


def tokenise(sentences: Sequence[str], vocabulary: Sequence[str]) -> Tokens:
    """Turn sentences into ids of word pieces, 2 bytes each, without special ones; a vocabulary has at most 65,536."""
    tokenizer = _word_piece(vocabulary)
    ids, lengths = [np.zeros(0, dtype=np.uint16)], []
    for start in range(0, len(sentences), _PART):
        part = list(sentences[start : start + _PART])
        encoded = [e.ids for e in tokenizer.encode_batch(part, add_special_tokens=False)]
        lengths += [len(e) for e in encoded]
        ids.append(np.fromiter((i for e in encoded for i in e), dtype=np.uint16, count=sum(map(len, encoded))))
    inside = np.array([piece.startswith("##") for piece in vocabulary])
    return Tokens(np.concatenate(ids), np.array(lengths, dtype=np.int32), inside)


def batches(tokens: Tokens, budget: int, max_length: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Split one pass over the corpus, the ``epoch``-th, into batches of similar lengths.

    Args:
        tokens: The corpus.
        budget: Most word pieces in a batch, padding and special pieces included.
        max_length: Word pieces a sentence at most, special ones included.
        seed: Seed of the order, which is another in each epoch.
        epoch: Number of the pass.

    Returns:
        Arrays of sentence numbers, every non-empty sentence once.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(np.flatnonzero(tokens.lengths > 0))
    lengths = np.minimum(tokens.lengths + 2, max_length)
    out = []
    for pool in np.array_split(order, max(1, len(order) // 16_384)):
        ranked = pool[np.argsort(lengths[pool], kind="stable")]
        start = 0
        while start < len(ranked):
            stop = start + 1
            while stop < len(ranked) and (stop + 1 - start) * lengths[ranked[stop]] <= budget:
                stop += 1
            out.append(ranked[start:stop])
            start = stop
    return [out[i] for i in rng.permutation(len(out))]


def assemble(tokens: Tokens, starts: NDArray[np.int64], rows: NDArray[np.int64], max_length: int) -> NDArray[np.int64]:
    """Pad sentences into (B, L) ids with [CLS] and [SEP]."""
    kept = np.minimum(tokens.lengths[rows], max_length - 2)
    out = np.full((len(rows), int(kept.max()) + 2), PAD, dtype=np.int64)
    column = np.arange(int(kept.max()))
    inside = column < kept[:, None]  # (B, L - 2)
    out[:, 0] = CLS
    out[:, 1:-1][inside] = tokens.ids[(starts[rows, None] + column)[inside]]
    out[np.arange(len(rows)), kept + 1] = SEP
    return out


def mask(
    ids: NDArray[np.int64], inside: NDArray[np.bool_], share: float, n_types: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hide whole words, one a batch at least: 80 % become [MASK], 10 % a random piece, 10 % stay (as BERT).

    Args:
        ids: (B, L) word pieces with special ones.
        inside: (V,) which pieces continue a word; a word's pieces are hidden together.
        share: Share of the words to hide.
        n_types: Size of the vocabulary V.
        rng: Source of the draws.

    Returns:
        The input (B, L) and the targets (B, L): the piece where one is to be predicted, -100 elsewhere.
    """
    ordinary = (ids >= len(SPECIAL)) | (ids == UNK)
    first = ordinary & ~inside[ids]
    word = np.cumsum(first.ravel() | ~ordinary.ravel()).reshape(ids.shape)  # a number for every word
    drawn = rng.random(int(word.max()) + 1) < share
    chosen = drawn[word] & ordinary
    if not chosen.any() and ordinary.any():
        chosen.ravel()[np.flatnonzero(ordinary)[rng.integers(ordinary.sum())]] = True
    targets = np.where(chosen, ids, IGNORE)
    fate = rng.random(ids.shape)
    shown = np.where(chosen & (fate < 0.8), MASK, ids)
    swap = chosen & (fate >= 0.8) & (fate < 0.9)
    return np.where(swap, rng.integers(len(SPECIAL), n_types, ids.shape), shown), targets
