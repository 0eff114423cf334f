"""Formats of predictions: JSON objects, rows of a table, CoNLL."""

import numpy as np

from errors import refused
from unmask.data.rows.example import Example
from unmask.runtime.formats import format_of
from unmask.tasks.labelled_spans import LabelledSpan
from unmask.tasks.multilabel import Multilabel, MultilabelTask
from unmask.tasks.nested import Nested, NestedTask
from unmask.tasks.regress import NumberStatistics, Regress, RegressTask
from unmask.tasks.tag import Tag, TagTask
from unmask.tasks.text import Ranking
from unmask.text.tokenizer import Tokenizer

EXAMPLE = Example("captain winter", None, None, "0", 2, "rows.csv")


def test_labels(tokenizer: Tokenizer) -> None:
    task = MultilabelTask(Multilabel(), tokenizer, ["a", "b", "c"])
    written, halves = format_of(task), np.full(3, 0.5)
    ranking = Ranking(task.labels, np.array([0.625, 0.25, 0.75], dtype=np.float32), halves)
    assert written.to_record(EXAMPLE, ranking, False) == {
        "id": "0",
        "line": 2,
        "labels": ["c", "a"],
        "scores": {"c": 0.75, "a": 0.625},
    }
    assert written.to_record(EXAMPLE, ranking, True)["scores"] == {"c": 0.75, "a": 0.625, "b": 0.25}
    assert written.to_rows(EXAMPLE, ranking, True) == [["0", 2, "c|a", 0.625, 0.25, 0.75]]
    assert written.columns(True) == ["id", "line", "labels", "a", "b", "c"]
    few = Ranking(task.labels, ranking.probabilities, halves, top_k=2)
    assert written.to_rows(EXAMPLE, few, True) == [["0", 2, "c|a", 0.625, "", 0.75]]


def test_numbers(tokenizer: Tokenizer) -> None:
    written = format_of(RegressTask(Regress(), tokenizer, NumberStatistics(0, 1, 0, 1)))
    assert written.to_record(EXAMPLE, 2.51234567, True) == {"id": "0", "line": 2, "number": 2.512346}
    assert written.to_rows(EXAMPLE, 2.5, True) == [["0", 2, 2.5]]
    assert written.columns(True) == ["id", "line", "number"]


def test_spans(tokenizer: Tokenizer) -> None:
    written = format_of(NestedTask(Nested(max_span_length=2), tokenizer, ["ORG", "PERSON"]))
    spans = [LabelledSpan("ORG", "captain winter", 0, 14, 0.9), LabelledSpan("PERSON", "captain", 0, 7, 0.8)]
    record = written.to_record(EXAMPLE, spans, False)
    assert record["text"] == EXAMPLE.text and record["spans"][1] == {
        "label": "PERSON",
        "text": "captain",
        "start": 0,
        "end": 7,
        "score": 0.8,
    }
    assert written.to_rows(EXAMPLE, spans, False)[1] == ["0", 2, "PERSON", 0.8, 0, 7, "captain"]
    assert written.to_conll(EXAMPLE, spans[:1]) == "captain\tB-ORG\nwinter\tI-ORG\n\n"
    with refused("rows.csv, line 2", "'captain' (PERSON)", "--format jsonl", "task.flat=true"):
        written.to_conll(EXAMPLE, spans)
    with refused("--all"):
        written.columns(True)


def test_running_text_is_written_as_the_words_that_plain_tags_make() -> None:
    tokenizer = Tokenizer.train(["我 爱 北 京"] * 4, vocab_size=20, allow_fewer=True)
    written = format_of(TagTask(Tag(), tokenizer, ["n", "r", "v"], True))
    text = Example("我爱北京", None, None, "0", 1, "s")
    spans = [LabelledSpan(label, text.text[a:b], a, b, 0.5) for a, b, label in ((0, 1, "r"), (1, 2, "v"), (2, 4, "n"))]
    assert written.to_conll(text, spans) == "我\tr\n爱\tv\n北京\tn\n\n"
    assert written.to_conll(text, spans[:1]) == "我\tr\n爱\tO\n北\tO\n京\tO\n\n"


def test_vectors_have_the_digits_of_their_floats() -> None:
    from unmask.tasks.embed import Embed, EmbedTask

    tokenizer = Tokenizer.train(["a b"] * 4, vocab_size=10, allow_fewer=True)
    written = format_of(EmbedTask(Embed(), tokenizer))
    vector = np.array([0.1, -2.5], dtype=np.float32)
    assert written.to_record(EXAMPLE, vector, False)["vector"] == [0.1, -2.5]
    pair = np.stack([vector, vector])
    assert written.to_record(EXAMPLE, pair, True) == {
        "id": "0",
        "line": 2,
        "cosine": 1.0,
        "vectors": [[0.1, -2.5], [0.1, -2.5]],
    }
    assert written.to_rows(EXAMPLE, pair, False) == [["0", 2, 1.0, ""]]
    assert written.to_rows(EXAMPLE, pair, True) == [["0", 2, 1.0, "0.1 -2.5"]] * 2
    assert written.to_rows(EXAMPLE, vector, False) == [["0", 2, "", "0.1 -2.5"]]
