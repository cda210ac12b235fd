"""The transfer tasks' files: SentEval's order, counts, encodings, and what is said of a wrong one."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from hncse.data import senteval
from hncse.errors import HncseError
from tests.data import benchmark

# what is read here is made up, and is not the known release
load_task = functools.partial(senteval.load_task, allow_other_files=True)
fetch = functools.partial(senteval.fetch, allow_other_files=True)
QUESTIONS = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    benchmark.shrink(monkeypatch)
    return benchmark.write_transfer(home)


def plain(base: Path, task: str) -> list[list[tuple]]:
    """Rows (words, words, label) of each part, read and sorted as plainly as can be."""
    if task in ("MR", "CR", "SUBJ", "MPQA"):
        first, _, second, _ = senteval._OPINIONS[task]
        rows = []
        for name, label in ((first, 1), (second, 0)):
            for line in (base / name).read_bytes().decode("latin-1").splitlines():
                rows.append((line.split(), [], label))
        parts = [rows]
    else:
        parts = []
        for name, _ in senteval._SPLITS[task].values():
            text = (base / name).read_bytes().decode({"TREC": "latin-1", "SST2": "utf-8", "MRPC": "utf-8"}[task])
            rows = []
            for line in text.strip("\n").split("\n")[1 if task == "MRPC" else 0 :]:
                if task == "SST2":
                    rows.append((line.split("\t")[0].split(), [], int(line.split("\t")[1])))
                elif task == "TREC":
                    label, words = line.split(":", 1)
                    rows.append((words.split()[1:], [], QUESTIONS.index(label)))
                else:
                    cells = line.split("\t")
                    rows.append((cells[3].split(), cells[4].split(), int(cells[0])))
            parts.append(rows)
    for rows in parts:
        rows.sort(key=lambda row: (len(row[0]), len(row[1]), row[2]))
    return parts


@pytest.mark.parametrize("name", senteval.TRANSFER_TASKS)
def test_reads_what_the_plain_reader_reads_in_sentevals_order(name, base):
    task, parts = load_task(name), plain(base, name)
    rows = [row for part in parts for row in part]
    assert task.first == [" ".join(row[0]) for row in rows]
    assert task.second == ([" ".join(row[1]) for row in rows] if name == "MRPC" else None)
    assert task.labels.tolist() == [row[2] for row in rows]
    assert task.labels.dtype == np.int64
    slices = [place for place in (task.train, task.dev, task.test) if place is not None]
    assert [place.stop - place.start for place in slices] == [len(part) for part in parts]
    assert task.classes == (6 if name == "TREC" else 2)


def test_expects_sentevals_counts(home):
    benchmark.write_transfer(home)  # at full size
    sizes = {name: len(load_task(name).labels) for name in senteval.TRANSFER_TASKS}
    assert sizes == {
        "MR": 10662, "CR": 3775, "SUBJ": 10000, "MPQA": 10606, "SST2": 67349 + 872 + 1821, "TREC": 5952, "MRPC": 5801
    }  # fmt: skip
    assert load_task("MPQA").labels.sum() == 3312  # the rarer class is the positive one
    assert load_task("CR").labels.sum() == 2407


def test_blank_lines_are_sentences_and_accents_survive(base):
    task = load_task("CR")
    assert task.first[:2] == ["", ""] and task.labels[:2].tolist() == [0, 1]  # shortest first, then by label
    assert any("\xe8." in sentence for sentence in task.first)


@pytest.mark.parametrize(
    ("path", "edit", "says"),
    [
        ("MR/rt-polarity.neg", "cut", "rt-polarity.neg has 28 lines, SentEval's has 29: the file is cut or another"),
        ("MRPC/msr_paraphrase_test.txt", "cut", "test.txt has 29 labelled rows, SentEval's has 30"),
        ("SUBJ/subj.subjective", "twenty", "subjective has 20 lines, SentEval's has 26: this is the truncated SUBJ"),
        ("TREC/TREC_10.label", "empty line", "TREC_10.label, line 1: an empty line; it must be CLASS:subclass and a"),
        ("SST/binary/sentiment-dev", "empty line", "sentiment-dev, line 1: an empty line; it must be a sentence, a ta"),
        ("MRPC/msr_paraphrase_train.txt", "empty line", "train.txt, line 2: an empty line; it must be five tab-separa"),
        ("TREC/train_5500.label", "wrong label", "train_5500.label, line 1: 'WHAT:exp"),
        ("SST/binary/sentiment-dev", "wrong label", "sentiment-dev, line 1: '"),
        ("SST/binary/sentiment-test", "one class", "SST2 test: every label in"),
        ("SST/binary/sentiment-train", "latin-1", "sentiment-train is not the benchmark's file: byte"),
        ("CR/custrev.pos", "missing", "there is no benchmark file"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_seen_and_expected(path, edit, says, base):
    file, task = base / path, {"SST": "SST2"}.get(path.split("/")[0], path.split("/")[0])
    encoding = "latin-1" if task not in ("SST2", "MRPC") else "utf-8"
    lines = file.read_text(encoding=encoding).rstrip("\n").split("\n")
    first = 1 if task == "MRPC" else 0
    if edit == "missing":
        file.unlink()
    elif edit == "latin-1":
        file.write_bytes("\n".join([*lines[:-1], "caf\xe9\t1"]).encode("latin-1"))
    else:
        changed = {
            "cut": lines[:-1],
            "twenty": lines[:20],
            "empty line": [*lines[:first], "", *lines[first + 1 :]],
            "wrong label": [lines[0].replace("ABBR", "WHAT").replace("\t0", "\t2"), *lines[1:]],
            "one class": [line[:-1] + "1" for line in lines],
        }[edit]
        file.write_text("\n".join(changed) + "\n", encoding=encoding)
    with pytest.raises(HncseError) as caught:
        load_task(task)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_other_rows_than_the_known_release_are_read_only_when_asked_for(base):
    (base / "CR/custrev.pos").write_bytes((base / "CR/custrev.neg").read_bytes().rsplit(b"\n", 4)[0] + b"\n")
    with pytest.raises(HncseError, match="custrev.pos: its rows are not those of the known release .*CR train"):
        senteval.load_task("CR")
    assert load_task("CR").release == "other"


def test_unknown_tasks_name_the_nearest(home):
    with pytest.raises(HncseError, match="unknown transfer task 'SST-2'. Did you mean 'SST2'"):
        load_task("SST-2")
    with pytest.raises(HncseError, match="MRPC"):
        senteval.transfer_present("MPRC")


def test_present_looks_at_every_file(base):
    assert senteval.transfer_present() and senteval.transfer_present("TREC")
    (base / "TREC/TREC_10.label").unlink()
    assert not senteval.transfer_present() and not senteval.transfer_present("TREC")
    assert senteval.transfer_present("MR")
    assert senteval.missing_files(base) == [base / "TREC/TREC_10.label"]


def test_fetch_brings_them_when_asked_even_where_sts_is_there(monkeypatch, tmp_path, home, serve):
    benchmark.shrink(monkeypatch)
    base = benchmark.write(tmp_path / "source")
    sts_only = benchmark.archive(base)
    benchmark.write_transfer(tmp_path / "source")
    hub = serve({"senteval.tar": benchmark.archive(base)})
    benchmark.write(home)
    fetch()
    assert not hub.asked  # STS is there and nothing else was asked for
    fetch(transfer=True)
    assert senteval.transfer_present()
    assert len(load_task("MR").labels) == 60
    (home / "senteval/downstream/MR/rt-polarity.pos").unlink()
    serve({"senteval.tar": sts_only})
    with pytest.raises(HncseError, match=r"senteval.tar is cut off: it holds no MR/rt-polarity.pos"):
        fetch(transfer=True)


def test_an_archive_with_the_cut_subj_is_refused(monkeypatch, tmp_path, home, serve):
    benchmark.shrink(monkeypatch)
    base = benchmark.write(tmp_path / "source")
    benchmark.write_transfer(tmp_path / "source")
    file = base / "SUBJ/subj.subjective"
    file.write_bytes(b"\n".join(file.read_bytes().split(b"\n")[:20]))
    serve({"senteval.tar": benchmark.archive(base)})
    with pytest.raises(HncseError, match="is not SimCSE's: .*truncated SUBJ"):
        fetch(transfer=True)
    assert list(home.iterdir()) == []


def test_command_line_prints_counts_or_an_error(monkeypatch, base, home, capsys):
    benchmark.write(home)
    assert senteval.main(["--transfer", "--allow-other-files"]) == 0
    out = capsys.readouterr().out
    assert "CR     53 rows (25 + 28), other; 2 empty lines, kept as SentEval keeps them" in out
    assert "TREC   140 train, 30 test rows" in out
    (base / "MR/rt-polarity.pos").write_text("x\n")
    assert senteval.main(["--transfer", "--allow-other-files"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
