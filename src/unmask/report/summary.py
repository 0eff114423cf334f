"""The summary of a run in sentences that need no knowledge of the field, made from its figures alone."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from unmask import console
from unmask.messages import Message, join, message
from unmask.metrics import figure_of
from unmask.report.blocks import KeyFigure
from unmask.report.curves import is_loss, main_figure
from unmask.report.formats import Bounds, figure_title, format_difference, format_figure, format_loss, format_range

Results = dict[str, Any]

CAUTION = "The intervals cover the choice of test rows. They do not cover the random seed or the training data."
EXPLAINED = {
    "accuracy": "Accuracy is the share that is right.",
    "entity_f1": "An entity counts as correct only with its exact bounds and its type.",
    "answer_f1": "F1 is high where an answer shares its words with the right one.",
}  # main figures
DIFFERENCES = {
    "better": "“{model}” is better than “{other}”: {figure} by {difference} (interval {interval}).",
    "worse": "“{model}” is worse than “{other}”: {figure} by {difference} (interval {interval}).",
    "unclear": "No difference can be shown between “{model}” and “{other}”: in {figure} it is {difference}, and its "
    "interval ({interval}) includes zero.",
}
CONSTANT = ("majority", "mean")  # kinds of models that always say the same
CLASSICAL = ("tfidf", "frequent", "words")  # and methods to use where they are better
POPULATIONS = {
    "tokens": "{items:,} tokens in {rows:,} sentences",
    "entities": "{items:,} entities in {rows:,} sentences",
    "row": "{rows:,} rows",
    "question": "{rows:,} questions",
    "sentence": "{rows:,} sentences",
}


def population(evaluation: Results, *, items: bool = True) -> Message:
    """What the figures are about: rows, questions, or sentences with the number of their items."""
    for of in ("tokens", "entities"):
        if items and evaluation.get(of):
            return message(POPULATIONS[of], evaluation[of], evaluation["rows"])
    return message(POPULATIONS[evaluation["unit"]], evaluation["rows"])


def main_model(results: Results) -> Results | None:
    """The model that the page is about: the pretrained one, else the first."""
    models: list[Results] = (results.get("evaluation") or {}).get("models") or []
    return next((model for model in models if model.get("kind") == "pretrained"), models[0] if models else None)


def verdict(metric: str, difference: Bounds) -> Literal["better", "worse", "unclear"]:
    """What the interval of a difference allows one to say."""
    if difference["low"] <= 0 <= difference["high"]:
        return "unclear"
    return "better" if (difference["low"] > 0) != figure_of(metric).lower_is_better else "worse"


def difference_sentence(metric: str, row: Results) -> Message:
    """Which of two models is better, and by how much: without a sign where the sentence says the direction."""
    bounds, outcome = row[metric], verdict(metric, row[metric])
    if bounds["high"] < 0:
        bounds = {"value": -bounds["value"], "low": -bounds["high"], "high": -bounds["low"]}
    difference: str = format_difference(metric, bounds["value"], sign=outcome == "unclear")
    if figure_of(metric).percent:
        difference = message("{value} points", difference)
    values = (figure_title(metric), difference, format_range(metric, bounds, difference=True))
    return message(DIFFERENCES[outcome], message(row["of"]), message(row["over"]), *values)


def paragraphs(results: Results) -> list[list[str]]:
    """Paragraphs of sentences: what was trained, how good it is, compared with what, and how sure."""
    compared = list(_compared(results))
    whole: list[list[str]] = [list(_trained(results)), compared, [message(CAUTION)] if compared else []]
    if results.get("state", "finished") != "finished":
        text = "This run is not finished ({progress:.0%} done). All figures are preliminary."
        whole.insert(0, [message(text, results.get("progress") or 0)])
    return [sentences for sentences in whole if sentences]


def _trained(results: Results) -> Iterator[str]:
    """What was trained, and whether it learnt anything."""
    pretraining, runs = results.get("pretraining") or {}, results.get("finetuning") or []
    if pretraining:
        yield from _pretrained(results, pretraining)
    task = (results.get("data") or {}).get("task") or {}
    if results["kind"] == "finetune":
        for run in runs:
            if "train_rows" in run:
                facts = (run["train_rows"], run["steps"], console.seconds(run["seconds"]))
                yield message("A model was fine-tuned on {rows:,} labelled rows: {steps:,} steps; {time}.", *facts)
    elif runs and {"name", "train_rows", "labels"} <= task.keys():
        yield message(
            "It was then fine-tuned on {rows:,} rows ({name}) with {labels} labels.",
            task.get("train_rows_used") or task["train_rows"],
            message(task["name"]),
            task["labels"],
        )


def _pretrained(results: Results, pretraining: Results) -> Iterator[str]:
    corpora = (results.get("data") or {}).get("corpora") or []
    size, documents = (sum(row.get(key) or 0 for row in corpora) for key in ("bytes", "documents"))
    names = join([*(message(row["name"]) for row in corpora), console.size(size) if size else None], ", ")
    counted = {"parameters": "{count:,} parameters", "steps": "{steps:,} steps"}
    details: list[str | None] = [message(text, pretraining[key]) for key, text in counted.items() if key in pretraining]
    details.append(message("{count:,} documents of text ({corpora})", documents, names) if corpora else None)
    details.append(console.seconds(pretraining["seconds"]) if "seconds" in pretraining else None)
    details.append((results.get("environment") or {}).get("device"))
    yield message("A BERT was trained from random weights: {details}.", join(details, "; "))
    loss, unigram = pretraining.get("heldout_loss"), pretraining.get("unigram_loss")
    if loss is not None and unigram is not None:
        yield message(
            "It learnt to predict masked tokens better than their frequencies allow: its loss on held-out text is "
            "{loss:.2f} nats; frequencies alone give {unigram:.2f} (lower is better)."
            if loss < unigram
            else "It has not yet learnt more than the frequencies of tokens: its loss on held-out text is {loss:.2f} "
            "nats; frequencies alone give {unigram:.2f} (lower is better). A larger budget would help.",
            loss,
            unigram,
        )


def _compared(results: Results) -> Iterator[str]:
    """How good the main model is, and how it compares with simpler ones."""
    model = main_model(results)
    if model is None:
        return
    metric = results["evaluation"]["metric"]
    yield message(
        "On test data that it had never seen ({population}), its {figure} is {value} (95 % interval {interval}).",
        population(results["evaluation"]),
        figure_title(metric),
        format_figure(metric, model[metric]["value"]),
        format_range(metric, model[metric]),
    )
    if metric in EXPLAINED:
        yield message(EXPLAINED[metric])
    for row in results["evaluation"].get("differences") or []:
        yield difference_sentence(metric, row)
        outcome = verdict(metric, row[metric])
        if outcome != "better" and row["kind"] in (*CONSTANT, "overlap"):
            yield message("This model is not usable yet.")
        elif outcome == "worse" and row["kind"] in CLASSICAL:
            yield message("For this task and budget, use that method.")


def score_figure(metric: str, score: Mapping[str, Any], what: str) -> KeyFigure:
    """A figure on the test rows with its interval."""
    note = message("95 % interval {interval}", format_range(metric, score))
    return KeyFigure(format_figure(metric, score["value"]), what, note)


def key_figures(results: Results) -> Iterator[KeyFigure]:
    """The main figure, and the differences that matter most; of a run without a test what it has instead."""
    model, evaluation = main_model(results), results.get("evaluation") or {}
    if model is None:
        yield from _untested(results)
        return
    metric = evaluation["metric"]
    what = message("{figure} on {population}", figure_title(metric), population(evaluation))
    yield score_figure(metric, model[metric], what)
    for row in evaluation.get("differences") or []:
        if row["kind"] not in CONSTANT:
            unclear = verdict(metric, row[metric]) == "unclear"
            interval = format_range(metric, row[metric], difference=True)
            yield KeyFigure(
                format_difference(metric, row[metric]["value"]),
                message("against {method}", message(row["over"])),
                message("{interval}, includes zero" if unclear else "95 % interval {interval}", interval),
                message("points") if figure_of(metric).percent else "",
            )


def _untested(results: Results) -> Iterator[KeyFigure]:
    pretraining = results.get("pretraining") or {}
    if results["kind"] == "pretrain" and pretraining.get("heldout_loss") is not None:
        unigram = pretraining.get("unigram_loss")
        note = "" if unigram is None else message("word frequencies only, {loss:.2f}", unigram)
        yield KeyFigure(format_loss(pretraining["heldout_loss"]), message("Held-out loss (nats)"), note)
    for run in results.get("finetuning") or [] if results["kind"] == "finetune" else []:
        name = main_figure(run.get("dev") or {})
        if name and not is_loss(name):
            text = message("{figure} on {rows:,} development rows", figure_title(name), run["dev_rows"])
            yield KeyFigure(format_figure(name, run["dev"][name]), text, message(run["name"]))
