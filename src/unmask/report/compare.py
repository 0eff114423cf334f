"""Several runs beside one another: settings that differ, curves, and whether a difference on the same rows is real.

A quick start takes part with the runs inside it. Losses are compared only over the same corpus and tokenizer,
development curves only over the same development rows, test figures only on the same test rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.evaluate.predictions import Predictions, compare_predictions, load_predictions
from unmask.messages import message, verbatim
from unmask.report import curves, evaluation
from unmask.report.blocks import Block, Cell, Page, Table
from unmask.report.curves import Trained, read_log
from unmask.report.formats import format_p_value
from unmask.report.runs import KINDS, QUICKSTART, TITLES, RunInfo, read_run, require_run
from unmask.report.sections import sections
from unmask.report.summary import CAUTION, difference_sentence, score_figure
from unmask.report.tables import table

MOST_RUNS = 6
INPUTS = {"data.corpus": "corpus", "data.train": "train", "data.dev": "dev", "init_from": "model"}  # their checksums

CURVES_ONLY = "The runs have no test rows in common, so only curves and settings are compared."
CORPORA = (
    "The runs were pretrained on different corpora or with different tokenizers: their losses are not comparable and "
    "are not compared."
)
DEV = "The runs chose their best step on different development rows, so that those curves are not compared."

Predict = Callable[[Path, Path], Predictions]


@dataclass(frozen=True)
class Comparison:
    """Runs of one or two stages under the same names, in the order given; the first is the measure.

    settings: [{stage, setting, values: {name: value}}] that differ; notes: what could not be compared.
    """

    names: list[str]
    stages: dict[str, list[RunInfo]]
    settings: list[dict[str, Any]]
    evaluation: dict[str, Any] | None
    notes: list[str]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        stages = {kind: [run.plain() for run in runs] for kind, runs in self.stages.items()}
        shown = {"settings": self.settings, "evaluation": self.evaluation, "notes": self.notes}
        return {"runs": self.names, "stages": stages, **shown}


def compare_runs(
    folders: Sequence[Path | str], test: Path | str | None = None, predict: Predict | None = None
) -> Comparison:
    """Read runs and compare what can be compared.

    test: a file of labelled rows; predictions on it that a run saved are used, others made by `predict(run, file)`.
    Without it, predictions that all runs saved of the same file. Raises UserError for runs that have nothing in
    common, other test rows or other labels.
    """
    paths = [Path(folder) for folder in folders]
    whole = [path.resolve() for path in paths]
    if not 2 <= len(paths) <= MOST_RUNS or len(set(whole)) < len(paths):
        raise UserError(
            "these runs cannot be compared",
            given=", ".join(map(str, paths)),
            allowed=f"2 to {MOST_RUNS} different run folders",
        )
    unique = len({path.name for path in whole}) == len(paths)
    names: list[str] = [verbatim(full.name if unique else str(path)) for path, full in zip(paths, whole, strict=True)]
    stages = _stages(paths)
    notes, tested = [], None
    if "pretrain" in stages and not _same_inputs(stages["pretrain"], "corpus"):
        notes.append(CORPORA)
    if "finetune" in stages:
        if not _same_dev(stages["finetune"]):
            notes.append(DEV)
        tested = _tested(names, stages["finetune"], None if test is None else Path(test), predict)
        if tested is None:
            notes.append(CURVES_ONLY)
    elif test is not None:
        raise UserError("pretraining runs give no labels", given=f"--test {test}", hint="compare fine-tuning runs")
    return Comparison(names, stages, _differing(names, stages), tested, notes)


def _stages(paths: Sequence[Path]) -> dict[str, list[RunInfo]]:
    """The kinds of which every folder has a run, each with these runs."""
    runs = [require_run(path) for path in paths]
    stages = {}
    for kind in KINDS:
        of_kind = [read_run(run.folder / kind) if run.kind == QUICKSTART else run for run in runs]
        if all(run.kind == kind for run in of_kind):
            stages[kind] = of_kind
    if not stages:
        raise UserError(
            "runs of different kinds cannot be compared",
            given=", ".join(f"{path}: {run.kind}" for path, run in zip(paths, runs, strict=True)),
            allowed="all pretrain, or all finetune; a quickstart has both inside",
        )
    return stages


def _same(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _inputs(run: RunInfo) -> dict[str, Any]:
    """The checksums of the files that a run reads."""
    return run.facts.get("inputs") or {}


def _same_inputs(runs: Sequence[RunInfo], name: str) -> bool:
    return _same([_inputs(run).get(name) for run in runs])


def _same_dev(runs: Sequence[RunInfo]) -> bool:
    """Whether the runs have the same dev file, or cut the same rows from the same training file."""
    if any(_inputs(run).get("dev") for run in runs):
        return _same_inputs(runs, "dev")
    cuts = [((run.recipe.get("data") or {}).get("dev_share"), run.recipe.get("seed")) for run in runs]
    return _same_inputs(runs, "train") and _same(cuts)


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as `key.sub: value`; members of a list by their name, else their number."""
    if isinstance(values, list):
        values = {one["name"] if isinstance(one, dict) else number: one for number, one in enumerate(values)}
    if not isinstance(values, dict):
        return {prefix: values}
    settings: dict[str, Any] = {}
    for key, value in values.items():
        settings |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return settings


def _differing(names: Sequence[str], stages: dict[str, list[RunInfo]]) -> list[dict[str, Any]]:
    """Settings, and facts of the environment, that are not the same in all runs; None where one is not set."""
    rows = []
    for kind, runs in stages.items():
        every = [flat(run.recipe) | flat({"environment": run.facts.get("environment") or {}}) for run in runs]
        for key in dict.fromkeys(key for settings in every for key in settings):
            values = [settings.get(key) for settings in every]
            known = all(INPUTS.get(key) in _inputs(run) for run in runs)
            same_content = known and _same_inputs(runs, INPUTS[key])  # under another path
            if not _same(values) and not same_content:
                rows.append({"stage": kind, "setting": key, "values": dict(zip(names, values, strict=True))})
    return rows


def _tested(
    names: Sequence[str], runs: Sequence[RunInfo], test: Path | None, predict: Predict | None
) -> dict[str, Any] | None:
    """The comparison on the test file, or on the one that all runs were evaluated on; None where a run was on none."""
    if test is None:
        every = [{one.sha256: one for one in load_predictions(run.folder)} for run in runs]
        common = set.intersection(*(set(saved) for saved in every))
        if not all(every):
            return None
        if len(common) != 1:
            files = (", ".join(sorted(one.file for one in saved.values())) for saved in every)
            raise UserError(
                "the runs have several test files in common" if common else "the runs were evaluated on different rows",
                given="; ".join(f"{name}: {some}" for name, some in zip(names, files, strict=True)),
                hint="name the file to compare on: unmask compare RUN RUN --test FILE",
            )
        chosen = [saved[sha256] for saved in every for sha256 in common]
    elif predict is None or not test.is_file():
        raise UserError("{path} does not exist", test, given="--test")
    else:
        chosen = [predict(run.folder, test) for run in runs]
    named = [(name, "other", one) for name, one in zip(names, chosen, strict=True)]
    return {"split": Path(chosen[0].file).name, **compare_predictions(named).to_dict()}


def page_of(comparison: Comparison) -> Page:
    """The page about a comparison."""
    tested = comparison.evaluation or {"models": []}
    return Page(
        kind=message("Comparison of runs"),
        title=" · ".join(comparison.names),
        summary=[[sentence] for sentence in summary(comparison)],
        figures=[score_figure(tested["metric"], model[tested["metric"]], model["name"]) for model in tested["models"]],
        sections=sections(
            {
                ("results", "Results"): evaluation.results({"evaluation": comparison.evaluation}),
                ("curves", "Curves"): _curves(comparison),
                ("differences", "Differences in settings"): [_settings_table(comparison)],
                ("runs", "Runs"): [_runs_table(comparison)],
            }
        ),
    )


def summary(comparison: Comparison) -> Iterator[str]:
    """Whether the first run is better than each of the others, and what could not be compared."""
    tested = comparison.evaluation or {"differences": []}
    for row in tested["differences"]:
        yield difference_sentence(tested["metric"], row)
        if "mcnemar" in row:
            yield message("By McNemar's exact test, p is {p}.", format_p_value(row["mcnemar"]))
    yield from map(message, comparison.notes)
    if comparison.evaluation:
        yield message(CAUTION)


def _curves(comparison: Comparison) -> Iterator[Block | None]:
    trained = {
        kind: [
            Trained(name, read_log(run.folder / "metrics.jsonl"), run.facts.get("finished") or {})
            for name, run in zip(comparison.names, runs, strict=True)
        ]
        for kind, runs in comparison.stages.items()
    }
    if "pretrain" in trained and CORPORA not in comparison.notes:
        for across in ("tokens", "seconds"):
            yield curves.pretraining_losses(trained["pretrain"], across)
    if "finetune" in trained and DEV not in comparison.notes:
        yield from curves.development_curves(trained["finetune"])
        yield from curves.development_curves(trained["finetune"], "seconds")[:1]


def setting_of(comparison: Comparison, row: dict[str, Any]) -> str:
    """The name of a setting that differs, with the kind of run where there are several."""
    if len(comparison.stages) == 1:
        return str(row["setting"])
    return message("{name}: {value}", message(TITLES[row["stage"]]), row["setting"])


def _settings_table(comparison: Comparison) -> Table | None:
    if not comparison.settings:
        return Table([], [[message("Settings"), message("The runs were made with the same settings.")]])
    rows: list[list[str | Cell]] = [
        [setting_of(comparison, row), *("–" if value is None else str(value) for value in row["values"].values())]
        for row in comparison.settings
    ]
    caption = message("Settings that differ between the runs.")
    return Table([message("Setting"), *comparison.names], rows, caption)


def _runs_table(comparison: Comparison) -> Table | None:
    rows = [
        {
            **vars(run),
            "run": name,
            "kind": run.title,
            "state": message(run.state),
            "main_figure": run.shown_figure or None,
        }
        for runs in comparison.stages.values()
        for name, run in zip(comparison.names, runs, strict=True)
    ]
    caption = message("The runs compared; the first is the one that the others are compared with.")
    return table(rows, ("run", "kind", "state", "budget", "steps", "tokens", "seconds", "main_figure"), caption)
