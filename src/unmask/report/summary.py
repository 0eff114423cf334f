"""The summary of a run in sentences that need no knowledge of the field, made from its figures alone."""

from typing import Any, Literal

from unmask import console
from unmask.metrics import figure_of
from unmask.report.blocks import KeyFigure, Words
from unmask.report.figures import figure_name, main_figure
from unmask.report.words import (
    figure_range,
    format_duration,
    format_figure,
    format_gain,
    format_percent,
    gain,
    gain_range,
    translated,
)

Results = dict[str, Any]

STEPS = 7  # of a quick start


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


def metric_of(results: Results) -> str:
    return str((results.get("evaluation") or {}).get("metric") or "accuracy")


def paragraphs(results: Results, words: Words) -> list[str]:
    """What was trained, how good it is, compared with what, and how sure; what is not known is left out."""
    training = [_trained(results, words), _learnt(results, words), _tuned(results, words)]
    comparison = [_right(results, words)]
    for kind, row in own_differences(results).items():
        if kind in ("majority", "mean") and metric_of(results) != "accuracy":
            kind = "constant"
        if f"{kind}.better" in words and metric_of(results) in row:
            comparison.append(_compared(kind, metric_of(results), row[metric_of(results)], words))
    caution = [words["caution"]] if any(comparison) else []
    whole = [[_unfinished(results, words)], training, comparison, caution]
    return [text for part in whole if (text := words["space"].join(filter(None, part)))]


def _unfinished(results: Results, words: Words) -> str:
    if results.get("state", "finished") == "finished":
        return ""
    if results.get("kind") == "quickstart":
        return words["unfinished.quickstart"].format(steps=len(results.get("steps") or []))
    return words["unfinished"].format(
        steps=console.count(results.get("steps_done") or 0),
        progress=format_percent(results.get("progress") or 0, 0),
    )


def _trained(results: Results, words: Words) -> str:
    pretraining = results.get("pretraining") or {}
    corpora = (results.get("data") or {}).get("corpora") or []
    environment = results.get("environment") or {}
    if not pretraining:
        return ""
    parts = {"parameters": "", "corpora": "", "time": "", "device": ""}
    if "parameters" in pretraining:
        parts["parameters"] = words["trained.parameters"].format(count=console.count(pretraining["parameters"]))
    if corpora:
        size = sum(row.get("bytes", 0) for row in corpora)
        parts["corpora"] = words["trained.corpora" if size else "trained.corpora.bare"].format(
            documents=console.count(sum(row.get("documents", 0) for row in corpora)),
            names=words["comma"].join(translated(row["name"], words) for row in corpora),
            size=console.size(size),
        )
    if "seconds" in pretraining:
        parts["time"] = words["trained.time"].format(time=format_duration(pretraining["seconds"], words))
    if "device" in environment:
        parts["device"] = words["trained.device"].format(device=device(environment, words))
    return words["trained"].format(**parts)


def device(environment: Results, words: Words) -> str:
    if environment.get("device") == "cpu" and "threads" in environment:
        return words["threads.1" if environment["threads"] == 1 else "threads"].format(**environment)
    return str(environment.get("device", ""))


def _learnt(results: Results, words: Words) -> str:
    pretraining = results.get("pretraining") or {}
    loss, unigram = pretraining.get("heldout_loss"), pretraining.get("unigram_loss")
    if loss is None or unigram is None:
        return ""
    return words["learnt" if loss < unigram else "learnt.not"].format(loss=f"{loss:.2f}", unigram=f"{unigram:.2f}")


def _tuned(results: Results, words: Words) -> str:
    task = (results.get("data") or {}).get("task") or {}
    runs = results.get("finetuning") or []
    if results.get("kind") == "finetune":
        return _tuned_only(runs[0], words) if runs else ""
    if not runs or not {"train_rows", "labels"} <= task.keys():
        return ""
    labels = task["labels"]
    tagging = (results.get("evaluation") or {}).get("unit") == "sentence"
    return words["tuned.tag" if tagging else "tuned"].format(
        train=console.count(task.get("train_rows_used") or task["train_rows"]),
        labels=len(labels) if isinstance(labels, list) else labels,
        task=words["tuned.task"].format(name=task["name"]) if "name" in task else "",
    )


def _tuned_only(run: Results, words: Words) -> str:
    if not {"steps", "train_rows"} <= run.keys():
        return ""
    time = words["trained.time"].format(time=format_duration(run["seconds"], words)) if "seconds" in run else ""
    text = words["tuned.only"].format(
        steps=console.count(run["steps"]), train=console.count(run["train_rows"]), time=time
    )
    name = main_figure(run.get("dev") or {})
    if name is None or "dev_rows" not in run:
        return text
    value = run["dev"][name]
    shown = f"{value:.3f}" if name.endswith("loss") else format_figure(name.split(".")[-1], value)
    dev = words["tuned.dev"].format(
        rows=console.count(run["dev_rows"]), figure=figure_name(name, words, inline=True), value=shown
    )
    return words["space"].join([text, dev])


def _right(results: Results, words: Words) -> str:
    model, metric = main_model(results), metric_of(results)
    if not model or not model.get(metric):
        return ""
    evaluation = results["evaluation"]
    return words[f"right.{_wording(evaluation, metric)}"].format(
        rows=console.count(evaluation["rows"]),
        items=console.count(_items(evaluation)),
        figure=words[f"inline.{metric}"],
        value=format_figure(metric, model[metric]["value"]),
        interval=figure_range(metric, model[metric], words),
    )


def _wording(evaluation: Results, metric: str) -> str:
    """Which sentence fits the main figure: one of its own, or that of any figure."""
    if metric == "accuracy" and evaluation.get("unit") == "sentence":
        return "tags"
    return metric if metric in ("accuracy", "entity_f1") else "figure"


def _items(evaluation: Results) -> int:
    """How many items the main figure is about: tokens, entities, or rows."""
    key = "entities" if evaluation.get("metric") == "entity_f1" else "tokens"
    return int(evaluation.get(key) or evaluation["rows"])


def _compared(kind: str, metric: str, difference: dict[str, float], words: Words) -> str:
    found = verdict(metric, difference)
    shown = difference if found == "unclear" else size_of(difference)
    return words[f"{kind}.{found}"].format(
        figure=words[f"inline.{metric}"],
        points=format_gain(metric, difference["value"], words, sign=False),
        signed=format_gain(metric, difference["value"], words),
        interval=gain_range(metric, shown, words),
    )


def key_figures(results: Results, words: Words) -> list[KeyFigure]:
    """The main figure, and the differences that matter most; of a run without a test what it has instead."""
    model, metric = main_model(results), metric_of(results)
    if not model or not model.get(metric):
        return _untested(results, words)
    evaluation = results["evaluation"]
    counted = {"rows": console.count(evaluation["rows"]), "items": console.count(_items(evaluation))}
    counted["figure"] = words[metric]
    interval = figure_range(metric, model[metric], words)
    found = [
        KeyFigure(
            format_figure(metric, model[metric]["value"]),
            words[f"key.{_wording(evaluation, metric)}"].format(**counted),
            words["key.interval"].format(interval=interval),
        )
    ]
    differences = own_differences(results)
    for kind in ("scratch", "tfidf", "frequent", "overlap", "words"):
        if kind in differences and metric in differences[kind]:
            row = differences[kind][metric]
            note = "key.unclear" if verdict(metric, row) == "unclear" else "key.interval"
            shown = words[note].format(interval=gain_range(metric, row, words))
            unit = words["points.unit"] if figure_of(metric).percent else ""
            found.append(KeyFigure(gain(metric, row["value"]), words[f"key.{kind}"], shown, unit))
    return found


def _untested(results: Results, words: Words) -> list[KeyFigure]:
    found = []
    pretraining = results.get("pretraining") or {}
    if pretraining.get("heldout_loss") is not None and results.get("kind") == "pretrain":
        unigram = pretraining.get("unigram_loss")
        note = "" if unigram is None else words["key.heldout.note"].format(unigram=f"{unigram:.2f}")
        found.append(KeyFigure(f"{pretraining['heldout_loss']:.2f}", words["key.heldout"], note))
    for run in results.get("finetuning") or [] if results.get("kind") == "finetune" else []:
        name = main_figure(run.get("dev") or {})
        if name and not name.endswith("loss") and "dev_rows" in run:
            text = words["key.dev"].format(
                figure=figure_name(name, words, inline=True), rows=console.count(run["dev_rows"])
            )
            shown = format_figure(name.split(".")[-1], run["dev"][name])
            found.append(KeyFigure(shown, text, translated(run["name"], words)))
    return found
