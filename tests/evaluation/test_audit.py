"""The audit on known geometry: what is safe, what is yielded, counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hncse.data import probe
from hncse.errors import HncseError
from hncse.evaluation import audit
from hncse.visual import figures

ANGLES = {"paraphrase_close": 10.0, "paraphrase_far": 40.0, "same_topic": 60.0, "unrelated": 80.0}
NEGATIVES = (5.0, 20.0, 30.0)  # degrees from the anchor: one nearer than the close paraphrase


class Planes:
    """Each group in a plane of its own; an angle from the anchor for every sentence, corpus sentences at 50 degrees."""

    pooling = "planes"

    def __init__(self, groups: list[probe.Group]) -> None:
        self.place: dict[str, tuple[int, float]] = {}
        for g, group in enumerate(groups):
            negatives = iter(NEGATIVES)
            for s in group.sentences:
                angle = 0.0 if s.role == "anchor" else ANGLES[s.role] if s.role in ANGLES else next(negatives)
                self.place[s.text] = (g, angle)
        self.size = 2 * len(groups)

    def encode(self, sentences: list[str], **_: object) -> np.ndarray:
        out = np.zeros((len(sentences), self.size), dtype=np.float32)
        for row, text in enumerate(sentences):
            if text.startswith("corpus"):  # near every anchor: 50 degrees in a plane of the last group's making
                out[row, 0::2] = np.cos(np.radians(50)) / 1.0
                continue
            g, angle = self.place[text]
            out[row, 2 * g : 2 * g + 2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        return out


def groups(n: int = 4) -> list[probe.Group]:
    made = []
    for g in range(n):
        roles = [("paraphrase_close", 5), ("paraphrase_far", 4), *[("hard_negative", 2)] * 3, ("same_topic", 1)]
        roles.append(("unrelated", 0))
        rows = [
            {"role": role, "grade": grade, "text": f"{'abcdefgh'[i]} word{g}{i} other{i}{g} end{g}."}
            | ({"phenomenon": "number"} if role == "hard_negative" else {})
            for i, (role, grade) in enumerate(roles)
        ]
        record = {"id": f"news-{g:02d}", "topic": "news", "anchor": f"Anchor number{g} here.", "sentences": rows}
        made.append(probe.parse(json.dumps(record), "here"))
    return made


@pytest.fixture
def result() -> dict:
    made = groups()
    grid = {"max_similarity": (1.0, float(np.cos(np.radians(7))), float(np.cos(np.radians(15)))), "skip": (1, 2)}
    grid["calibrated"] = (0.5,)
    grid["min_similarity"] = (float(np.cos(np.radians(7))),)
    return audit.audit(Planes(made), ["corpus one", "corpus two"], made, k=6, grid=grid)


def rows(result: dict, guard: str) -> list[tuple]:
    return [
        (r["kept"], r["paraphrase"], r["hard_negative"], r["same_topic"], r["other"]) for r in result["guards"][guard]
    ]


def test_counts_by_hand(result):
    # two of the four groups are judged; nearest six: 5, 10, 20, 30, 40 degrees, and 60 (corpus sentences are farther)
    assert result["anchors"] == 2 and result["corpus"] == 4 * 8 + 2
    assert rows(result, "none") == [(12, 4, 6, 2, 0)]
    assert rows(result, "max_similarity") == [(12, 4, 6, 2, 0), (10, 4, 4, 2, 0), (8, 2, 4, 2, 0)]
    assert rows(result, "skip") == [(10, 4, 4, 2, 0), (8, 2, 4, 2, 0)]
    assert rows(result, "min_similarity") == [(2, 0, 2, 0, 0)]
    # half of the close paraphrases may fall below: all stand at 10 degrees, so none may, and 20 to 60 are kept
    assert rows(result, "calibrated") == [(8, 2, 4, 2, 0)]
    none, floor = result["guards"]["none"][0], result["guards"]["min_similarity"][0]
    assert none["safe"] == pytest.approx(8 / 12) and none["yield"] == 1
    assert floor["safe"] == 1 and floor["yield"] == pytest.approx(2 / 6)
    assert result["best"]["guard"] == "min_similarity"
    assert result["found"]["in_probe"] == {"paraphrase": 4, "hard_negative": 6, "same_topic": 2, "unrelated": 2}


def test_table_and_picture(result):
    text = "\n".join(audit.table(result, "fake"))
    assert (
        "2 probe anchors, the nearest 6 of 34 sentences" in text and "4 of 4 paraphrase, 6 of 6 hard_negative" in text
    )
    assert "best of those at least 95 % safe: min_similarity" in text and "yield 33.3 %: does not reach 50 %" in text
    made = figures.guard_curves(result)
    (axes,) = made.axes
    ceiling = next(line for line in axes.lines if line.get_label() == "max_similarity")
    drawn = sorted(zip(ceiling.get_xdata(), ceiling.get_ydata(), strict=True))
    wanted = [(200 / 3, 60.0), (200 / 3, 75.0), (100.0, 200 / 3)]
    assert np.array(drawn) == pytest.approx(np.array(wanted))
    assert "Without a guard 67 % are free of paraphrases" in made.get_label()


def test_bad_requests():
    made = groups()
    with pytest.raises(HncseError, match="Did you mean 'max_similarity'"):
        audit.audit(Planes(made), ["corpus one"], made, k=3, grid={"max_similarty": (1.0,)})
    with pytest.raises(HncseError, match="there are 3 groups; at least 4"):
        audit.audit(Planes(made), ["corpus one"], made[:3], k=3)


def test_command_line(tmp_path, capsys):
    corpus = tmp_path / "few.txt"
    corpus.write_text("".join(f"Sentence number {i} about nothing.\n" for i in range(40)))
    assert audit.main(["kit", "--corpus", str(corpus), "--json", str(tmp_path / "audit.json"), "--k", "5"]) == 0
    assert "250 probe anchors, the nearest 5 of 4,158 sentences" in capsys.readouterr().out
    assert json.loads((tmp_path / "audit.json").read_text())["source"] == str(corpus)


def test_phenomena_picture():
    entry = {"value": 40.0, "interval": [30.0, 50.0], "n": 9}
    four = dict.fromkeys(("close", "far", "overall", "both"), entry)
    one = {
        "phenomena": {"negation": four, "number": four | {"close": entry | {"value": 70.0}}},
        "triplet_accuracy": four,
    }
    made = figures.phenomena({"before": one, "after": one})
    (axes,) = made.axes
    assert [label.get_text().split("\n")[0] for label in axes.get_yticklabels()] == ["negation", "number"]
    assert "before: 40 % over all" in made.get_label()
    with pytest.raises(HncseError, match="there are 5 encoders"):
        figures.phenomena({str(i): one for i in range(5)})
