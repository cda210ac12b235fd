"""From run folders to scores: method → seed → score, methods told apart as in `hncse.evaluation.tables`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hncse.errors import HncseError, unknown
from hncse.evaluation.tables import IGNORED, STS, TRANSFER, distinctions, grouped, kind_of, method_name
from hncse.runs import Run, list_runs

if TYPE_CHECKING:
    from hncse.evaluation._verdicts import Comparison

__all__ = ["MEASURES", "against", "by_setting", "by_training", "measure_name", "run_scores", "tuned"]

_AVERAGES = {
    "sts": 'average of the seven STS tasks, test split, Spearman × 100, "all" aggregation',
    "transfer": "average of the seven transfer tasks, test rows, accuracy × 100",
}
_DEV = {"stsb-dev": "STS-B dev, Spearman × 100, of the weights kept by it: for choosing, no test score"}
_PROBE = {
    "probe": "probe, Spearman × 100 of cosine and grade",
    "probe-overall": "probe, % of hard negatives that a paraphrase outranks",
    "probe-close": "probe, % of hard negatives that the close paraphrase outranks",
    "probe-far": "probe, % of hard negatives that the far paraphrase outranks",
    "probe-both": "probe, % of hard negatives that both paraphrases outrank",
}
#: What a run can be compared by: averages, measures of the probe, single tasks. Higher is better in all of them.
MEASURES: dict[str, str] = {
    **_AVERAGES,
    **_PROBE,
    **_DEV,
    **{task: f'{task}, test split, Spearman × 100, "all" aggregation' for task in STS},
    **{task: f"{task}, test rows, accuracy × 100" for task in TRANSFER},
}


def run_scores(
    runs: Iterable[Run] | None = None, measure: str = "sts", *, solver: str = "fast"
) -> dict[str, dict[int, float]]:
    """Read one score a run.

    Args:
        runs: Run folders, oldest first: of two runs alike and with one seed the younger counts. Those without this
            score contribute nothing. None takes all of the default folder.
        measure: One of `MEASURES`.
        solver: Whose transfer results (`hncse.evaluation.transfer`).

    Returns:
        Method → seed → score. Methods are named by their loss, and by the parameters in which they differ where that
        is not enough.

    Raises:
        HncseError: An unknown measure or solver; runs of several encoders or corpora (`by_setting` parts them), or
            scored on different versions of the probe.
    """
    result = _result_name(measure, solver)
    scored = _scored(list_runs() if runs is None else runs, measure, result)
    parts = by_setting(run for run, _ in scored)
    if len(parts) > 1:
        raise HncseError(
            f"these runs are of {len(parts)} settings ({'; '.join(parts)}); methods compare within one: choose runs, "
            "or part them with by_setting"
        )
    if result == "probe":
        _check_probe([run for run, _ in scored])
    groups: dict[str, dict[int, tuple[Run, float]]] = {}
    for run, score in scored:
        config = run.config
        groups.setdefault(kind_of(config), {})[config["seed"]] = (run, score)
    first = [next(iter(group.values()))[0] for group in groups.values()]
    methods = [method_name(run.config["parameters"]) for run in first]
    names = [method + extra for method, extra in zip(methods, distinctions(first, methods), strict=True)]
    return {
        name: {seed: score for seed, (_, score) in sorted(group.items())}
        for name, group in zip(names, groups.values(), strict=True)
    }


def by_setting(runs: Iterable[Run] | None = None) -> dict[str, list[Run]]:
    """Part runs by what makes their scores comparable: the encoder they began with and the sentences they saw.

    Args:
        runs: Run folders; None takes all of the default folder.

    Returns:
        Setting in words → its runs, in their order.
    """
    parts: dict[tuple[str, str, str], list[Run]] = {}
    for run in list_runs() if runs is None else runs:
        if not run.has("config"):
            continue
        config = run.config
        data = config["data"]
        words = f"{config['parameters']['encoder']} on {data['sentences']:,} sentences from {data['source']}"
        parts.setdefault((words, config["encoder_fingerprint"], data["fingerprint"]), []).append(run)
    shown = [key[0] for key in parts]
    return {
        key[0] if shown.count(key[0]) == 1 else f"{key[0]} (encoder {key[1][:6]}, data {key[2][:6]})": part
        for key, part in parts.items()
    }


def by_training(runs: Iterable[Run] | None = None) -> dict[str, list[Run]]:
    """Part runs further than `by_setting`: by everything but the loss, its options and the seed.

    Within a part methods differ in their losses alone, so a sweep over batch sizes, say, has a baseline for each.

    Returns:
        Setting in words, with the parameters in which the parts of one setting differ → its runs.
    """
    made: dict[str, list[Run]] = {}
    for words, part in by_setting(runs).items():
        parts: dict[str, list[Run]] = {}
        for run in part:
            parameters = run.config["parameters"]
            kept = {k: v for k, v in parameters.items() if k not in (*IGNORED, "loss", "loss_options")}
            kept["selection"] = run.config["selection"]
            parts.setdefault(json.dumps(kept, sort_keys=True), []).append(run)
        settings = [json.loads(key) for key in parts]
        names = dict.fromkeys(name for setting in settings for name in setting)
        differs = [name for name in names if any(s.get(name) != settings[0].get(name) for s in settings)]
        for setting, members in zip(settings, parts.values(), strict=True):
            extra = ", ".join(f"{name}={setting.get(name)}" for name in differs)
            made[f"{words}, {extra}" if extra else words] = members
    return made


def against(
    runs: Iterable[Run], measure: str = "sts", baseline: str = "simcse", *, solver: str = "fast", **settings: Any
) -> dict[str, Comparison]:
    """Compare every method with the baseline that was trained as it was in everything else (`by_training`).

    Args:
        runs: Run folders, oldest first.
        measure: One of `MEASURES`.
        baseline: Loss, with its options if it has any, as `run_scores` names it.
        solver: Whose transfer results.
        **settings: Passed on to `hncse.evaluation.statistics.compare`.

    Returns:
        Names of a method's runs, joined by ", " as in the tables' column "source" → its comparison. Methods whose
        setting has no such baseline are missing.
    """
    from hncse.evaluation._verdicts import compare

    result = _result_name(measure, solver)
    scored = _scored(runs, measure, result)
    known = {id(run): score for run, score in scored}
    found: dict[str, Comparison] = {}
    for part in by_training(run for run, _ in scored).values():
        groups = {", ".join(run.name for run in group): group for group in grouped(part)}
        names = {key: method_name(group[0].config["parameters"]) for key, group in groups.items()}
        base = next((key for key, name in names.items() if name == baseline), None)
        if base is not None:
            scores = {key: {r.config["seed"]: known[id(r)] for r in group} for key, group in groups.items()}
            compared = compare(scores, base, **settings)
            found |= {c.method: replace(c, method=names[c.method], baseline=baseline) for c in compared}
    return found


def tuned(runs: Iterable[Run], by: str = "stsb-dev") -> list[Run]:
    """Choose for each loss the one of its settings, options and training alike, that scores best, mean over seeds.

    Chosen on dev and then read on test, methods are compared each at its own best, not all at the baseline's.

    Args:
        runs: Of one encoder and corpus; those without a score of ``by`` are left out.
        by: One of `MEASURES`, not the one that will be read.

    Returns:
        The runs of the chosen settings, in the order of their losses.
    """
    scored = _scored(runs, by, _result_name(by, "fast"))
    known = {id(run): score for run, score in scored}
    losses: dict[str, list[Run]] = {}
    for run, _ in scored:
        losses.setdefault(run.config["parameters"]["loss"], []).append(run)
    best = [max(grouped(part), key=lambda group: _mean([known[id(run)] for run in group])) for part in losses.values()]
    return [run for group in best for run in group]


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)


def measure_name(measure: str, solver: str = "fast") -> str:
    """Say what a measure is."""
    name = MEASURES[measure]
    return f"{name}, solver {solver}" if measure in ("transfer", *TRANSFER) else name


def _scored(runs: Iterable[Run], measure: str, result: str) -> list[tuple[Run, float]]:
    scored = []
    for run in runs:
        if run.has("config") and run.has(result):
            score = _score(run, result, measure)
            if score is not None:
                scored.append((run, float(score)))
    return scored


def _score(run: Run, name: str, measure: str) -> float | None:
    if measure in _DEV:
        from hncse.evaluation.results import dev_score

        return dev_score(run)
    result: dict[str, Any] = run.read(name)
    if measure in _AVERAGES:
        return result.get("avg")
    if measure == "probe":
        return result.get("spearman")
    if measure in _PROBE:
        return result.get("triplet_accuracy", {}).get(measure.removeprefix("probe-"), {}).get("value")
    return result.get("tasks", {}).get(measure, {}).get("all" if measure in STS else "acc")


def _result_name(measure: str, solver: str) -> str:
    """Name of the file a measure stands in, without .json."""
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    if measure == "sts" or measure in STS:
        return "sts"
    if measure in _PROBE:
        return "probe"
    if measure in _DEV:
        return "result"
    from hncse.evaluation import transfer

    if solver not in transfer.SOLVERS:
        raise unknown("solver", solver, transfer.SOLVERS)
    return transfer.result_name(solver)


def _check_probe(runs: list[Run]) -> None:
    """Raise where runs were scored on different probes: their difference would be the probes'."""
    versions: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        result = run.read("probe")
        versions.setdefault((result.get("fingerprint"), result.get("groups"), result.get("pairs")), run)
    if len(versions) > 1:
        names = " and ".join(run.name for run in versions.values())
        raise HncseError(
            f"{names} were scored on different versions of the probe; score the older again: "
            "python -m hncse.evaluation.probe RUN"
        )
