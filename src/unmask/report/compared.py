"""Several runs beside one another: settings that differ, curves, and whether a difference on the same rows is real.

A quick start takes part with the runs inside it. Losses are compared only over the same corpus and tokenizer,
development curves only over the same development rows, test figures only on the same test rows.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import console
from unmask.errors import UserError
from unmask.evaluate import saved
from unmask.evaluate.saved import Predictions
from unmask.messages import join, message, verbatim
from unmask.report import evaluation, figures
from unmask.report.blocks import Block, Cell, Columns, KeyFigure, Page, Table, sections, table
from unmask.report.figures import Trained, read_log
from unmask.report.formats import (
    figure_title,
    format_difference_range,
    format_figure,
    format_gain,
    format_p_value,
    format_range,
)
from unmask.report.runs import KINDS, QUICKSTART, TITLES, RunInfo, require_run
from unmask.report.summary import CAUTION, size_of, verdict

MOST_RUNS = 6
INPUTS = {"data.corpus": "corpus", "data.train": "train", "data.dev": "dev", "init_from": "model"}  # their checksums
SAME_DEV = ("data.dev", "data.dev_share", "seed")  # settings that choose the development rows

CURVES_ONLY = "The runs have no test rows in common, so only curves and settings are compared."
CORPORA = (
    "The runs were pretrained on different corpora or with different tokenizers: their losses are not comparable and "
    "are not compared."
)
DEV = "The runs chose their best step on different development rows, so that those curves are not compared."

Predict = Callable[[Path, Path], Predictions]


@dataclass(frozen=True)
class Comparison:
    """Runs of one or two stages under the same names, in the order given; the first is the measure."""

    names: list[str]
    stages: dict[str, list[RunInfo]]
    settings: list[dict[str, Any]]
    evaluation: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)  # what could not be compared

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": self.names,
            "stages": {kind: [run.plain() for run in runs] for kind, runs in self.stages.items()},
            "settings": self.settings,
            "evaluation": self.evaluation,
            "notes": self.notes,
        }


def compare_runs(
    folders: Sequence[Path | str], test: Path | str | None = None, predict: Predict | None = None
) -> Comparison:
    """Read runs and compare what can be compared.

    test: a file of labelled rows; predictions on it that a run kept are used, others made by `predict(run, file)`.
    Without it, predictions that all runs kept of the same file. Raises UserError for runs that have nothing in
    common, other test rows or other labels.
    """
    paths = [Path(folder) for folder in folders]
    if not 2 <= len(paths) <= MOST_RUNS or len({path.resolve() for path in paths}) < len(paths):
        raise UserError(
            "these runs cannot be compared",
            given=", ".join(map(str, paths)),
            allowed=f"2 to {MOST_RUNS} different run folders",
        )
    names = _names(paths)
    stages = _stages(paths)
    notes, found = [], None
    if "pretrain" in stages and not _same_inputs(stages["pretrain"], ["corpus"]):
        if len(stages) == 1:
            raise UserError(
                f"{' and '.join(names[:2])} cannot be compared",
                given="they were pretrained on different corpora or with different tokenizers",
                hint="fine-tune both on the same rows and compare those runs",
            )
        notes.append(CORPORA)
    if "finetune" in stages:
        if not _same_dev(stages["finetune"]):
            notes.append(DEV)
        found = _tested(names, stages["finetune"], None if test is None else Path(test), predict)
        if found is None:
            notes.append(CURVES_ONLY)
    elif test is not None:
        raise UserError("pretraining runs give no labels", given=f"--test {test}", hint="compare fine-tuning runs")
    return Comparison(names, stages, _differing(names, stages), found, notes)


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders as given, without what all of them begin with."""
    whole = [path.resolve() for path in paths]
    common = Path(os.path.commonpath(whole))
    names = [path.relative_to(common).as_posix() for path in whole]
    if "." in names:  # one lies inside the other
        names = [path.name for path in whole]
    return [verbatim(name) for name in names]


def _stages(paths: Sequence[Path]) -> dict[str, list[RunInfo]]:
    """The kinds of which every folder has a run, each with these runs."""
    runs = [require_run(path) for path in paths]
    found: dict[str, list[RunInfo]] = {}
    for kind in KINDS:
        members = [run if run.kind == kind else _inside(run, kind) for run in runs]
        if all(member is not None for member in members):
            found[kind] = [member for member in members if member is not None]
    if not found:
        raise UserError(
            "these runs are of different kinds, there is nothing to compare",
            given=", ".join(f"{path}: {run.kind}" for path, run in zip(paths, runs, strict=True)),
            allowed="all pretrain, or all finetune; a quickstart has both inside",
        )
    return found


def _inside(run: RunInfo, kind: str) -> RunInfo | None:
    folder = run.folder / kind  # of a quick start
    return require_run(folder) if run.kind == QUICKSTART and (folder / "run.json").is_file() else None


def _same_inputs(runs: Sequence[RunInfo], names: Sequence[str]) -> bool:
    return all(len({str((run.facts.get("inputs") or {}).get(name)) for run in runs}) == 1 for name in names)


def _same_dev(runs: Sequence[RunInfo]) -> bool:
    settings = [flat(run.recipe) for run in runs]
    if not _same_inputs(runs, ["dev"]):
        return False
    if all((run.facts.get("inputs") or {}).get("dev") for run in runs):
        return True  # the same dev file, taken whole
    return _same_inputs(runs, ["train"]) and all(len({str(one.get(key)) for one in settings}) == 1 for key in SAME_DEV)


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as `key.sub: value`; members of a list by their name, else their number."""
    if isinstance(values, dict):
        inner = values.items()
    elif isinstance(values, list):
        inner = {
            str(one["name"] if isinstance(one, dict) and "name" in one else number): one
            for number, one in enumerate(values)
        }.items()
    else:
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in inner:
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _differing(names: Sequence[str], stages: dict[str, list[RunInfo]]) -> list[dict[str, Any]]:
    """[{stage, setting, values: {run: value}}] of what is not the same in all runs; None where it is not set."""
    rows = []
    for kind, runs in stages.items():
        every = [flat(run.recipe) | flat({"environment": run.facts.get("environment") or {}}) for run in runs]
        for key in dict.fromkeys(key for settings in every for key in settings):
            values = [settings.get(key) for settings in every]
            known = all(INPUTS.get(key) in (run.facts.get("inputs") or {}) for run in runs)
            if known and _same_inputs(runs, [INPUTS[key]]):
                continue  # the same content under another path
            if any(value != values[0] for value in values):
                rows.append({"stage": kind, "setting": key, "values": dict(zip(names, values, strict=True))})
    return rows


def _tested(
    names: Sequence[str], runs: Sequence[RunInfo], test: Path | None, predict: Predict | None
) -> dict[str, Any] | None:
    if test is not None:
        if not test.is_file():
            raise UserError(f"{test} does not exist", given="--test")
        assert predict is not None
        chosen = [predict(run.folder, test) for run in runs]
    else:
        chosen = _kept(names, runs)
        if not chosen:
            return None
    named = [(name, "other", one) for name, one in zip(names, chosen, strict=True)]
    return {"split": Path(chosen[0].file).name, **saved.compare_predictions(named).to_dict()}


def _kept(names: Sequence[str], runs: Sequence[RunInfo]) -> list[Predictions]:
    """The predictions of the one file that all runs were evaluated on; none where a run kept none at all."""
    every = [{one.sha256: one for one in saved.load_predictions(run.folder)} for run in runs]
    if not all(every):
        return []
    common = sorted(set.intersection(*(set(one) for one in every)))
    if len(common) == 1:
        return [one[common[0]] for one in every]
    shown = [
        f"{name}: {', '.join(sorted(p.file for p in kept.values()))}" for name, kept in zip(names, every, strict=True)
    ]
    raise UserError(
        "the runs were evaluated on different rows" if not common else "the runs have several test files in common",
        given="; ".join(shown),
        hint="say on which file to compare them: unmask compare RUN RUN --test FILE",
    )


def page_of(found: Comparison) -> Page:
    """The page about a comparison."""
    blocks: dict[tuple[str, str], Iterable[Block | None]] = {
        ("results", "Results"): evaluation.results({"evaluation": found.evaluation}),
        ("curves", "Curves"): _curves(found),
        ("differences", "Differences in settings"): [_settings_table(found)],
        ("runs", "Runs"): [_runs_table(found)],
    }
    return Page(
        kind=message("Comparison of runs"),
        title=" · ".join(found.names),
        summary=[[sentence] for sentence in summary(found)],
        figures=list(_key_figures(found)),
        sections=sections(blocks),
    )


def summary(found: Comparison) -> list[str]:
    """Whether the first run is better than each of the others, and what could not be compared."""
    sentences: list[str] = []
    tested = found.evaluation or {}
    for row in tested.get("differences") or []:
        metric = tested["metric"]
        difference, outcome = row[metric], verdict(metric, row[metric])
        unclear = outcome == "unclear"
        first, second = (row["over"], row["of"]) if outcome == "worse" else (row["of"], row["over"])
        sentences.append(
            message(
                "No difference can be shown between {first} and {second}: in {figure} it is {points}, and its interval "
                "({interval}) includes zero (same {population})."
                if unclear
                else "{first} is better than {second}: {figure} is better by {points} (interval {interval}, same "
                "{population}).",
                first,
                second,
                figure_title(metric),
                format_gain(metric, difference["value"], sign=unclear),
                format_difference_range(metric, difference if unclear else size_of(difference)),
                figures.population(tested, items=False),
            )
        )
        if "mcnemar" in row:
            sentences.append(message("By McNemar's exact test, p is {p}.", format_p_value(row["mcnemar"])))
    if "pretrain" in found.stages and CORPORA not in found.notes:
        losses = [
            message("{name} {loss:.2f}", name, run.figure[1])
            for name, run in zip(found.names, found.stages["pretrain"], strict=True)
            if run.figure and run.figure[0] == "masked.loss"
        ]
        if losses:
            sentences.append(message("Held-out loss: {values} nats (lower is better).", join(losses, ", ")))
    sentences += [message(note) for note in found.notes]
    return [*sentences, *([message(CAUTION)] if tested else [])]


def _key_figures(found: Comparison) -> Iterator[KeyFigure]:
    tested = found.evaluation or {}
    for model in tested.get("models") or []:
        score = model[tested["metric"]]
        note = message("95 % interval {interval}", format_range(tested["metric"], score))
        yield KeyFigure(format_figure(tested["metric"], score["value"]), model["name"], note)


def _curves(found: Comparison) -> Iterator[Block | None]:
    if "pretrain" in found.stages and CORPORA not in found.notes:
        runs = _trained(found, "pretrain")
        yield from (figures.pretraining_losses(runs, across) for across in ("tokens", "seconds"))
    if "finetune" in found.stages and DEV not in found.notes:
        runs = _trained(found, "finetune")
        yield from figures.finetuning_curves(runs)
        yield from figures.finetuning_curves(runs, "seconds")[:1]


def _trained(found: Comparison, kind: str) -> list[Trained]:
    return [
        Trained(name, read_log(run.folder / "metrics.jsonl"), (run.facts.get("finished") or {}).get("best_step"))
        for name, run in zip(found.names, found.stages[kind], strict=True)
    ]


def setting_of(found: Comparison, row: dict[str, Any]) -> str:
    """The name of a setting that differs, with the kind of run where there are several."""
    if len(found.stages) == 1:
        return str(row["setting"])
    return message("{name}: {value}", message(TITLES[row["stage"]]), row["setting"])


def _settings_table(found: Comparison) -> Table | None:
    if not found.settings:
        return Table([], [[message("Settings"), message("The runs were made with the same settings.")]])
    rows: list[list[str | Cell]] = [
        [setting_of(found, row), *("–" if value is None else str(value) for value in row["values"].values())]
        for row in found.settings
    ]
    return Table([message("Setting"), *found.names], rows, message("Settings that differ between the runs."))


def _runs_table(found: Comparison) -> Table | None:
    rows = [
        {
            "run": name,
            "kind": run.title,
            "state": message(run.state),
            "budget": run.budget or None,
            "steps": run.steps,
            "tokens": run.tokens,
            "seconds": run.seconds,
            "figure": run.shown_figure or None,
        }
        for runs in found.stages.values()
        for name, run in zip(found.names, runs, strict=True)
    ]
    columns: Columns = {
        "run": "Run",
        "kind": "Kind",
        "state": "State",
        "budget": "Budget",
        "steps": ("Steps", console.count),
        "tokens": ("Tokens", console.count),
        "seconds": ("Time", console.seconds),
        "figure": "Main figure",
    }
    return table(rows, columns, message("The runs compared; the first is the one that the others are compared with."))
