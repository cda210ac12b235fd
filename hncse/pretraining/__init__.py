"""Sentences → a small BERT: own vocabulary, word vectors by counting, masked language modelling, a card.

hncse pretrain --source wikipedia --tokens 0 --out runs/kit-encoder        # the embedded encoder
hncse pretrain --source docstrings --out runs/toy --vocabulary 4096 --minutes 2

Interrupted runs go on from their last checkpoint when started again with the same arguments.

    text      vocabulary, batches, masks    loop      masked language modelling, resumed exactly
    vectors   counts of neighbours → word vectors → a BERT that starts from them
    run       settings, and all of it in a folder with a card
"""

from __future__ import annotations

from hncse.pretraining.run import PretrainingConfig, Text, count, main, prepare, pretrain, read_curve

__all__ = ["PretrainingConfig", "Text", "count", "main", "prepare", "pretrain", "read_curve"]
