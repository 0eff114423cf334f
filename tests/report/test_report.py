"""The report page: made from synthetic runs, read back as a browser would, compared with its figures."""

import base64
import copy
import hashlib
import html
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_sample import entity_results, synthetic_results, tagged_results, write_run

from errors import refused
from unmask.messages import LANGUAGES, Message
from unmask.metrics import Contestant, compare
from unmask.report import chart, evaluation, formats, summary, write_report
from unmask.report.blocks import Figure

VOID = {"meta", "link", "br", "img", "hr", "input"}
PANELS = 8  # of the pretraining run; the logs of the others hold no training loss


class Reader(HTMLParser):
    """Checks that tags nest, and keeps text, attributes and tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.heads: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
        if self.open and self.open[-1] == "th":
            self.heads.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(run: Path, results: dict[str, Any]) -> Reader:
    return Reader(write_report(write_run(run, results)).read_text(encoding="utf-8"))


def test_the_page_has_every_section_and_nests_its_tags(tmp_path: Path) -> None:
    page = report(tmp_path, synthetic_results())
    names = [section["id"] for section in page.all("section")]
    assert names == [
        "summary",
        "results",
        "errors",
        "predictions",
        "pretraining",
        "fills",
        "finetuning",
        "training",
        "data",
        "steps",
        "repeat",
    ]
    assert len(page.all("svg")) == 5 + PANELS, "each plot once"
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    assert page.all("html") == [{"lang": "en"}]


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path, synthetic_results()))
    source = path.read_text(encoding="utf-8")
    page = Reader(source)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert not {key for _, attributes in page.tags for key in attributes} & {
        "action",
        "src",
        "href",
        "style",
        "srcset",
        "onclick",
    }
    assert not re.search(r"https?:|url\(|@import|//\w", source)


def test_the_policy_allows_the_style_sheet_that_the_page_has(tmp_path: Path) -> None:
    source = write_report(write_run(tmp_path, synthetic_results())).read_text(encoding="utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", source, flags=re.S)
    policy = next(meta["content"] for meta in Reader(source).all("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None and f"'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")


def test_the_figures_shown_are_those_of_results_json(tmp_path: Path) -> None:
    results = synthetic_results()
    text = report(tmp_path, results).text.replace("\u00a0", " ")
    for model in results["evaluation"]["models"]:
        accuracy = model["accuracy"]
        assert f"{model['name']} {100 * accuracy['value']:.1f} %" in text
        assert f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f} %" in text
    for row in results["evaluation"]["per_label"]:
        shown = [f"{100 * row[key]:.1f} %" for key in ("precision", "recall", "f1")]
        interval = f"{100 * row['f1_low']:.1f} to {100 * row['f1_high']:.1f} %"
        assert " ".join([row["label"], *shown, interval, str(row["support"])]) in text
    for hashed in results["repeat"]["hashes"].values():
        assert hashed in text
    for expected in (
        "5.12 nats",
        "7.02",
        "6,213,120",
        "16,778 documents",
        "27.4 MB",
        "31.2 %",
        "98.1 %",
        "6 min 3 s",
        "layers: 6",
    ):
        assert expected in text


def test_the_matrix_shows_every_count(tmp_path: Path) -> None:
    results = synthetic_results()
    (figure,) = [block for block in evaluation.errors(results) if isinstance(block, Figure)]
    numbers = re.findall(r">(\d+)</text>", figure.plot.svg("counts"))
    assert [int(number) for number in numbers] == [count for row in results["evaluation"]["confusion"] for count in row]


def test_text_of_the_user_is_escaped_everywhere(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>&\'"><b'
    results = synthetic_results()

    def spoiled(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoiled(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [spoiled(inner, key) for inner in value]
        keep = key in ("kind", "language", "log", "of", "device", "metric", "unit", "state")
        return value + evil if isinstance(value, str) and not keep else value

    clean = report(tmp_path / "clean", results)
    spoilt = spoiled(results)
    for row in spoilt["evaluation"]["differences"]:
        row["of"] += evil
    dirty = report(tmp_path / "dirty", spoilt)
    assert [tag for tag, _ in dirty.tags] == [tag for tag, _ in clean.tags]
    assert dirty.text.count('alert("x")') > 60


@pytest.mark.parametrize(
    ("missing", "left_out"),
    [
        (["steps"], {"steps"}),
        (["evaluation"], {"results", "errors"}),
        (["samples"], {"fills", "predictions"}),
        (["pretraining", "objectives"], {"pretraining", "training"}),
        (["finetuning"], {"finetuning"}),
        (["data", "tokenizer"], {"data"}),
        (["environment", "title", "created", "command", "language"], set()),
    ],
)
def test_what_a_run_does_not_have_is_left_out(tmp_path: Path, missing: list[str], left_out: set[str]) -> None:
    whole = {section["id"] for section in report(tmp_path, synthetic_results()).all("section")}
    results = {key: value for key, value in synthetic_results().items() if key not in missing}
    assert whole - {section["id"] for section in report(tmp_path, results).all("section")} == left_out


@pytest.mark.parametrize("key", list(synthetic_results()))
def test_a_run_with_only_one_part_makes_a_page(tmp_path: Path, key: str) -> None:
    results = {"format": 1, "kind": "quickstart", key: synthetic_results()[key]}
    assert report(tmp_path, results).all("h1")


@pytest.mark.parametrize("group", ["data", "evaluation", "samples", "pretraining", "repeat", "tokenizer"])
def test_a_part_may_lack_any_of_its_keys(tmp_path: Path, group: str) -> None:
    for key in synthetic_results()[group]:
        results = synthetic_results()
        if group == "evaluation" and key in ("rows", "metric", "unit"):
            continue  # an evaluation without these is none
        del results[group][key]
        assert report(tmp_path, results).all("h1")


def test_logs_may_be_missing_or_torn(tmp_path: Path) -> None:
    run = write_run(tmp_path, synthetic_results())
    (run / "finetune/metrics.jsonl").unlink()
    log = run / "pretrain/metrics.jsonl"
    log.write_text(log.read_text() + '{"step": 601, "tok')
    page = Reader(write_report(run).read_text(encoding="utf-8"))
    assert len(page.all("svg")) == 5 + PANELS
    (run / "scratch/metrics.jsonl").unlink()
    log.write_text("")
    assert len(Reader(write_report(run).read_text(encoding="utf-8")).all("svg")) == 2


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (write_report(write_run(tmp_path / name, synthetic_results())).read_bytes() for name in ("a", "b"))
    assert first == again


@pytest.mark.parametrize("content", ['{"format": 2, "kind": "quickstart"}', '{"format": 1, "kind": "x"}', "[]", "{"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with refused(tmp_path, "results.json"):
        write_report(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with refused(tmp_path, "unmask runs FOLDER"):
        write_report(tmp_path)


def test_an_unknown_language_and_a_missing_library_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, synthetic_results() | {"language": "xx"})
    with refused("'xx'"):
        write_report(run)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with refused("unmask[report]"):
        write_report(run)


def test_many_labels_are_told_as_their_most_frequent_confusions(tmp_path: Path) -> None:
    results = synthetic_results()
    labels = [f"label {number}" for number in range(30)]
    predicted = [*labels, "label 7", "label 7", "label 8"]
    reference = [*labels, "label 3", "label 3", "label 4"]
    compared = compare("label", reference, [Contestant("unmask", "pretrained", predicted)], labels).to_dict()
    assert len(compared["confusion"]) == 30
    results["evaluation"] |= {"labels": labels} | {key: compared[key] for key in ("confusion", "confusions")}
    results["evaluation"]["per_label"] = []
    page = report(tmp_path, results)
    assert len(page.all("svg")) == 4 + PANELS
    assert "label 3 label 7 2 66.7 %" in page.text.replace("\u00a0", " ")
    assert page.text.index("label 3 label 7") < page.text.index("label 4 label 8")


@pytest.mark.parametrize("kind", ["scratch", "tfidf", "majority"])
@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        ((0.02, 0.01, 0.03), "better"),
        ((-0.02, -0.03, -0.01), "worse"),
        ((0.002, -0.01, 0.014), "unclear"),
        ((0.01, 0.0, 0.02), "unclear"),
    ],
)
def test_the_summary_says_what_the_interval_allows(
    kind: str, difference: tuple[float, float, float], expected: str
) -> None:
    results = copy.deepcopy(synthetic_results())
    value = dict(zip(("value", "low", "high"), difference, strict=True))
    for row in results["evaluation"]["differences"]:
        if row["kind"] == kind:
            row["accuracy"] = value
    sentences = [sentence for paragraph in summary.paragraphs(results) for sentence in paragraph]
    (other,) = [row["over"] for row in results["evaluation"]["differences"] if row["kind"] == kind]
    messages = [one for one in sentences if isinstance(one, Message) and one.values.get("other") == other]
    (text,) = messages
    assert text.template == summary.DIFFERENCES[expected]
    if expected == "worse":
        assert "by 2.0 points (interval +1.0 to +3.0)" in text
    if expected == "unclear":
        assert "includes zero" in text
    assert ("This model is not usable yet." in sentences) == (kind == "majority" and expected != "better")
    assert ("For this task and budget, use that method." in sentences) == (kind == "tfidf" and expected == "worse")


def test_a_loss_above_the_unigram_entropy_is_not_called_learning() -> None:
    results = synthetic_results()
    results["pretraining"]["heldout_loss"] = 7.3
    assert any("not yet learnt" in sentence for sentence in summary.paragraphs(results)[0])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("make", [synthetic_results, tagged_results, entity_results])
def test_every_language_tells_every_kind_of_run(
    tmp_path: Path, make: Callable[[], dict[str, Any]], language: str
) -> None:
    page = report(tmp_path, make() | {"language": language})
    text = page.text.replace("\u00a0", " ")
    assert len(page.all("section")) == 11
    assert {"en": "Summary", "zh": "摘要"}[language] == page.all("section")[0]["aria-label"]
    assert ("测试" in text) == (language == "zh")
    assert "Fine-tuning runs" not in text or language == "en"
    if language == "zh":
        assert "经预训练" in text and "unmask, pretrained" not in text, "known names have their counterparts"
        heads = {"".join(re.findall(r"[A-Za-z]{3,}", one)) for one in page.heads} - {"", "SHA", "McNemar"}
        assert not heads, "every name of a value has its heading"


def test_another_language_and_another_file_may_be_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", synthetic_results())
    path = write_report(run, tmp_path / "other" / "page.html", "zh")
    assert path == tmp_path / "other" / "page.html" and not (run / "report.html").exists()
    assert Reader(path.read_text(encoding="utf-8")).all("html") == [{"lang": "zh-Hans"}]


def test_tagged_sentences_show_what_is_wrong(tmp_path: Path) -> None:
    page = report(tmp_path, tagged_results())
    tags = [(a.get("class") or "").split() for a in page.all("span") if "tag" in (a.get("class") or "").split()]
    assert len([tag for tag in tags if "wrong" in tag]) == 2, "once as predicted, once as it should be"
    assert "✗ 1 of 4 wrong" in page.text and "✓ correct" in page.text
    assert "accuracy on 12 tokens in 3 sentences" in page.text and "n = 12 tokens in 3 sentences (test)" in page.text


def test_entities_are_told_by_f1_and_what_was_missed(tmp_path: Path) -> None:
    text = report(tmp_path, entity_results()).text.replace("\u00a0", " ")
    assert "F1 on 4 entities in 3 sentences" in text and "its F1 is" in text
    assert "LOC nothing 1 50.0 %" in text, "an entity that was not found"


def test_spans_that_overlap_or_lie_beyond_the_text_shown_do_no_harm(tmp_path: Path) -> None:
    results = tagged_results()
    results["samples"]["predictions"] = [
        {"text": "x" * 1000, "spans": [[0, 4, "A"], [2, 6, "B"], [900, 910, "A"]], "predicted": []}
    ]
    assert report(tmp_path, results).text.count("xxxx") >= 1


def test_entities_inside_others_stand_on_a_line_below(tmp_path: Path) -> None:
    results = tagged_results()
    outer, inner, across = [0, 24, "ORG"], [14, 24, "CITY"], [11, 16, "CITY"]
    results["samples"]["predictions"] = [
        {"text": "University of Manchester", "spans": [outer, inner, across], "predicted": [inner, outer]}
    ]
    page = report(tmp_path, results)
    text = " ".join(page.text.replace("\u00a0", " ").split())
    assert "Predicted University of Manchester ORG ↳ Predicted University of Manchester CITY" in text
    assert "True label University of Manchester ORG ↳ True label University of Ma CITY nchester" in text
    assert "↳ True label University of Manchester CITY" in text and "✗ 1 of 3 wrong" in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("make", [synthetic_results, entity_results])
def test_no_text_of_a_plot_lies_outside_of_its_frame(
    tmp_path: Path, make: Callable[[], dict[str, Any]], language: str
) -> None:
    results = make() | {"language": language}
    results["finetuning"][0]["name"] = "a run with a name that is far too long to stand in any legend " * 2
    source = write_report(write_run(tmp_path, results)).read_text(encoding="utf-8")
    frames = re.findall(r'<svg viewBox="0 0 (\d+) (\d+)".*?</svg>', source, flags=re.S)
    plots = re.findall(r"<svg .*?</svg>", source, flags=re.S)
    assert len(plots) == len(frames) > 6
    for plot, (width, height) in zip(plots, frames, strict=True):
        check_frame(plot, float(width), float(height))


def check_frame(plot: str, width: float, height: float) -> None:
    slack = 2.0  # widths are estimates
    for attributes, content in re.findall(r"<text([^>]*)>([^<]*)</text>", plot):
        found = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        long = chart.text_width(html.unescape(content))
        before = {"start": 0.0, "middle": long / 2, "end": long}[found["text-anchor"]]
        if "transform" in found:
            x, y = map(float, re.findall(r"translate\(([\d.]+) ([\d.]+)\)", found["transform"])[0])
            low, high, across = y - (long - before), y + before, x
            assert low >= -slack and high <= height + slack and 8 <= across <= width, content
        else:
            x, y = float(found["x"]), float(found["y"])
            assert x - before >= -slack and x - before + long <= width + slack, content
            assert 8 <= y <= height, content


def test_numbers_are_written_as_people_read_them() -> None:
    assert formats.format_percent(0.9517) == "95.2\u00a0%"
    shown = {
        0.021: "+2.1",
        -0.0304: "−3.0",
        0.0005: "+0.1",
        0.0002: "+0.02",
        -0.0001: "−0.01",
        0.00004: "0.0",
    }
    assert {value: formats.format_difference("accuracy", value) for value in shown} == shown
    assert [chart.thousands(value) for value in (0, 500, 20_000, 1_500_000)] == [
        "0",
        "500",
        "20\u00a0k",
        "1.5\u00a0M",
    ]
