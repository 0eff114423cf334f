"""Messages in another language: templates, the catalogue, and what people see."""

import io
import json
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import templates
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from errors import refused
from unmask import console
from unmask.cli.app import run
from unmask.errors import UserError
from unmask.messages import (
    from_json,
    join,
    language_of,
    message,
    render,
    set_language,
    to_json,
    translate,
    verbatim,
)

CHINESE = re.compile("[\u4e00-\u9fff]")
CATALOGUE = templates.catalogue("zh")


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("UNMASK_LANG", raising=False)
    set_language("en")
    yield
    set_language("en")


@pytest.fixture
def chinese() -> None:
    set_language("zh")


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return code, shown.out, shown.err


# the catalogue


@pytest.mark.parametrize("texts", [templates.templates, templates.helps, templates.recipes])
def test_every_text_has_a_translation(texts: templates.Texts) -> None:
    missing = sorted(texts() - CATALOGUE.keys())
    assert not missing, f"add to src/unmask/messages/zh.json:\n{json.dumps(missing, indent=1)}"


def test_no_translation_is_unused() -> None:
    used = templates.JOINED | templates.strings() | templates.helps() | templates.recipes()
    assert not [text for text in CATALOGUE if text not in used]


def test_placeholders_agree() -> None:
    for text, other in CATALOGUE.items():
        ours, theirs = (sorted(set(templates.PLACEHOLDER.findall(one))) for one in (text, other))
        assert ours == theirs, text


def test_chinese_is_typeset_as_books_are() -> None:
    """Full-width punctuation, a blank between Chinese and Latin or a number, none beside punctuation."""
    for text, other in CATALOGUE.items():
        for plain in templates.PLACEHOLDER.split(other):
            assert not re.search(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", plain), other
            assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?(][\u4e00-\u9fff]", plain), other
            assert not re.search("[\u4e00-\u9fff，。；：（）、] +[，。；：（）、]", plain), other
        assert other.endswith("。") == text.endswith(".") or text.endswith(("...", "Ltd.")), other


# templates


def test_a_message_is_its_english_text(chinese: None) -> None:
    text = message("{path} does not exist", "x.csv")
    assert text == "x.csv does not exist" and json.dumps(text) == '"x.csv does not exist"'
    assert translate(text) == "x.csv 不存在" and translate(text, "en") == text
    with pytest.raises(ValueError, match="zip"):
        message("{path} does not exist", "x.csv", 3)


def test_values_are_translated_if_they_are_messages(chinese: None) -> None:
    inner = message("{path} does not exist", "rows")
    assert translate(message("skipped: {count:,} (the first: {error})", 1234, inner)) == (
        "略去 1,234 处（第一处：rows 不存在）"
    )
    assert translate(join([message("{rows:,} rows", 5), None, "rows"])) == "5 条样本 · rows"
    assert translate(join([message("number"), message("above {gt}", 0)], ", ")) == "数字，大于 0"


def test_text_of_the_users_stays(chinese: None) -> None:
    assert translate("rows") == "样本" and render("rows") == "rows" and translate(verbatim("rows")) == "rows"
    console.table(["label", verbatim("text")], [["source", message("{rows:,} rows", 3)]])
    error = UserError("{path} does not exist", "rows", given="a whole number", allowed="text", hint="x")
    assert error.render().splitlines() == [
        "rows 不存在",
        *"  给出的  a whole number\n  允许的  text\n  提示    x".split("\n"),
    ]


@given(st.text(alphabet="ab .,:;{}()[]\\|*?+^$\n·中0", max_size=40))
def test_any_text_goes_through(text: str) -> None:
    set_language("zh")
    assert translate(text) == translate(message(text)) == translate(verbatim(text)) == text
    whole = message("{path} does not exist", text)
    assert from_json(json.loads(json.dumps(to_json(whole)))) == whole and translate(whole) == f"{text} 不存在"


def test_names_of_languages() -> None:
    assert [language_of(name) for name in ("zh", "zh-CN", "zh_CN.UTF-8", "ZH-Hans")] == ["zh"] * 4
    assert language_of("en_US") == "en" and language_of("fr") is None
    with refused("'fr'", kind=ValueError):
        set_language("fr")


# what people see


def test_errors_print_their_facts(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:  # golden
    error = UserError("{path} does not exist", "a.jsonl", given="中文", hint=[None, "--x", "choose another name"])
    console.show_error(error)
    assert capsys.readouterr().err.splitlines() == [
        "错误：a.jsonl 不存在",
        "  给出的  中文",
        "  提示    --x",
        "          换一个名字",
    ]
    assert str(error) == "a.jsonl does not exist\n  given  中文\n  hint   --x\n         choose another name"
    assert pickle.loads(pickle.dumps(error)).render() == error.render()


def test_piped_work_lines_up_by_cells(chinese: None, capfd: pytest.CaptureFixture[str]) -> None:
    for title in ("Corpus", "Pretraining", "Fine-tuning"):
        with console.start_step(title, number=3) as work:
            work.start(100, "rows")
            work.result("{rows:,} rows of {file}", 40, "x.csv")
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == "" and [line.split()[1] for line in lines] == ["语料", "预训练", "微调"]
    assert {cell_len(line[: line.index("x.csv")]) for line in lines} == {4 + console.TITLE_WIDTH}
    assert {cell_len(line) for line in lines} == {4 + console.TITLE_WIDTH + console.SUMMARY_WIDTH + 2 + 8}
    assert all(line.endswith(" 秒") for line in lines)


def test_work_under_way(chinese: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.start_step("Pretraining") as work:
        work.start(100.0, "tokens")
        work.show(message("loss {loss:.2f} (unigram {unigram:.2f})", 5.91, 7.02))
        now[0] = 20.0
        work.advance(10)
    status = capfd.readouterr().err.splitlines()[0]
    assert "词元/秒" in status and "损失 5.91（只凭词频 7.02）" in status and "剩余 3 分钟" in status


# commands


def test_help_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    before = call(capsys, "finetune", "--help")
    code, out, _ = call(capsys, "finetune", "--help", "--lang", "zh")
    shown = " ".join(out.split())
    assert code == 0 and shown.startswith("用法： unmask finetune") and "示例：unmask finetune --model" in shown
    assert "为某个任务训练模型" in shown and "选项" in shown and "显示此帮助并退出" in shown
    assert not re.search(r"\b(Options|Arguments|default|Usage|Show)\b", out)
    assert call(capsys, "finetune", "--help") == before, "English comes back as it was"


def test_long_help_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["corpus", "build"], ["finetune"], ["predict"], ["quickstart"]):
        for name in ("en", "zh"):
            out = call(capsys, *command, "--help", "--lang", name)[1]
            assert "…" not in out and all(cell_len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["nonsense"], "nonsense"),
        (["finetune", "--model"], "--model"),
        (["recipe", "explain", "--kind", "x"], "--kind"),
        (["tokenizer", "train", "a.txt"], "--output"),
        (["data", "get"], "NAME"),
        (["data", "list", "--nix"], "--nix"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], name: str) -> None:
    code, out, err = call(capsys, *arguments, "--lang", "zh")
    first = err.splitlines()[0].removeprefix("错误：")
    assert (code, out) == (2, "") and name in first and CHINESE.search(first)
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "") and err.startswith(f"error: {name} ") and not CHINESE.search(err)


def test_a_value_that_an_option_does_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = call(capsys, "recipe", "explain", "--kind", "x")
    assert "'x'" in err and "'pretrain', 'finetune'" in err and "Value error" not in err
    _, _, err = call(capsys, "tokenizer", "train", "a.txt", "--output", "o", "--vocab-size", "many", "--lang", "zh")
    assert "'many'" in err and "整数" in err


def test_a_users_mistake_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:  # golden
    code, out, err = call(capsys, "--lang=zh", "recipe", "show", "tinny")
    assert (code, out) == (1, "")
    assert err.startswith("错误：tinny 不是配方\n") and "是否想写 tiny？" in err
    code, _, err = call(capsys, "recipe", "show", "tiny", "model.layerz=6", "--lang", "zh")
    assert code == 1 and err.startswith("错误：tiny：model.layerz 不是一项设置\n  给出的  layerz: 6\n")
    code, _, err = call(capsys, "recipe", "show", "tiny", "seed=-1", "--lang", "zh")
    assert "tiny：seed 无法使用" in err and "至少 0" in err


def test_a_whole_job_in_chinese(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, tokenizer, corpus = tmp_path / "a.txt", tmp_path / "tokenizer", tmp_path / "corpus"
    source.write_text("the river and the bridge\n\nthe river and the stone\n" * 40, encoding="utf-8")
    made = ["tokenizer", "train", source, "--vocab-size", 40, "--output", tokenizer, "--lang", "zh"]
    code, out, err = call(capsys, *made)
    assert code == 0 and err.startswith("分词器        40 个词元 · 每个词元 ") and err.endswith(" 秒\n")
    assert "每个词的词元数" in out and "下一步：unmask corpus build FILES" in out and str(tokenizer) in out
    built = ["corpus", "build", source, "--tokenizer", tokenizer, "--output", corpus, "--lang", "zh"]
    code, out, err = call(capsys, *built)
    assert code == 0 and out == f"{corpus}\n" and f"查看内容：unmask corpus stats {corpus}" in err
    code, out, err = call(capsys, "corpus", "stats", corpus, "--lang", "zh")
    assert code == 0 and "校验和已核对" in err
    names = {line.split("  ")[0] for line in out.splitlines()}
    assert set("文档 词元 字符 每篇文档的词元数 未知词比例 一元熵 均匀猜测的熵 最常见".split()) <= names
    assert not re.search(r"\b(tokens|per|of|least|most)\b", out.replace(str(tmp_path), ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ["recipe", "show", "tiny"],
        ["recipe", "show", "tiny", "--json"],
        ["recipe", "explain", "train", "--json"],
        ["data", "list", "--json"],
        ["--version"],
    ],
)
def test_what_programs_read_is_the_same_in_every_language(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert call(capsys, *arguments)[1] == call(capsys, *arguments, "--lang", "zh")[1] != ""


def test_recipes_are_explained_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "recipe", "explain", "train", "--lang", "zh")[1]
    assert "整数，至少 1" in out and "学习率" in out and "数字，大于 0" in out and "训练的设置" in out
    assert not re.search(r"\b(number|at least|above|the|of|or)\b", out)


# which language


def test_the_environment_chooses_and_the_option_overrides(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert not CHINESE.search(call(capsys, "recipe", "show", "tinny")[2]), "scripts see no other language"
    monkeypatch.setenv("UNMASK_LANG", "zh_CN.UTF-8")
    assert CHINESE.search(call(capsys, "recipe", "show", "tinny")[2])
    assert not CHINESE.search(call(capsys, "recipe", "show", "tinny", "--lang", "en")[2])


def test_an_unknown_language_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = call(capsys, "data", "list", "--lang", "fr")
    assert code == 1 and "'fr'" in err and "en, zh" in err
    assert call(capsys, "data", "list", "--lang")[0] == 1
    monkeypatch.setenv("UNMASK_LANG", "tlh")
    code, _, err = call(capsys, "data", "list")
    assert code == 1 and "UNMASK_LANG=tlh" in err


def test_commands_with_a_language_of_their_own_keep_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "report", "nowhere", "--lang", "zh")
    assert code == 1 and err.startswith("错误：")
    code, _, err = call(capsys, "quickstart", "--budget", "3 steps", "--lang", "zh")
    assert code == 1 and CHINESE.search(err)
    code, _, err = call(capsys, "quickstart", "--lang", "fr")
    assert code in (1, 2) and "fr" in err and "messages" not in err


def test_after_two_dashes_the_option_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "fill", "nowhere", "--", "--lang")
    assert code == 1 and not CHINESE.search(err)


def test_output_that_cannot_be_encoded_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of another encoding: people see question marks, not a traceback."""
    set_language("zh")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", errors="replace"))
    console.print_text(message("whole number"))
    sys.stdout.flush()
    assert raw.getvalue() == b"??\n"
