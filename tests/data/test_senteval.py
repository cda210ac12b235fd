"""The benchmark files: read by SimCSE's protocol, counted, fetched whole or not at all."""

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
fetch = functools.partial(senteval.fetch, allow_other_files=True)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark.shrink(monkeypatch)


@pytest.fixture
def packed(small: None, tmp_path: Path) -> bytes:
    return benchmark.archive(benchmark.write(tmp_path / "source"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- reading


@pytest.mark.parametrize(("task", "split"), CASES)
def test_reads_what_the_plain_reader_reads(task, split, small, home):
    expected = sts_oracle.read(benchmark.write(home), task, split)
    subsets = load_sts(task, split)
    assert [subset.name for subset in subsets] == list(expected)
    for subset in subsets:
        pairs = list(zip(subset.first, subset.second, subset.gold.tolist(), strict=True))
        assert pairs == expected[subset.name]
        assert subset.gold.dtype == np.float64


def test_expects_simcse_counts(home):
    benchmark.write(home)  # at full size
    pairs = {task: sum(len(s.gold) for s in load_sts(task)) for task in senteval.STS_TASKS}
    assert list(pairs.values()) == [3108, 1500, 3750, 3000, 1186, 1379, 4927]
    other = [len(load_sts(task, split)[0].gold) for task, split in CASES if split != "test"]
    assert other == [5749, 1500, 4500, 500]


def test_unlabelled_rows_are_dropped_and_smt_is_never_read(small, home):
    base = benchmark.write(home)
    golds = (base / "STS/STS15-en-test/STS.gs.belief.txt").read_text().split("\n")[:-1]
    assert golds.count("") == benchmark.SMALL["STS15"]["belief"]
    belief = next(s for s in load_sts("STS15") if s.name == "belief")
    assert len(belief.gold) == benchmark.SMALL["STS15"]["belief"]
    (base / "STS/STS13-en-test/STS.gs.SMT.txt").write_text("1.0\n")  # STS13 ships it without its input
    assert [s.name for s in load_sts("STS13")] == ["FNWN", "headlines", "OnWN"]


def test_words_are_joined_by_single_spaces_and_quotes_stay(small, home):
    base = benchmark.write(home)
    path = base / "STS/STSBenchmark/sts-dev.csv"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[0] = 'a\tb\tc\t0\t2.5\t "He  said\u2028so.\t he said\u00a0so " \tx\ty'
    path.write_text("\n".join(lines), encoding="utf-8")
    dev = load_sts("STSB", "dev")[0]
    assert (dev.first[0], dev.second[0], dev.gold[0]) == ('"He said so.', 'he said so "', 2.5)


def test_sick_carriage_returns_leave_no_trace(small, home):
    base = benchmark.write(home)
    path = base / "SICK/SICK_test_annotated.txt"
    path.write_bytes(b"pair_ID\tA\tB\tscore\r\n" + b"1\tone man\tone dog\t4.2\r\n" * 9)  # the score is the last field
    test = load_sts("SICKR")[0]
    assert test.gold.tolist() == [4.2] * 9
    assert set(test.second) == {"one dog"}


@pytest.mark.parametrize(
    ("path", "task", "split", "edit", "says"),
    [
        ("STS/STS12-en-test/STS.gs.MSRpar.txt", "STS12", "test", "cut", "MSRpar.txt has 7 lines"),
        ("STS/STS12-en-test/STS.input.MSRvid.txt", "STS12", "test", "cut", "MSRvid.txt has 4 lines"),
        ("STS/STSBenchmark/sts-dev.csv", "STSB", "dev", "cut", "sts-dev.csv has 6 labelled pairs, SimCSE's has 7"),
        ("SICK/SICK_test_annotated.txt", "SICKR", "test", "cut", "annotated.txt has 8 labelled pairs, SimCSE's has 9"),
        ("STS/STSBenchmark/sts-dev.csv", "STSB", "dev", "longer", "has 8 labelled pairs, SimCSE's has 7"),
        ("STS/STS14-en-test/STS.gs.images.txt", "STS14", "test", "unlabel", "gs.images.txt has 7 labelled pairs, Sim"),
        (
            "STS/STS14-en-test/STS.gs.images.txt",
            "STS14",
            "test",
            "word",
            "images.txt, line 1: the gold score is 'good'",
        ),
        (
            "STS/STS14-en-test/STS.gs.images.txt",
            "STS14",
            "test",
            "high",
            "gold score is '7.5'; it must be a number from",
        ),
        ("STS/STS14-en-test/STS.gs.images.txt", "STS14", "test", "nan", "line 1: the gold score is 'nan'"),
        ("STS/STS16-en-test/STS.input.headlines.txt", "STS16", "test", "fields", "1 tab-separated fields, at least 2"),
        ("STS/STSBenchmark/sts-test.csv", "STSB", "test", "fields", "line 1: 1 tab-separated fields, at least 7"),
        ("STS/STSBenchmark/sts-test.csv", "STSB", "test", "latin-1", "sts-test.csv is not the benchmark's file: byte"),
        ("STS/STS13-en-test/STS.input.OnWN.txt", "STS13", "test", "missing", "there is no benchmark file"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_seen_and_expected(path, task, split, edit, says, small, home):
    file = benchmark.write(home) / path
    lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    if edit == "missing":
        file.unlink()
    elif edit == "latin-1":
        file.write_bytes("\n".join([*lines[:-1], lines[-1] + " caf\xe9"]).encode("latin-1"))
    else:
        if path.startswith("STS/STS16"):  # where some rows are unlabelled, break all of them
            lines = ["one field"] * len(lines)
        changed = {
            "cut": lines[:-1], "longer": [*lines, lines[-1]], "unlabel": ["", *lines[1:]], "word": ["good", *lines[1:]],
            "high": ["7.5", *lines[1:]], "nan": ["nan", *lines[1:]], "fields": ["one field", *lines[1:]],
        }[edit]  # fmt: skip
        file.write_text("\n".join(changed) + "\n", encoding="utf-8")
    with pytest.raises(HncseError) as caught:
        load_sts(task, split)
    assert says in str(caught.value)
    assert str(file) in str(caught.value) or "gs" in path


def test_other_rows_than_the_known_release_are_read_only_when_asked_for(small, home, monkeypatch):
    benchmark.write(home)
    with pytest.raises(HncseError, match=r"sts-dev.csv: its rows are not those of the known release .*STSB dev"):
        senteval.load_sts("STSB", "dev")
    assert {s.release for s in load_sts("STS12")} == {senteval.OTHER}
    with pytest.raises(HncseError, match="known release"):
        senteval.load_sts("STS12", allow_other_files=False)
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")
    assert senteval.load_sts("STSB", "dev")[0].release == senteval.OTHER
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "0")
    with pytest.raises(HncseError, match="known release"):
        senteval.load_sts("STSB", "dev")


def remember(monkeypatch, home):
    """Make the small benchmark in a data folder the known release."""
    digests: dict[str, str] = {}

    class Recorder(dict):
        def get(self, part, default=None):
            return digests.get(part, default)

    monkeypatch.setattr(senteval, "_digests", Recorder)
    for task, split in CASES:
        for subset in load_sts(task, split):
            body = "\n".join(senteval._rows(subset)).encode()
            digests[f"{task} {subset.name}"] = hashlib.sha256(body).hexdigest()


def reversed_scores(rows):
    return [re.sub(r"\t(\d\.\d+)\t", lambda found: f"\t{5 - float(found[1]):.3f}\t", row) for row in rows]


@pytest.mark.parametrize(
    ("path", "task", "edit", "known"),
    [
        ("STS/STS12-en-test/STS.gs.MSRpar.txt", "STS12", list, True),
        ("STS/STS12-en-test/STS.gs.MSRpar.txt", "STS12", lambda rows: rows[1:] + rows[:1], False),  # against the inputs
        ("STS/STS12-en-test/STS.input.MSRpar.txt", "STS12", lambda rows: rows[::-1], False),
        ("STS/STS12-en-test/STS.input.MSRpar.txt", "STS12", lambda rows: [*rows[:-2], *rows[:2]], False),  # repeated
        (
            "STS/STS12-en-test/STS.input.MSRpar.txt",
            "STS12",
            lambda rows: ["\tx", *rows[1:]],
            False,
        ),  # a sentence emptied
        ("STS/STSBenchmark/sts-test.csv", "STSB", list, True),
        (
            "STS/STSBenchmark/sts-test.csv",
            "STSB",
            lambda rows: [re.sub(r"\t\d\.\d+\t", "\t1.5\t", r) for r in rows],
            False,
        ),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_words_labels_and_order_make_the_release_and_line_ends_do_not(
    path, task, edit, known, end, small, home, monkeypatch
):
    base = benchmark.write(home)
    remember(monkeypatch, home)
    rows = (base / path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    (base / path).write_bytes((end.join(edit(rows)) + end).encode())
    if known:
        assert {subset.release for subset in senteval.load_sts(task)} == {senteval.KNOWN}
    else:
        with pytest.raises(HncseError, match=f"known release .*{task}"):
            senteval.load_sts(task)


def test_unknown_task_and_split_name_the_valid_ones(home):
    with pytest.raises(HncseError, match="Did you mean 'STS12'"):
        load_sts("STS-12")
    with pytest.raises(HncseError, match="STS12 has no split 'dev'; it has: test"):
        load_sts("STS12", "dev")


def test_present_looks_at_every_file(small, home):
    assert not senteval.sts_present()
    base = benchmark.write(home)
    assert senteval.sts_present()
    (base / "STS/STS16-en-test/STS.gs.headlines.txt").unlink()
    assert not senteval.sts_present()
    assert senteval.present("STSB", "dev")
    assert not senteval.present("STS16")


# --- fetching


def test_fetch_unpacks_checks_and_asks_once(packed, home, serve):
    hub = serve({TAR: packed})
    place = fetch()
    assert place == home / "senteval" / "downstream"
    assert [sum(len(s.gold) for s in load_sts(t, s)) for t, s in CASES][-1] == 9
    assert [path.name for path in home.iterdir()] == ["senteval"]  # no archive, cache or temporary folder stays
    before = len(hub.asked)
    assert fetch() == place
    assert len(hub.asked) == before


def test_fetch_finds_the_files_below_another_top_folder(small, tmp_path, home, serve):
    benchmark.write(tmp_path / "source")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tmp_path / "source" / "senteval", arcname="data/senteval")
    serve({TAR: buffer.getvalue()})
    fetch()
    assert senteval.sts_present()


def test_fetch_completes_a_folder_and_keeps_what_else_is_there(packed, home, serve):
    place = home / "senteval" / "downstream" / "STS" / "STSBenchmark"
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    (place / "sts-dev.csv").write_text("cut")
    serve({TAR: packed})
    fetch()
    assert (place / "mine.txt").read_text() == "mine"
    assert (place / "sts-dev.csv.before-1").read_text() == "cut"  # nothing that was there is lost
    assert len(load_sts("STSB", "dev")[0].gold) == 7


def test_an_interrupted_transfer_is_taken_up_where_it_broke(packed, home, serve, monkeypatch):
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    hub = serve({TAR: packed}, fault="dropped once")
    fetch()
    assert hub.dropped
    assert sum(asked.startswith("GET") for asked in hub.asked) == 2
    assert senteval.sts_present()


@pytest.mark.parametrize(
    ("fault", "says"),
    [("cut", "did not arrive whole"), ("damaged", "arrived damaged"), ("failing", "cannot be reached")],
)
def test_a_bad_transfer_leaves_nothing(fault, says, packed, home, serve):
    serve({TAR: packed}, fault=fault)
    with pytest.raises(HncseError, match=says) as caught:
        fetch()
    assert contents(home) == {}
    assert list(home.iterdir()) == []
    for part in (TAR, str(home), "Two ways to get it", "HNCSE_DATA"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "says"), [("silent", "did not arrive"), ("dripping", "would take for ever"), ("busy", "in 3,600 seconds")]
)
def test_a_server_that_keeps_one_waiting_is_given_up(fault, says, packed, home, serve, monkeypatch):
    for name, seconds in (("_SILENCE", 0.2), ("_WINDOW", 0.2)):
        monkeypatch.setattr(remote, name, seconds)
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    serve({TAR: packed}, fault=fault)
    with pytest.raises(HncseError, match=says):
        fetch()
    assert list(home.iterdir()) == []


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


def evil(member: tarfile.TarInfo, data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def link(target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("STS")
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>please log in to the hotel network</html>", "cut off or damaged"),
        (b"", "cut off or damaged"),
        (evil(tarfile.TarInfo("../../escaped.txt"), b"x"), "was not unpacked"),
        (evil(link("/etc")), "was not unpacked"),
        (evil(tarfile.TarInfo("readme.txt"), b"x"), "holds no folder STS"),
    ],
    ids=["html", "empty", "path out", "link out", "other archive"],
)
def test_an_archive_that_is_not_the_benchmark_leaves_nothing(body, says, small, tmp_path, home, serve):
    serve({TAR: body})
    before = contents(tmp_path)
    with pytest.raises(HncseError, match=says):
        fetch()
    assert contents(tmp_path) == before
    assert list(home.iterdir()) == []


def test_an_archive_cut_between_files_is_found_by_count(small, tmp_path, home, serve):
    base = benchmark.write(tmp_path / "source")
    (base / "STS/STS14-en-test/STS.gs.images.txt").write_text("1.0\n")
    serve({TAR: benchmark.archive(base)})
    with pytest.raises(HncseError, match=r"not SimCSE's: .*STS.input.images.txt has 8 lines"):
        fetch()
    assert list(home.iterdir()) == []


def test_a_truncated_archive_leaves_nothing(packed, home, serve):
    serve({TAR: packed[: len(packed) // 3]})
    with pytest.raises(HncseError, match="is cut off") as caught:
        fetch()
    assert str(caught.value).count("Two ways to get it") == 1
    assert list(home.iterdir()) == []


def test_without_a_network_the_error_says_what_to_do(small, home, online, monkeypatch):
    attempts = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (attempts.append(to), connect(self, to))[1])
    with pytest.raises(HncseError, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
        fetch()
    for part in (TAR, str(home), "hncse benchmark-files", "unpack", "HNCSE_DATA"):
        assert part in str(caught.value)
    assert len(attempts) <= 2  # no half minute of retries
    assert list(home.iterdir()) == []


def test_offline_mode_is_respected(small, home, monkeypatch):
    with pytest.raises(HncseError, match="offline"):
        fetch()


def test_a_folder_that_cannot_be_made(small, tmp_path, serve, packed, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path / "file" / "home"))
    serve({TAR: packed})
    with pytest.raises(HncseError, match=r"file/home could not be written .*HNCSE_DATA"):
        fetch()


@pytest.mark.parametrize("what", ["unpacking", "downloading", "moving"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_leaves_nothing(what, number, packed, home, serve, monkeypatch):
    serve({TAR: packed})

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    if what == "unpacking":
        monkeypatch.setattr(tarfile.TarFile, "makefile", fail)
    elif what == "moving":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(remote, "_receive", fail)
    with pytest.raises(HncseError, match=f"could not be written.*{os.strerror(number)}"):
        fetch()
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_command_line_prints_counts_or_an_error(packed, home, serve, capsys):
    serve({TAR: packed})
    assert senteval.main(["--allow-other-files"]) == 0
    assert "STS14  test     37 pairs" in capsys.readouterr().out
    (home / "senteval/downstream/SICK/SICK_trial.txt").write_text("x\n")
    assert senteval.main(["--allow-other-files"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_missing_file_or_repository_on_the_hub(home, serve, tmp_path):
    serve({"other.txt": b"x"})
    with pytest.raises(HncseError, match="has no file 'senteval.tar'"):
        fetch()
    with pytest.raises(remote.Unavailable, match="no public dataset 'no/body'"):
        remote.look_up("no/body", "README.md")
