"""The summary of a run in sentences that need no knowledge of the field, made from its figures alone."""

from collections.abc import Iterator
from typing import Any, Literal

from unmask import console
from unmask.messages import Message, join, message
from unmask.metrics import figure_of
from unmask.report.blocks import KeyFigure
from unmask.report.figures import is_loss, main_figure
from unmask.report.formats import (
    figure_title,
    format_difference,
    format_difference_range,
    format_figure,
    format_gain,
    format_loss,
    format_range,
    known,
)

Results = dict[str, Any]

STEPS = 7  # of a quick start
CAUTION = (
    "The intervals say how far the figures would move with other test rows of the same kind. They do not cover another "
    "random seed or other training data."
)
CORRECT = {
    "accuracy": "On {rows:,} test rows that it had never seen, it is right in {value} of cases (95 % interval "
    "{interval}).",
    "tags": "On {rows:,} test sentences ({items:,} tokens) that it had never seen, it gives {value} of the tokens the "
    "right tag (95 % interval {interval}).",
    "entity_f1": "On {rows:,} test sentences with {items:,} entities that it had never seen, its entity F1 is {value} "
    "(95 % interval {interval}); an entity counts as correct only with its exact bounds and its type.",
    "answer_f1": "On {rows:,} test questions that it had never seen, its answers share {value} of their words with the "
    "right ones (F1, 95 % interval {interval}).",
}  # by the main figure; others:
CORRECT_OTHERWISE = "On {rows:,} test rows that it had never seen, its {figure} is {value} (95 % interval {interval})."
KEYS = {
    "accuracy": "accuracy on {rows:,} test rows",
    "tags": "accuracy on {items:,} tokens",
    "entity_f1": "F1 on {items:,} entities",
    "answer_f1": "F1 on {rows:,} questions",
}
KEY_OTHERWISE = "{figure} on {rows:,} test rows"
METHODS = {
    "tfidf": "TF-IDF with logistic regression, a classical method that takes seconds",
    "frequent": "giving each word its most frequent tag, a method without training",
    "overlap": "taking the words beside those of the question, a method without training",
    "words": "counting the words that two texts have in common, a method without training",
    "majority": "always giving the most frequent label",
    "mean": "always giving the same answer",
}  # kind of a model: what a sentence calls it
USABLE = ("tfidf", "frequent", "words")  # methods to use where they are as good; others show that a model is useless
AGAINST = {
    "scratch": "against no pretraining",
    "tfidf": "against TF-IDF",
    "frequent": "against the most frequent tag",
    "overlap": "against the words beside the question's",
    "words": "against words in common",
}


def main_model(results: Results) -> Results | None:
    """The model that the page is about: the pretrained one, else the first."""
    models: list[Results] = (results.get("evaluation") or {}).get("models") or []
    return next((model for model in models if model.get("kind") == "pretrained"), models[0] if models else None)


def own_differences(results: Results) -> dict[str, Results]:
    """The differences of the main model over the others, by the kind of the other."""
    model = main_model(results)
    differences = (results.get("evaluation") or {}).get("differences") or []
    return {row["kind"]: row for row in differences if model and row.get("of") == model["name"]}


def verdict(metric: str, difference: dict[str, float]) -> Literal["better", "worse", "unclear"]:
    """What the interval of a difference allows one to say."""
    if difference["low"] <= 0 <= difference["high"]:
        return "unclear"
    return "better" if (difference["low"] > 0) != figure_of(metric).lower_is_better else "worse"


def size_of(difference: dict[str, float]) -> dict[str, float]:
    """The interval of a difference that a sentence says the size of: without its sign."""
    if difference["high"] >= 0:
        return difference
    return {"low": -difference["high"], "high": -difference["low"]}


def paragraphs(results: Results) -> list[list[str]]:
    """Paragraphs of sentences: what was trained, how good it is, compared with what, and how sure."""
    comparison = list(_compared(results))
    whole: list[list[str]] = [
        list(_unfinished(results)),
        list(_trained(results)),
        comparison,
        [message(CAUTION)] if comparison else [],
    ]
    return [sentences for sentences in whole if sentences]


def _unfinished(results: Results) -> Iterator[str]:
    if results.get("state", "finished") == "finished":
        return
    if results.get("kind") == "quickstart":
        yield message(
            "This quick start is not finished: {steps} of its seven steps are done. The same command continues it.",
            len(results.get("steps") or []),
        )
    else:
        yield message(
            "This run is not finished: it has done {steps:,} steps, {progress:.0%} of its budget. All figures are "
            "those of the moment.",
            results.get("steps_done") or 0,
            results.get("progress") or 0,
        )


def _trained(results: Results) -> Iterator[str]:
    """What was trained, and whether it learnt anything."""
    pretraining, runs = results.get("pretraining") or {}, results.get("finetuning") or []
    if pretraining:
        details: list[str | None] = []
        if "parameters" in pretraining:
            details.append(message("{count:,} parameters", pretraining["parameters"]))
        corpora = (results.get("data") or {}).get("corpora") or []
        if corpora:
            names: list[str] = [known(row["name"]) for row in corpora]
            if size := sum(row.get("bytes", 0) for row in corpora):
                names.append(console.size(size))
            documents = sum(row.get("documents", 0) for row in corpora)
            details.append(message("{count:,} documents of text ({corpora})", documents, join(names, ", ")))
        details.append(message("{steps:,} steps", pretraining.get("steps") or 0))
        if "seconds" in pretraining:
            details.append(console.seconds(pretraining["seconds"]))
        details.append(device(results.get("environment") or {}))
        yield message("A BERT was trained from random weights: {details}.", join(details, "; "))
        yield from _learnt(pretraining)
    if results.get("kind") == "finetune":
        yield from _tuned_only(runs[0]) if runs else ()
        return
    task = (results.get("data") or {}).get("task") or {}
    if runs and {"train_rows", "labels"} <= task.keys():
        name = known(task["name"]) if "name" in task else message("labelled rows")
        yield message(
            "It was then fine-tuned on {rows:,} rows ({name}) with {labels} labels.",
            task.get("train_rows_used") or task["train_rows"],
            name,
            len(task["labels"]) if isinstance(task["labels"], list) else task["labels"],
        )


def device(environment: Results) -> str | None:
    """`a CPU with 2 threads`, or the name of the device."""
    if environment.get("device") == "cpu" and "threads" in environment:
        return message("CPU, {threads} threads", environment["threads"])
    return environment.get("device")


def _learnt(pretraining: Results) -> Iterator[str]:
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


def _tuned_only(run: Results) -> Iterator[str]:
    if not {"steps", "train_rows"} <= run.keys():
        return
    details = [message("{steps:,} steps", run["steps"])]
    details += [console.seconds(run["seconds"])] if "seconds" in run else []
    text = "A model was fine-tuned on {rows:,} labelled rows: {details}."
    yield message(text, run["train_rows"], join(details, "; "))
    name = main_figure(run.get("dev") or {})
    if name is not None and "dev_rows" in run:
        value = run["dev"][name]
        shown = f"{value:.3f}" if is_loss(name) else format_figure(name, value)
        text = "On the {rows:,} development rows, which chose the best step, its {figure} is {value}."
        yield message(text, run["dev_rows"], figure_title(name), shown)


def _main_score(results: Results) -> tuple[Results, str, Results] | None:
    """The evaluation, its metric, and the interval of the main model."""
    evaluation, model = results.get("evaluation") or {}, main_model(results)
    if not model or not model.get(evaluation["metric"]):
        return None
    return evaluation, evaluation["metric"], model[evaluation["metric"]]


def _fill(texts: dict[str, str], otherwise: str, evaluation: Results, **values: object) -> Message:
    """The text that fits the main figure, with the number of rows and of items."""
    metric = evaluation["metric"]
    tags = metric == "accuracy" and evaluation["unit"] == "sentence"
    text = texts.get("tags" if tags else metric, otherwise)
    items = evaluation.get("entities" if metric == "entity_f1" else "tokens") or evaluation["rows"]
    every: dict[str, object] = {"rows": evaluation["rows"], "items": items, "figure": figure_title(metric)} | values
    names = sorted((name for name in every if f"{{{name}" in text), key=lambda name: text.index(f"{{{name}"))
    return message(text, *(every[name] for name in names))


def _compared(results: Results) -> Iterator[str]:
    """How good the main model is, and how it compares with simpler ones."""
    main = _main_score(results)
    if main is None:
        return
    evaluation, metric, score = main
    shown = {"value": format_figure(metric, score["value"]), "interval": format_range(metric, score)}
    yield _fill(CORRECT, CORRECT_OTHERWISE, evaluation, **shown)
    for kind, row in own_differences(results).items():
        if metric not in row or (kind != "scratch" and kind not in METHODS):
            continue
        difference, outcome = row[metric], verdict(metric, row[metric])
        sizes = difference if outcome == "unclear" else size_of(difference)
        gain = format_gain(metric, difference["value"], sign=outcome == "unclear")
        values = (figure_title(metric), gain, format_difference_range(metric, sizes))
        if kind == "scratch":
            yield message(SCRATCH[outcome], *values)
            continue
        if kind == "majority" and metric != "accuracy":
            kind = "mean"
        yield message(SIMPLER[outcome], message(METHODS[kind]), *values)
        if outcome != "better" and kind not in USABLE:
            yield message("This model is of no use yet.")
        elif outcome == "worse":
            yield message("For this task and budget, use that method.")


SCRATCH = {
    "better": "Pretraining helped: {figure} without it is worse by {points} (interval {interval}).",
    "worse": "Pretraining did not help here: {figure} without it is better by {points} (interval {interval}).",
    "unclear": "Whether pretraining helped cannot be told from this test: the difference in {figure} to the same "
    "network without it is {points}, and its interval ({interval}) includes zero.",
}
SIMPLER = {
    "better": "It beats {method}: {figure} is better by {points} (interval {interval}).",
    "worse": "It is worse than {method}: {figure} is worse by {points} (interval {interval}).",
    "unclear": "No difference can be shown to {method}: in {figure} it is {points}, and its interval ({interval}) "
    "includes zero.",
}


def key_figures(results: Results) -> list[KeyFigure]:
    """The main figure, and the differences that matter most; of a run without a test what it has instead."""
    main = _main_score(results)
    if main is None:
        return list(_untested(results))
    evaluation, metric, score = main
    note = message("95 % interval {interval}", format_range(metric, score))
    shown = [KeyFigure(format_figure(metric, score["value"]), _fill(KEYS, KEY_OTHERWISE, evaluation), note)]
    differences = own_differences(results)
    for kind, text in AGAINST.items():
        if metric in differences.get(kind, {}):
            row = differences[kind][metric]
            unclear = verdict(metric, row) == "unclear"
            interval = format_difference_range(metric, row)
            note = message("{interval}, includes zero" if unclear else "95 % interval {interval}", interval)
            unit = message("points") if figure_of(metric).percent else ""
            shown.append(KeyFigure(format_difference(metric, row["value"]), message(text), note, unit))
    return shown


def _untested(results: Results) -> Iterator[KeyFigure]:
    pretraining = results.get("pretraining") or {}
    if pretraining.get("heldout_loss") is not None and results.get("kind") == "pretrain":
        unigram = pretraining.get("unigram_loss")
        note = "" if unigram is None else message("word frequencies only, {loss:.2f}", unigram)
        yield KeyFigure(format_loss(pretraining["heldout_loss"]), message("Held-out loss (nats)"), note)
    for run in results.get("finetuning") or [] if results.get("kind") == "finetune" else []:
        name = main_figure(run.get("dev") or {})
        if name and not is_loss(name) and "dev_rows" in run:
            text = message("{figure} on {rows:,} development rows", figure_title(name), run["dev_rows"])
            yield KeyFigure(format_figure(name, run["dev"][name]), text, known(run["name"]))
