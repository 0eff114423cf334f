"""The report on answers: figures, parts of the questions, sample questions with the answers marked."""

from typing import Any

import pytest

from unmask.metrics import Contestant, compare
from unmask.report.blocks import Sentences, Table
from unmask.report.evaluation import errors, predictions, results

REFERENCES: list[dict[str, Any]] = [
    {"answers": ["a lantern"], "language": "en"},
    {"answers": ["the river"], "language": "en"},
    {"answers": [], "language": "en"},
    {"answers": ["winter", "last winter"], "language": "en"},
]
TEXT = "The captain carries a lantern along the river."


def found() -> dict[str, Any]:
    ours = Contestant("unmask, pretrained", "pretrained", ["lantern", "the captain", "", "last winter"])
    plain = Contestant("the words beside those of the question", "overlap", ["captain", "", "river", "winter"])
    question = {"question": "What does he carry?", "text": TEXT, "spans": [[20, 29, "answer"]]}
    samples = [
        {**question, "predicted": [[22, 29, "answer"]], "answer": "lantern", "correct": True},
        {**question, "predicted": [[4, 11, "answer"]], "answer": "captain", "correct": False},
        {**question, "predicted": [], "answer": "", "correct": False},
        {**question, "spans": [], "predicted": [[4, 11, "answer"]], "answer": "captain", "correct": False},
    ]
    evaluation = {"split": "test", **compare("answers", REFERENCES, [ours, plain]).to_dict()}
    return {"evaluation": evaluation, "samples": {"predictions": samples}}


def test_figures_are_those_of_the_formulas() -> None:
    evaluation = found()["evaluation"]
    first, second = evaluation["models"]
    assert first["answer_f1"]["value"] == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert first["exact_match"]["value"] == pytest.approx(3 / 4)
    assert second["answer_f1"]["value"] == pytest.approx(1 / 4)
    (difference,) = evaluation["differences"]
    assert difference["answer_f1"]["value"] == pytest.approx(2 / 4)
    assert [part["rows"] for part in evaluation["parts"]] == [3, 1]


def test_answers_are_shown_with_what_is_wrong() -> None:
    told = [block for block in results(found()) if isinstance(block, Table)]
    assert told[0].columns == ["Model", "F1", "Exact match"]
    (parts,) = [block for block in errors(found()) if isinstance(block, Table)]
    assert parts.rows[0][0] == "with an answer"
    (shown,) = [block for block in predictions(found()) if isinstance(block, Sentences)]
    right, wrong, none, false = shown.rows
    assert [name for name, _ in right.readings] == ["Question", "Predicted"]
    marked = [part for part in right.readings[1][1] if part.tag]
    assert [(part.text, part.wrong, part.tag) for part in marked] == [("lantern", False, "answer")]
    assert "".join(part.text for part in right.readings[1][1]) == TEXT
    assert [part.text for part in wrong.readings[1][1] if part.wrong] == ["captain"]
    assert [part.text for part in wrong.readings[2][1] if part.tag and not part.wrong] == ["a lantern"]
    assert none.readings[1][1][0].text == "nothing" == false.readings[2][1][0].text


def test_a_run_without_samples_has_no_such_block() -> None:
    assert not [block for block in predictions({"evaluation": found()["evaluation"]}) if block]
