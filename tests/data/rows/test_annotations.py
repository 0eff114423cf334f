"""JSON of annotation tools and well-known data sets: what their rows become, and rows that nobody is to learn from."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, labels_of, rows_of, tagged_of
from unmask.data.rows.readers.memory import as_source

HASHES = {"_input_hash": 12, "_task_hash": -34}


def jsonl(path: Path, *rows: Any, end: str = "\n") -> Path:
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode())
    return path


def surfaces(examples: Any) -> list[list[tuple[str, str]]]:
    return [[(e.text[s.start : s.end], s.label) for s in e.spans] for e in examples]


def cluener(text: str, **entities: str) -> dict[str, Any]:
    """A row as CLUENER has it: label -> surface -> [first, last] of each place."""
    label: dict[str, Any] = {}
    for kind, names in entities.items():
        for name in names.split("|"):
            places = [[at, at + len(name) - 1] for at in range(len(text)) if text.startswith(name, at)]
            label.setdefault(kind, {})[name] = places
    return {"text": text, "label": label}


class TestCluener:
    @pytest.mark.parametrize("name", ["train.json", "train.jsonl", "train.txt"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_ends_are_inclusive(self, tmp_path: Path, name: str, end: str) -> None:
        rows = [
            {"text": "浙商银行叶老桂博士", "label": {"name": {"叶老桂": [[4, 6]]}, "company": {"浙商银行": [[0, 3]]}}},
            {"text": "没有实体", "label": {}},
            cluener("😀叶老桂与王明，叶老桂", name="叶老桂|王明"),
        ]
        rows_ = tagged_of(jsonl(tmp_path / name, *rows, end=end))
        assert surfaces(rows_.examples) == [
            [("浙商银行", "company"), ("叶老桂", "name")],
            [],
            [("叶老桂", "name"), ("王明", "name"), ("叶老桂", "name")],
        ]
        assert [(s.start, s.end) for s in rows_.examples[0].spans or ()] == [(0, 4), (4, 7)]
        assert "CLUENER, 3 entries" in " ".join(rows_.notes)

    def test_ids_and_an_array_and_rows_in_memory(self, tmp_path: Path) -> None:
        rows = [cluener("王明在", name="王明") | {"id": 7}, cluener("无") | {"id": 8}]
        path = tmp_path / "a.json"
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        for source in (path, as_source(rows, "the rows")):
            found = tagged_of(source).examples
            assert [e.id for e in found] == ["7", "8"] and surfaces(found) == [[("王明", "name")], []]

    def test_overlapping_entities_are_for_nested(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "a.json", cluener("北京大学", address="北京", organization="北京大学"))
        assert surfaces(tagged_of(path, nested=True).examples) == [[("北京大学", "organization"), ("北京", "address")]]
        with refused(f"{path}, line 1", "北京", "--task nested"):
            tagged_of(path)

    @pytest.mark.parametrize("places", [[[1, 5]], [[0, 3]], [[3, 8]], [[-1, 3]], [["1", 4]], [[4, 1]]])
    def test_places_that_are_not_those_of_the_surface(self, tmp_path: Path, places: Any) -> None:
        bad = {"text": "在浙商银行里", "label": {"company": {"浙商银行": places}}}
        path = jsonl(tmp_path / "a.json", cluener("王明在", name="王明"), bad)
        with refused(f"{path}, line 2", "浙商银行", "company") as caught:
            tagged_of(path)
        assert "CLUENER" in caught.value.facts["allowed"]
        assert ('"spans"' in caught.value.facts["hint"]) == (places == [[1, 5]]), "the end after the surface"
        assert surfaces(tagged_of(path, on_error="skip").examples) == [[("王明", "name")]]

    @given(text=st.text("甲乙丙😀a ", min_size=1, max_size=12), data=st.data())
    def test_any_stretch_comes_back(self, tmp_path_factory: pytest.TempPathFactory, text: str, data: Any) -> None:
        start = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(start + 1, len(text)))
        row = cluener(text, x=text[start:end])
        if not text.strip() or not text[start:end].strip() or "|" in text:
            return
        path = jsonl(tmp_path_factory.mktemp("c") / "a.json", row)
        (example,) = tagged_of(path, nested=True).examples
        assert {example.text[s.start : s.end] for s in example.spans or ()} == {text[start:end].strip()}

    def test_texts_to_predict_need_no_labels(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "test.json", {"id": 0, "text": "四川敦煌学"}, {"id": 1, "text": "北京"})
        assert [(e.id, e.text) for e in examples_of(path, use="predict")] == [("0", "四川敦煌学"), ("1", "北京")]


class TestProdigy:
    def test_spans(self, tmp_path: Path) -> None:
        tokens = [{"text": "Ada", "start": 0, "end": 3, "id": 0, "ws": True}]
        span = {"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER"}
        rows = [
            {"text": "Ada lives", "tokens": tokens, "spans": [span], "answer": "accept"},
            {"text": "nobody", "answer": "accept"},
            {"text": "Ada wrong", "spans": [span], "answer": "reject"},
            {"text": "Ada unclear", "spans": [span], "answer": "ignore"},
            {"text": "😀Ada", "spans": [{"start": 1, "end": 4, "label": "PER"}], "answer": "accept"},
        ]
        found = tagged_of(jsonl(tmp_path / "a.jsonl", *(row | HASHES for row in rows), end="\r\n"))
        assert [e.text for e in found.examples] == ["Ada lives", "nobody", "😀Ada"]
        assert surfaces(found.examples) == [[("Ada", "PER")], [], [("Ada", "PER")]]
        notes = " ".join(found.notes)
        assert "Prodigy, 5 entries" in notes and "2 rows skipped" in notes and "ignore, reject" in notes

    def test_answers_for_single_spans(self, tmp_path: Path) -> None:
        span = {"start": 0, "end": 3, "label": "PER"}
        row = {"text": "Ada met Bob", "spans": [span], "answer": "accept", **HASHES}
        notes = tagged_of(
            jsonl(tmp_path / "a.jsonl", row | {"_view_id": "ner"}, row | {"_view_id": "ner_manual"})
        ).notes
        assert "1 rows answer for single spans" in " ".join(notes)

    def test_labels_that_were_accepted(self, tmp_path: Path) -> None:
        answers = ["accept", "reject", "ignore", "accept"]
        rows = [{"text": f"t{n}", "label": "AB"[n % 2], "answer": one} | HASHES for n, one in enumerate(answers)]
        path = jsonl(tmp_path / "a.jsonl", *rows)
        found = rows_of(path)
        assert [(e.line, e.text, e.label) for e in found.examples] == [(1, "t0", "A"), (4, "t3", "B")]
        assert len(examples_of(path, use="predict")) == 4, "to predict, nobody need have accepted them"

    def test_choices(self, tmp_path: Path) -> None:
        options = [{"id": "P", "text": "good"}, {"id": "N", "text": "bad"}]
        chosen = [["P"], ["N", "P"], [], ["N"]]
        rows = [{"text": str(n), "options": options, "accept": one, "answer": "accept"} for n, one in enumerate(chosen)]
        rows[3]["answer"] = "reject"
        path = jsonl(tmp_path / "a.jsonl", *(row | HASHES for row in rows))
        assert [e.label_set for e in examples_of(path, "labels")] == [("P",), ("N", "P"), ()]
        with refused(f"{path}, line 2", "'accept'", "--task multilabel"):
            examples_of(path)
        assert [e.label for e in examples_of(jsonl(tmp_path / "b.jsonl", rows[0] | HASHES))] == ["P"]

    def test_choices_beside_spans(self, tmp_path: Path) -> None:
        span = {"start": 0, "end": 3, "label": "PER"}
        row = {"text": "Ada", "spans": [span], "options": [], "accept": ["P"], "answer": "accept"} | HASHES
        path = jsonl(tmp_path / "a.jsonl", row)
        assert surfaces(tagged_of(path).examples) == [[("Ada", "PER")]] and examples_of(path)[0].label == "P"
        path = jsonl(tmp_path / "b.jsonl", ["Ada", {"entities": [[0, 3, "PER"]], "cats": {"P": 1, "N": 0}}])
        assert surfaces(tagged_of(path).examples) == [[("Ada", "PER")]] and examples_of(path)[0].label == "P"


class TestRejected:
    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("answer", ["accept", "reject", "ignore"]),
            ("status", ["Validated", "Discarded", "discarded"]),
            ("status", ["", "rejected", "ignored"]),
            ("is_rejected", [False, True, True]),
            ("status", ["accepted", "Rejected", "discarded "]),
            ("is_discarded", ["false", "True", "TRUE"]),
        ],
    )
    def test_rows_that_are_marked_are_left_out(self, tmp_path: Path, column: str, values: list[Any]) -> None:
        rows = [{"text": f"t {value}", "label": "x", column: value} for value in values]
        for path in (
            jsonl(tmp_path / "a.jsonl", *rows),
            tmp_path / "a.csv",
        ):
            if path.suffix == ".csv":
                path.write_text(f"text,label,{column}\n" + "".join(f"a,x,{value}\n" for value in values))
            found = rows_of(path)
            assert [e.line for e in found.examples] == [1 if path.suffix == ".jsonl" else 2]
            assert f"2 rows skipped, which {column!r}" in " ".join(found.notes)
            assert len(examples_of(path, use="predict")) == 3

    @pytest.mark.parametrize("values", [["accept", "reject", "perhaps"], ["accept", "accept"], ["reject", "done"]])
    def test_other_columns_of_that_name_say_nothing(self, tmp_path: Path, values: list[str]) -> None:
        path = jsonl(tmp_path / "a.jsonl", *({"text": "a", "label": "x", "answer": one} for one in values))
        assert len(examples_of(path)) == len(values)

    def test_a_column_that_is_the_label_is_no_mark(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "a.jsonl", {"text": "a", "answer": "accept"}, {"text": "b", "answer": "reject"})
        assert [e.label for e in examples_of(path, label_column="answer")] == ["accept", "reject"]
        row = {"question": "Do they?", "context": "They reject it, they accept it."}
        path = jsonl(tmp_path / "q.jsonl", *(row | {"answer": one} for one in ("accept", "reject")))
        assert [e.answers[0].text for e in examples_of(path, "answers")] == ["accept", "reject"]

    def test_where_all_are(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x", "answer": "reject"})
        with refused(path, "answer", "reject"):
            examples_of(path)

    def test_pairs_that_do_not_belong_together(self, tmp_path: Path) -> None:
        rows = [{"text_a": one, "text_b": "b", "answer": one} for one in ("accept", "reject")]
        assert [e.text for e in examples_of(jsonl(tmp_path / "a.jsonl", *rows), "pairs")] == ["accept"]

    def test_rows_that_nobody_approved_are_used_and_counted(self, tmp_path: Path) -> None:
        rows = [{"text": "a", "label": ["x"], "annotation_approver": by} for by in ("ann", None, None)]
        found = rows_of(jsonl(tmp_path / "a.jsonl", *rows))
        assert len(found.examples) == 3 and "2 rows are used" in " ".join(found.notes)
        found = rows_of(jsonl(tmp_path / "b.jsonl", *rows[1:]))
        assert "has approved" not in " ".join(found.notes), "where nobody approves, it says nothing"


class TestArgilla:
    @staticmethod
    def record(number: int, text: str, *values: Any, **more: Any) -> dict[str, Any]:
        responses = {"mood": [one if isinstance(one, dict) else {"value": one} for one in values]} if values else {}
        fields = {"text": text}
        return {"id": str(number), "status": "completed", "fields": fields, "responses": responses, **more}

    def test_responses(self, tmp_path: Path) -> None:
        rows = [
            self.record(1, "fine", "good", "bad"),
            self.record(2, "nobody"),
            self.record(3, "taken back", {"value": "bad", "status": "discarded"}, {"value": "good"}),
        ]
        path = tmp_path / "a.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        found = rows_of(path)
        assert [(e.id, e.text, e.label) for e in found.examples] == [("1", "fine", "good"), ("3", "taken back", "good")]
        notes = " ".join(found.notes)
        assert "Argilla, 3 entries" in notes and "1 further responses" in notes and "1 records without" in notes
        assert [e.text for e in examples_of(path, use="predict")] == ["fine", "nobody", "taken back"]

    def test_spans_and_flat_columns(self, tmp_path: Path) -> None:
        row = self.record(1, "Ada lives", [{"label": "PER", "start": 0, "end": 3}])
        assert surfaces(tagged_of(jsonl(tmp_path / "a.jsonl", row)).examples) == [[("Ada", "PER")]]
        flat = {"text": "fine", "mood.responses": ["bad", "good"], "mood.responses.status": ["discarded", "submitted"]}
        path = jsonl(tmp_path / "b.jsonl", flat | {"status": "completed"}, flat | {"status": "discarded"})
        assert [e.label for e in examples_of(path)] == ["good"]

    def test_before_2(self, tmp_path: Path) -> None:
        plain = {"inputs": {"text": "fine"}, "prediction": [["bad", 0.9]], "annotation": "good", "status": "Validated"}
        rows = [plain, plain | {"status": "Discarded"}, plain | {"annotation": None, "status": "Default"}]
        assert [e.label for e in examples_of(jsonl(tmp_path / "a.jsonl", *rows))] == ["good"]
        row = {"text": "Ada lives", "tokens": ["Ada", "lives"], "prediction": None, "annotation": [["PER", 0, 3]]}
        found = tagged_of(jsonl(tmp_path / "b.jsonl", row | {"status": "Validated", "tokens": None}))
        assert surfaces(found.examples) == [[("Ada", "PER")]]
        with refused(tmp_path / "c.jsonl", "annotated"):
            examples_of(jsonl(tmp_path / "c.jsonl", rows[2]))


class TestDoccano:
    """The exports of today stand in test_records.py."""

    def test_numbers_for_labels(self, tmp_path: Path) -> None:
        span = {"label": 4, "start_offset": 0, "end_offset": 3, "user": 1}
        about = {"meta": {}, "annotation_approver": None}
        rows = [{"id": 3, "text": "Ada lives", "annotations": [span]}, {"id": 4, "text": "no", "annotations": []}]
        found = tagged_of(jsonl(tmp_path / "a.jsonl", *(row | about for row in rows)))
        assert surfaces(found.examples) == [[("Ada", "4")], []] and [e.id for e in found.examples] == ["3", "4"]
        assert "labels are numbers" in " ".join(found.notes)
        rows[0]["annotations"] = [{"label": "PER", "start": 0, "end": 3}]
        found = tagged_of(jsonl(tmp_path / "d.jsonl", *rows))
        assert surfaces(found.examples) == [[("Ada", "PER")], []] and "labels are numbers" not in " ".join(found.notes)
        rows = [{"text": "a", "annotations": [{"label": 2, "user": 1}]}, {"text": "b", "annotations": [{"label": 1}]}]
        assert [e.label for e in examples_of(jsonl(tmp_path / "b.jsonl", *rows))] == ["2", "1"]
        rows[0]["annotations"] = [{"label": "y"}, {"label": "x"}]
        path = jsonl(tmp_path / "c.jsonl", *rows)
        assert [e.label_set for e in examples_of(path, "labels")] == [("x", "y"), ("1",)]


class TestSpacy:
    ROWS = (
        ("Ada lives in Rome", [[0, 3, "PER"], [13, 17, "LOC"]]),
        ("nothing", []),
        ('a "quoted" 😀 Ada', [[13, 16, "PER"]]),
    )

    @pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt", "a"])
    @pytest.mark.parametrize("indent", [None, 1, "lines"])
    def test_texts_with_entities(self, tmp_path: Path, name: str, indent: Any) -> None:
        rows = [[text, {"entities": spans}] for text, spans in self.ROWS]
        path = tmp_path / name
        if indent == "lines":
            jsonl(path, *rows, end="\r\n")
        else:
            path.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
        found = tagged_of(path)
        assert [e.text for e in found.examples] == [text for text, _ in self.ROWS]
        assert surfaces(found.examples) == [[("Ada", "PER"), ("Rome", "LOC")], [], [("Ada", "PER")]]
        assert "spaCy, 3 entries" in " ".join(found.notes)

    def test_categories(self, tmp_path: Path) -> None:
        rows = [["x", {"cats": {"a": 1.0, "b": 0.0}}], ["y", {"cats": {"a": False, "b": True}}]]
        assert [e.label for e in examples_of(jsonl(tmp_path / "a.jsonl", *rows))] == ["a", "b"]
        more = [{"text": "z", "cats": {"a": 1, "b": 0.5, "c": 0.4}, "spans": []}, {"text": "none", "cats": {"a": 0}}]
        path = jsonl(tmp_path / "b.jsonl", *more)
        assert [e.label_set for e in examples_of(path, "labels")] == [("a", "b"), ()]
        with refused(f"{path}, line 1", "'cats'", "--task multilabel"):
            examples_of(path)

    def test_entities_beside_empty_categories(self, tmp_path: Path) -> None:
        row = {"text": "Ada lives", "spans": [[0, 3, "PER"]], "cats": {}}
        assert surfaces(tagged_of(jsonl(tmp_path / "a.jsonl", row)).examples) == [[("Ada", "PER")]]

    def test_overlapping_and_wrong_entities(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "a.jsonl", ["Ada B", {"entities": [[0, 5, "PER"], [0, 3, "PER"]]}])
        with refused(f"{path}, line 1", "Ada B"):
            tagged_of(path)
        assert len(tagged_of(path, nested=True).examples[0].spans or ()) == 2
        path = jsonl(tmp_path / "b.jsonl", ["Ada", {"entities": []}], ["Ada", {"entities": [[0, 9, "PER"]]}])
        with refused(f"{path}, line 2", "[0, 9"):
            tagged_of(path)

    def test_plain_texts_in_brackets_are_texts(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text('["quoted"] a text\n', encoding="utf-8")
        assert [e.text for e in examples_of(path, use="predict")] == ['["quoted"] a text']


class TestFastText:
    def test_labels_before_the_text_or_after_it(self, tmp_path: Path) -> None:
        path = tmp_path / "train.txt"
        path.write_bytes(
            "__label__sport A  ball 😀\r\n\r\n__label__food-2 an apple\r\nrice __label__food-2\r\n".encode()
        )
        found = rows_of(path)
        assert [(e.line, e.text, e.label) for e in found.examples] == [
            (1, "A  ball 😀", "sport"),
            (3, "an apple", "food-2"),
            (4, "rice", "food-2"),
        ]
        assert "fastText" in " ".join(found.notes)
        assert [e.text for e in examples_of(path, use="predict")] == ["A  ball 😀", "an apple", "rice"]

    def test_several_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "a.valid"
        path.write_text("__label__b __label__a two\n__label__好 一\n", encoding="utf-8")
        assert [(e.text, e.label_set) for e in examples_of(path, "labels")] == [("two", ("a", "b")), ("一", ("好",))]
        with refused(f"{path}, line 1", '["b", "a"]', "--task multilabel"):
            examples_of(path)

    def test_a_line_without_a_label(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("__label__x a\nb\n__label__y c\n")
        for kind in ("label", "labels"):
            with refused(f"{path}, line 2", "label"):
                examples_of(path, kind)
            assert len(examples_of(path, kind, on_error="skip")) == 2
        path.write_text("b\n__label__x a\n")
        assert [e.label for e in examples_of(path, format="fasttext", on_error="skip")] == ["x"]

    def test_spans_are_not_what_it_holds(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("__label__x a ball\n__label__y an apple\n")
        with refused(f"{path}, line 1", "'label'"):
            tagged_of(path)

    def test_tables_with_such_labels_are_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("text,label\na,__label__x\n")
        assert [e.label for e in examples_of(path)] == ["__label__x"]

    @given(st.lists(st.tuples(st.text("abc", min_size=1), st.text("xyz", min_size=1)), min_size=1, max_size=5))
    def test_what_was_written_is_read(self, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
        path = tmp_path_factory.mktemp("f") / "a.txt"
        path.write_text("".join(f"__label__{label} {text}\n" for label, text in rows))
        assert [(e.label, e.text) for e in examples_of(path)] == rows


def studio(text: str, *results: dict[str, Any]) -> dict[str, Any]:
    """A task of Label Studio with one annotation."""
    return {"id": 1, "data": {"text": text}, "annotations": [{"was_cancelled": False, "result": list(results)}]}


def of(control: str, **value: Any) -> dict[str, Any]:
    return {"from_name": control, "to_name": "text", "value": value}


class TestLabelStudio:
    ADA = of("label", start=0, end=3, text="Ada", labels=["PER"])

    @pytest.mark.parametrize("minimal", [False, True])
    def test_each_task_reads_the_control_of_its_kind(self, tmp_path: Path, minimal: bool) -> None:
        rows = [studio("Ada", self.ADA, of("mood", choices=["good"])), studio("b", of("mood", choices=["bad"]))]
        meta = {"annotator": 1, "annotation_id": 2, "lead_time": 1.5}
        spans = [[self.ADA["value"]], []]
        least = [
            {"text": text, "id": n, "label": spans[n], "mood": mood, **meta}
            for n, (text, mood) in enumerate([("Ada", "good"), ("b", "bad")])
        ]
        path = jsonl(tmp_path / "a.json", *(least if minimal else rows))
        assert surfaces(tagged_of(path).examples) == [[("Ada", "PER")], []]
        assert [e.label for e in examples_of(path)] == ["good", "bad"]
        assert [e.label_set for e in examples_of(path, "labels")] == [("good",), ("bad",)]

    def test_a_choice_for_a_region_is_no_label_of_the_text(self, tmp_path: Path) -> None:
        region = of("state", start=0, end=3, text="Ada", choices=["alive"])
        path = jsonl(tmp_path / "a.json", studio("Ada met Bob", self.ADA, region))
        assert surfaces(tagged_of(path).examples) == [[("Ada", "PER")]]
        assert surfaces(tagged_of(path, label_column="state").examples) == [[("Ada", "alive")]]
        with refused(path, "'state'", "--task tag"):
            examples_of(path, label_column="state")

    def test_regions_without_a_label_are_counted(self, tmp_path: Path) -> None:
        rows = [{"labels": []}, {}, {"labels": ["PER"]}]
        regions = [of("label", start=0, end=3, text="Ada", **row) | {"type": "labels"} for row in rows]
        found = tagged_of(jsonl(tmp_path / "a.json", studio("Ada", *regions)))
        assert surfaces(found.examples) == [[("Ada", "PER")]] and "2 regions without" in " ".join(found.notes)

    def test_paths_of_a_taxonomy(self, tmp_path: Path) -> None:
        paths = [[["Sci", "Maths"]], [["Art"]], [["Sci", "Maths"], ["Art"]]]
        path = jsonl(tmp_path / "a.json", *(studio("t", of("topic", taxonomy=one)) for one in paths))
        assert [e.label_set for e in examples_of(path, "labels")] == [("Sci/Maths",), ("Art",), ("Art", "Sci/Maths")]

    @pytest.mark.parametrize("in_order", [True, False])
    def test_csv(self, tmp_path: Path, in_order: bool) -> None:
        text = "😀Ada 😀Bob"
        spans = [{"start": 2, "end": 5, "text": "Ada", "labels": ["PER"]}]
        spans += [{"start": 8, "end": 11, "text": "Bob", "labels": ["PER"]}]
        rows = [
            {"text": text, "id": 1, "ner": json.dumps(spans), "annotator": 1, "annotation_id": 1, "lead_time": 2.5},
            {"text": "nobody", "id": 2, "ner": "", "annotator": 1, "annotation_id": 2, "lead_time": 2.5},
        ]
        path = tmp_path / "a.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]] if in_order else sorted(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        assert surfaces(tagged_of(path).examples) == [[("Ada", "PER"), ("Bob", "PER")], []]

    def test_choices_in_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        cells = ["x", '"{""choices"": [""x"", ""y""]}"', "y"]
        lines = [f"[{n}] film,{n},{one},1,{n},2.5" for n, one in enumerate(cells)]
        path.write_text("\n".join(["text,id,mood,annotator,annotation_id,lead_time", *lines]))
        found = examples_of(path, "labels")
        assert [(e.text, e.label_set) for e in found] == [
            ("[0] film", ("x",)),
            ("[1] film", ("x", "y")),
            ("[2] film", ("y",)),
        ]

    @pytest.mark.parametrize("more", [{}, {"id": 3}, {"annotations": []}])
    def test_tasks_with_predictions_alone(self, tmp_path: Path, more: dict[str, Any]) -> None:
        row = {"data": {"text": "Ada"}, "predictions": [{"result": [self.ADA]}], **more}
        path = jsonl(tmp_path / "a.json", row)
        with refused(path, "predictions"):
            tagged_of(path)
        assert [e.text for e in examples_of(path, use="predict")] == ["Ada"]


@pytest.mark.parametrize("header", ["id,text,label", "text,id,label,annotator,annotation_id,lead_time", "文本,标签"])
def test_a_table_of_texts_has_no_spans(tmp_path: Path, header: str) -> None:
    path, width = tmp_path / "a.csv", header.count(",") + 1
    path.write_text(header + "\n" + ",".join(["a"] * width) + "\n" + ",".join(["b c"] * width), encoding="utf-8")
    with refused(f"{path}, line 2", "not a list of spans", "--task classify", "--token-column NAME"):
        tagged_of(path)


class TestCmeee:
    @pytest.mark.parametrize("surface", [True, False])
    def test_ends_are_inclusive_where_the_text_beside_shows_it(self, tmp_path: Path, surface: bool) -> None:
        def entity(text: str, at: int) -> dict[str, Any]:
            one = {"start_idx": at, "end_idx": at + len(text) - 1, "type": "sym"}
            return one | ({"entity": text} if surface else {})

        rows = [
            {"text": "呼吸肌麻痹和中枢", "entities": [entity("呼吸肌麻痹", 0), entity("呼吸肌", 0), entity("中枢", 6)]},
            {"text": "咳", "entities": [entity("咳", 0)]},
            {"text": "无", "entities": []},
        ]
        path = jsonl(tmp_path / "a.json", *rows)
        if surface:
            found = surfaces(tagged_of(path, nested=True).examples)
            assert [{text for text, _ in one} for one in found] == [{"呼吸肌麻痹", "呼吸肌", "中枢"}, {"咳"}, set()]
        else:
            with refused(f"{path}, line 1", "end_idx"):
                tagged_of(path, nested=True)


class TestDataturks:
    def test_ends_are_inclusive(self, tmp_path: Path) -> None:
        def region(text: str, at: int, *labels: str) -> dict[str, Any]:
            return {"label": list(labels), "points": [{"start": at, "end": at + len(text) - 1, "text": text}]}

        rows = [
            {
                "content": "Ada met Bob",
                "annotation": [region("Ada", 0, "PER"), region("Bob", 8, "PER")],
                "extras": None,
            },
            {"content": "nobody", "annotation": None},
            {"content": "in 北京", "annotation": [region("北京", 3, "LOC"), region("in", 0)]},
        ]
        found = tagged_of(jsonl(tmp_path / "a.json", *rows))
        assert surfaces(found.examples) == [[("Ada", "PER"), ("Bob", "PER")], [], [("北京", "LOC")]]
        assert "Dataturks" in " ".join(found.notes)


class TestSpansBesideTokens:
    def test_spans_of_characters(self, tmp_path: Path) -> None:
        rows = [
            {"text": "Ada met Bob.", "tokens": ["Ada", "met", "Bob", "."], "annotation": [["PER", 8, 11]]},
            {"text": "Ada", "tokens": ["Ada"], "annotation": [["PER", 0, 3]]},
        ]
        path = jsonl(tmp_path / "a.json", *(row | {"prediction": None, "status": "Validated"} for row in rows))
        assert surfaces(tagged_of(path).examples) == [[("Bob", "PER")], [("Ada", "PER")]]
        plain = jsonl(
            tmp_path / "b.jsonl", {"text": "I met Bob", "tokens": ["I", "met", "Bob"], "spans": [[6, 9, "P"]]}
        )
        assert surfaces(tagged_of(plain).examples) == [[("Bob", "P")]]

    @pytest.mark.parametrize("key", ["entities", "ner", "spans"])
    def test_spans_of_tokens_are_never_read_as_characters(self, tmp_path: Path, key: str) -> None:
        row = {"text": "Ada met Bob", "tokens": ["Ada", "met", "Bob"], key: [{"start": 2, "end": 3, "type": "PER"}]}
        with refused(path := jsonl(tmp_path / "a.jsonl", row), "counted in tokens"):
            tagged_of(path)


@pytest.mark.parametrize("name", ["a.conll", "a.txt"])
def test_places_of_characters_in_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("有0\tO\n张0\tB-PER.NAM\n三1\tI-PER.NAM\n\n10\tO\n月1\tO\n去0\tO\n\n", encoding="utf-8")
    found = tagged_of(path)
    assert [e.text for e in found.examples] == ["有张三", "1 月去"] and "有0" in " ".join(found.notes)
    assert surfaces(found.examples)[0] == [("张三", "PER.NAM")]
    for other in ("有0\tO\n张1\tO\n\n三1\tO\n", "有0\tO\n张\tO\n", "A0\tO\nB1\tO\n"):
        path.write_text(other, encoding="utf-8")
        assert "0" in tagged_of(path).examples[0].text


def test_a_tagger_learns_from_cluener(pretrained: Path, tmp_path: Path) -> None:
    """Places one off would teach other words, so that the spans themselves would not come back."""
    from unmask.console import SILENT
    from unmask.train.finetune import finetune

    draw, rows = random.Random(3), []
    for _ in range(40):
        words = draw.choices(["winter", "letter", "window", "silver"], k=4)
        words[draw.randrange(4)] = draw.choice(["river", "captain"])
        rows.append(cluener(" ".join(words), place="river") if "river" in words else cluener(" ".join(words)))
        if "captain" in words:
            rows[-1] = cluener(" ".join(words), person="captain")
    path = jsonl(tmp_path / "train.json", *rows)
    settings = ["train.budget=60 steps", "train.optimizer.lr=0.02", "task.max_length=32", "train.evaluations=1"]
    run = finetune(
        None, settings, model=pretrained, task="tag", train=path, dev=path, output=tmp_path / "run", progress=SILENT
    )
    examples = tagged_of(path).examples
    assert labels_of(tagged_of(path)) == ["person", "place"]
    predicted = run.predictor().predict(examples)
    right = sum(
        [(s.start, s.end, s.label) for s in spans] == [(s.start, s.end, s.label) for s in example.spans or ()]
        for spans, example in zip(predicted, examples, strict=True)
    )
    assert right >= 0.95 * len(examples)
