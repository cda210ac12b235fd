"""SentEval's classifier and its three validation schemes, one classifier at a time, as plainly as can be.

Written from the protocol (method: Adam on a linear layer, seed 1111, looks every four epochs, ten folds); slow.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn

STRENGTHS = [1e-5, 1e-4, 1e-3, 1e-2]
FOLDS = 10


def fit(x, y, classes, strength, dev=None, max_epoch=200, tenacity=5):
    """Train on x (n, d), y (n,); dev is (x, y) or None, which holds out 5 %. Returns (model, best dev accuracy)."""
    draw = np.random.RandomState(1111)  # the stream of np.random.seed(1111), which SentEval calls
    torch.manual_seed(1111)
    model = nn.Linear(x.shape[1], classes)
    adam = torch.optim.Adam(model.parameters(), weight_decay=strength)
    if dev is None:
        order = draw.permutation(len(x))
        cut = int(0.05 * len(x))
        dev = x[order[:cut]], y[order[:cut]]
        x, y = x[order[cut:]], y[order[cut:]]
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    best, best_model, fruitless, epoch = -1.0, None, 0, 0
    while epoch <= max_epoch:
        for _ in range(4):
            order = draw.permutation(len(x))
            for start in range(0, len(x), 64):
                rows = torch.from_numpy(order[start : start + 64])
                adam.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                adam.step()
            epoch += 1
        accuracy = score(model, *dev)
        if accuracy > best:
            best, best_model = accuracy, copy.deepcopy(model)
        else:
            if fruitless >= tenacity:
                break
            fruitless += 1
    return best_model, best


def score(model, x, y):
    with torch.no_grad():
        said = model(torch.from_numpy(x)).argmax(1).numpy()
    return float((said == y).mean())


def folds(y):
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=1111).split(np.zeros(len(y)), y))


def choose(x, y, classes):
    """Ten inner folds: the strength and its rounded development accuracy."""
    means = []
    for strength in STRENGTHS:
        scores = []
        for train, held in folds(y):
            _, best = fit(x[train], y[train], classes, strength, (x[held], y[held]))
            scores.append(best)
        means.append(round(100 * float(np.mean(scores)), 2))
    return STRENGTHS[int(np.argmax(means))], max(means)


def nested(x, y, classes=2):
    """MR, CR, SUBJ, MPQA: (dev accuracy, test accuracy)."""
    devs, tests = [], []
    for train, held in folds(y):
        strength, dev = choose(x[train], y[train], classes)
        model, _ = fit(x[train], y[train], classes, strength)
        devs.append(dev)
        tests.append(round(100 * score(model, x[held], y[held]), 2))
    return round(float(np.mean(devs)), 2), round(float(np.mean(tests)), 2)


def kfold(train, test, classes):
    """TREC, MRPC."""
    strength, dev = choose(*train, classes)
    model, _ = fit(*train, classes, strength)
    return dev, round(100 * score(model, *test), 2)


def split(train, dev, test, classes=2):
    """SST2."""
    means = [round(100 * fit(*train, classes, strength, dev)[1], 2) for strength in STRENGTHS]
    model, _ = fit(*train, classes, STRENGTHS[int(np.argmax(means))], dev)
    return max(means), round(100 * score(model, *test), 2)
