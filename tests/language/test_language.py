"""Messages in another language: every text of the source has a translation, and only texts are translated."""

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import texts
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from unmask import console, language
from unmask.cli.app import run
from unmask.errors import UserError
from unmask.language import HOLE, LANGUAGES, Catalogue, Template, Verbatim, label, set_language, translate

OTHERS = [name for name in LANGUAGES if name != "en"]
ASSEMBLED = "assembled"  # the section of texts put together at run time, and of those of libraries
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(language.VARIABLE, raising=False)
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


# the catalogues


@pytest.mark.parametrize("name", OTHERS)
def test_every_text_of_the_source_is_translated(name: str) -> None:
    missing = {section: found for section, found in texts.untranslated(name).items() if found}
    shown = json.dumps(missing, ensure_ascii=False, indent=1)
    assert not missing, f"add to src/unmask/locale/{name}/ (or to tests/language/verbatim.json):\n{shown}"


@pytest.mark.parametrize("name", OTHERS)
def test_no_translation_is_left_of_a_text_that_is_gone(name: str) -> None:
    source = texts.shown_by_source()
    known = {*source.labels, *source.messages, *texts.shown_by_help(), *texts.shown_by_recipes()}
    sections = texts.catalogue(name)
    orphans = {
        section: gone
        for section, entries in sections.items()
        if section != ASSEMBLED and (gone := [text for text in entries if text not in known])
    }
    assert not orphans


def test_no_text_is_exempted_that_is_gone() -> None:
    source = texts.shown_by_source(exempt=())
    assert not [text for text in texts.VERBATIM if text not in {*source.messages, *source.labels}]


@pytest.mark.parametrize("name", OTHERS)
def test_holes_agree(name: str) -> None:
    for entries in texts.catalogue(name).values():
        for text, other in entries.items():
            ours, theirs = ([hole[1] for hole in HOLE.finditer(one)] for one in (text, other))
            assert ours == [str(number) for number in range(len(ours))], text
            assert sorted(theirs) == ours, text
            assert all(hole[2] in (None, "n") for hole in HOLE.finditer(text)), text
            assert all(hole[2] in (None, "t") for hole in HOLE.finditer(other)), other


@pytest.mark.parametrize("name", OTHERS)
def test_a_text_is_not_translated_in_two_ways(name: str) -> None:
    sections = texts.catalogue(name)
    whole: dict[str, str] = {}
    for section, entries in sections.items():
        if section != "labels":
            assert not [text for text in entries if text in whole]
            whole |= entries


def test_chinese_is_set_as_books_set_it() -> None:
    """Full-width punctuation, a blank between Chinese and Latin or a number, none beside punctuation."""
    for entries in texts.catalogue("zh").values():
        for text, other in entries.items():
            plain = re.sub(r"\{\d+:t\}|\{\d+\}", lambda hole: "字" if "t" in hole[0] else "A", other)
            assert not re.search(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", plain), other
            assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?(][\u4e00-\u9fff]", plain), other
            assert not re.search("[\u4e00-\u9fff，。；：（）、] +[，。；：（）、]", plain), other
            assert other.endswith("。") == text.endswith(".") or text.endswith(("...", "Ltd.")), other


# a translation found


def every_template() -> list[tuple[str, str]]:
    sections = texts.catalogue("zh")
    return [(t, o) for entries in sections.values() for t, o in entries.items() if HOLE.search(t)]


@pytest.mark.parametrize(("text", "other"), every_template())
def test_every_template_is_found_and_lets_values_through(chinese: None, text: str, other: str) -> None:
    values = {hole[1]: f"{int(hole[1]) + 2},345" if hole[2] == "n" else f"Zq{hole[1]}" for hole in HOLE.finditer(text)}
    shown = HOLE.sub(lambda hole: values[hole[1]], text)
    wanted = HOLE.sub(lambda hole: values[hole[1]], other)
    assert label(shown).replace(" ", "") == wanted.replace(" ", "")


def test_the_more_literal_template_wins() -> None:
    found = Catalogue({"a": {"{0} is not a model": "m {0}", "{0}: {1} is not a model": "mm {1} {0}"}})
    assert found.message("x: y is not a model") == "mm y x"
    assert found.message("x is not a model") == "m x"
    assert found.message("x is not a models") == "x is not a models"


def test_numbers_only_where_numbers_stand() -> None:
    found = Catalogue({"a": {"{0:n} rows": "{0} R", "{0:n} of {1}": "{1:t} ({0})", "all rows": "R"}})
    assert found.message("1,234 rows") == "1,234 R"
    assert found.message("my rows") == "my rows"
    assert found.message("3 of all rows") == "R (3)"
    assert found.message("3 of other rows") == "other rows (3)"


def test_parts_and_lists() -> None:
    found = Catalogue({"a": {"{0:n} rows": "{0} R", "cut": "C", "at least {0:n}": ">= {0}"}})
    assert found.message("5 rows · cut · x.csv") == "5 R · C · x.csv"
    assert found.message("5 rows  cut") == "5 R  C"
    assert found.message("5 rows\n  cut") == "5 R\n  C"
    assert found.message("5 rows, at least 3") == "5 R，>= 3"
    assert found.message("5 rows, unheard of") == "5 rows, unheard of", "a list with a part that is not ours"


def test_what_is_the_users_stays(chinese: None) -> None:
    assert label("text") == "文本" and translate("text") == "text", "a word alone may be a name or a path"
    assert label(Verbatim("text")) == "text"
    assert translate("x" * 5000 + " rows") == "x" * 5000 + " rows"
    assert translate(Verbatim("12 rows")) == "12 rows"


@given(st.text(alphabet="ab .,:;{}()[]\\|*?+^$\n·中0", max_size=40))
def test_any_text_goes_through(text: str) -> None:
    set_language("zh")
    try:
        translate(text)
        label(text)
        assert Template("{0} is {1:n}", "{1} {0}").pattern.fullmatch(f"{text} is 7")
    finally:
        set_language("en")


def test_in_english_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_catalogue", None)
    text = "x.csv does not exist"
    assert translate(text) is text and label("rows") == "rows"


def test_names_of_languages() -> None:
    assert [language.known(name) for name in ("zh", "zh-CN", "zh_CN.UTF-8", "ZH-Hans")] == ["zh"] * 4
    assert language.known("en_US") == "en" and language.known("fr") is None
    with pytest.raises(ValueError, match="fr"):
        set_language("fr")


# what people see


def test_errors_name_their_facts_in_chinese(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:
    error = UserError("a.csv, line 2,017 has no label", given="text", allowed="a value in column 'y'")
    console.show_error(error)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["错误：a.csv 第 2,017 行没有标签", "  给出的  text", "  允许的  'y' 列中要有值"]
    assert str(error).startswith("a.csv, line 2,017 has no label\n  given    text"), "the error stays English"


def test_a_message_inside_a_message(chinese: None) -> None:
    inner = "a.conll, line 11 has 3 columns, line 1 has 2"
    assert translate(inner) == "a.conll 第 11 行有 3 列，第 1 行有 2 列"
    assert translate(f"left out: 2 (the first: {inner})") == f"略去 2 处（第一处：{translate(inner)}）"


def test_paths_have_blanks_beside_characters(chinese: None) -> None:
    assert translate('x, line 2: tag "A" is not among the 3 tags of /a/b.conll').count(" /a/b.conll ") == 1


def test_facts_line_up_by_cells(chinese: None) -> None:
    error = UserError("x", did_you_mean="Z", given="中文", to_do="run the same command again")
    for shown, starts in ((str(error), "Z中r"), (error.render(translate, label), "Z中再")):
        lines = zip(shown.splitlines()[1:], starts, strict=True)
        assert len({cell_len(line[: line.index(start)]) for line, start in lines}) == 1


def test_piped_work_lines_up_by_cells(chinese: None, capfd: pytest.CaptureFixture[str]) -> None:
    for title in ("Corpus", "Pretraining", "Fine-tuning"):
        with console.start_step(title, number=3) as work:
            work.start(100, "rows")
            work.result("40 rows of x.csv")
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
        work.show("4,310 tokens/s  loss 5.91 (unigram 7.02)")
        now[0] = 20.0
        work.advance(10)
    status = capfd.readouterr().err.splitlines()[0]
    assert "词元/秒" in status and "损失 5.91（只凭词频 7.02）" in status and "剩余 3 分钟" in status


def test_tables_translate_headings_and_texts_of_ours_only(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:
    console.table(["label", Verbatim("text"), "rows"], [["source", "model", 3]])
    console.table(["setting", "what it is"], [["source", "what is learnt"]], prose=(1,))
    out = capsys.readouterr().out
    assert "标签" in out and "样本" in out and "text" in out and "source" in out and "model" in out
    assert "学习的任务" in out


def test_results_for_programs_stay(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:
    console.print_text('{"what": "what is learnt"}')
    console.print_json({"text": "no labels"})
    console.print_plain("no labels")
    console.print_text("baselines")
    assert not CHINESE.search(capsys.readouterr().out)
    console.print_text("no labels")
    assert capsys.readouterr().out == "没有标签\n"


# commands


def test_help_and_usage_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    before = call(capsys, "finetune", "--help")
    code, out, _ = call(capsys, "finetune", "--help", "--lang", "zh")
    shown = " ".join(out.split())
    assert code == 0 and shown.startswith("用法：unmask finetune") and "示例：unmask finetune --model" in shown
    assert "为某个任务训练模型" in shown and "选项" in shown and "显示此帮助并退出" in shown
    assert not re.search(r"\b(Options|Arguments|default|Usage|Show)\b", out)
    assert call(capsys, "finetune", "--help") == before, "English comes back as it was"


def test_long_chinese_help_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["corpus", "build"], ["finetune"], ["predict"], ["quickstart"]):
        out = call(capsys, *command, "--help", "--lang", "zh")[1]
        assert "…" not in out


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["nonsense"], "没有命令 'nonsense'。"),
        (["fill", "--model"], "选项 '--model' 需要一个值。"),
        (["recipe", "explain", "--kind", "x"], "'--kind' 的值无效：'x' 不是 'pretrain', 'finetune' 之一。"),
        (["tokenizer", "train", "a.txt"], "缺少选项 '--out'。"),
        (["data", "get"], "缺少参数"),
        (["data", "list", "--nix"], "没有选项：--nix"),
    ],
)
def test_wrong_usage_in_chinese(capsys: pytest.CaptureFixture[str], arguments: list[str], shown: str) -> None:
    code, out, err = call(capsys, *arguments, "--lang", "zh")
    assert code == 2 and out == "" and "错误" in err
    assert ("用法：" in err and "查看帮助" in err) or "--model" in arguments, "what typer says before parsing"
    assert shown in " ".join(re.sub("[│╭╮╰╯─]", "", err).split())
    english = call(capsys, *arguments)[2]
    assert "Error" in english and not CHINESE.search(english)


def test_a_users_mistake_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "--lang=zh", "recipe", "show", "tinny")
    assert (code, out) == (1, "")
    assert err.startswith("错误：tinny 不是配方\n  是否想写  tiny\n  允许的    YAML 文件，或 answer, base")
    code, _, err = call(capsys, "recipe", "show", "tiny", "model.layerz=6", "--lang", "zh")
    assert code == 1 and err.startswith("错误：tiny：model.layerz 不是一项设置\n  给出的    layerz: 6\n")
    code, _, err = call(capsys, "recipe", "show", "tiny", "model.num_hidden_layers=0", "--lang", "zh")
    assert "tiny：model.num_hidden_layers 无法使用" in err and "大于或等于 1" in err


def test_a_whole_job_in_chinese(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, tokenizer, corpus = tmp_path / "a.txt", tmp_path / "tokenizer", tmp_path / "corpus"
    source.write_text("the river and the bridge\n\nthe river and the stone\n" * 40, encoding="utf-8")
    made = ["tokenizer", "train", source, "--vocabulary", 40, "--out", tokenizer, "--lang", "zh"]
    code, out, err = call(capsys, *made)
    assert code == 0 and err.startswith("分词器        40 个词元 · 每个词元 ") and err.endswith(" 秒\n")
    assert "每个词的词元数" in out and "下一步：unmask corpus build FILES" in out and str(tokenizer) in out
    built = ["corpus", "build", source, "--tokenizer", tokenizer, "--out", corpus, "--lang", "zh"]
    code, out, err = call(capsys, *built)
    assert code == 0 and out == f"{corpus}\n" and f"查看内容：unmask corpus stats {corpus}" in err
    code, out, err = call(capsys, "corpus", "stats", corpus, "--lang", "zh")
    assert code == 0 and "校验和已核对" in err
    names = [line.split("  ")[0] for line in out.splitlines()[:8]]
    assert names == "文档 词元 文本 每篇文档的词元数 未知 一元熵 均匀猜测 最常见".split()
    assert not re.search(r"\b(tokens|per|nats|of|least|most)\b", out.replace(str(tmp_path), ""))


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
    assert "整数，至少 1" in out and "学习率" in out and "数字，大于 0" in out and "训练方式" in out
    assert not re.search(r"\b(number|at least|above|the|of|or)\b", out)


# which language


def test_the_environment_chooses_and_the_option_overrides(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert "is not a recipe" in call(capsys, "recipe", "show", "tinny")[2], "scripts see no other language"
    monkeypatch.setenv("UNMASK_LANG", "zh_CN.UTF-8")
    assert "不是配方" in call(capsys, "recipe", "show", "tinny")[2]
    assert "is not a recipe" in call(capsys, "recipe", "show", "tinny", "--lang", "en")[2]


def test_an_unknown_language_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = call(capsys, "data", "list", "--lang", "fr")
    assert code == 1 and "there are no messages in the language 'fr'" in err and "en, zh" in err
    assert call(capsys, "data", "list", "--lang")[0] == 1
    monkeypatch.setenv("UNMASK_LANG", "tlh")
    code, _, err = call(capsys, "data", "list")
    assert code == 1 and "UNMASK_LANG=tlh" in err


def test_commands_with_a_language_of_their_own_keep_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "report", "nowhere", "--lang", "zh")
    assert code == 1 and err.startswith("错误：")
    code, _, err = call(capsys, "quickstart", "--budget", "3 steps", "--lang", "zh")
    assert code == 1 and err.startswith("错误：快速上手的预算是时间")
    code, _, err = call(capsys, "quickstart", "--lang", "fr")
    assert code in (1, 2) and "fr" in err and "messages" not in err


def test_after_two_dashes_the_option_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "fill", "--model", "nowhere", "--", "--lang")
    assert code == 1 and not CHINESE.search(err)


def test_output_that_cannot_be_encoded_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of another encoding: people see question marks, not a traceback."""
    set_language("zh")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", errors="replace"))
    console.print_text("no labels")
    sys.stdout.flush()
    assert raw.getvalue() == b"????\n"
