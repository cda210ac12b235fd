"""An encoder and sentences → hard negatives out of a corpus, with guards against false ones and a report.

mined = mine(encoder, sentences)                                         # each sentence's nearest other one
mined = mine(encoder, sentences, guards=Guards(calibrated=0.05))         # no nearer than a paraphrase would be
print(mined.report); mined.triplets()                                    # datasets.Dataset: anchor, positive, negative

The search is exact. The in-batch miner of training is `hncse.miner`.
``python -m hncse.mining --corpus wikipedia --limit 100000 --out mined.parquet`` does it from the command line.

    corpus_miner  what is asked for, and the command line      guards       which neighbours may not be negatives
    neighbours    anchors, positives, corpus → nearest k       overlap      shared words and characters, quickly
    search        exact blocks of products, or faiss           calibration  a threshold read off the probe
    corpus        a list, or a stream larger than memory       result, report

Taught in notebooks/02_hard_negatives.ipynb.
"""

from hncse.mining.calibration import Calibration, calibrate
from hncse.mining.corpus_miner import SAMPLINGS, main, mine
from hncse.mining.guards import GUARDS, Guards
from hncse.mining.result import MinedCorpus, load, save

__all__ = ["GUARDS", "SAMPLINGS", "Calibration", "Guards", "MinedCorpus", "calibrate", "load", "main", "mine", "save"]
