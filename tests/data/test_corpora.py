"""Every source of sentences, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import lzma
import random
import socket
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from hncse.data import corpora, readers
from hncse.errors import HncseError

LINES = [f"Sentence number {number} stands here." for number in range(40)]


def write(path: Path, lines: list[str] = LINES) -> Path:
    body = "".join(f"{line}\n" for line in lines).encode()
    opened = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opened(path, "wb") as file:
        file.write(body)
    return path


def fails(source: object, says: str, **options: object) -> str:
    with pytest.raises(HncseError, match=says) as caught:
        corpora.load(source, **options)
    return str(caught.value)


# --- files of one's own


@pytest.mark.parametrize("name", ["a.txt", "a.txt.xz", "a.txt.gz", "a.TXT"])
def test_text_files(name, tmp_path):
    corpus = corpora.load(write(tmp_path / name))
    assert corpus.sentences == LINES
    assert corpus.source == str(tmp_path / name)
    assert corpus.skipped == {}
    assert corpus.fingerprint == hashlib.sha256("".join(f"{line}\n" for line in LINES).encode()).hexdigest()
    assert len(corpus) == 40


def table(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"reviews.{kind}"
    if kind.startswith("csv"):
        write(path, ["stars,review", *(f'{n},"{line[:-1]}, and ""so"" on."' for n, line in enumerate(LINES))])
    elif kind.startswith("tsv"):
        write(path, ["stars\treview", *(f'{n}\t{line[:-1]}, and "so" on.' for n, line in enumerate(LINES))])
    elif kind.startswith("jsonl"):
        rows = [{"stars": n, "review": f'{line[:-1]}, and "so" on.'} for n, line in enumerate(LINES)]
        write(path, [json.dumps(row) for row in rows])
    else:
        rows = {"stars": list(range(40)), "review": [f'{line[:-1]}, and "so" on.' for line in LINES]}
        pyarrow.parquet.write_table(pyarrow.table(rows), path)
    return path


KINDS = ["csv", "csv.xz", "tsv", "tsv.gz", "jsonl", "jsonl.xz", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_a_table(kind, tmp_path):
    path = table(tmp_path, kind)
    assert corpora.load(path, column="review").sentences == [f'{line[:-1]}, and "so" on.' for line in LINES]
    assert "stars, review" in fails(path, "has several columns; choose one with column=")
    message = fails(path, "Did you mean 'review'", column="reviews")
    assert str(path) in message and "stars" in message


def test_the_only_column_or_the_one_called_sentence_needs_no_choosing(tmp_path):
    assert corpora.load(write(tmp_path / "one.csv", ["anything", *LINES])).sentences == LINES
    rows = ["id,sentence", *(f"{n},{line}" for n, line in enumerate(LINES))]
    assert corpora.load(write(tmp_path / "two.csv", rows)).sentences == LINES
    both = write(tmp_path / "both.csv", ["text,sentence", "a b c,d e f", "g h i,j k l"])
    fails(both, "several columns")
    assert corpora.load(both, column="text").sentences == ["a b c", "g h i"]


TABLES = {  # what people have: text, options, the right sentences, what is left out, how many notes
    "Excel": ('\ufeffid;text;label\r\n0;"A bridge, closed.";1\r\n1;Rain.;0\r\n', ["A bridge, closed.", "Rain."], {}, 0),
    "Excel names its delimiter": (
        'sep=;\nid;text\n1;One, here.\n2;"Two; here."\n',
        ["One, here.", "Two; here."],
        {},
        0,
    ),
    "pipes": ('id|text\n1|One "here.\n2|Two.\n', ['One "here.', "Two."], {}, 0),
    "carriage returns": ("text\rOne here.\rTwo here.\r", ["One here.", "Two here."], {}, 0),
    "quotes after blanks": ('id, text\n1, "Yes, it is."\n2, "No, no."\n', ["Yes, it is.", "No, no."], {}, 0),
    "a pandas index": (",text\n0,One.\n1,Two.\n", ["One.", "Two."], {}, 0),
    "a quoted header": ('"text"\n"One, two"\n"Three"\n', ["One, two", "Three"], {}, 0),
    "commas in the last column": ("id,text\n1,Yes, it is.\n2,No.\n", ["Yes, it is.", "No."], {}, 1),
    "commas in the first column": ("text,label\nYes, it is.,1\nNo.,0\n", ["Yes, it is.", "No."], {}, 1),
    "commas in the only column": ("text\nYes, it is.\nNo.\n", ["Yes, it is.", "No."], {}, 0),
    "an empty cell at the end": ("id;text;label\n1;One.;0\n2;Two.\n", ["One.", "Two."], {}, 1),
    "rows of nothing": ("id;text\n1;One.\n;\n;;;\n2;Two.\n", ["One.", "Two."], {"blank": 2}, 0),
    "a cell over two lines": ('id,text\n1,"Two\nlines."\n2,One line.\n', ["Two lines.", "One line."], {}, 1),
    "sentences without a header": (
        "The cat sat.\nDogs bark, so.\nRain.\n",
        ["The cat sat.", "Dogs bark, so.", "Rain."],
        {},
        1,
    ),
    "the first with a comma": ("Dogs bark, so.\nThe cat sat.\n", ["Dogs bark, so.", "The cat sat."], {}, 1),
    "quoted ones": ('"The cat, sadly, sat."\n"Dogs bark."\n', ["The cat, sadly, sat.", "Dogs bark."], {}, 1),
    "an open quote": ('text\nOne.\n"Two.\nThree.\n', ["One.", '"Two.', "Three."], {}, 1),
    "an open quote in a row": (
        'id,text,label\n1,"One, two\n2,Three.,0\n3,"Four, five.",1\n',
        ["Three.", "Four, five."],
        {"quote left open": 1},
        0,
    ),
    "a quote closed too early": (
        'text,label\n"So" it is,1\nOne.,0\nTwo.,1\n',
        ["One.", "Two."],
        {"quote left open": 1},
        0,
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_tables_as_people_have_them(name, ending, tmp_path):
    text, sentences, skipped, notes = TABLES[name]
    path = tmp_path / f"a.{ending}"  # the ending decides nothing
    path.write_bytes(text.encode())
    corpus = corpora.load(path)
    assert corpus.sentences == sentences
    assert corpus.skipped == skipped
    assert len(corpus.notes) == notes
    assert all(note in corpus.describe() for note in corpus.notes)


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [  # quoted as pandas writes it, or quotes that are part of the text, as STS-B has them
        (['"He said ""no"" twice."\t1', '"A\ttab inside."\t0'], ['He said "no" twice.', "A tab inside."]),
        (
            ['"He said no.\t1', 'A "quoted" word.\t0', '"He said."\t1'],
            ['"He said no.', 'A "quoted" word.', '"He said."'],
        ),
    ],
)
def test_quotes_between_tabs_are_told_from_the_whole_file(rows, sentences, tmp_path):
    assert corpora.load(write(tmp_path / "a.tsv", ["text\tlabel", *rows])).sentences == sentences


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["id,label,text", "1,good,Yes, it is.", "2,bad,No."], r"line 2: 4 cells .* has 3: '1,good,Yes, it is.'"),
        (["0,The bridge was closed,1", "1,It rained,0"], "names no columns: .*'The bridge was closed'"),
        (["The cat sat.;1", "Dogs bark.;0"], "names no columns: .*'The cat sat.'"),
        (["1,Yes, it is.", "2,No."], "names no columns"),
        (["text", "One here.;1", "Two here.;0"], "every line below the first has 1 semicolon"),
        (["Dogs bark", "Cats meow, so they say"], "looks like text: rename the file to .txt"),
        (["text;id,text", "a;b,c", "d;e,f"], "what separates its columns cannot be told"),
        (["text,text", "a,b"], "has several columns"),
        (["sep=;", "One here.;Two", "Three here.;Four; five"], "names no columns"),  # sep= says that it is a table
    ],
)
def test_a_table_that_cannot_be_read_without_guessing(lines, says, tmp_path):
    fails(write(tmp_path / "a.csv", lines), says)


def test_quotes_that_break_a_file_without_uneven_rows_cost_their_lines_alone(tmp_path):
    path = write(tmp_path / "a.csv", ["Words", "One here.", '"Closed" early', "Two here."])
    assert corpora.load(path).sentences == ["One here.", '"Closed" early', "Two here."]
    assert "taken as it stands (first at line 3)" in corpora.load(path).describe()


def test_with_a_column_rows_that_are_too_long_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "a.csv", ["id,label,text", "1,good,Yes, it is.", "2,bad,No.", "3,bad,Never."])
    corpus = corpora.load(path, column="text")
    assert corpus.sentences == ["No.", "Never."]
    assert corpus.skipped == {"row longer than the header": 1} and corpus.first_skipped == {
        "row longer than the header": 2
    }
    fails(write(tmp_path / "b.csv", ["text,text", "a,b", "c,d"]), "2 columns called 'text'", column="text")


def test_a_file_in_another_encoding_says_so(tmp_path):
    for name, says in (("a.csv", "UTF-16"), ("a.txt", r"no sentences \(left out: .*not UTF-8.*zero bytes \(UTF-16")):
        (tmp_path / name).write_text("text\nOne here.\nTwo here.\n", encoding="utf-16")
        fails(tmp_path / name, says)


def test_text_that_may_be_a_table_is_said(tmp_path, caplog):
    corpus = corpora.load(write(tmp_path / "a.txt", [f"{line}\t1" for line in LINES]))
    assert any("1 tab" in note for note in corpus.notes) and "1 tab" in caplog.text
    assert corpora.load(write(tmp_path / "b.txt")).notes == []
    (tmp_path / "c.txt").write_bytes(b"One here.\rTwo here.")  # the ends of lines of old Macs
    assert corpora.load(tmp_path / "c.txt").sentences == ["One here.", "Two here."]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_of_triplets_that_is_not_used_is_said(kind, tmp_path, caplog):
    rows = [{"anchor": f"Question {i}?", "positive": f"Answer {i}.", "negative": f"Wrong {i}."} for i in range(4)]
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        write(path, [json.dumps(row) for row in rows])
    else:
        write(path, ["anchor,positive,negative", *(",".join(row.values()) for row in rows)])
    corpus = corpora.load(path, column="anchor", negatives="negative")
    assert (corpus.sentences[3], corpus.negatives[3]) == ("Question 3?", ("Wrong 3.",))
    assert corpus.notes == ["column 'positive' is not used"]
    assert "column 'positive' is not used" in caplog.text and "'positive'" in corpus.describe()


@pytest.mark.parametrize("kind", ["large_string", "string_view", "dictionary"])
def test_text_in_any_of_its_types_in_parquet(kind, tmp_path):
    types = {"dictionary": pyarrow.dictionary(pyarrow.int32(), pyarrow.string())}
    column = pyarrow.array(LINES).cast(types.get(kind) or getattr(pyarrow, kind)())
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    assert corpora.load(tmp_path / "a.parquet").sentences == LINES


def test_text_columns_only_in_parquet(tmp_path):
    assert "int64, not text" in fails(table(tmp_path, "parquet"), "stars", column="stars")

    pyarrow.parquet.write_table(pyarrow.table({"text": [b"One.", b"Two."]}), tmp_path / "bytes.parquet")
    fails(tmp_path / "bytes.parquet", "'text' holds binary, not text")


def test_a_source_read_as_a_stream_says_what_it_leaves_out(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\n1,One, here.\n2,Caf\xe9\n3,Three here.\n")
    assert list(corpora.stream(path)) == ["One, here.", "Three here."]
    assert "1 not UTF-8 (first at 3)" in caplog.text and "first at line 2" in caplog.text
    assert list(corpora.stream(path, limit=1, column="text")) == ["One, here."]


# --- a sample


def test_a_limit_draws_a_seeded_sample_in_file_order(tmp_path):
    path = write(tmp_path / "sorted.txt")
    one, again, other = (corpora.load(path, limit=10, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.sentences != other.sentences and one.fingerprint != other.fingerprint
    assert len(set(one.sentences)) == 10
    assert one.sentences == sorted(one.sentences, key=LINES.index)
    assert one.sentences != LINES[:10]  # not the file's head: files are often sorted
    assert corpora.load(path, limit=1000).sentences == LINES


@pytest.mark.parametrize(
    ("options", "says"),
    [
        *(({"limit": limit}, "limit is .* whole number of at least 2") for limit in (0, 1, -3, 2.5, True, "10")),
        *(({"seed": seed}, "seed is .* whole number") for seed in (-1, 0.5, None)),
        ({"column": "text"}, "takes no column"),
    ],
)
def test_options_that_make_no_sense(options, says):
    fails("docstrings", says, **options)


# --- lines that are no sentences


def test_bad_lines_are_left_out_and_counted_with_the_first_of_them(tmp_path, caplog):
    path = tmp_path / "mixed.txt"
    words, long = corpora.MAX_WORDS, "x" * (corpora.MAX_CHARACTERS + 1)
    path.write_bytes(
        b"\xef\xbb\xbfThe first.\r\n\n  \t \nCaf\xe9 in latin-1.\nThe   second\tone.\nna\xefve\n"
        + long.encode()
        + b"\nzero\0bytes\n\xc3\xa9t\xc3\xa9 in UTF-8.\n"
        + b"w " * words
        + b"\n"
        + b"w " * (words + 1)
    )
    with caplog.at_level(logging.WARNING):
        corpus = corpora.load(path)
    assert corpus.sentences == ["The first.", "The second one.", "été in UTF-8.", " ".join(["w"] * words)]
    long_reason = "over 2,000 words or 20,000 characters"
    assert corpus.skipped == {"blank": 2, "not UTF-8": 2, long_reason: 2, "zero bytes (UTF-16?)": 1}
    assert corpus.first_skipped == {"blank": 2, "not UTF-8": 4, long_reason: 7, "zero bytes (UTF-16?)": 8}
    assert "2 not UTF-8 (first at 4)" in caplog.text and "blank" not in caplog.text
    assert corpus.describe() == (
        f"4 sentences from {path}; left out: 2 blank (first at 2), 2 not UTF-8 (first at 4), "
        f"2 {long_reason} (first at 7), 1 zero bytes (UTF-16?) (first at 8)"
    )


def test_bad_records_are_left_out_and_counted(tmp_path):
    rows = ['{"text": "One."}', "", '{"text": null}', '{"other": 1}', '{"text": "cut', "7", '"Broken \\ud800 one."']
    rows += ['"A string."', "[" * 100_000, '{"text": "Two.", "n": ' + "9" * 9_000 + "}", '{"text": NaN}']
    corpus = corpora.load(write(tmp_path / "a.jsonl", rows))
    assert corpus.sentences == ["One.", "A string.", "Two."]
    assert corpus.skipped.pop("not JSON", 0) + corpus.skipped.pop("nested too deep to be read", 0) == 2  # by Python
    assert corpus.skipped == {"blank": 1, "no text in the record": 4, "not UTF-8": 1}
    assert corpus.first_skipped["no text in the record"] == 3 and corpus.first_skipped["not UTF-8"] == 7

    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\n1,One here.\n\n2\n3,Caf\xe9\n4,Two here.\n")
    assert corpora.load(path).skipped == {"blank": 1, "row shorter than the header": 1, "not UTF-8": 1}

    pyarrow.parquet.write_table(pyarrow.table({"text": ["One here.", None, "Two here."]}), tmp_path / "a.parquet")
    assert corpora.load(tmp_path / "a.parquet").skipped == {"no text in the record": 1}


# --- too little


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "has no sentences;"),
        (["", " ", ""], r"has no sentences \(left out: 3 blank \(first at 1\)\)"),
        (["Just one."], "has only one sentence"),
        (["All the same."] * 5, "the 5 sentences of .* are all equal"),
        (["All  the same. ", "All the same."], "are all equal"),
    ],
)
def test_a_corpus_needs_two_different_sentences(lines, says, tmp_path):
    assert "at least two different ones" in fails(write(tmp_path / "few.txt", lines), says)


# --- files that are not there, or not whole


def test_a_missing_file_or_source_says_what_is_there(tmp_path):
    write(tmp_path / "reviews.txt")
    write(tmp_path / "notes.md")
    message = fails(tmp_path / "review.txt", "there is no file")
    assert "reviews.txt" in message and "notes.md" not in message
    assert "reviews.txt" in fails(tmp_path, "is a folder; name one of its files")
    fails(tmp_path / "nowhere" / "a.txt", "there is no folder .*nowhere either")
    fails("docstring", "Did you mean 'docstrings'")
    fails("wikipedia1m", "Did you mean 'wiki")
    fails(tmp_path / "reviews.txt", "has no column 'review'", column="review")
    for name in ("x" * 5000 + ".txt", "~no-such-user/a.txt"):
        fails(name, "is no file's name")
    for name in ("a.docx", "a.parquet.gz", "noending"):
        fails(write(tmp_path / name), "must end in one of .txt, .csv, .tsv, .jsonl, .parquet")


@pytest.mark.parametrize("name", ["a.txt.xz", "a.jsonl.gz", "a.parquet"])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_file(name, damage, tmp_path):
    draw = random.Random(0)
    lines = ['"' + " ".join(str(draw.random()) for _ in range(9)) + '"' for _ in range(500)]
    path = table(tmp_path, "parquet") if name == "a.parquet" else write(tmp_path / name, lines)
    path.write_bytes(path.read_bytes()[: -2000 if name != "a.parquet" else -9] if damage == "cut" else b"plain\n" * 50)
    assert str(path) in fails(path, "is (cut off|no parquet file) or (is )?damaged")


def test_an_open_quote_costs_its_own_line_alone_however_long_the_rest(tmp_path):
    path = tmp_path / "open.csv"
    path.write_text('text\nFine.\n"never closed\n' + "x y z\n" * 25_000)
    corpus = corpora.load(path)
    assert corpus.sentences == ["Fine.", '"never closed', *["x y z"] * 25_000]
    assert "first at line 3" in corpus.describe()


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(readers, "_open", refuse)
    fails(path, "could not be read: Permission denied")


# --- sentences at hand


def test_from_sentences():
    corpus = corpora.from_sentences(["One  here.", "", "Two here."])
    assert corpus.sentences == ["One here.", "Two here."]
    assert corpus.skipped == {"blank": 1}
    assert len(corpora.from_sentences(LINES, limit=5, seed=3)) == 5
    with pytest.raises(HncseError, match="one is int: 3"):
        corpora.from_sentences(["One.", 3])
    with pytest.raises(HncseError, match="is one string"):
        corpora.from_sentences("One. Two.")


# --- wikipedia


def test_wikipedia_reads_its_files_in_order_and_only_as_far_as_needed(home):
    folder = home / "wikipedia"
    folder.mkdir()
    write(folder / "b.txt.xz", LINES[20:30])
    write(folder / "a.txt.gz", LINES[:20])
    write(folder / "wiki1m_for_simcse.txt", ["never"] * 9)
    write(folder / "wiki1m_for_simcse.head.txt", ["never"] * 9)
    write(folder / "README.md", ["never"])
    write(folder / "a.txt", LINES[:20])  # the same as a.txt.gz, read once
    (folder / "c.txt.xz").write_bytes(b"damaged")
    assert corpora.load("wikipedia", limit=25).sentences == LINES[:25]
    fails("wikipedia", "c.txt.xz is cut off or damaged", limit=31)


def test_wikipedia_without_files_says_where_they_belong(home):
    message = fails("wikipedia", "there are no Wikipedia sentences")
    assert str(home / "wikipedia") in message and "HNCSE_DATA" in message


# --- wiki1m


@pytest.fixture
def ten(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file that stands for wiki1m, of as many lines as are then expected."""
    monkeypatch.setattr(corpora, "_WIKI1M_LINES", range(40, 41))
    return "".join(f"{line}\n" for line in LINES).encode()


def test_wiki1m_is_fetched_once(ten, home, serve):
    hub = serve({"wiki1m_for_simcse.txt": ten})
    assert corpora.load("wiki1m").sentences == LINES
    assert [path.name for path in (home / "wikipedia").iterdir()] == ["wiki1m_for_simcse.txt"]
    asked = len(hub.asked)
    assert len(corpora.load("wiki1m", limit=10)) == 10
    assert len(hub.asked) == asked


@pytest.mark.parametrize("fault", ["cut", "damaged", "failing"])
def test_wiki1m_arriving_badly_leaves_nothing(fault, ten, home, serve):
    serve({"wiki1m_for_simcse.txt": ten}, fault=fault)
    message = fails("wiki1m", "Two ways to get it")
    assert str(home / "wikipedia") in message
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_wiki1m_of_another_length_is_refused(ten, home, serve):
    serve({"wiki1m_for_simcse.txt": ten[:-100]})
    fails("wiki1m", "has 37 lines instead of 1,000,000")
    assert [path for path in home.rglob("*") if path.is_file()] == []
    write(home / "wikipedia" / "wiki1m_for_simcse.txt", LINES[:7])
    assert "cut off" in fails("wiki1m", "wiki1m_for_simcse.txt has 7 lines, SimCSE's file has 1,000,000")


def test_wiki1m_without_a_network(home, online):
    message = fails("wiki1m", "cannot be reached")
    assert "wiki1m_for_simcse.txt" in message and "'docstrings'" in message


def test_wiki1m_on_a_disk_that_cannot_be_written(home, serve, ten):
    (home / "wikipedia").write_text("in the way")
    serve({"wiki1m_for_simcse.txt": ten})
    fails("wiki1m", "wiki1m_for_simcse.txt could not be written")


# --- Hugging Face datasets


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    write(folder / "train.jsonl", [json.dumps({"label": 1, "words": line}) for line in LINES])
    return folder


def test_a_dataset_column_whole_and_streamed(dataset):
    assert corpora.load(f"hf:{dataset}:words").sentences == LINES
    streamed = corpora.load(f"hf:{dataset}:words", limit=10, seed=1)
    assert len(streamed) == 10 and set(streamed.sentences) < set(LINES)
    assert streamed.sentences != corpora.load(f"hf:{dataset}:words", limit=10, seed=2).sentences


def test_a_dataset_source_that_makes_no_sense(dataset, tmp_path):
    fails(f"hf:{dataset}:word", "Did you mean 'words'")
    fails(f"hf:{dataset}:label", "has no sentences .*no text in the record")
    fails("hf:words", "must read hf:<dataset>:<column>")
    (dataset / "train.jsonl").rename(dataset / "test.jsonl")
    fails(f"hf:{dataset}:words", "has no split 'train'; it has: test")


def test_a_dataset_without_a_network_fails_at_once(online, monkeypatch):
    attempts = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (attempts.append(to), connect(self, to))[1])
    fails("hf:stanfordnlp/sst2:sentence", "could not be loaded: .*cannot be reached", limit=100)
    assert len(attempts) <= 2
