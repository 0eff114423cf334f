"""The summary of a run in sentences that need no knowledge of the field, made from its figures alone."""

from dataclasses import dataclass
from typing import Any, Literal

from unmask import console
from unmask.report.words import percent, percent_range, points, points_range

Words = dict[str, str]
Results = dict[str, Any]


@dataclass(frozen=True)
class KeyFigure:
    """One of the few figures at the top of the page."""

    value: str
    what: str
    note: str


def main_model(results: Results) -> Results | None:
    """The model that the page is about: the pretrained one, else the first."""
    models: list[Results] = (results.get("evaluation") or {}).get("models") or []
    return next(
        (model for model in models if model.get("kind") == "pretrained"), models[0] if models else None
    )


def own_differences(results: Results) -> dict[str, Results]:
    """The differences of the main model over the others, by the kind of the other."""
    model = main_model(results)
    differences = (results.get("evaluation") or {}).get("differences") or []
    return {row["kind"]: row for row in differences if model and row.get("of") == model["name"]}


def verdict(difference: dict[str, float]) -> Literal["better", "worse", "unclear"]:
    """What the interval of a difference allows one to say."""
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "unclear"


def paragraphs(results: Results, words: Words) -> list[str]:
    """What was trained, how good it is, compared with what, and how sure; what is not known is left out."""
    training = [_trained(results, words), _learnt(results, words), _tuned(results, words)]
    comparison = [_right(results, words)]
    for kind, row in own_differences(results).items():
        if f"{kind}.better" in words:
            comparison.append(_compared(kind, row["accuracy"], words))
    caution = [words["caution"]] if any(comparison) else []
    return [text for part in (training, comparison, caution) if (text := " ".join(filter(None, part)))]


def _trained(results: Results, words: Words) -> str:
    pretraining = results.get("pretraining") or {}
    corpora = (results.get("data") or {}).get("corpora") or []
    environment = results.get("environment") or {}
    if not pretraining:
        return ""
    parts = {"parameters": "", "corpora": "", "time": "", "device": ""}
    if "parameters" in pretraining:
        parts["parameters"] = words["trained.parameters"].format(
            count=console.count(pretraining["parameters"])
        )
    if corpora:
        parts["corpora"] = words["trained.corpora"].format(
            documents=console.count(sum(row.get("documents", 0) for row in corpora)),
            names=", ".join(row["name"] for row in corpora),
            size=console.size(sum(row.get("bytes", 0) for row in corpora)),
        )
    if "seconds" in pretraining:
        parts["time"] = words["trained.time"].format(time=console.seconds(pretraining["seconds"]))
    if "device" in environment:
        parts["device"] = words["trained.device"].format(device=device(environment, words))
    return words["trained"].format(**parts)


def device(environment: Results, words: Words) -> str:
    if environment.get("device") == "cpu" and "threads" in environment:
        return words["threads"].format(**environment)
    return str(environment.get("device", ""))


def _learnt(results: Results, words: Words) -> str:
    pretraining = results.get("pretraining") or {}
    loss, unigram = pretraining.get("heldout_loss"), pretraining.get("unigram")
    if loss is None or unigram is None:
        return ""
    return words["learnt" if loss < unigram else "learnt.not"].format(
        loss=f"{loss:.2f}", unigram=f"{unigram:.2f}"
    )


def _tuned(results: Results, words: Words) -> str:
    task = (results.get("data") or {}).get("task") or {}
    if not results.get("finetuning") or not {"train_rows", "labels"} <= task.keys():
        return ""
    labels = task["labels"]
    return words["tuned"].format(
        train=console.count(task.get("train_rows_used") or task["train_rows"]),
        labels=len(labels) if isinstance(labels, list) else labels,
        task=words["tuned.task"].format(name=task["name"]) if "name" in task else "",
    )


def _right(results: Results, words: Words) -> str:
    model = main_model(results)
    if not model or not model.get("accuracy"):
        return ""
    accuracy = model["accuracy"]
    return words["right"].format(
        rows=console.count(results["evaluation"]["rows"]),
        value=percent(accuracy["value"]),
        interval=percent_range(accuracy, words),
    )


def _compared(kind: str, difference: dict[str, float], words: Words) -> str:
    found = verdict(difference)
    shown = difference
    if found == "worse":  # the sentence says by how much the other is better
        shown = {"low": -difference["high"], "high": -difference["low"]}
    return words[f"{kind}.{found}"].format(
        points=words["points"].format(value=points(difference["value"], sign=False)),
        signed=words["points"].format(value=points(difference["value"])),
        interval=points_range(shown, words),
    )


def key_figures(results: Results, words: Words) -> list[KeyFigure]:
    """The accuracy, and the differences that matter most."""
    model = main_model(results)
    if not model or not model.get("accuracy"):
        return []
    rows = console.count(results["evaluation"]["rows"])
    accuracy = model["accuracy"]
    found = [
        KeyFigure(
            percent(accuracy["value"]),
            words["key.accuracy"].format(rows=rows),
            words["key.interval"].format(interval=percent_range(accuracy, words)),
        )
    ]
    differences = own_differences(results)
    for kind in ("scratch", "tfidf"):
        if kind in differences:
            row = differences[kind]["accuracy"]
            note = "key.unclear" if verdict(row) == "unclear" else "key.interval"
            value = words["points"].format(value=points(row["value"]))
            shown = words[note].format(interval=points_range(row, words))
            found.append(KeyFigure(value, words[f"key.{kind}"], shown))
    return found
