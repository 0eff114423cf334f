"""Labelled files before anything is trained on them: what they hold, and what in them would bias a result."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.data.rows import leaks
from unmask.data.rows.example import Example
from unmask.data.rows.leaks import Finding
from unmask.data.rows.questions import FIRST, MOVED
from unmask.evaluate.labelchecks import label_findings, unlike_spellings
from unmask.evaluate.textchecks import number_findings, text_findings
from unmask.messages import Message, message

NO_NOTES: Mapping[str, Sequence[str]] = {}
PERCENTILES = (0, 5, 50, 95, 100)
ONLY_TRAIN = ("single_rows", "joined_labels")  # where the other files show nothing new
CHECKED = {  # what is looked at, and the kinds of findings that belong to it
    "leaks between the files": ("leaks", "leaks_of_dev"),
    "repeated texts": ("duplicates",),
    "contradictions": ("contradictions",),
    "labels": (
        *("unknown_labels", "unlike_spellings", "one_label", "spellings", "headers", "swapped", "own_labels"),
        *("joined_labels", "nearly_one_label", "single_rows", "placeholders"),
    ),
    "numbers": ("one_number", "counting_numbers"),
    "spans": ("misaligned", "no_spans"),
    "answers": ("answers_moved",),
    "sentences": ("lone_tokens", "one_sentence"),
    "ids": ("ids",),
    "texts": ("counting", "numbers", "same_text", "equal_texts", "cut"),
    "encoding": ("damaged", "markup"),
}


@dataclass(frozen=True)
class Check:
    """The files, and what is found in and between them.

    parts: {train | dev | test: {file, rows, labels: {label: rows or spans}, characters: {p0, p5, p50, p95, p100}}};
    biasing, others: findings by (kind, part), those that bias a result and the rest.
    """

    parts: dict[str, dict[str, Any]]
    biasing: dict[tuple[str, str], Finding]
    others: dict[tuple[str, str], Finding]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        problems = [
            {"kind": kind, "part": part, "is_biasing": biasing, "text": finding.text, **finding.to_dict()}
            for biasing, findings in ((True, self.biasing), (False, self.others))
            for (kind, part), finding in findings.items()
        ]
        checked = {title: sorted({kind for kind, _ in found}) for title, found in self.checked}
        return {"parts": self.parts, "checked": checked, "problems": problems, "biased": bool(self.biasing)}

    @property
    def checked(self) -> Iterator[tuple[str, dict[tuple[str, str], Finding]]]:
        """What was looked at in these files, each with its findings by (kind, part)."""
        every, rest = {**self.biasing, **self.others}, dict(self.biasing | self.others)
        targets = {name for part in self.parts.values() for name in part["targets"]}
        absent = {"leaks between the files": len(self.parts) < 2, "contradictions": not targets - {"answers"}}
        absent |= {"labels": not targets & {"labels", "spans"}, "numbers": "numbers" not in targets}
        absent |= {
            "answers": "answers" not in targets,
            "spans": "spans" not in targets,
            "sentences": "tokens" not in targets,
        }
        for title, kinds in CHECKED.items():
            found = {key: one for key, one in every.items() if key[0] in kinds}
            rest = {key: one for key, one in rest.items() if key not in found}
            if found or not absent.get(title):
                yield title, found
        if rest:
            yield "others", rest


def check_data(
    parts: Mapping[str, Sequence[Example]], names: Collection[str] = (), notes: Mapping[str, Sequence[str]] = NO_NOTES
) -> Check:
    """parts: train, and dev and test where they are given; none is empty. names: of columns that options name. notes:
    of reading each part."""
    train = parts["train"]
    labels = {label for example in train for label in example.labels}
    biasing = {("contradictions", "train"): leaks.contradictions(train)}
    others: dict[tuple[str, str], Finding] = {}
    for name, examples in parts.items():
        if name != "train":
            biasing["leaks", name] = leaks.leaks(train, examples)
            biasing["unknown_labels", name] = leaks.unknown_labels(examples, labels)
            biasing["unlike_spellings", name] = unlike_spellings(train, examples)
        for findings in (label_findings(examples, names), number_findings(examples), text_findings(examples)):
            for kind, is_biasing, finding in findings:
                if kind not in ONLY_TRAIN or name == "train":
                    (biasing if is_biasing else others)[kind, name] = finding
        others["answers_moved", name] = _answers_moved(notes.get(name, ()))
        if any(example.spans for example in examples):
            is_biasing, finding = _misaligned(examples)
            (biasing if is_biasing else others)["misaligned", name] = finding
        others["duplicates", name] = leaks.duplicates(examples)
        others["ids", name] = leaks.same_ids(examples)
    if {"dev", "test"} <= parts.keys():
        biasing["leaks_of_dev", "test"] = leaks.leaks(parts["dev"], parts["test"])
    if len(labels) < 2 and all(example.label is not None for example in train):
        biasing["one_label", "train"] = leaks.one_label(train)
    found = ({key: one for key, one in some.items() if one.rows} for some in (biasing, others))
    return Check({name: _part(examples) for name, examples in parts.items()}, *found)


def _misaligned(examples: Sequence[Example]) -> tuple[bool, Finding]:
    """Whether spans off the words bias a result, and which these are."""
    from unmask.tasks.span_check import alignment_problems  # numpy, which the other tasks go without

    problems = alignment_problems(examples)
    clear = problems.are_most or problems.unit is not None
    return clear, Finding(problems.text(examples[0].source), problems.numbers, ((problems.first,),))


def _answers_moved(notes: Sequence[str]) -> Finding:
    """What reading notes of answers that do not stand where the file says."""
    moved = [note.values for note in notes if isinstance(note, Message) and note.template in (MOVED, FIRST)]
    if not moved:
        return Finding()
    count = sum(one["count"] for one in moved)
    text = "{file}: {count:,} answers are not at the place that the file says, or occur several times"
    return Finding(message(text, moved[0]["source"], count), tuple(range(count)), ((str(moved[0]["first"]),),))


def _part(examples: Sequence[Example]) -> dict[str, Any]:
    """What one file holds; labels of rows, or of their spans."""
    counts = Counter(label for one in examples if one.spans is None for label in one.labels)
    counts.update(span.label for one in examples for span in one.spans or ())
    lengths = sorted(len(example.text) + len(example.pair or "") for example in examples)
    last = len(lengths) - 1
    return {
        "file": examples[0].source,
        "rows": len(examples),
        "targets": _targets(examples),
        "labels": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "characters": {f"p{percentile}": lengths[round(last * percentile / 100)] for percentile in PERCENTILES},
    }


def _targets(examples: Sequence[Example]) -> list[str]:
    """What is true of the rows: labels, numbers, spans, answers; tokens, where the file has them."""
    first = examples[0]
    is_there = {
        "labels": first.label is not None or first.label_set is not None,
        "numbers": first.number is not None,
        "spans": first.spans is not None,
        "answers": first.answers is not None,
        "tokens": first.tokens is not None,
    }
    return [name for name, present in is_there.items() if present]
