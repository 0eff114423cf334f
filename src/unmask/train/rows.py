"""The rows of a fine-tuning run: read, checked for what would bias its result, and split where no split is given."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import console
from unmask.data.rows import audit
from unmask.data.rows.audit import Finding, without_rows
from unmask.data.rows.labels import of_test_rows
from unmask.data.rows.rowfiles import write_rows
from unmask.data.rows.split import group_rows, split
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.tasks import AnyTask, Classify, task_of
from unmask.train.recipe import RowsConfig
from unmask.train.run import SPLIT


@dataclass(frozen=True)
class PreparedRows:
    """What a run trains on, chooses by and is tested on (None: nothing). checked: what was found, for run.json."""

    train: list[Example]
    dev: list[Example]
    test: list[Example] | None
    checked: dict[str, Any] = field(default_factory=dict)


def load_rows(data: RowsConfig, seed: int, task: AnyTask | None = None) -> tuple[list[Example], list[Example]]:
    """(training examples, dev examples) as the recipe says; a dev file is taken whole. task: classify if None."""
    rows = prepare_rows(data, seed, task)
    return rows.train, rows.dev


def prepare_rows(data: RowsConfig, seed: int, task: AnyTask | None = None) -> PreparedRows:
    """All rows as the recipe says; what is cut from the training rows depends on the texts and the seed alone.

    Raises UserError for rows that cannot be used, test labels that training does not have, and for what the recipe
    says to stop at.
    """
    kind = task_of(task or Classify())
    train = kind.read(data.train, data.read_options)
    given = {
        name: kind.read(path, data.read_options) for name, path in (("dev", data.dev), ("test", data.test)) if path
    }
    train, checked = _remove_leaks(data, train, given)
    dev, test = given.get("dev"), given.get("test")
    if data.test_share:
        train, test = _held_out(train, data.test_share, seed + 3)
    elif test is not None:
        with of_test_rows():
            labels = {label for example in train for label in example.labels}
            test = kind.check_labels(test, labels, owner=data.train, unknown=data.read_options.resolved_unknown_labels)
    if dev is None:
        train, dev = _held_out(train, data.dev_share, seed)
    if data.max_train_rows is not None and data.max_train_rows < len(train):
        rest, train = split(train, data.max_train_rows / len(train), seed + 1)
        train += _of_new_labels(train, rest)
    if data.max_dev_rows is not None and data.max_dev_rows < len(dev):
        _, dev = split(dev, data.max_dev_rows / len(dev), seed + 2, sample=True)
    return PreparedRows(train, dev, test, checked)


def test_file(data: RowsConfig, run: Path) -> Path | None:
    """The file to evaluate on at the end: the one given, or what was cut from the training file."""
    if data.test_share:
        return run / SPLIT / "test.jsonl"
    return None if data.test is None else Path(data.test)


def write_split(data: RowsConfig, rows: PreparedRows, run: Path) -> None:
    """What was cut from the training file, into the run folder; with a test set, also the rows that are left."""
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
    back = {n for bundle in group_rows(held) if any(held[n] in needed for n in bundle) for n in bundle}
    if len(back) == len(held):
        raise UserError(
            f"{len(examples):,} rows are too few to hold out {share:.0%} of them",
            to_do="give more rows, or a file of their own to evaluate on",
        )
    return rest + [held[number] for number in sorted(back)], without_rows(held, back)


def _of_new_labels(chosen: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """One of the other examples for each label that no chosen one has, whatever their order: what is not seen is not
    learnt."""
    known = {label for example in chosen for label in example.labels}
    found = []
    for example in sorted(others, key=lambda one: (one.text, one.pair or "", sorted(one.labels))):
        if not example.labels <= known:
            found.append(example)
            known |= example.labels
    return found


def _remove_leaks(
    data: RowsConfig, train: list[Example], given: dict[str, list[Example]]
) -> tuple[list[Example], dict[str, Any]]:
    """The training rows that are left, and what was found: said, left out or an error, as the recipe says."""
    told: dict[str, Any] = {}
    finding = audit.contradictions(train)
    if finding.rows:
        _report_contradictions(data, finding)
        told["contradictions"] = finding.to_dict()
    leaking: set[int] = set()
    for name, examples in given.items():
        finding = audit.leaks(train, examples)
        if not finding.rows:
            continue
        back = audit.leaks(examples, train)  # the rows of train that these are
        _report_leaks(data, examples[0].source, len(examples), finding, back)
        told.setdefault("leaks", {})[name] = {
            **finding.to_dict(),
            "of": len(examples),
            "train_rows": back.rows,
        }
        leaking |= set(back.numbers)
    out = set(audit.contradictions(train).numbers) if data.contradictions == "drop" else set()
    out |= leaking if data.leaks == "drop" else set()
    if out:
        told["left_out"] = len(out)
        train = without_rows(train, out)
        if not train:
            raise UserError(f"{data.train}: no row is left to train on", left_out=f"{len(out):,}")
    return train, told


def _report_contradictions(data: RowsConfig, finding: Finding) -> None:
    what = f"{data.train}: {finding.rows:,} rows have a text that stands there with another label, too"
    if data.contradictions == "stop":
        raise UserError(
            what,
            the_first=finding.describe,
            to_leave_them_out="data.contradictions=drop",
            to_train_on_them="data.contradictions=warn",
        )
    if data.contradictions == "drop":
        console.note(f"{what}: left out (the first: {finding.describe})")
    else:
        console.note(f"{what} (the first: {finding.describe}); data.contradictions=drop leaves them out")


def _report_leaks(data: RowsConfig, source: str, rows: int, finding: Finding, way_back: Finding) -> None:
    what = f"{source}: {finding.rows:,} of {rows:,} rows stand in {data.train}, too"
    if data.leaks == "stop":
        raise UserError(
            what,
            the_first=finding.describe,
            to_leave_them_out_of_training="data.leaks=drop",
            to_go_on_all_the_same="data.leaks=warn",
        )
    if data.leaks == "drop":
        console.note(f"{what} (the first: {finding.describe}): {way_back.rows:,} rows left out of training")
    else:
        console.note(
            f"{what} (the first: {finding.describe}), so that figures on them are too good; data.leaks=drop leaves them"
            " out of training"
        )
