"""Reading questions: SQuAD's JSON and rows, answers found in their contexts, and what is wrong with a file."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import questions_of, rows_of
from unmask.data.rows.example import ReferenceAnswer
from unmask.data.rows.write import write_rows

CONTEXT = "The river met the stone bridge; the river was old."


def qa(number: int = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"q{number}",
        "question": "What was old?",
        "answers": [{"text": "The river", "answer_start": 0}],
    }
    return {key: value for key, value in (row | changes).items() if value is not ...}


def squad(path: Path, *qas: dict[str, Any], context: Any = CONTEXT) -> Path:
    whole = {
        "version": "v2.0",
        "data": [{"title": "Rivers", "paragraphs": [{"context": context, "qas": list(qas)}]}],
    }
    path.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    return path


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_squad_is_read_question_by_question(tmp_path: Path) -> None:
    path = squad(
        tmp_path / "x.json",
        qa(1, answers=[{"text": "The river", "answer_start": 0}, {"text": "the river", "answer_start": 32}]),
        qa(2, is_impossible=True, answers=[], plausible_answers=[{"text": "bridge", "answer_start": 24}]),
        qa(3, answers=...),
    )
    with refused(f"{path}, article 1 (Rivers), paragraph 1, question q3", "answers"):
        questions_of(path)
    first, none = questions_of(path, on_error="skip")
    assert (first.id, first.text, first.pair, first.source) == ("q1", "What was old?", CONTEXT, str(path))
    assert first.answers == (ReferenceAnswer("The river", 0), ReferenceAnswer("the river", 32))
    assert [CONTEXT[one.start : one.end] for one in first.answers] == ["The river", "the river"]
    assert none.answers == ()
    assert first.group == none.group and first.labels == set()
    assert first.without_targets.answers is None
    with gzip.open(tmp_path / "x.json.gz", "wb") as file:
        file.write(path.read_bytes())
    zipped = questions_of(tmp_path / "x.json.gz", on_error="skip")
    assert [(e.id, e.text, e.answers) for e in zipped] == [(e.id, e.text, e.answers) for e in (first, none)]


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "stone bridge", "answer_start": 18}],
        [{"text": "stone bridge", "start": 18}],
        [{"text": "stone bridge"}],
        {"text": ["stone bridge"], "answer_start": [18]},
        ["stone bridge"],
        "stone bridge",
    ],
)
def test_rows_of_json_lines_in_all_forms(tmp_path: Path, answers: Any) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"question": "What?", "context": CONTEXT, "answers": answers})
    (example,) = questions_of(path)
    assert example.answers == (ReferenceAnswer("stone bridge", 18),)


def test_rows_of_csv_and_other_names(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        f"id,query,passage,answer,answer_start\n7,What?,{CONTEXT},the river,32\n8,Who?,{CONTEXT},bridge,\n",
        encoding="utf-8",
    )
    first, second = questions_of(path)
    assert (first.id, first.answers) == ("7", (ReferenceAnswer("the river", 32),))
    assert second.answers == (ReferenceAnswer("bridge", 24),)
    path.write_text(f"q,c,a\nWhat?,{CONTEXT},bridge\n", encoding="utf-8")
    (named,) = questions_of(path, text_column="q", pair_column="c", label_column="a")
    assert named.answers == (ReferenceAnswer("bridge", 24),) and named.id == "2"
    with refused(path, "q, c, a", "question", "--text-column"):
        questions_of(path)
    with refused(path, "'z'", "q, c, a", "--pair-column"):
        questions_of(path, text_column="q", pair_column="z", label_column="a")


def test_white_space_at_the_ends_of_an_answer_is_left_out(tmp_path: Path) -> None:
    path = squad(tmp_path / "x.json", qa(answers=[{"text": " stone bridge ", "answer_start": 17}]))
    assert questions_of(path)[0].answers == (ReferenceAnswer("stone bridge", 18),)


@given(st.integers(-3, 60), st.sampled_from(["bridge", "met", "old."]))
def test_an_answer_that_stands_once_is_found_wherever_it_is_said_to_stand(
    tmp_path_factory: pytest.TempPathFactory, start: int, text: str
) -> None:
    path = squad(tmp_path_factory.mktemp("x") / "x.json", qa(answers=[{"text": text, "answer_start": start}]))
    assert questions_of(path)[0].answers == (ReferenceAnswer(text, CONTEXT.index(text)),)


def test_answers_that_moved_are_noted(tmp_path: Path) -> None:
    squad(tmp_path / "x.json", qa(1), qa(2, answers=[{"text": "bridge", "answer_start": 3}]))
    (said,) = rows_of(tmp_path / "x.json", "answers").notes
    assert "1 answers are not at answer_start, but occur only once" in said and "question q2" in said


def test_of_several_places_the_first_is_taken_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = squad(tmp_path / "x.json", qa(answers=[{"text": "river", "answer_start": 5}]))
    with refused(path, "question q1", "river", "answer_start 5", "data.answer_starts=first"):
        questions_of(path)
    rows = rows_of(path, "answers", answer_starts="first")
    assert rows.examples[0].answers == (ReferenceAnswer("river", 4),)
    assert "the first occurrence is used" in rows.notes[0]
    assert questions_of(path, "test") == rows.examples


def test_what_is_wrong_is_named_with_its_place(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str, str | None]] = [
        (qa(answers=[{"text": "lantern", "answer_start": 0}]), "context", "lantern"),
        (qa(answers="x" * 90), "context", "x" * 67 + "..."),
        (qa(question=" "), "'question'", None),
        (qa(question=...), "'question'", None),
        (qa(question=3), "'question'", "3"),
        (qa(answers=...), "answers", None),
        (qa(answers=[{"text": ""}]), "answer", '{"text": ""}'),
        (qa(answers=[{"text": "met", "answer_start": "x"}]), "answer", '{"text": "met", "answer_start": "x"}'),
        (qa(answers={"text": ["met"], "answer_start": []}), "answer", '{"text": ["met"], "answer_start": []}'),
        (qa(answers=7), "answer", "7"),
    ]
    for broken, name, given_ in cases:
        path = squad(tmp_path / "x.json", broken)
        with refused(f"{path}, article 1 (Rivers), paragraph 1, question q1", name) as caught:
            questions_of(path)
        assert caught.value.facts.get("given") == given_
        path = squad(tmp_path / "x.json", broken, qa(2))
        assert [e.id for e in questions_of(path, on_error="skip")] == ["q2"]
    with refused("paragraph 1, question q1", "'context'"):
        questions_of(squad(tmp_path / "x.json", qa(), context="\n"))
    with refused("paragraph 1, question q1", "id") as caught:
        questions_of(squad(tmp_path / "x.json", qa(), qa()))
    assert caught.value.facts["given"] == "q1" and caught.value.facts["see"].endswith("question q1")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("{", [", line 1", "JSON"]),
        ("[]", ["no rows"]),
        ('{"data": {}}', ["SQuAD", "'data'"]),
        ('{"data": [{"title": "T"}]}', [", article 1 (T)", "SQuAD", "'paragraphs'"]),
        ('{"data": [{"paragraphs": [{"context": "x"}]}]}', [", article 1, paragraph 1", "SQuAD", "'qas'"]),
        (
            '{"data": [{"paragraphs": [{"context": "x", "qas": [4]}]}]}',
            [", article 1, paragraph 1, question 1", "SQuAD", "object"],
        ),
        ('{"data": []}', ["no rows"]),
    ],
)
def test_what_is_not_squad(tmp_path: Path, content: str, names: list[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with refused(path, *names):
        questions_of(path)


def test_an_array_of_questions_is_read_like_lines_of_them(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "context": "Ada came.", "answers": [{"text": "Ada", "answer_start": 0}]}]
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "x.jsonl").write_text(json.dumps(rows[0]), encoding="utf-8")
    one, other = (questions_of(tmp_path / name)[0] for name in ("x.json", "x.jsonl"))
    assert (one.text, one.pair, one.answers) == (other.text, other.pair, other.answers) != ("", None, ())
    write_rows(tmp_path / "again.jsonl", [one])
    assert questions_of(tmp_path / "again.jsonl")[0].answers == one.answers


def test_offsets_count_characters_in_every_script(tmp_path: Path) -> None:
    context = "𠮷野家在東京，cafe\u0301 也在。"
    path = squad(tmp_path / "x.json", qa(answers=[{"text": "東京", "answer_start": 4}]), context=context)
    assert questions_of(path)[0].answers == (ReferenceAnswer("東京", 4),)


def cmrc(*contexts: tuple[str, list[Any]]) -> list[dict[str, Any]]:
    """As CMRC 2018 was first distributed: answers without their starts."""
    return [
        {
            "context_id": f"D{number}",
            "context_text": context,
            "title": "书店",
            "qas": [
                {"query_id": f"D{number}_{at}", "query_text": f"问题{at}？", "answers": answers}
                for at, answers in enumerate(asked)
            ],
        }
        for number, (context, asked) in enumerate(contexts)
    ]


class TestCmrc:
    @pytest.mark.parametrize("form", ["array", "indented", "lines"])
    def test_contexts_with_questions(self, tmp_path: Path, form: str) -> None:
        rows = cmrc(
            ("王先生到上海开店", [["上海", "上海"], ["王先生"]]),
            ("😀李女士在\r\n北京", [["北京", "李女士"]]),
            ("空", []),
        )
        path = tmp_path / "cmrc.json"
        text = json.dumps(rows, ensure_ascii=False, indent=1 if form == "indented" else None)
        text = "\r\n".join(json.dumps(row) for row in rows) if form == "lines" else text
        path.write_bytes(text.encode())
        found = rows_of(path, "answers")
        first, second, third = found.examples
        assert [e.id for e in found.examples] == ["D0_0", "D0_1", "D1_0"]
        assert (first.text, first.pair) == ("问题0？", "王先生到上海开店")
        assert first.answers == (ReferenceAnswer("上海", 4), ReferenceAnswer("上海", 4))
        assert second.answers == (ReferenceAnswer("王先生", 0),)
        assert third.answers == (ReferenceAnswer("北京", 7), ReferenceAnswer("李女士", 1))
        assert first.group == second.group != third.group
        assert "3 contexts with 3 questions" in " ".join(found.notes)

    def test_an_answer_in_several_places(self, tmp_path: Path) -> None:
        path = tmp_path / "cmrc.json"
        path.write_text(json.dumps(cmrc(("上海在上海", [["上海"]]))), encoding="utf-8")
        with refused(f"{path}, line 1, question D0_0", "上海", "data.answer_starts=first"):
            questions_of(path)
        assert questions_of(path, answer_starts="first")[0].answers == (ReferenceAnswer("上海", 0),)
        assert questions_of(path, "test")[0].answers == (ReferenceAnswer("上海", 0),)

    @pytest.mark.parametrize("answers", [["南京"], [""], [3], None])
    def test_answers_that_are_none(self, tmp_path: Path, answers: Any) -> None:
        rows = cmrc(("在上海", [["上海"]]), ("在北京", [answers]))
        path = tmp_path / "cmrc.json"
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        line = next(n for n, one in enumerate(path.read_text().splitlines(), 1) if '"D1"' in one) - 1
        with refused(f"{path}, line {line}, question D1_0"):
            questions_of(path)
        assert [e.id for e in questions_of(path, on_error="skip")] == ["D0_0"]

    def test_articles_of_squad_and_lines_of_mrqa(self, tmp_path: Path) -> None:
        article = {"title": "Rivers", "paragraphs": [{"context": CONTEXT, "qas": [qa(1), qa(2)]}]}
        mrqa = {"context": CONTEXT, "qas": [{"qid": "m1", "question": "What?", "answers": ["stone bridge"]}]}
        path = tmp_path / "a.json"
        path.write_text(json.dumps([article]), encoding="utf-8")
        assert [(e.id, e.answers) for e in questions_of(path)] == [
            ("q1", (ReferenceAnswer("The river", 0),)),
            ("q2", (ReferenceAnswer("The river", 0),)),
        ]
        path = jsonl(tmp_path / "a.jsonl", {"header": {"dataset": "x"}}, mrqa)
        assert [(e.id, e.answers) for e in questions_of(path)] == [("m1", (ReferenceAnswer("stone bridge", 18),))]

    def test_contexts_in_place_of_articles(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"data": cmrc(("在上海", [["上海"]]))}), encoding="utf-8")
        (example,) = questions_of(path)
        assert (example.id, example.answers) == ("D0_0", (ReferenceAnswer("上海", 1),))

    def test_questions_are_wanted_where_there_is_none(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "a.jsonl", {"context_text": "a", "qas": "none"}, {"context_text": "b", "qas": []})
        with refused(f"{path}, line 1", "qas"):
            questions_of(path)
        with refused(path):
            questions_of(path, on_error="skip")


def test_lines_in_a_file_called_json(tmp_path: Path) -> None:
    """As `datasets` and pandas write them."""
    row = {"question": "What?", "context": CONTEXT, "answers": {"text": ["bridge"], "answer_start": [24]}}
    path = jsonl(tmp_path / "a.json", row, row)
    assert [e.answers for e in questions_of(path)] == [(ReferenceAnswer("bridge", 24),)] * 2
