"""Files as annotation tools and people leave them: which kind each is, and what its rows become."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, labels_of, rows_of, tagged_of
from unmask.data.rows.columns import LABELS, TEXTS
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.readers.records import Form, detect_format
from unmask.data.tables import json_array
from unmask.data.textfiles import ReadLog, TextFile

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def result(name: str, kind: str, **value: Any) -> dict[str, Any]:
    return {"id": "x", "from_name": name, "to_name": "text", "type": kind, "origin": "manual", "value": value}


def task(number: int, text: str, *annotations: list[dict[str, Any]], cancelled: int = 0) -> dict[str, Any]:
    """A task as the JSON export has it; the first `cancelled` annotations were cancelled."""
    return {
        "id": number,
        "data": {"text": text},
        "annotations": [
            {"id": 10 + at, "completed_by": 1, "was_cancelled": at < cancelled, "result": results}
            for at, results in enumerate(annotations)
        ],
        "predictions": [],
        "meta": {},
        "created_at": "2024-01-01T00:00:00Z",
    }


class TestKind:
    @pytest.mark.parametrize(
        ("name", "content", "kind"),
        [
            ("a.csv", "text,label\na,b\n", "csv"),
            ("a.txt", "plain words\n", "txt"),
            ("a.txt", "text\tlabel\nhello\tx\n", "tsv"),
            ("a.data", "标签,文本\nx,你好\n", "csv"),
            ("a.txt", "a text; and a label\n", "txt"),
            ("a", '{"text": "a"}\n', "jsonl"),
            ("a.json", '{"text": "a"}\n{"text": "b"}\n', "jsonl"),
            ("a.json", '[\n {"text": "a"}]', "json"),
            ("a.jsonl", '[{"text": "a"}]', "json"),
            ("a.txt", "[1] a footnote\n", "txt"),
            ("a.txt", "{curly}\n", "txt"),
            ("a.csv", "[x],y\n", "csv"),
            ("a.parquet", "PAR1", "parquet"),
            ("a.bin", "PAR1", "parquet"),
            ("a.conll", "a\tO\n", "conll"),
        ],
    )
    def test_is_told_by_content_and_name(self, tmp_path: Path, name: str, content: str, kind: str) -> None:
        path, log = write(tmp_path, name, content), ReadLog()
        form: Form = "tokens" if kind == "conll" else "texts"
        with ExitStack() as stack:
            assert detect_format(TextFile(path, stack), ReadOptions(), log, form) == kind
        by_name = {"csv": "csv", "txt": "txt", "jsonl": "jsonl", "json": "json", "parquet": "parquet"}
        told = by_name.get(path.suffix.removeprefix("."))
        assert ("(to change: format)" in " ".join(log.notes)) == (kind not in (told, "conll") and kind != "txt")

    def test_what_is_asked_for_stands_over_the_guess(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "text\tlabel\na,b\tx\n")
        assert [(e.text, e.label) for e in examples_of(path, format="tsv")] == [("a,b", "x")]
        assert [e.text for e in examples_of(path, use="predict", format="txt")] == ["text\tlabel", "a,b\tx"]

    def test_conll_is_for_tags(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.conll", "a\tO\n")
        with refused(path, "CoNLL", "task tag", "--input-format"):
            examples_of(path)


class TestArrays:
    @QUICK
    @given(
        rows=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3), max_size=6),
        indent=st.sampled_from([None, 0, 2]),
    )
    def test_are_read_as_json_reads_them_with_their_lines(
        self, tmp_path: Path, rows: list[dict[str, str]], indent: int | None
    ) -> None:
        text = json.dumps(rows, indent=indent)
        try:
            json.dumps(rows, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return
        found = list(json_array("a.json", text, ReadLog()))
        assert [row for _, row in found] == rows
        lines = text.split("\n")
        numbers = [number for number, _ in found]
        if len(lines) == 1:
            assert numbers == list(range(1, len(rows) + 1))
        else:
            assert all(lines[number - 1].lstrip(" [,").startswith("{") for number in numbers)
        assert numbers == sorted(set(numbers))

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ('[{"text": "a"},\n {"text": }]', 2),
            ('[{"text": "a"}\n {"text": "b"}]', 2),
            ('[{"text": "a"},\n', 2),
            ('[{"text": "a"}] x', 1),
            ('"text"', 1),
        ],
    )
    def test_a_damaged_array_names_the_line(self, tmp_path: Path, content: str, line: int) -> None:
        with refused(f"a.json, line {line}", "JSON") as caught:
            list(json_array("a.json", content, ReadLog()))
        assert "on_error" not in str(caught.value)

    def test_an_element_that_is_no_object_can_be_left_out(self, tmp_path: Path) -> None:
        text = '[{"text": "a"},\n3,\n{"text": "\\ud800"},\n{"text": "b"}]'
        with refused("a.json, line 2", "JSON") as caught:
            list(json_array("a.json", text, ReadLog()))
        assert caught.value.facts["given"] == "3"
        log = ReadLog("skip")
        assert [line for line, _ in json_array("a.json", text, log)] == [1, 4] and log.skipped == 2


class TestLabelStudio:
    def test_choices(self, tmp_path: Path) -> None:
        good, bad = (result("mood", "choices", choices=[name]) for name in ("good", "bad"))
        tasks = [
            task(1, "fine", [good]),
            task(2, "twice", [good], [bad]),
            task(3, "taken back", [good], [bad], cancelled=1),
            task(4, "nobody"),
            task(5, "all cancelled", [good], cancelled=1),
        ]
        path = write(tmp_path, "export.json", tasks)
        rows = rows_of(path)
        assert [(e.id, e.text, e.label) for e in rows.examples] == [
            ("1", "fine", "good"),
            ("2", "twice", "good"),
            ("3", "taken back", "bad"),
        ]
        said = " ".join(rows.notes)
        assert "Label Studio, 5 entries" in said and "label column 'mood'" in said
        assert "1 further annotations of the same tasks" in said and "2 tasks without annotations skipped" in said
        assert len(examples_of(path, use="predict")) == 5, "to predict, nobody need have annotated them"

    def test_several_controls_are_told_apart_by_name(self, tmp_path: Path) -> None:
        results = [result("a", "choices", choices=["x"]), result("b", "choices", choices=["y"])]
        path = write(tmp_path, "export.json", [task(1, "t", results)])
        with refused(path, "a, b", "--label-column"):
            examples_of(path)
        assert examples_of(path, label_column="b")[0].label == "y"

    def test_several_choices_are_not_one_label(self, tmp_path: Path) -> None:
        path = write(tmp_path, "e.json", [task(1, "t", [result("a", "choices", choices=["x", "y"])])])
        with refused(f"{path}, line 1", "'a'", "--task multilabel"):
            examples_of(path)

    def test_choices_of_several_are_never_taken_apart(self, tmp_path: Path) -> None:
        chosen = [["Food, drinks"], ["Food, drinks", "Rooms"], []]
        tasks = [
            task(number, "t", [result("about", "choices", choices=each)] if each else [])
            for number, each in enumerate(chosen)
        ]
        examples = examples_of(write(tmp_path, "e.json", tasks), "labels")
        assert [e.label_set for e in examples] == [tuple(each) for each in chosen], "none chosen is no label"

    def test_a_choice_may_be_a_number(self, tmp_path: Path) -> None:
        path = write(tmp_path, "e.json", [task(1, "t", [result("stars", "choices", choices=["4"])])])
        assert examples_of(path, "number", label_column="stars")[0].number == 4.0

    def test_ratings_are_labels(self, tmp_path: Path) -> None:
        path = write(tmp_path, "e.json", [task(1, "t", [result("stars", "rating", rating=4)])])
        assert examples_of(path)[0].label == "4"

    def test_spans(self, tmp_path: Path) -> None:
        text = "Ada lives in Rome"
        spans = [
            result("ner", "labels", start=0, end=3, text="Ada", labels=["PER"]),
            result("ner", "labels", start=13, end=17, text="Rome", labels=["LOC"]),
            {"from_id": "x", "to_id": "y", "type": "relation", "direction": "right"},
        ]
        tasks = [task(1, text, spans), task(2, "nothing here", []), task(3, "nobody")]
        tagged = tagged_of(write(tmp_path, "export.json", tasks))
        assert [[e.text[s.start : s.end] for s in e.spans or ()] for e in tagged.examples] == [
            ["Ada", "Rome"],
            [],
        ]
        assert labels_of(tagged) == ["LOC", "PER"]

    def test_spans_of_html_are_refused(self, tmp_path: Path) -> None:
        html = result("ner", "hypertextlabels", start="/p[1]/text()[1]", end="/p[1]", hypertextlabels=["PER"])
        path = write(tmp_path, "export.json", [task(1, "t", [html])])
        with refused(f"{path}, line 1", html["value"]["start"]):
            tagged_of(path)

    def test_an_old_export(self, tmp_path: Path) -> None:
        old = task(1, "t", [result("a", "choices", choices=["x"])])
        old["completions"] = old.pop("annotations")
        assert examples_of(write(tmp_path, "e.json", [old]))[0].label == "x"

    def test_minimal_exports(self, tmp_path: Path) -> None:
        about = {"annotator": 1, "annotation_id": 7, "created_at": "", "updated_at": "", "lead_time": 2.5}
        rows = [
            {"text": "a", "id": 1, "mood": "good", **about},
            {"text": "a", "id": 1, "mood": "bad", **about},
            {"text": "b", "id": 2, "mood": {"choices": ["bad"]}, **about},
        ]
        found = rows_of(write(tmp_path, "min.json", rows))
        assert [(e.id, e.text, e.label) for e in found.examples] == [("1", "a", "good"), ("2", "b", "bad")]
        assert "1 further annotations of the same tasks" in " ".join(found.notes)
        spans = [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}]
        rows = [{"text": "Ada", "id": 1, "ner": spans, **about}, {"text": "b", "id": 2, **about}]
        tagged = tagged_of(write(tmp_path, "min.json", rows))
        assert [[(s.start, s.end, s.label) for s in e.spans or ()] for e in tagged.examples] == [
            [(0, 3, "PER")],
            [],
        ]

    def test_asked_for_but_not_there(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.jsonl", '{"text": "a"}\n')
        with refused(f"{path}, line 1", "Label Studio"):
            examples_of(path, format="label-studio")
        path = write(tmp_path, "a.json", [task(1, "t")])
        with refused(path, "annotated"):
            examples_of(path)


class TestDoccano:
    def test_classification(self, tmp_path: Path) -> None:
        rows = [{"id": 3, "text": "a", "label": ["x"], "Comments": []}, {"id": 4, "data": "b", "label": []}]
        lines = "\n".join(map(json.dumps, rows[:1]))
        assert [(e.id, e.label) for e in examples_of(write(tmp_path, "a.jsonl", lines))] == [("3", "x")]
        path = write(tmp_path, "b.jsonl", json.dumps(rows[1]))
        assert [e.text for e in examples_of(path, use="predict")] == ["b"]
        with refused(path, "'' (1)"):
            examples_of(path)
        path = write(tmp_path, "c.jsonl", json.dumps({"text": "a", "label": ["x", "y"]}))
        with refused(f"{path}, line 1", "'label'", "--task multilabel"):
            examples_of(path)

    @pytest.mark.parametrize(
        "spans",
        [
            {"label": [[0, 3, "PER"], [13, 17, "LOC"]]},
            {"labels": [[0, 3, "PER"], [13, 17, "LOC"]]},
            {
                "entities": [
                    {"id": 0, "label": "PER", "start_offset": 0, "end_offset": 3},
                    {"id": 1, "label": "LOC", "start_offset": 13, "end_offset": 17},
                ],
                "relations": [{"id": 0, "from_id": 0, "to_id": 1, "type": "lives in"}],
                "Comments": [],
            },
        ],
    )
    def test_spans(self, tmp_path: Path, spans: dict[str, Any]) -> None:
        row = {"id": 1, "text": "Ada lives in Rome", **spans}
        tagged = tagged_of(write(tmp_path, "a.jsonl", json.dumps(row)))
        found = [(s.start, s.end, s.label) for s in tagged.examples[0].spans or ()]
        assert found == [(0, 3, "PER"), (13, 17, "LOC")]

    def test_spans_where_labels_are_wanted(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.jsonl", json.dumps({"text": "Ada", "label": [[0, 3, "PER"], [0, 1, "X"]]}))
        with refused(f"{path}, line 1", "'label'", "--task tag"):
            examples_of(path)


class TestTokens:
    def test_lists_of_tokens_are_what_conll_says(self, tmp_path: Path) -> None:
        sentences = [(["Ada", "Byron", "lives"], ["B-PER", "I-PER", "O"]), (["北", "京"], ["B-LOC", "I-LOC"])]
        rows = [json.dumps({"tokens": tokens, "ner_tags": tags}) for tokens, tags in sentences]
        lists = tagged_of(write(tmp_path, "a.jsonl", "\n".join(rows)))
        lines = ["\n".join(f"{a}\t{b}" for a, b in zip(*one, strict=True)) for one in sentences]
        conll = tagged_of(write(tmp_path, "a.conll", "\n\n".join(lines) + "\n"))
        for one, other in zip(lists.examples, conll.examples, strict=True):
            assert (one.text, one.spans, one.tokens) == (other.text, other.spans, other.tokens)
        assert (lists.scheme, labels_of(lists)) == (conll.scheme, labels_of(conll))

    @pytest.mark.parametrize("blank", [" ", "\u00a0", "\u3000"])
    def test_blanks_of_a_text_cut_into_characters_are_tokens(self, tmp_path: Path, blank: str) -> None:
        row = {"tokens": ["张", blank, "三", "在"], "tags": ["B-PER", "I-PER", "I-PER", "O"]}
        (example,) = tagged_of(write(tmp_path, "a.jsonl", json.dumps(row))).examples
        assert (example.text, example.tokens) == (f"张{blank}三在", ((0, 1), (1, 2), (2, 3), (3, 4)))
        assert [(one.start, one.end) for one in example.spans or ()] == [(0, 3)]

    def test_columns_may_be_named(self, tmp_path: Path) -> None:
        row = {"form": ["a", "b"], "tags": ["O", "B-X"], "pos": ["N", "V"]}
        path = write(tmp_path, "a.jsonl", json.dumps(row))
        tagged = tagged_of(path, token_column="form", tag_column="pos")
        assert tagged.scheme == "plain" and labels_of(tagged) == ["N", "V"]
        with refused(path, "'poss'", "--tag-column"):
            tagged_of(path, token_column="form", tag_column="poss")

    @pytest.mark.parametrize(
        ("row", "names"),
        [
            ({"tokens": ["a", "b"], "tags": ["O"]}, ["2 tokens", "1 tags", "column 'tags'"]),
            ({"tokens": ["a", ""], "tags": ["O", "O"]}, ['["a", ""]']),
            ({"tokens": ["a"], "tags": [""]}, ["column 'tags'", '[""]']),
            ({"tokens": ["a"]}, ["1 tokens", "no tags", "column 'tags'"]),
        ],
    )
    def test_faults_name_the_line(self, tmp_path: Path, row: dict[str, Any], names: list[str]) -> None:
        fine = {"tokens": ["x"], "tags": ["O"]}
        path = write(tmp_path, "a.jsonl", json.dumps(fine) + "\n" + json.dumps(row))
        with refused(f"{path}, line 2", *names):
            tagged_of(path)
        assert tagged_of(path, on_error="skip").notes[-1].startswith("skipped: 1 ")

    def test_bounds_beside_spans_must_be_in_order(self, tmp_path: Path) -> None:
        row = {"text": "ab cd", "spans": [], "tokens": [[0, 2], [1, 5]]}
        path = write(tmp_path, "a.jsonl", json.dumps(row))
        with refused(f"{path}, line 1", "'tokens'", row["tokens"][1]):
            tagged_of(path)


def test_chinese_names_and_long_texts(tmp_path: Path) -> None:
    long = "长" * 100_000
    rows = rows_of(write(tmp_path, "a.csv", f"编号,内容,类别\n七,{long},好\n"))
    assert [(e.id, e.text, e.label) for e in rows.examples] == [("七", long, "好")]
    assert "text column '内容', label column '类别'" in rows.notes[0]
    assert {"文本", "内容"} <= set(TEXTS) and {"标签", "类别"} <= set(LABELS)
