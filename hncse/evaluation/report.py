"""Judge a finished run: the trained encoder beside the same encoder before training, on the probe and on STS.

Writes into the run folder, and reads from there what is already done:

    probe.json, sts.json    the trained encoder
    transfer.json           the trained encoder, where `judge_transfer` was asked for it
    baseline.json           the encoder before training: [CLS] (unless causal), mean and the run's own pooling; transfer
                            with the run's own
    summary.md              all of it as tables; `hncse runs latest` prints it
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse import files, runs
from hncse.data import probe as data_probe
from hncse.data import senteval
from hncse.data.text import markdown, table
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError, unknown
from hncse.evaluation import percent, probe, sts, transfer
from hncse.evaluation.results import STS, TRANSFER, method_name, transfer_results, transfer_solver
from hncse.runs import Run

__all__ = ["MODES", "before_and_after", "judge", "judge_transfer", "judged", "planes", "run_summary", "transfer_of"]

#: "auto": STS where its files are; "fetch": download them once; "all": the transfer tasks as well, files fetched where
#: they are missing; "probe": only the embedded probe.
MODES = ("auto", "fetch", "all", "probe")
_BOOTSTRAP = 200  # resamples behind STS intervals; the command line of hncse.evaluation.sts takes more

Rows = NDArray[np.float32]


def judge(run: Run, evaluate: str = "auto", *, show_progress: bool | None = None) -> Run:
    """Score a run; write probe.json, baseline.json, summary.md and, as ``evaluate`` (of `MODES`) says, more.

    Raises:
        HncseError: An unknown mode, an unfinished run, "fetch" without a network, or an encoder that is no longer the
            one the run began with.
    """
    if evaluate not in MODES:
        raise unknown("value of evaluate", evaluate, MODES)
    if not run.finished:
        raise HncseError(f"run {run.name!r} is not finished; train again with the same values to resume it")
    if evaluate in ("fetch", "all"):
        senteval.fetch(evaluate == "all")
    with_sts = evaluate != "probe" and senteval.sts_present()
    _judge_trained(run, with_sts, show_progress)
    _judge_before(run, with_sts, show_progress)
    files.write_text(run.path / "summary.md", run_summary(run))
    return judge_transfer(run) if evaluate == "all" else run


def judge_transfer(run: Run, solver: str = "senteval", **settings: Any) -> Run:
    """Score a finished run on the transfer tasks, after training and before, and write both; what is there stays.

    ``solver`` and ``settings`` (batch_size, cache, device, on_task) are those of
    `hncse.evaluation.transfer.evaluate_full`, errors likewise. The result is transfer.json and an entry of
    baseline.json; where another solver's has that name already, transfer_<solver>.json: which solver a result is of,
    its content says.
    """
    if not run.finished:
        raise HncseError(f"run {run.name!r} is not finished; train again with the same values to resume it")
    pooling, known = run.config["pooling"], transfer_results(run)
    if transfer_of(known, solver) is None:
        run.write(_free_name(known, solver), transfer.evaluate_full(run.load_encoder(), None, solver, **settings))
    baseline = run.read("baseline") if run.has("baseline") else _empty_baseline(run)
    before = baseline["poolings"].setdefault(pooling, {})
    if transfer_of(before, solver) is None:
        elsewhere = (transfer_of(known.get(pooling, {}), solver) for known in _elsewhere(run))
        scores = next(filter(None, elsewhere), None)
        if scores is None:
            scores = transfer.evaluate_full(_untrained(run), None, solver, **settings)
        before[_free_name(before, solver)] = scores
        run.write("baseline", baseline)
    if run.has("probe"):
        files.write_text(run.path / "summary.md", run_summary(run))
    return run


def transfer_of(known: Mapping[str, Any], solver: str) -> dict[str, Any] | None:
    """The transfer result of a solver among results by name, such as a run's files or a baseline's entries."""
    named = (result for name, result in known.items() if name.startswith("transfer"))
    return next((result for result in named if transfer_solver(result) == solver), None)


def _free_name(known: Mapping[str, Any], solver: str) -> str:
    return f"transfer_{solver}" if "transfer" in known else "transfer"


def judged(run: Run, test: bool = True, transfer: bool = False, solver: str = "senteval") -> bool:
    """Say whether `judge` (with STS where its files are) and `judge_transfer` would find nothing left to do."""
    if not (run.finished and run.has("baseline") and (run.path / "summary.md").is_file()):
        return False
    with_sts = test and senteval.sts_present()
    known = {name: run.read(name) for name in ("probe", "sts") if run.has(name)}
    poolings = run.read("baseline")["poolings"]
    if not (_complete(known, with_sts) and _all_complete(poolings, run, with_sts)):
        return False
    if not transfer:
        return True
    before = poolings.get(run.config["pooling"], {})
    return all(transfer_of(known, solver) is not None for known in (transfer_results(run), before))


def planes(run: Run) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The probe's similarity planes before training (with the run's pooling) and after, for `hncse.visual.figures`."""
    before, after = (probe.similarity_plane(encoder) for encoder in before_and_after(run).values())
    return before, after


def before_and_after(run: Run) -> dict[str, SentenceEncoder]:
    """Load the encoder a run began with, with its pooling, and the trained one; HncseError if it is another now."""
    return {"before training": _untrained(run), "after training": run.load_encoder()}


def _untrained(run: Run) -> SentenceEncoder:
    """The encoder the run began with, not merely one of the same name."""
    name = run.config["parameters"]["encoder"]
    cut = {key: run.config["parameters"].get(key) for key in ("layers", "bidirectional")}
    encoder = SentenceEncoder.from_pretrained(name, run.config["pooling"], **cut)
    if encoder.fingerprint() != run.config["encoder_fingerprint"]:
        raise HncseError(
            f"run {run.name!r} began with another {name!r} than the one here now: its weights or its tokenizer have "
            "changed since. Train again, and before and after can be compared"
        )
    return encoder


class _Shown:
    """An encoder whose progress bar is decided once."""

    def __init__(self, encoder: SentenceEncoder, show_progress: bool | None) -> None:
        self.pooling, self._encoder, self._show = encoder.pooling, encoder, show_progress

    def encode(self, sentences: list[str]) -> Rows:
        return self._encoder.encode(sentences, show_progress=self._show)


def _scores(encoder: Any, with_sts: bool, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Probe and STS results; those among ``known`` that are still good stay."""
    found = {name: value for name, value in (known or {}).items() if name != "probe" or _current(value)}
    if "probe" not in found:
        found["probe"] = probe.evaluate(encoder)
    if with_sts and "sts" not in found:
        found["sts"] = sts.evaluate_full(encoder, bootstrap=_BOOTSTRAP)
    return found


def _judge_trained(run: Run, with_sts: bool, show_progress: bool | None) -> None:
    known = {name: run.read(name) for name in ("probe", "sts") if run.has(name)}
    if _complete(known, with_sts):
        return
    for name, content in _scores(_Shown(run.load_encoder(), show_progress), with_sts, known).items():
        if content is not known.get(name):
            run.write(name, content)


def _current(result: Mapping[str, Any]) -> bool:
    """Whether a probe result is of the probe that is embedded now."""
    return result.get("fingerprint") == data_probe.fingerprint(data_probe.load())


def _judge_before(run: Run, with_sts: bool, show_progress: bool | None) -> None:
    """Complete baseline.json, with scores of other runs that began with the very same encoder where they have some.

    What is there stays, whatever another run has: scores are merged pooling by pooling and measure by measure.
    """
    own = run.read("baseline")["poolings"] if run.has("baseline") else {}
    poolings = {name: dict(scores) for name, scores in own.items()}
    if not _all_complete(poolings, run, with_sts):
        for other in _elsewhere(run):
            _merge(poolings, {name: scores for name, scores in other.items() if name in _poolings(run)})
    if not _all_complete(poolings, run, with_sts):
        encoder = _untrained(run)
        for pooling in _poolings(run):
            pooled = encoder if pooling == encoder.pooling else _pooled(encoder, pooling)
            poolings[pooling] = _scores(_Shown(pooled, show_progress), with_sts, poolings.get(pooling))
    if poolings != own:
        run.write("baseline", _empty_baseline(run) | {"poolings": poolings})


def _merge(own: dict[str, dict[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> None:
    """Add another baseline's scores; of a probe that is embedded no more they count as none."""
    for pooling, scores in other.items():
        mine = own.setdefault(pooling, {})
        for name, result in scores.items():
            if name not in mine or (name == "probe" and not _current(mine[name]) and _current(result)):
                mine[name] = result


def _empty_baseline(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "encoder": config["parameters"]["encoder"],
        "encoder_fingerprint": config["encoder_fingerprint"],
        "poolings": {},
    }


def _elsewhere(run: Run) -> list[dict[str, Any]]:
    """Baselines (pooling → scores) of the other runs that began with the very same encoder."""
    weights = run.config["encoder_fingerprint"]
    others = [other for other in runs.list_runs(run.path.parent) if other.has("baseline") and other.name != run.name]
    return [other.read("baseline")["poolings"] for other in others if other.config["encoder_fingerprint"] == weights]


def _poolings(run: Run) -> tuple[str, ...]:
    """Poolings of the encoder before training that stand beside the run: [CLS] where it reads on, mean, and its own."""
    raw = ("mean",) if run.config.get("causal") else ("cls", "mean")
    return tuple(dict.fromkeys((*raw, run.config["pooling"])))


def _pooled(encoder: SentenceEncoder, pooling: str) -> SentenceEncoder:
    """The same encoder with another pooling."""
    return SentenceEncoder(encoder.backbone, encoder.tokenizer, pooling, encoder.max_length).eval()


def _all_complete(poolings: Mapping[str, Mapping[str, Any]], run: Run, with_sts: bool) -> bool:
    return all(_complete(poolings.get(name, {}), with_sts) for name in _poolings(run))


def _complete(scores: Mapping[str, Any], with_sts: bool) -> bool:
    needed = {"probe", "sts"} if with_sts else {"probe"}
    return needed <= scores.keys() and _current(scores["probe"])


# What `make train` prints at its end


def run_summary(run: Run) -> str:
    """Describe a finished, judged run in Markdown: what it was, and its scores beside the untrained encoder's."""
    config, result = run.config, run.result
    p, data = config["parameters"], config["data"]
    kept = f"step {result['kept_step']} kept"
    kept += f" (best STS-B dev: {result['stsb_dev']:.2f})" if result["stsb_dev"] is not None else " (the last)"
    parts = [
        f"# {markdown(run.name)}",
        f"{markdown(method_name(p))} on {markdown(p['encoder'])}, pooling {config['pooling']}, {data['sentences']:,} "
        f"sentences from {markdown(data['source'])}, seed {config['seed']}: {result['steps']} steps in "
        f"{result['seconds']:.0f} s on {result['device']}, {kept}.",
    ]
    rows = _summary_rows(run)
    parts += _probe_part([row for row in rows if "probe" in row[2]])
    if run.has("sts"):
        parts += _sts_part([row for row in rows if "sts" in row[2]])
    else:
        parts.append(
            'STS was not evaluated: its files are not here, or `evaluate` was "probe". `-p evaluate fetch` downloads '
            "them once."
        )
    parts += _transfer_part(run)
    return "\n\n".join(parts) + "\n"


def _summary_rows(run: Run) -> list[tuple[str, str, dict[str, Any]]]:
    """(name, pooling, scores) of the encoder before and after training."""
    baseline, own = run.read("baseline")["poolings"] if run.has("baseline") else {}, run.config["pooling"]
    order = sorted(baseline, key=lambda pooling: (pooling == own, pooling))
    rows = [("before training", pooling, baseline[pooling]) for pooling in order]
    after = {name: run.read(name) for name in ("probe", "sts") if run.has(name)}
    return [*rows, ("after training", own, after)]


def _probe_part(rows: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    first = rows[-1][2]["probe"]
    text = (
        f"Probe ({first['groups']} groups, {first['sentences']:,} sentences), 95 % bootstrap intervals over groups. "
        "Spearman × 100 with the grades; % of hard negatives that the paraphrase outranks (50 is chance)."
    )
    body = []
    for name, pooling, scores in rows:
        found = scores["probe"]
        shares = [found["triplet_accuracy"][name] for name in ("close", "far")]
        told = [percent(share["value"], share["interval"]) for share in shares]
        body.append([name, pooling, percent(found["spearman"], found["spearman_interval"]), *told])
    return [text, table(["", "pooling", "Spearman", "close paraphrase", "far paraphrase"], body, left=2)]


def _sts_part(rows: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    body = []
    for name, pooling, scores in rows:
        tasks = [_score(scores["sts"]["tasks"][task]["all"]) for task in STS]
        body.append([name, pooling, *tasks, _score(scores["sts"]["avg"])])
    span = rows[-1][2]["sts"]["avg_interval"]
    text = 'STS, test split, Spearman × 100, "all" aggregation, one seed.'
    if span:
        text += (
            f" 95 % interval of the last average over sentence pairs: [{span[0]:.2f}, {span[1]:.2f}]; another seed "
            "moves it, too (notebook 05)."
        )
    return [text, table(["", "pooling", *STS, "avg"], body, left=2)]


def _transfer_part(run: Run) -> Iterator[str]:
    own = run.config["pooling"]
    before = run.read("baseline")["poolings"].get(own, {}) if run.has("baseline") else {}
    for solver in transfer.SOLVERS:
        body = []
        for name, known in (("before training", before), ("after training", transfer_results(run))):
            if result := transfer_of(known, solver):
                tasks = [_score(result["tasks"].get(task, {}).get("acc", math.nan)) for task in TRANSFER]
                body.append([name, own, *tasks, _score(result["avg"])])
        if body:
            yield (
                "Transfer, test rows, accuracy × 100 of a linear classifier on frozen embeddings, solver "
                f"{solver}, one seed."
            )
            yield table(["", "pooling", *TRANSFER, "avg"], body, left=2)


def _score(value: float) -> str:
    return "" if value != value else f"{value:.2f}"
