"""Several runs beside one another: settings that differ, curves, and whether a difference on the same rows is real.

A quick start takes part with the runs inside it. Losses are compared only over the same corpus and tokenizer,
development curves only over the same development rows, test figures only on the same test rows.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.errors import UserError
from unmask.evaluate import saved
from unmask.evaluate.saved import Predictions
from unmask.language import Verbatim
from unmask.report import evaluation, figures
from unmask.report.blocks import Block, KeyFigure, Page, Table, Words, sections, table
from unmask.report.figures import Trained
from unmask.report.runs import KINDS, QUICKSTART, RunInfo, require_run
from unmask.report.summary import size_of, verdict
from unmask.report.words import (
    catalogue,
    figure_range,
    format_duration,
    format_figure,
    format_gain,
    format_p_value,
    gain_range,
)

MOST_RUNS = 6
STAGES = {"pretrain": "pretrain", "finetune": "finetune"}  # kind: the folder inside a quick start
INPUTS = {
    "data.corpus": "corpus",
    "data.train": "train",
    "data.dev": "dev",
    "model": "model",
}  # their checksums
SAME_DEV = ("data.dev", "data.dev_share", "seed")  # settings that choose the development rows

Predict = Callable[[Path, Path], Predictions]


@dataclass(frozen=True)
class Comparison:
    """Runs of one or two stages under the same names, in the order given; the first is the measure."""

    names: list[str]
    stages: dict[str, list[RunInfo]]
    settings: list[dict[str, Any]]
    evaluation: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)  # keys of the catalogue: what could not be compared

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": self.names,
            "stages": {kind: [run.plain() for run in runs] for kind, runs in self.stages.items()},
            "settings": self.settings,
            "evaluation": self.evaluation,
            "notes": [catalogue("en")[note] for note in self.notes],
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
                because="they were pretrained on different corpora or with different tokenizers",
                to_do="fine-tune both on the same rows and compare those runs",
            )
        notes.append("compare.corpora")
    if "finetune" in stages:
        if not _same_dev(stages["finetune"]):
            notes.append("compare.dev")
        found = _tested(names, stages["finetune"], None if test is None else Path(test), predict)
        if found is None:
            notes.append("compare.curves")
    elif test is not None:
        raise UserError("pretraining runs give no labels", given=f"--test {test}", to_do="compare fine-tuning runs")
    return Comparison(names, stages, _differing(names, stages), found, notes)


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders as given, without what all of them begin with."""
    whole = [path.resolve() for path in paths]
    common = Path(os.path.commonpath(whole))
    names = [path.relative_to(common).as_posix() for path in whole]
    if "." in names:  # one lies inside the other
        names = [path.name for path in whole]
    return [Verbatim(name) for name in names]


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
    folder = run.folder / STAGES[kind]
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
        to_do="say on which file to compare them: unmask compare RUN RUN --test FILE",
    )


def page_of(found: Comparison, language: str) -> Page:
    """The page about a comparison."""
    words = catalogue(language)
    blocks: dict[str, list[Block | None]] = {
        "results": _results(found, words),
        "curves": _curves(found, words),
        "differences": [_settings_table(found, words)],
        "runs": [_runs_table(found, words)],
    }
    return Page(
        kind=words["kind.compare"],
        title=" · ".join(found.names),
        language=language,
        summary=summary(found, words),
        figures=_key_figures(found, words),
        sections=sections(blocks, words),
    )


def summary(found: Comparison, words: Words) -> list[str]:
    """Whether the first run is better than each of the others, and what could not be compared."""
    sentences = []
    tested = found.evaluation or {}
    for row in tested.get("differences") or []:
        metric = tested["metric"]
        difference, kind = row[metric], verdict(metric, row[metric])
        shown = difference if kind == "unclear" else size_of(difference)
        text = words[f"compare.{kind}"].format(
            of=row["of"],
            over=row["over"],
            figure=words[f"inline.{metric}"],
            items=words[f"compare.{tested['unit']}"].format(rows=console.count(tested["rows"])),
            points=format_gain(metric, difference["value"], words, sign=False),
            signed=format_gain(metric, difference["value"], words),
            interval=gain_range(metric, shown, words),
        )
        if "mcnemar" in row:
            text += words["space"] + words["compare.mcnemar"].format(p=format_p_value(row["mcnemar"]))
        sentences.append(text)
    if "pretrain" in found.stages and "compare.corpora" not in found.notes:
        losses = [
            f"{name} {run.figure[1]:.2f}"
            for name, run in zip(found.names, found.stages["pretrain"], strict=True)
            if run.figure and run.figure[0] == "masked.loss"
        ]
        if losses:
            sentences.append(words["compare.heldout"].format(values=words["comma"].join(losses)))
    sentences += [words[note] for note in found.notes]
    return [*sentences, words["caution"]] if tested else sentences


def _key_figures(found: Comparison, words: Words) -> list[KeyFigure]:
    tested = found.evaluation
    if not tested:
        return []
    metric = tested["metric"]
    return [
        KeyFigure(
            format_figure(metric, model[metric]["value"]),
            model["name"],
            words["key.interval"].format(interval=figure_range(metric, model[metric], words)),
        )
        for model in tested["models"]
    ]


def _results(found: Comparison, words: Words) -> list[Block | None]:
    if not found.evaluation:
        return []
    return list(evaluation.results({"evaluation": found.evaluation}, words))


def _curves(found: Comparison, words: Words) -> list[Block | None]:
    blocks: list[Block | None] = []
    if "pretrain" in found.stages and "compare.corpora" not in found.notes:
        runs = _trained(found, "pretrain")
        blocks += [figures.pretraining_losses(runs, across, words) for across in ("tokens", "seconds")]
    if "finetune" in found.stages and "compare.dev" not in found.notes:
        runs = _trained(found, "finetune")
        blocks += figures.finetuning_curves(runs, words)
        blocks += figures.finetuning_curves(runs, words, "seconds")[:1]
    return blocks


def _trained(found: Comparison, kind: str) -> list[Trained]:
    runs = []
    for name, run in zip(found.names, found.stages[kind], strict=True):
        path = run.folder / "metrics.jsonl"
        log = [row for row in files.read_jsonl(path) if isinstance(row, dict)] if path.is_file() else []
        runs.append(Trained(name, log, (run.facts.get("finished") or {}).get("best_step")))
    return runs


def setting_of(found: Comparison, row: dict[str, Any], words: Words) -> str:
    """The name of a setting that differs, with the kind of run where there are several."""
    kind, name = words[f"run.{row['stage']}"], row["setting"]
    return words["run.setting"].format(kind=kind, setting=name) if len(found.stages) > 1 else name


def _settings_table(found: Comparison, words: Words) -> Table | None:
    if not found.settings:
        return Table([], [[words["settings"], words["no_differences"]]])
    rows = [
        [
            setting_of(found, row, words),
            *("–" if value is None else str(value) for value in row["values"].values()),
        ]
        for row in found.settings
    ]
    return Table([words["setting"], *found.names], [list(row) for row in rows], words["settings.caption"])


def _runs_table(found: Comparison, words: Words) -> Table | None:
    rows = [
        {
            "run": name,
            "run.kind": words[f"run.{kind}"],
            "state": words[f"state.{run.state}"],
            "budget": run.budget or None,
            "train_steps": run.steps,
            "tokens": run.tokens,
            "time": run.seconds,
            "figure": run.shown_figure(words) or None,
        }
        for kind, runs in found.stages.items()
        for name, run in zip(found.names, runs, strict=True)
    ]
    columns: dict[str, Any] = {"run": str, "run.kind": str, "state": str, "budget": str}
    columns |= {"train_steps": console.count, "tokens": console.count}
    columns |= {"time": lambda seconds: format_duration(seconds, words), "figure": str}
    return table(rows, columns, words, words["runs.caption"])
