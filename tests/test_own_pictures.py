"""Pictures of anybody's sentences: what a table may say, what is drawn of it, what is refused."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from hncse.errors import HncseError
from hncse.visual import boundary, own, projection, style

TABLE = """text,role,anchor
A man plays.,anchor,
A man is playing.,positive,
A man does not play.,hard,
"He <b>plays</b>, $x$ & </script>.",sarcasm,
Somebody performs.,False negative,
A train leaves.,anchor,
A train departs.,positive,
The train stays.,number changed,
The bus leaves.,hard negative,A train leaves.
"""


class Words:
    """A vector a word, so that shared words make texts alike."""

    def encode(self, texts):
        def vector(word):
            return np.random.default_rng(int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)).normal(size=24)

        return np.array([sum(map(vector, re.findall(r"\w+", text.lower()))) for text in texts])


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text(TABLE)
    return path


def test_roles_are_the_users_and_rows_find_their_anchor(table):
    first, second = own.read(table)
    assert [s.role for s in first.sentences] == [
        "anchor", "paraphrase_close", "hard_negative", "sarcasm", "paraphrase_far",
    ]  # fmt: skip
    assert [s.text for s in second.sentences][2:] == ["The train stays.", "The bus leaves."]
    opened = own.study(Words(), table)
    film = opened.film("1")
    z = Words().encode([point.text for point in film.points])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    (at,) = film.moments["encoder"]
    assert np.allclose(at.cosine, z @ z[0])
    inside = np.hypot(*at.places.T) < boundary.angle(at.p) - 1e-9
    assert np.array_equal(inside, at.cosine > at.p + 1e-12)
    plane = opened.planes("encoder")[0]
    assert plane["hardest_negative"][0] == pytest.approx(max(at.cosine[2:4])), "a false negative is no negative"
    assert [g.id for g in opened.search("sarcasm")] == ["1"] and [g.id for g in opened.search("number changed")] == [
        "2"
    ]


def test_the_command_draws_page_plane_and_boundaries(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hncse.evaluation.open_encoder", lambda name, pooling: (Words(), None))
    monkeypatch.setattr(style, "_DPI", 30)
    assert own.main([str(table), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.split()
    pictures = ("similarity_plane", "boundary-01", "boundary-02")
    names = {"explorer.html", *(f"{name}.{ending}" for name in pictures for ending in ("png", "svg"))}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names == {p.rpartition("/")[2] for p in printed}
    page = (tmp_path / "out" / "explorer.html").read_text()
    assert "<b>" not in page and page.count("</script") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert data["choice"] == "anchor" and len(data["scenes"]) == 2
    (scene,) = next(iter(data["scenes"].values()))
    assert "sarcasm" in [row["name"] for row in scene["rows"]] and "step" not in scene["says"].lower()
    assert any("</script>" in line for point in scene["points"] for line in point["tip"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text,rol\na,b\n", r"unknown column.*Did you mean 'rol'"),
        ("text,role\na,hard\n", "line 2: 'a' belongs to no anchor"),
        ("text,role\na,anchor\nb,hard\nc,hard\n", "0 rows of role positive"),
        ("text,role\na,anchor\nb,positive\nc,positive\nd,hard\n", "2 rows of role positive.*name of your own"),
        ("text,role\na,anchor\nb,positive\nc,topic\n", "has no negative"),
        ("text,role\na,anchor\nb,\n", "line 3 has no role"),
        ("text,role\na,anchor\nb,positive\na,anchor\n", "line 4.*stands there twice"),
        ("text,role\na,anchor\nb,positive\nc,hard\n", "3 sentences"),
        ("text,role\n", "no sentences"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, text, words):
    (tmp_path / "my.csv").write_text(text)
    with pytest.raises(HncseError, match=words):
        own.study(Words(), tmp_path / "my.csv")


def test_an_atlas_holds_places_texts_roles_and_exact_neighbours(table, tmp_path, monkeypatch):
    def layout(rows, distance, nearest, **_):
        assert nearest[:, 0].tolist() == list(range(len(rows))) and not distance[:, 0].any()
        return np.asarray(rows)[:, :2].astype(float)

    monkeypatch.setattr(projection, "layout", layout)
    atlas = pd.read_parquet(own.atlas(Words(), table, tmp_path / "map.parquet"))
    assert list(atlas) == ["x", "y", "text", "role", "neighbours"] and atlas["role"][3] == "sarcasm"
    z = Words().encode(list(atlas["text"]))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    cosine = z @ z.T - 2 * np.eye(len(z))
    near = atlas["neighbours"][0]
    assert near["ids"][0] == cosine[0].argmax() and near["distances"][0] == pytest.approx(1 - cosine[0].max(), abs=1e-5)
    (tmp_path / "corpus.txt").write_text("".join(f"Line {i} of it.\n" for i in range(9)))
    plain = pd.read_parquet(own.atlas(Words(), tmp_path / "corpus.txt", tmp_path / "c.parquet", limit=6))
    assert len(plain) == 6 and set(plain["role"]) == {""}
    with pytest.raises(HncseError, match="at least 4"):
        own.atlas(Words(), tmp_path / "corpus.txt", tmp_path / "c.parquet", limit=3)
