"""What a check of labelled rows finds: each kind on rows made for it, and nothing in rows that are in order."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import WORDS
from unmask.data.rows.example import READS, Answers, Example, Labels, ReferenceAnswer, Span, Spans
from unmask.evaluate.datacheck import CHECKED, Check, check_data
from unmask.evaluate.textchecks import counts_up
from unmask.tasks import TASKS, task_of

DRAW = random.Random(3)
SENTENCES = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(3, 15))) + f" {n}" for n in range(60)]


def rows(texts: Sequence[str], targets: Sequence[object], pairs: Sequence[str | None] | None = None) -> list[Example]:
    several = pairs or [None] * len(texts)
    made = zip(texts, targets, several, strict=True)
    return [Example(text, pair, target, str(n), n + 2, "a.csv") for n, (text, target, pair) in enumerate(made)]


def plain(targets: Sequence[object] | None = None, texts: Sequence[str] = SENTENCES) -> list[Example]:
    return rows(texts, targets or [f"l{n % 3}" for n in range(len(texts))])


def kinds(found: Check) -> dict[str, bool]:
    """Each kind of finding in the training rows, and whether it biases."""
    every = [(found.biasing, True), (found.others, False)]
    return {kind: biasing for some, biasing in every for kind, part in some if part == "train"}


def cut(texts: Sequence[str], length: int) -> list[str]:
    return [(text * 20)[:length] if n % 3 == 0 else text for n, text in enumerate(texts)]


L3 = ["l0", "l1", "l2"] * 20
LABELLED = {
    "in order": (plain(), {}),
    "few rows with a label each": (plain([f"l{n}" for n in range(9)], SENTENCES[:9]), {}),
    "one label in nearly all": (plain(["a"] * 58 + ["b"] * 2), {"nearly_one_label": False}),
    "not nearly": (plain(["a"] * 56 + ["b"] * 4), {}),
    "case": (plain(["Good", "bad", "good"] * 20), {"spellings": True}),
    "white space": (plain(["New York", "NewYork", "Rome"] * 20), {"spellings": True}),
    "full width": (plain(["\uff21", "A", "B"] * 20), {"spellings": True}),
    "labels in a single row": (plain(["a", "b"] * 29 + ["c", "d"]), {"single_rows": False}),
    "a header within": (plain([*L3[:-1], "label"], [*SENTENCES[:-1], "text"]), {"headers": True, "single_rows": False}),
    "a label called topic": (plain(["topic", "score", "rating"] * 20), {}),
    "swapped": (plain([f"{text} and so on and so forth" for text in SENTENCES], ["pos", "neg"] * 30), None),
    "ids as labels": (plain([f"id-{n}" for n in range(60)]), {"own_labels": True}),
    "joined by a comma": (plain(["a", "b", "a, b"] * 20), {"joined_labels": False}),
    "as a list": (plain(["a", "b", "['a', 'b']"] * 20), {"joined_labels": False}),
    "a comma in a name": (plain(["a, b", "c"] * 30), {}),
    "placeholders": (plain(["a", "b", "nan"] * 20), {"placeholders": False}),
    "none is a class": (plain(["none", "neutral", "other"] * 20), {}),
    "counting from 0": (plain(None, [str(n) for n in range(60)]), {"counting": True}),
    "counting from 17": (plain(None, [str(n + 17) for n in range(60)]), {"counting": True}),
    "numbers": (plain(None, [f"{n * 37 % 61}.5" for n in range(60)]), {"numbers": True}),
    "some numbers": (plain(None, [str(n * 3) if n % 2 else text for n, text in enumerate(SENTENCES)]), {}),
    "cut at 512": (plain(None, cut(SENTENCES, 512)), {"cut": False}),
    "cut at 100": (plain(None, [text[:80] for text in SENTENCES[:40]] + [f"{t} " * 9 for t in SENTENCES[:20]]), {}),
    "HTML": (plain(None, [f"{text}<br />x &amp; y" for text in SENTENCES]), {"markup": False}),
    "a formula": (plain(None, [f"{text} a<b and c>d, x&y" for text in SENTENCES]), {}),
    "Latin-1": (plain(None, [f"{text} caf\u00c3\u00a9" for text in SENTENCES]), {"damaged": False}),
    "accents": (plain(None, [f"{text} caf\u00e9 \u00c2me \u00c3o \u00e2ge" for text in SENTENCES]), {}),
    "gbk": (plain(None, [f"{text} 锟斤拷" for text in SENTENCES]), {"damaged": False}),
}


@pytest.mark.parametrize("name", LABELLED)
def test_labels_and_texts(name: str) -> None:
    examples, expected = LABELLED[name]
    found = kinds(check_data({"train": examples}))
    if expected is None:
        found = {kind: biasing for kind, biasing in found.items() if kind not in ("duplicates", "contradictions")}
        expected = {"swapped": True}
    assert found == expected


def test_the_same_text_in_all_rows() -> None:
    found = kinds(check_data({"train": plain(None, ["the same"] * 60)}))
    assert found == {"same_text": True, "duplicates": False, "contradictions": True}
    pairs = rows(SENTENCES, L3, ["is it so?"] * 60)
    assert kinds(check_data({"train": pairs})) == {"same_text": False}


def test_pairs_of_equal_texts() -> None:
    few = rows(SENTENCES, L3, [*SENTENCES[:3], *[f"{text} x" for text in SENTENCES[3:]]])
    found = check_data({"train": few})
    assert kinds(found) == {"equal_texts": False} and found.others["equal_texts", "train"].rows == 3
    every = rows(SENTENCES, L3, [text.upper() for text in SENTENCES])
    assert kinds(check_data({"train": every})) == {"equal_texts": True}


def tagged(sentences: Sequence[Sequence[str]], labels: Sequence[str] = ("PER",)) -> list[Example]:
    found = []
    for number, words in enumerate(sentences):
        starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
        bounds = tuple((start, start + len(word)) for start, word in zip(starts, words, strict=True))
        spans = Spans(Span(*bounds[0], label) for label in labels)
        found.append(Example(" ".join(words), None, spans, str(number), number + 1, "a.conll", tokens=bounds))
    return found


def test_sentences_and_tags() -> None:
    order = [text.split() for text in SENTENCES]
    assert kinds(check_data({"train": tagged(order)})) == {}
    alone = tagged([[f"w{n}"] for n in range(60)])
    assert kinds(check_data({"train": alone})) == {"lone_tokens": True}
    assert kinds(check_data({"train": tagged([[f"w{n}" for n in range(150)]])})) == {"one_sentence": True}
    assert kinds(check_data({"train": tagged([["w"] * 9])})) == {}
    assert kinds(check_data({"train": tagged(order, labels=())})) == {"no_spans": True}
    assert kinds(check_data({"train": tagged(order, labels=("PER", "per"))})) == {"spellings": False}


def test_numbers_to_predict() -> None:
    assert kinds(check_data({"train": plain([float(n * 7 % 50) for n in range(60)])})) == {}
    assert kinds(check_data({"train": plain([float(n) for n in range(60)])})) == {"counting_numbers": True}
    assert kinds(check_data({"train": plain([2.5] * 60)})) == {"one_number": True}


def test_questions_on_one_context() -> None:
    answers = Answers([ReferenceAnswer("river", 4)])
    found = check_data({"train": rows([f"{text}?" for text in SENTENCES], [answers] * 60, ["the river"] * 60)})
    assert kinds(found) == {} and "labels" not in dict(found.checked)


def test_other_spellings_in_other_files() -> None:
    other = rows([f"{text} new" for text in SENTENCES], ["L0", "l1", "l3"] * 20)
    found = check_data({"train": plain(), "test": other})
    assert found.biasing["unlike_spellings", "test"].rows == 20
    assert found.biasing["unlike_spellings", "test"].places == "L0 / l0"
    assert found.biasing["unknown_labels", "test"].rows == 40


def test_several_labels_a_row() -> None:
    found = check_data({"train": plain([Labels(("a", "b")), Labels(("A",)), Labels(())] * 20)})
    assert kinds(found) == {"spellings": True}


def test_what_was_checked_is_listed() -> None:
    listed = dict(check_data({"train": plain()}).checked)
    assert set(listed) == {"repeated texts", "contradictions", "labels", "ids", "texts", "encoding"}
    assert not any(listed.values())
    both = check_data({"train": plain(), "test": plain()})
    assert ("leaks", "test") in dict(both.checked)["leaks between the files"]
    shown = both.to_dict()
    assert shown["checked"]["leaks between the files"] == ["leaks"] and shown["checked"]["texts"] == []
    listed = [kind for group in CHECKED.values() for kind in group]
    assert len(listed) == len(set(listed))


@given(st.integers(0, 10**6), st.integers(3, 30), st.integers(0, 29))
def test_a_column_counts_only_without_a_gap(first: int, count: int, gap: int) -> None:
    texts = [str(first + number) for number in range(count)]
    assert counts_up(texts)
    if 0 < gap < count - 1:
        assert not counts_up(texts[:gap] + texts[gap + 1 :])


def test_what_tasks_read() -> None:
    assert {task_of(name).reads for name in READS} == set(READS.values())
    assert {name: task_of(name).reads for name in READS} == READS and len(READS) == len(TASKS)
