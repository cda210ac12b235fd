"""The benchmark files, STS and transfer: read by the published protocols, counted, fetched whole or not at all."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import os
import re
import socket
import tarfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hncse.data import remote, senteval
from hncse.errors import HncseError
from tests.data import benchmark
from tests.oracles import sts_oracle

CASES = [(task, split) for task in senteval.STS_TASKS for split in senteval.splits(task)]
TAR = "senteval.tar"
# what is read here is made up, and is not the known release
load_sts = functools.partial(senteval.load_sts, allow_other_files=True)
load_task = functools.partial(senteval.load_task, allow_other_files=True)
fetch = functools.partial(senteval.fetch, allow_other_files=True)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark.shrink(monkeypatch)


@pytest.fixture
def base(small: None, home: Path) -> Path:
    benchmark.write(home)
    return benchmark.write_transfer(home)


@pytest.fixture
def packed(small: None, tmp_path: Path) -> bytes:
    return benchmark.archive(benchmark.write(tmp_path / "source"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- reading


def test_the_counts_are_those_of_published_tables():
    counts = defaultdict(int)
    for part in senteval._PARTS:
        counts[part.task] += sum(part.rows)
    assert dict(counts) == {
        "STS12": 3108, "STS13": 1500, "STS14": 3750, "STS15": 3000, "STS16": 1186, "STSB": 8628, "SICKR": 9927,
        "MR": 10662, "CR": 3775, "SUBJ": 10000, "MPQA": 10606, "SST2": 70042, "TREC": 5952, "MRPC": 5801,
    }  # fmt: skip
    assert tuple(counts) == (*senteval.STS_TASKS, *senteval.TRANSFER_TASKS)
    assert [benchmark.size("STSB", split) for split in senteval.splits("STSB")] == [5749, 1500, 1379]
    rarer = next(part.rows for part in senteval._PARTS if part.task == "MPQA")
    assert rarer == [3312, 7294]  # the first file is the class called 1


@pytest.mark.parametrize(("task", "split"), CASES)
def test_sts_reads_what_the_plain_reader_reads(task, split, small, home):
    expected = sts_oracle.read(benchmark.write(home), task, split)
    subsets = load_sts(task, split)
    assert [subset.name for subset in subsets] == list(expected)
    for subset in subsets:
        assert list(zip(subset.first, subset.second, subset.gold.tolist(), strict=True)) == expected[subset.name]
        assert subset.gold.dtype == np.float64


def plain(base: Path, task: str) -> list[list[tuple[list[str], list[str], int]]]:
    """Rows (words, words, label) of each part of a transfer task, read and sorted as plainly as can be."""
    parts = []
    for part in (part for part in senteval._PARTS if part.task == task):
        rows = []
        for name, label in zip(part.files, (1, 0), strict=False):
            text = (base / name).read_bytes().decode("utf-8" if task in ("SST2", "MRPC") else "latin-1")
            for line in text.removesuffix("\n").split("\n")[1 if task == "MRPC" else 0 :]:
                cells = line.split("\t")
                if task == "SST2":
                    rows.append((cells[0].split(), [], int(cells[1])))
                elif task == "TREC":
                    question, words = line.split(":", 1)
                    classes = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
                    rows.append((words.split()[1:], [], classes.index(question)))
                elif task == "MRPC":
                    rows.append((cells[3].split(), cells[4].split(), int(cells[0])))
                else:
                    rows.append((line.split(), [], label))
        parts.append(sorted(rows, key=lambda row: (len(row[0]), len(row[1]), row[2])))
    return parts


@pytest.mark.parametrize("name", senteval.TRANSFER_TASKS)
def test_transfer_reads_what_the_plain_reader_reads_in_sentevals_order(name, base):
    task, parts = load_task(name), plain(base, name)
    rows = [row for part in parts for row in part]
    assert task.first == [" ".join(row[0]) for row in rows]
    assert task.second == ([" ".join(row[1]) for row in rows] if name == "MRPC" else None)
    assert task.labels.tolist() == [row[2] for row in rows] and task.labels.dtype == np.int64
    slices = [place for place in (task.train, task.dev, task.test) if place is not None]
    assert [place.stop - place.start for place in slices] == [len(part) for part in parts]
    assert task.classes == (6 if name == "TREC" else 2)
    if name == "CR":  # blank lines are sentences, shortest first, then by label; accents survive
        assert task.first[:2] == ["", ""] and task.labels[:2].tolist() == [0, 1]
        assert any("\xe9." in sentence for sentence in task.first)


def test_what_sts_files_hold_besides_pairs_leaves_no_trace(base):
    """Rows without a score, SMT, quotes, odd blanks, more fields than needed, carriage returns."""
    golds = (base / "STS/STS15-en-test/STS.gs.belief.txt").read_text().split("\n")[:-1]
    belief = next(subset for subset in load_sts("STS15") if subset.name == "belief")
    assert golds.count("") == len(belief.gold) == benchmark.size("STS15", "belief")
    (base / "STS/STS13-en-test/STS.gs.SMT.txt").write_text("1.0\n")  # STS13 ships it without its input
    assert [subset.name for subset in load_sts("STS13")] == ["FNWN", "headlines", "OnWN"]
    path = base / "STS/STSBenchmark/sts-dev.csv"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[0] = 'a\tb\tc\t0\t2.5\t "He  said\u2028so.\t he said\u00a0so " \tx\ty'
    path.write_text("\n".join(lines), encoding="utf-8")
    dev = load_sts("STSB", "dev")[0]
    assert (dev.first[0], dev.second[0], dev.gold[0]) == ('"He said so.', 'he said so "', 2.5)
    rows = b"pair_ID\tA\tB\tscore\r\n" + b"1\tone man\tone dog\t4.2\r\n" * 9  # the score is the last field
    (base / "SICK/SICK_test_annotated.txt").write_bytes(rows)
    test = load_sts("SICKR")[0]
    assert test.gold.tolist() == [4.2] * 9 and set(test.second) == {"one dog"}


EDITS = {
    "cut": lambda rows: rows[:-1],
    "longer": lambda rows: [*rows, rows[-1]],
    "unlabel": lambda rows: ["", *rows[1:]],
    "word": lambda rows: ["good", *rows[1:]],
    "high": lambda rows: ["7.5", *rows[1:]],
    "nan": lambda rows: ["nan", *rows[1:]],
    "fields": lambda rows: ["one field"] * len(rows),
    "accent": lambda rows: [*rows[:-1], "caf\xe9\t1"],
    "twenty": lambda rows: rows[:20],
    "empty second": lambda rows: [rows[0], "", *rows[2:]],
    "label": lambda rows: [rows[0].replace("ABBR", "WHAT").replace("\t0", "\t2"), *rows[1:]],
    "one class": lambda rows: [row[:-1] + "1" for row in rows],
}


@pytest.mark.parametrize(
    ("path", "task", "edit", "says"),
    [
        ("STS/STS12-en-test/STS.gs.MSRpar.txt", "STS12", "cut", "MSRpar.txt has 5 lines, STS.gs.MSRpar.txt beside it"),
        ("STS/STSBenchmark/sts-test.csv", "STSB", "cut", "sts-test.csv has 7 labelled pairs, the benchmark's has 8"),
        ("STS/STSBenchmark/sts-test.csv", "STSB", "longer", "has 9 labelled pairs, the benchmark's has 8"),
        ("STS/STS14-en-test/STS.gs.images.txt", "STS14", "unlabel", "gs.images.txt has 5 labelled pairs, the bench"),
        ("STS/STS14-en-test/STS.gs.images.txt", "STS14", "word", "images.txt, line 1: the gold score is 'good'"),
        ("STS/STS14-en-test/STS.gs.images.txt", "STS14", "high", "gold score is '7.5'; it must be a number from 0 to"),
        ("STS/STS14-en-test/STS.gs.images.txt", "STS14", "nan", "line 1: the gold score is 'nan'"),
        ("STS/STS16-en-test/STS.input.headlines.txt", "STS16", "fields", "2 tab-separated fields, at least 3 needed"),
        (
            "STS/STSBenchmark/sts-test.csv",
            "STSB",
            "fields",
            "line 1: 'one field'; it must be two sentences and a score",
        ),
        ("STS/STSBenchmark/sts-test.csv", "STSB", "accent", "sts-test.csv is not the benchmark's file: byte"),
        ("STS/STS13-en-test/STS.input.OnWN.txt", "STS13", "missing", "there is no benchmark file"),
        ("MR/rt-polarity.neg", "MR", "cut", "neg has 28 lines, the benchmark's has 29: the file is cut or another one"),
        ("MRPC/msr_paraphrase_test.txt", "MRPC", "cut", "test.txt has 29 labelled rows, the benchmark's has 30"),
        ("SUBJ/subj.subjective", "SUBJ", "twenty", "20 lines, SentEval's has 26: this is the truncated SUBJ"),
        ("TREC/TREC_10.label", "TREC", "empty second", "TREC_10.label, line 2: an empty line; it must be CLASS:subcl"),
        ("SST/binary/sentiment-dev", "SST2", "empty second", "sentiment-dev, line 2: an empty line; it must be a sent"),
        ("MRPC/msr_paraphrase_train.txt", "MRPC", "empty second", "train.txt, line 2: an empty line; it must be five"),
        ("TREC/train_5500.label", "TREC", "label", "train_5500.label, line 1: 'WHAT"),
        ("SST/binary/sentiment-dev", "SST2", "label", "sentiment-dev, line 1: '"),
        ("SST/binary/sentiment-test", "SST2", "one class", "SST2 test: every label in"),
        ("SST/binary/sentiment-train", "SST2", "accent", "sentiment-train is not the benchmark's file: byte"),
        ("CR/custrev.pos", "CR", "missing", "there is no benchmark file"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_seen_and_expected(path, task, edit, says, base):
    file = base / path
    encoding = "latin-1" if task in ("MR", "CR", "SUBJ", "MPQA", "TREC") else "utf-8"
    rows = file.read_text(encoding=encoding).removesuffix("\n").split("\n")
    file.unlink()
    if edit != "missing":
        body = "\n".join(EDITS[edit](rows)) + "\n"
        file.write_bytes(body.encode("latin-1" if edit == "accent" else encoding, "replace"))
    with pytest.raises(HncseError) as caught:
        load_sts(task) if task in senteval.STS_TASKS else load_task(task)
    assert says in str(caught.value) and str(file.parent) in str(caught.value) and file.name in str(caught.value)


def remember(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    """Make the small benchmark in a data folder the known release, hashed as the release is."""
    parts = []
    for part in senteval._PARTS:
        rows = sts_oracle.read(base, part.task, part.name)[part.name] if part.task in ("STS12", "STSB") else []
        body = "\n".join(f"{first}\t{second}\t{gold}" for first, second, gold in rows)
        parts.append(replace(part, sha256=hashlib.sha256(body.encode()).hexdigest()))
    monkeypatch.setattr(senteval, "_PARTS", parts)


@pytest.mark.parametrize(
    ("path", "task", "edit", "known"),
    [
        ("STS/STS12-en-test/STS.gs.MSRpar.txt", "STS12", list, True),
        ("STS/STS12-en-test/STS.gs.MSRpar.txt", "STS12", lambda rows: rows[1:] + rows[:1], False),  # against the inputs
        ("STS/STS12-en-test/STS.input.MSRpar.txt", "STS12", lambda rows: [*rows[:-2], *rows[:2]], False),  # repeated
        ("STS/STS12-en-test/STS.input.MSRpar.txt", "STS12", lambda rows: ["\tx", *rows[1:]], False),  # one emptied
        ("STS/STSBenchmark/sts-test.csv", "STSB", list, True),
        (
            "STS/STSBenchmark/sts-test.csv",
            "STSB",
            lambda rows: [re.sub(r"\t\d\.\d+\t", "\t1\t", r) for r in rows],
            False,
        ),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_words_labels_and_order_make_the_release_and_line_ends_do_not(path, task, edit, known, end, base, monkeypatch):
    remember(monkeypatch, base)
    rows = (base / path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    (base / path).write_bytes((end.join(edit(rows)) + end).encode())
    if known:
        assert {subset.release for subset in senteval.load_sts(task)} == {senteval.KNOWN}
    else:
        with pytest.raises(HncseError, match=f"known release .*{task}"):
            senteval.load_sts(task)


def test_other_rows_than_the_known_release_are_read_only_when_asked_for(base, monkeypatch):
    with pytest.raises(HncseError, match=r"sts-dev.csv: its rows are not those of the known release .*STSB dev"):
        senteval.load_sts("STSB", "dev")
    with pytest.raises(HncseError, match=r"custrev.neg: its rows are not those of the known release .*CR train"):
        senteval.load_task("CR", allow_other_files=False)
    assert {subset.release for subset in load_sts("STS12")} == {load_task("CR").release} == {senteval.OTHER}
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")
    assert senteval.load_sts("STSB", "dev")[0].release == senteval.OTHER
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "0")
    with pytest.raises(HncseError, match="known release"):
        senteval.load_sts("STSB", "dev")


def test_unknown_tasks_and_splits_name_the_valid_ones(home):
    with pytest.raises(HncseError, match="Did you mean 'STS12'"):
        load_sts("STS-12")
    with pytest.raises(HncseError, match="STS12 has no split 'dev'; it has: test"):
        load_sts("STS12", "dev")
    with pytest.raises(HncseError, match="unknown transfer task 'SST-2'. Did you mean 'SST2'"):
        load_task("SST-2")
    with pytest.raises(HncseError, match="MRPC"):
        senteval.transfer_present("MPRC")


def test_present_looks_at_every_file(small, home):
    assert not senteval.sts_present() and not senteval.transfer_present()
    base = benchmark.write(home)
    benchmark.write_transfer(home)
    assert senteval.sts_present() and senteval.transfer_present() and senteval.transfer_present("TREC")
    for path in ("STS/STS16-en-test/STS.gs.headlines.txt", "TREC/TREC_10.label"):
        (base / path).unlink()
    assert not senteval.sts_present() and not senteval.present("STS16") and senteval.present("STSB", "dev")
    assert not senteval.transfer_present() and not senteval.transfer_present("TREC") and senteval.transfer_present("MR")
    assert senteval.missing_files(base) == [base / "TREC/TREC_10.label"]


# --- fetching


def test_fetch_unpacks_checks_and_asks_once(packed, home, serve):
    hub = serve({TAR: packed})
    place = fetch()
    assert place == home / "senteval" / "downstream"
    assert len(load_sts("SICKR")[0].gold) == 9
    assert [path.name for path in home.iterdir()] == ["senteval"]  # no archive, cache or temporary folder stays
    before = len(hub.asked)
    assert fetch() == place and len(hub.asked) == before


def test_fetch_brings_the_transfer_files_when_asked_even_where_sts_is_there(small, tmp_path, home, serve):
    base = benchmark.write(tmp_path / "source")
    sts_only = benchmark.archive(base)
    benchmark.write_transfer(tmp_path / "source")
    serve({TAR: benchmark.archive(base)})
    benchmark.write(home)
    assert fetch(transfer=True) and len(load_task("MR").labels) == 60
    (home / "senteval/downstream/MR/rt-polarity.pos").unlink()
    serve({TAR: sts_only})
    with pytest.raises(HncseError, match=r"senteval.tar is cut off: it holds no MR/rt-polarity.pos"):
        fetch(transfer=True)


def test_fetch_completes_a_folder_and_keeps_what_else_is_there(small, tmp_path, home, serve):
    place = home / "senteval" / "downstream" / "STS" / "STSBenchmark"
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    (place / "sts-dev.csv").write_text("cut")
    benchmark.write(tmp_path / "source")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:  # another top folder, and packed
        tar.add(tmp_path / "source" / "senteval", arcname="data/senteval")
    serve({TAR: buffer.getvalue()})
    fetch()
    assert (place / "mine.txt").read_text() == "mine"
    assert (place / "sts-dev.csv.before-1").read_text() == "cut"  # nothing that was there is lost
    assert len(load_sts("STSB", "dev")[0].gold) == 7


def test_an_interrupted_transfer_is_taken_up_where_it_broke(packed, home, serve, monkeypatch):
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    hub = serve({TAR: packed}, fault="dropped once")
    fetch()
    assert hub.dropped and sum(asked.startswith("GET") for asked in hub.asked) == 2
    assert senteval.sts_present()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("cut", "did not arrive whole"),
        ("damaged", "arrived damaged"),
        ("failing", "cannot be reached"),
        ("silent", "did not arrive"),
        ("dripping", "would take for ever"),
        ("busy", "in 3,600 seconds"),
    ],
)
def test_a_bad_transfer_is_given_up_and_leaves_nothing(fault, says, packed, home, serve, monkeypatch):
    for name in ("_SILENCE", "_WINDOW"):
        monkeypatch.setattr(remote, name, 0.2)
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    serve({TAR: packed}, fault=fault)
    with pytest.raises(HncseError, match=says) as caught:
        fetch()
    assert list(home.iterdir()) == []
    for part in (TAR, str(home), "Two ways to get it", "HNCSE_DATA"):
        assert part in str(caught.value)


def test_what_is_fetched_has_the_modes_of_the_umask_and_old_leftovers_go(small, tmp_path, home, serve):
    base = benchmark.write(tmp_path / "source")
    for path in base.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)  # a careless archive
    for name, age in ((".fetch-old", 90_000), (".fetch-new", 60)):
        (home / name).mkdir()
        os.utime(home / name, (time.time() - age,) * 2)
    serve({TAR: benchmark.archive(base)})
    before = os.umask(0o027)
    try:
        place = fetch()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in place.rglob("*") if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in place.rglob("*") if path.is_dir()} == {0o750}
    assert sorted(path.name for path in home.iterdir()) == [".fetch-new", "senteval"]


def tar_of(name: str, data: bytes = b"x", link: str | None = None) -> bytes:
    member, buffer = tarfile.TarInfo(name), io.BytesIO()
    if link:
        member.type, member.linkname, data = tarfile.SYMTYPE, link, b""
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>please log in to the hotel network</html>", "cut off or damaged"),
        (tar_of("../../escaped.txt"), "was not unpacked"),
        (tar_of("STS", link="/etc"), "was not unpacked"),
        (tar_of("readme.txt"), "holds no folder STS"),
        ("cut", "is cut off"),
        ("gold", r"not SimCSE's: .*STS.input.images.txt has 6 lines"),
        ("SUBJ", "is not SimCSE's: .*truncated SUBJ"),
    ],
    ids=["html", "path out", "link out", "other archive", "truncated", "cut between files", "early SUBJ"],
)
def test_an_archive_that_is_not_the_benchmark_leaves_nothing(body, says, packed, tmp_path, home, serve):
    source = tmp_path / "source" / "senteval" / "downstream"
    if body == "cut":
        body = packed[: len(packed) // 3]
    elif body == "gold":
        (source / "STS/STS14-en-test/STS.gs.images.txt").write_text("1.0\n")
        body = benchmark.archive(source)
    elif body == "SUBJ":
        benchmark.write_transfer(tmp_path / "source")
        (source / "SUBJ/subj.subjective").write_text("one line\n" * 20)
        body = benchmark.archive(source)
    serve({TAR: body})
    before = contents(tmp_path)
    with pytest.raises(HncseError, match=says) as caught:
        fetch(transfer="SUBJ" in says)
    assert str(caught.value).count("Two ways to get it") == 1
    assert contents(tmp_path) == before and list(home.iterdir()) == []


def test_without_a_network_the_error_says_at_once_what_to_do(small, home, online, monkeypatch):
    attempts = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (attempts.append(to), connect(self, to))[1])
    with pytest.raises(HncseError, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
        fetch()
    for part in (TAR, str(home), "hncse benchmark-files", "unpack", "HNCSE_DATA"):
        assert part in str(caught.value)
    assert len(attempts) <= 2 and list(home.iterdir()) == []  # no half minute of retries


def test_offline_mode_and_what_the_hub_does_not_have(small, home, serve, monkeypatch):
    serve({"other.txt": b"x"})
    with pytest.raises(HncseError, match="has no file 'senteval.tar'"):
        fetch()
    with pytest.raises(remote.Unavailable, match="no public dataset 'no/body'"):
        remote.download("README.md", home, "no/body")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HncseError, match="offline"):
        fetch()


@pytest.mark.parametrize("what", ["unpacking", "downloading", "moving", "making"])
def test_a_full_or_read_only_disk_leaves_nothing(what, packed, home, serve, monkeypatch):
    serve({TAR: packed})

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if what == "unpacking":
        monkeypatch.setattr(tarfile.TarFile, "makefile", fail)
    elif what == "downloading":
        monkeypatch.setattr(remote, "_receive", fail)
    elif what == "moving":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        home.rmdir()
        home.write_text("in the way")
        monkeypatch.setenv("HNCSE_DATA", str(home / "deeper"))
    with pytest.raises(HncseError, match=r"could not be written.*(No space left|Not a directory)"):
        fetch()
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_command_line_prints_counts_or_an_error(base, home, capsys):
    assert senteval.main(["--transfer", "--allow-other-files"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"STSB +train +9 rows, other", out)
    assert re.search(r"CR +train +53 rows, other; 2 empty lines, kept as SentEval keeps them", out)
    assert re.search(r"TREC +test +30 rows, other", out)
    (home / "senteval/downstream/SICK/SICK_trial.txt").write_text("x\n")
    assert senteval.main(["--allow-other-files"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
