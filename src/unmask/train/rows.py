"""The rows of a fine-tuning run: read once, checked for what would bias its result, split where no split is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unmask import files
from unmask.advice import advise, setting
from unmask.config import changed
from unmask.data.rows import leaks
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example, RowKind
from unmask.data.rows.leaks import Finding, without_rows
from unmask.data.rows.missing import for_labels
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import Rows, read_rows
from unmask.data.rows.split import group_rows, split
from unmask.data.rows.write import write_rows
from unmask.errors import UserError
from unmask.messages import join, message
from unmask.train.recipe import Policy, RowsConfig
from unmask.train.run import SPLIT

# read_rows, or what caches it
RowReader = Callable[[str, ReadOptions, RowKind, Literal["train", "test"], frozenset[str]], Rows]


@dataclass(frozen=True)
class PreparedRows:
    """The rows that a run trains on, evaluates on and tests on (None: nothing).

    options: how these files were read, with what was detected in the training rows. sha256: of each file. notes:
    sentences for people. checked: leaks and contradictions, for run.json.
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example] | None
    options: ReadOptions
    sha256: Mapping[str, str | None]
    notes: Sequence[str]
    checked: Mapping[str, Any]

    def test_rows(self, file: Path) -> Rows:
        """The test rows as those of their file: the one given, or the one that what was cut is written into."""
        return Rows(str(file), self.test or [], sha256=self.sha256.get("test") or files.sha256(file))


def prepare_rows(data: RowsConfig, seed: int, kind: RowKind = "label", read: RowReader = read_rows) -> PreparedRows:
    """All rows as the recipe says; what is cut from the training rows depends on the texts and the seed alone.

    Raises UserError for rows that cannot be used, dev and test labels that training does not have, and for what the
    recipe says to stop at.
    """
    options = ReadOptions(**data.changed)
    rows = {"train": read(data.train, options, kind, "train", frozenset())}
    options, detected = options_like(options, rows["train"])
    heldout = for_labels(options, {label for one in rows["train"].examples for label in one.labels})
    if data.dev is not None:
        rows["dev"] = read(data.dev, heldout, kind, "train", detected)
    if data.test is not None:
        rows["test"] = read(data.test, heldout, kind, "test", detected)
    notes = [note for one in rows.values() for note in one.notes]
    examples = {name: one.examples for name, one in rows.items()}
    train, checked = _remove_leaks(data, examples, notes)
    dev, test = examples.get("dev"), examples.get("test")

    def with_known_labels(held: list[Example]) -> list[Example]:
        labels = {label for example in train for label in example.labels}
        if not labels and kind not in ("number", "pairs", "answers"):
            return held  # nothing can be learnt, which the task says
        kept, more = check_targets(held, kind, labels, data.train, data.unknown)
        notes.extend(more)
        return kept

    if data.test_share:
        train, test = _held_out(train, data.test_share, seed + 3)
    elif test is not None:
        test = with_known_labels(test)
    if dev is None:
        train, dev = _held_out(train, data.dev_share, seed)
    if data.max_train_rows is not None and data.max_train_rows < len(train):
        rest, train = split(train, data.max_train_rows / len(train), seed + 1)
        train += _of_new_labels(train, rest)
    if data.max_dev_rows is not None and data.max_dev_rows < len(dev):
        _, dev = split(dev, data.max_dev_rows / len(dev), seed + 2, sample=True)
    sums = {name: one.sha256 for name, one in rows.items()}
    return PreparedRows(train, with_known_labels(dev), test, options, sums, notes, checked)


def options_like(options: ReadOptions, train: Rows) -> tuple[ReadOptions, frozenset[str]]:
    """How to read other rows as the training rows, and which of these settings were detected in those: the columns, the
    separator of labels, and plain tags, which may look like those of another scheme where they are few."""
    detected = {name: value for name, value in train.resolved.items() if name not in options.changed}
    detected |= {"scheme": "plain"} if train.scheme == "plain" else {}
    return changed(options, **detected), frozenset(detected)


def test_file(data: RowsConfig, run: Path) -> Path | None:
    """The file to evaluate on at the end: the one given, or what was cut from the training file."""
    if data.test_share:
        return run / SPLIT / "test.jsonl"
    return None if data.test is None else Path(data.test)


def write_split(data: RowsConfig, rows: PreparedRows, run: Path) -> None:
    """Write what was cut from the training file into the run folder; with a test set, also the rows that are left."""
    if data.test_share:
        write_rows(run / SPLIT / "test.jsonl", rows.test or [])
        write_rows(run / SPLIT / "train.jsonl", rows.train)
    if data.dev is None:
        write_rows(run / SPLIT / "dev.jsonl", rows.dev)


def _held_out(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(the rest, a share), without labels in the share that the rest does not have: those rows go back, with all
    that must stay together with them."""
    rest, held = split(examples, share, seed)
    needed = _of_new_labels(rest, held)
    back = {n for group in group_rows(held) if any(held[n] in needed for n in group) for n in group}
    if len(back) == len(held):
        hint = "provide more rows, or a separate file to evaluate on"
        raise UserError(f"{len(examples):,} rows are too few to hold out {share:.0%} of them", hint=hint)
    return rest + [held[number] for number in sorted(back)], without_rows(held, back)


def _of_new_labels(chosen: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """One of the other examples for each label that no chosen one has, whatever their order: what is not seen is not
    learnt."""
    labels = {label for example in chosen for label in example.labels}
    found = []
    for example in sorted(others, key=lambda one: (one.text, one.pair or "", sorted(one.labels))):
        if not example.labels <= labels:
            found.append(example)
            labels |= example.labels
    return found


def _remove_leaks(
    data: RowsConfig, examples: Mapping[str, list[Example]], notes: list[str]
) -> tuple[list[Example], dict[str, Any]]:
    """The training rows that are left, and the findings: noted, left out or an error, as the recipe says."""
    train, checked, out = examples["train"], dict[str, Any](), set[int]()
    contradictions = leaks.contradictions(train)
    if contradictions.rows:
        notes.append(_finding("data.contradictions", data.contradictions, contradictions))
        checked["contradictions"] = contradictions.to_dict()
        out |= set(contradictions.numbers) if data.contradictions == "drop" else set()
    for name in ("dev", "test"):
        held = examples.get(name)
        if held and (leaked := leaks.leaks(train, held)).rows:
            of_train = leaks.leaks(held, train)
            notes.append(_finding("data.leaks", data.leaks, leaked))
            about = {**leaked.to_dict(), "of": len(held), "train_rows": of_train.rows}
            checked.setdefault("leaks", {})[name] = about
            out |= set(of_train.numbers) if data.leaks == "drop" else set()
    if not out:
        return train, checked
    train, checked["dropped"] = without_rows(train, out), len(out)
    if not train:
        raise UserError(f"{data.train}: no row is left to train on", given=f"skipped: {len(out):,}")
    return train, checked


def _finding(name: str, policy: Policy, finding: Finding) -> str:
    """The note on leaks or contradictions. Raises UserError where the recipe says to stop."""
    if policy == "stop":
        drop, warn = setting(f"{name}=drop"), setting(f"{name}=warn")
        hint = advise("{drop} leaves them out of training, {warn} goes on all the same", drop, warn)
        raise UserError(finding.text, given=finding.places, hint=hint)
    if policy == "drop":
        return message("{finding}: skipped in training (the first: {first})", finding.text, finding.places)
    note = message("{finding} (the first: {first})", finding.text, finding.places)
    return join([note, advise("{setting} leaves them out of training", setting(f"{name}=drop"))], "; ")
