"""The probe: its schema, the shipped file's balance, and the evaluation against plain oracles."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter

import numpy as np
import pytest
from scipy.stats import spearmanr

from hncse.data import probe as data
from hncse.errors import HncseError
from hncse.evaluation import probe
from hncse.evaluation.resampling import draw_groups, rate, spearman
from tools import probe_card as card

RECORD = {
    "id": "sport-01",
    "topic": "sport",
    "anchor": "Anna beat Berta.",
    "sentences": [
        {"role": "paraphrase_close", "grade": 5, "text": "Berta was beaten by Anna."},
        {"role": "paraphrase_far", "grade": 4.5, "text": "The first player defeated the other."},
        {"role": "hard_negative", "phenomenon": "role_swap", "grade": 2, "text": "Berta beat Anna."},
        {"role": "hard_negative", "phenomenon": "negation", "grade": 2, "text": "Anna did not beat Berta."},
        {"role": "hard_negative", "phenomenon": "entity", "grade": 3, "text": "Anna beat Clara."},
        {"role": "same_topic", "grade": 1, "text": "Anna trains every day."},
        {"role": "unrelated", "grade": 0, "text": "Rice needs water."},
    ],
}


class FakeEncoder:
    """Embeds a sentence as a point on the unit circle, at an angle looked up by its text; counts its calls."""

    pooling = "fake"

    def __init__(self, angles):
        self.angles, self.seen = angles, []

    def encode(self, sentences):
        self.seen += sentences
        angle = np.array([self.angles[s] for s in sentences])
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def by_rule(groups, rule):
    return FakeEncoder({s.text: 0.0 if s.role == "anchor" else rule(s) for g in groups for s in g.sentences})


def three_groups():
    """Three groups whose angles (degrees from the anchor) are known: rows are close, far, three negatives, rest."""
    groups, angles = [], {}
    for n, degrees in enumerate(
        [(10, 50, 20, 40, 60, 70, 90), (15, 30, 35, 45, 55, 80, 85), (70, 80, 5, 25, 70, 60, 50)]
    ):
        record = copy.deepcopy(RECORD)
        record["id"] = f"sport-{n}"
        record["anchor"] += f" {n}"
        for item, degree in zip(record["sentences"], degrees, strict=True):
            item["text"] += f" {n}"
            angles[item["text"]] = np.radians(degree)
        angles[record["anchor"]] = 0.0
        groups.append(data.parse(json.dumps(record), "here"))
    return groups, FakeEncoder(angles)


@pytest.fixture(scope="module")
def shipped():
    return data.load()


# --- the shipped file


def test_shipped_file_is_balanced(shipped):
    topics = Counter(g.topic for g in shipped)
    assert len(shipped) >= 500 and set(topics) == set(data.TOPICS) and min(topics.values()) >= 50
    cells = Counter((s.phenomenon, g.topic) for g in shipped for s in g.negatives)
    assert {phenomenon for phenomenon, _ in cells} == set(data.PHENOMENA)
    assert min(cells[p, t] for p in data.PHENOMENA for t in data.TOPICS) >= 10


def test_shipped_sentences_read_like_sentences(shipped):
    texts = [s.text for g in shipped for s in g.sentences]
    assert len({tuple(card.word_list(t)) for t in texts}) == len(texts)
    for text in texts:
        assert text[0].isupper() and text.endswith("."), text
        assert "  " not in text and 3 <= len(card.word_list(text)) <= 25, text


def test_shipped_grades_follow_the_guidelines(shipped):
    ranges = {
        "paraphrase_close": (4.5, 5), "paraphrase_far": (4, 4.5), "hard_negative": (1.5, 3.5),
        "same_topic": (0.5, 1.5), "unrelated": (0, 0),
    }  # fmt: skip
    for s in (s for g in shipped for s in g.others):
        low, high = ranges[s.role]
        assert low <= s.grade <= high and (2 * s.grade).is_integer(), s


def test_neither_words_nor_length_give_the_label_away(shipped):
    share = card.lexical_baseline(shipped)
    assert 0 < share["close"] < 0.3  # not an inverted label either: some paraphrases do keep more words
    assert share["far"] < 0.05 and share["both"] == pytest.approx((share["close"] + share["far"]) / 2)
    overlaps = [card.jaccard(g.anchor, g.far.text) for g in shipped]
    assert np.mean(overlaps) < 0.1 and max(overlaps) < 0.35
    words = {
        role: np.mean([len(card.word_list(s.text)) for g in shipped for s in g.others if s.role == role])
        for role in ("paraphrase_close", "paraphrase_far", "hard_negative")
    }
    assert abs(words["paraphrase_close"] - words["hard_negative"]) < 0.5
    assert abs(words["paraphrase_far"] - words["hard_negative"]) < 2


# --- reading and checking


def changed(path, value):
    record = copy.deepcopy(RECORD)
    *parents, last = path
    place = record
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"probe.jsonl line 1: not JSON"),
        ("[]", "a list, should be an object with anchor, id, sentences, topic"),
        (changed(["anchor"], None), "line 1: lacks anchor"),
        (changed(["topics"], "sport"), "unknown field 'topics'. Did you mean 'topic'"),
        (changed(["id"], 7), "id is 7, should be a name"),
        (changed(["topic"], "sports"), r"\(sport-01\): unknown topic 'sports'. Did you mean 'sport'"),
        (changed(["topic"], ["sport"]), "unknown topic"),
        (changed(["anchor"], " "), "anchor is ' ', should be a sentence"),
        (changed(["sentences"], "many"), "sentences is str, should be a list"),
        (changed(["sentences", 0], "Berta"), "sentence 1: a str, should be an object"),
        (changed(["sentences", 0, "role"], "paraphrase"), "sentence 1: unknown role 'paraphrase'"),
        (
            changed(["sentences", 2, "phenomenon"], "role-swap"),
            "sentence 3: unknown phenomenon 'role-swap'. Did you mean",
        ),
        (changed(["sentences", 2, "phenomenon"], None), "unknown phenomenon None"),
        (changed(["sentences", 0, "phenomenon"], "entity"), "'entity' on a paraphrase_close; only a hard_negative"),
        (changed(["sentences", 0, "grade"], 5.5), "grade is 5.5, should be a number from 0 to 5"),
        (changed(["sentences", 0, "grade"], "5"), "grade is '5'"),
        (changed(["sentences", 0, "grade"], True), "grade is True"),
        (changed(["sentences", 0, "grade"], float("nan")), "grade is nan"),
        (changed(["sentences", 3, "text"], "Anna did not.\n"), "text is 'Anna did not.\\\\n'"),
        (changed(["sentences", 4], None), "2 hard negatives, should be at least 3"),
        (changed(["sentences", 6], None), "0 sentences with role unrelated, should be exactly 1"),
        (changed(["sentences", 4, "grade"], 4.5), "a paraphrase is graded 4.5, not above another sentence's 4.5"),
        (
            changed(["sentences", 2, "text"], "anna beat clara."),
            "sentence 'anna beat clara.' stands there more than once",
        ),
        ("\n\n", "holds no groups"),
        (json.dumps(RECORD) + "\n" + json.dumps(RECORD), "id 'sport-01' stands there more than once"),
    ],
)
def test_schema_errors_say_where_and_what(tmp_path, line, message):
    path = tmp_path / "probe.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(HncseError, match=message):
        data.load(path)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe{")
    for name in ("none.jsonl", "latin.jsonl"):
        with pytest.raises(HncseError, match=f"{name} cannot be read"):
            data.load(tmp_path / name)


def test_a_group_gives_its_parts():
    group = data.parse(json.dumps(RECORD), "here")
    assert group.anchor == "Anna beat Berta." and group.sentences[0].grade == 5
    assert group.close.grade == 5 and group.far.text.startswith("The first")
    assert [s.phenomenon for s in group.negatives] == ["role_swap", "negation", "entity"]
    assert len(group.others) == 7


# --- overlap and leakage


def test_jaccard_and_baseline_by_hand():
    assert card.jaccard("Anna beat Berta.", "berta BEAT anna") == 1
    assert card.jaccard("a b c", "c d") == pytest.approx(1 / 4)
    share = card.lexical_baseline([data.parse(json.dumps(RECORD), "here")])
    # close: {berta, anna} of 6 words, 1/3; far: 0; negatives: 3/3, 3/5, 2/4
    assert share == {"close": 0.0, "far": 0.0, "both": 0.0}
    record = copy.deepcopy(RECORD)
    record["sentences"][0]["text"] = "Anna beat Berta easily."  # 3/4: above 3/5 and 1/2, below 3/3
    share = card.lexical_baseline([data.parse(json.dumps(record), "here")])
    assert share == {"close": pytest.approx(2 / 3), "far": 0.0, "both": pytest.approx(1 / 3)}


def test_leaks_finds_exact_and_near_copies_only():
    group = data.parse(json.dumps(RECORD), "here")
    corpus = ["rice needs water", "The very first player defeated the other.", "Anna bakes bread.", "Rice water."]
    found = card.leaks([group], corpus)
    assert [(a, b) for a, b, _ in found] == [
        ("Rice needs water.", "rice needs water"),
        ("The first player defeated the other.", "The very first player defeated the other."),
    ]
    assert found[0][2] == 1 and found[1][2] == pytest.approx(5 / 6, abs=0.05)
    with pytest.raises(HncseError, match="threshold is 0"):
        card.leaks([group], corpus, threshold=0)


def test_leaks_misses_nothing_a_full_comparison_finds(shipped):
    rng = random.Random(0)
    groups = rng.sample(shipped, 4)
    corpus = []
    for sentence in (s for g in groups for s in g.sentences):
        words = sentence.text.split()
        words[rng.randrange(len(words))] = "other"
        corpus.append(" ".join(words))
    texts = [s.text for g in groups for s in g.sentences]
    for threshold in (0.5, 0.8):
        expected = {
            (a, b)
            for a in texts
            for b in corpus
            for features in (card._words, card._grams)
            if len(features(a) & features(b)) / len(features(a) | features(b)) >= threshold
        }
        assert {(a, b) for a, b, _ in card.leaks(groups, corpus, threshold)} == expected
        assert len(expected) > 15


def test_sts_sentences_reads_every_layout(tmp_path):
    (tmp_path / "STS" / "STS12-en-test").mkdir(parents=True)
    (tmp_path / "SICK").mkdir()
    (tmp_path / "STS" / "STS12-en-test" / "STS.input.a.txt").write_text("one two three\tfour five six\n")
    (tmp_path / "STS" / "STS12-en-test" / "00-readme.txt").write_text("about these files here\n")
    (tmp_path / "SICK" / "SICK_test.txt").write_bytes(b"7\tred green blue\tblack or white\t4.2\tNEUTRAL\r\n")
    expected = ["black or white", "four five six", "one two three", "red green blue"]
    assert sorted(card.sts_sentences(tmp_path)) == expected


def test_card_command_prints_counts_and_says_when_leakage_was_not_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    small = tmp_path / "probe.jsonl"
    small.write_text(json.dumps(RECORD))
    assert card.main([str(small), "--show", "2"]) == 0
    out = capsys.readouterr().out
    assert "leakage: not checked" in out and "role_swap" in out and "paraphrase_close" in out
    leaked = tmp_path / "senteval" / "downstream" / "STS" / "x.txt"
    leaked.parent.mkdir(parents=True)
    leaked.write_text("Rice needs water.\tsome other words\n")
    assert card.main([str(small)]) == 1
    assert "leakage: 1 exact or near matches among 2" in capsys.readouterr().out
    assert card.main([str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


# --- evaluation


def test_a_perfect_encoder_scores_100_and_its_opposite_0(shipped):
    perfect = probe.evaluate(by_rule(shipped, lambda s: (5.1 - s.grade) / 4), bootstrap=50)
    worst = probe.evaluate(by_rule(shipped, lambda s: (0.1 + s.grade) / 4), bootstrap=50)
    assert perfect["spearman"] == pytest.approx(100) and worst["spearman"] == pytest.approx(-100)
    for result, value in ((perfect, 100), (worst, 0)):
        entries = [result["triplet_accuracy"], *result["phenomena"].values()]
        assert {entry[name]["value"] for entry in entries for name in entry} == {value}
    assert perfect["margins"]["far"]["p5"] > 0 > worst["margins"]["close"]["p95"]
    assert list(perfect["phenomena"]) == list(data.PHENOMENA)
    json.dumps(perfect, allow_nan=False)


def test_three_groups_by_hand():
    groups, encoder = three_groups()
    result = probe.evaluate(encoder, groups=groups, bootstrap=0)
    triplets = result["triplet_accuracy"]
    # close: 10 < 20, 40, 60 and 15 < 35, 45, 55 win; 70 loses to 5, 25 and ties with 70: 6.5 of 9
    assert triplets["close"] == {"value": pytest.approx(100 * 6.5 / 9), "interval": None, "n": 9}
    # far: 50 beats only 60, 30 beats all three, 80 none: 4 of 9
    assert triplets["far"]["value"] == pytest.approx(100 * 4 / 9)
    assert triplets["overall"] == {"value": pytest.approx(100 * 10.5 / 18), "interval": None, "n": 18}
    assert triplets["both"]["value"] == pytest.approx(100 * 4 / 9)
    # second negative of each group: role_swap 20, 35, 5; negation 40, 45, 25; entity 60, 55, 70
    both = {name: entry["both"]["value"] for name, entry in result["phenomena"].items()}
    assert both == pytest.approx({"negation": 100 / 3, "role_swap": 100 / 3, "entity": 200 / 3})
    margin = np.cos(np.radians([10, 15, 70])) - np.cos(np.radians([20, 35, 5]))
    assert result["margins"]["close"]["p50"] == pytest.approx(np.median(margin), abs=1e-6)
    assert result["spearman_interval"] is None and result["pairs"] == 21 and result["pooling"] == "fake"


def test_spearman_and_resamples_equal_a_plain_oracle():
    groups, encoder = three_groups()
    similarity = np.array([np.cos(encoder.angles[s.text]) for g in groups for s in g.others])
    grade = np.array([s.grade for g in groups for s in g.others])
    group = np.repeat([0, 1, 2], 7)
    value = probe.evaluate(encoder, groups=groups, bootstrap=0)["spearman"]
    assert value == pytest.approx(100 * spearmanr(similarity, grade).statistic)
    counts = draw_groups(3, 600, seed=3)
    assert (counts.sum(axis=1) == 3).all()
    hits = (np.arange(21) % 3 == 0).astype(float)
    plain_rho, plain_rate = [], []
    for row in counts.astype(int):
        rows = np.concatenate([np.flatnonzero(group == g) for g, times in enumerate(row) for _ in range(times)])
        plain_rho.append(spearmanr(similarity[rows], grade[rows]).statistic)
        plain_rate.append(100 * hits[rows].mean())
    np.testing.assert_allclose(spearman(similarity, grade, group, counts), plain_rho, atol=1e-12)
    np.testing.assert_allclose(rate(hits, group, counts)["interval"], np.percentile(plain_rate, [2.5, 97.5]))


def test_intervals_hold_the_value_are_seeded_and_honest_at_the_ends(shipped):
    rng = np.random.default_rng(0)
    encoder = by_rule(shipped, lambda s: (5.1 - s.grade) / 4 + rng.normal(0, 0.5))
    first, again, other = (probe.evaluate(encoder, groups=shipped[:80], bootstrap=200, seed=i) for i in (5, 5, 6))
    assert first == again != other
    assert first["spearman_interval"][0] < first["spearman"] < first["spearman_interval"][1]
    for entry in (first["triplet_accuracy"], first["phenomena"]["number"]):
        low, high = entry["close"]["interval"]
        assert low < entry["close"]["value"] < high
    # no hit in 20 groups: 1 - 0.025^(1/20), the exact bound, not the empty interval [0, 0]
    nothing = rate(np.zeros(20), np.arange(20), draw_groups(20, 100))
    assert nothing["interval"] == pytest.approx([0, 100 * (1 - 0.025 ** (1 / 20))])


def test_every_distinct_sentence_is_encoded_once(shipped):
    encoder = by_rule(shipped, lambda s: 1.0)
    result = probe.evaluate(encoder, bootstrap=0)
    assert len(encoder.seen) == len(set(encoder.seen)) == result["sentences"]


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_a_collapsed_encoder_knows_nothing_whatever_its_rounding(shipped, noise):
    rng = np.random.default_rng(0)
    result = probe.evaluate(by_rule(shipped, lambda s: rng.normal(0, noise)), bootstrap=20)
    assert result["triplet_accuracy"]["overall"]["value"] == 50  # all ties
    assert result["triplet_accuracy"]["both"]["value"] == 0
    assert result["spearman"] == 0 and result["margins"]["close"]["p50"] == 0


def test_similarity_plane_by_hand_whatever_the_lengths():
    groups, encoder = three_groups()
    z = encoder.encode([s.text for g in groups for s in g.sentences])
    scaled = np.random.default_rng(0).uniform(0.1, 9, 24)[:, None] * z
    for plane in (probe.similarity_plane(encoder, groups), probe.plane_of_embeddings(scaled, groups)):
        np.testing.assert_allclose(plane["positive"], np.cos(np.radians([10, 15, 70])), atol=1e-6)
        np.testing.assert_allclose(plane["far"], np.cos(np.radians([50, 30, 80])), atol=1e-6)
        np.testing.assert_allclose(plane["hardest_negative"], np.cos(np.radians([20, 35, 5])), atol=1e-6)
        assert plane["phenomenon"].tolist() == ["role_swap"] * 3 and plane["topic"].tolist() == ["sport"] * 3
        assert plane["id"].tolist() == ["sport-0", "sport-1", "sport-2"]


def test_bad_embeddings_are_refused():
    groups, encoder = three_groups()
    broken = FakeEncoder(encoder.angles | {groups[0].anchor: float("nan")})
    with pytest.raises(HncseError, match="1 of 24 embeddings hold NaN"):
        probe.evaluate(broken, groups=groups)
    with pytest.raises(HncseError, match=r"embeddings of shape \(3, 2\) for a probe of 24 sentences"):
        probe.plane_of_embeddings(np.ones((3, 2)), groups)
    encoder.encode = lambda sentences: np.ones(len(sentences))
    with pytest.raises(HncseError, match=r"shape \(24,\) for 24 sentences"):
        probe.evaluate(encoder, groups=groups)
    with pytest.raises(HncseError, match="bootstrap is -1"):
        probe.evaluate(encoder, groups=groups, bootstrap=-1)
    with pytest.raises(HncseError, match="no groups"):
        probe.evaluate(encoder, groups=[])


def test_command_prints_a_table_and_writes_into_the_run(tmp_path, monkeypatch, capsys, shipped):
    from hncse.encoder import SentenceEncoder

    encoder = by_rule(shipped, lambda s: (5.1 - s.grade) / 4)
    monkeypatch.setattr(SentenceEncoder, "from_pretrained", lambda *_, **__: encoder)
    run, copy_of = tmp_path / "my-run", tmp_path / "copy.json"
    (run / "encoder").mkdir(parents=True)
    assert probe.main([str(run), "--bootstrap", "20", "--json", str(copy_of)]) == 0
    out = capsys.readouterr().out
    assert f"my-run, pooling fake, {len(shipped)} groups" in out and "20 bootstrap resamples" in out
    assert "Spearman ×100 over" in out and "hypernym_narrowing" in out
    before = (run / "probe.json").read_bytes()
    assert json.loads(before) == json.loads(copy_of.read_text()) and json.loads(before)["spearman"] == pytest.approx(
        100
    )
    assert probe.main([str(run), "--pooling", "mean", "--bootstrap", "0"]) == 0  # another pooling: not the run's score
    assert (run / "probe.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seed", "-1"], "seed is -1"),
        (["--bootstrap", "1000000000"], "bootstrap is 1000000000"),
        (["--probe", "none.jsonl"], "none.jsonl cannot be read"),
    ],
)
def test_command_reports_errors_in_one_sentence_before_loading(arguments, says, capsys):
    assert probe.main(["nowhere", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {says}") and len(error.splitlines()) == 1


# --- the second pass


def test_second_pass_covers_150_groups_and_agrees(shipped):
    second = card.second_pass(shipped)
    assert len(second) >= 150 and min(Counter(i.rsplit("-", 1)[0] for i in second).values()) >= 10
    found = card.agreement(shipped, second)
    assert found["all"]["n"] == sum(len(grades) for grades in second.values())
    assert found["all"]["spearman"] > 0.9 and found["hard_negative"]["spearman"] > 0.7
    assert found["all"]["half"] > 0.9


def test_agreement_by_hand():
    groups, _ = three_groups()
    grades = {groups[0].id: [s.grade for s in groups[0].others]}
    same = card.agreement(groups, grades)
    assert same["all"]["difference"] == 0 and same["all"]["spearman"] == pytest.approx(1)
    grades[groups[0].id][0] -= 1  # the close paraphrase
    found = card.agreement(groups, grades)
    assert found["paraphrase_close"]["difference"] == 1 and found["paraphrase_close"]["half"] == 0
    assert found["all"]["difference"] == pytest.approx(1 / len(groups[0].others))


def test_a_second_pass_that_does_not_fit_is_named(tmp_path, shipped):
    path = tmp_path / "second.jsonl"
    path.write_text('{"id": "sport-01", "grades": [1, 2]}\n')
    with pytest.raises(HncseError, match="second.jsonl line 1: 2 grades for sport-01, which has 7"):
        card.second_pass(shipped, path)
    path.write_text('{"id": "sport-999", "grades": [1, 2]}\n')
    with pytest.raises(HncseError, match="2 grades for sport-999, which has no place sentences"):
        card.second_pass(shipped, path)
