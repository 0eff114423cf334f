"""What a report is made from: one mapping, `results`, read from a run folder of any kind.

A quick start writes it as results.json; for a pretraining or fine-tuning run it is put together here from
recipe.yaml, run.json, metrics.jsonl and predictions/. Every key may be absent, and its section with it.

    format: 1,  kind: quickstart | pretrain | finetune,  title, language: en | zh,  command, created (ISO time)
    state: finished | running | interrupted,  steps_done, progress (share of the budget)
    environment: {unmask, torch, python, platform, device, threads}
    init: {model, heads: {name: kept | new}, reinit_layers, freeze_layers, freeze_embeddings,
           max_position_embeddings_of_model, max_position_embeddings,
           parameters, trainable_parameters, heldout_figures: {figure: value}}
    public_model: {name, source, licence}                 a checkpoint fine-tuned beside the own encoder
    steps: [{number, title, summary, message, seconds}]
    data: {corpora: [{name, documents, bytes, source, licence}],
           task: {name, file, train_rows, train_rows_used, dev_rows, test_rows, labels (how many), source, licence,
                  defects}}
    tokenizer: {vocab_size, characters_per_token, unknown_rate}
    objectives: [{name, ...}]
    speed: {tokens_per_second, gemm_share, mfu, waited (shares), peak_memory (bytes)}     null: not known
    pretraining: {parameters, steps, tokens, seconds, tokens_per_second, loss, heldout_loss, heldout_accuracy,
                  uniform_loss, unigram_loss, log (a file in the run folder), speed}
    finetuning: [{name, steps, seconds, best_step, train_rows, dev_rows, truncated, dev: {figure: value}, log,
                  speed}]
    evaluation: {split, metric, unit, rows, labels, models, differences, per_label, confusion | confusions}
    samples: {fills: [{text, mask_token, masked_word, candidates: [{token, probability}]}],
              predictions: [{text, label, predicted, probability}]                      one label a row
                        or [{text, spans: [[start, stop, label]], predicted: [[start, stop, label]]}]    tagging
                        or [{question, text, spans, predicted, answer, correct}]}                         answering
    repeat: {commands: [...], seed, hashes: {name: sha256}}

`evaluation` is a `metrics.Comparison`, with details of the first model as `metrics.Scores` describes them:

    kind: label | labels | number | tags | answers | vectors      what is true of a row
    metric: accuracy, pearson, ...    the main figure; each model and each difference has it under this name
    unit: row | sentence | question   what the bootstrap draws; `rows` counts these
    models: [{name, kind, METRIC: {value, low, high}, macro_f1: {...}, precision, recall}]
    differences: [{of, over, kind, METRIC: {value, low, high}, macro_f1: {...}, mcnemar: p}]
    tokens | entities, per_label, confusion, confusions, parts, numbers, largest_errors

kind of a model: pretrained, scratch, public (a checkpoint of others), tfidf, frequent (the most frequent tag of each
word), majority, mean (always the mean), overlap (the words beside those of a question), words (those that two
texts have in common), other.
"""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from unmask import files
from unmask.errors import UserError
from unmask.evaluate import predictions
from unmask.evaluate.predictions import Predictions, compare_predictions
from unmask.messages import message, verbatim
from unmask.report.runs import FORMAT, QUICKSTART, RunInfo, require_run

Results = dict[str, Any]


def results_of(run: Path) -> Results:
    """The figures of a run folder. Raises UserError where it holds no run that can be read."""
    info = require_run(run)
    if info.kind == QUICKSTART:
        return {**info.facts, "state": info.state, "progress": info.progress}
    saved = main_predictions(run)
    again = ["unmask", info.kind, f"{run}/recipe.yaml", "--output", f"{run}-again"]
    return {
        "format": FORMAT,
        "kind": info.kind,
        "title": verbatim(run.resolve().name),
        "created": info.created,
        "state": info.state,
        "steps_done": info.steps,
        "progress": info.progress,
        "environment": info.facts.get("environment"),
        "init": info.facts.get("init"),
        "repeat": {
            "commands": [shlex.join(again)],
            "seed": info.recipe.get("seed"),
            "hashes": info.facts.get("inputs"),
        },
        **(_pretrained(info) if info.kind == "pretrain" else _finetuned(info, saved)),
    }


def main_predictions(run: Path) -> Predictions | None:
    """The predictions on the rows that fine-tuning was to be tested on, else those that were saved last: a run may
    have been evaluated on several files."""
    paths = sorted((run / predictions.FOLDER).glob("*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    saved = [predictions.read(path) for path in reversed(paths)]
    return next((one for one in saved if one.test is not None), saved[0] if saved else None)


def _pretrained(info: RunInfo) -> Results:
    finished = info.facts.get("finished") or {}
    entry = pretraining_entry({"steps": info.steps, "tokens": info.tokens, **finished}, "metrics.jsonl")
    results: Results = {"pretraining": entry, "objectives": info.recipe.get("objectives")}
    corpus = Path(str((info.recipe.get("data") or {}).get("corpus")))
    with suppress(UserError):  # it is no longer there
        documents = files.read_json(corpus / "manifest.json").get("documents")
        results["data"] = {"corpora": [{"name": corpus.name, "documents": documents}]}
    return results


def pretraining_entry(finished: Results, log: str) -> Results:
    """`pretraining` of the results of a run: its outcome (run.json), and the log inside the folder of the results."""
    entry: Results = {key: value for key, value in finished.items() if key != "heldout_figures"} | {"log": log}
    if finished.get("tokens") and finished.get("seconds"):
        entry["tokens_per_second"] = round(finished["tokens"] / finished["seconds"])
    heldout = finished.get("heldout_figures") or {}
    names = (name for name in ("loss", "accuracy") if f"masked.{name}" in heldout)
    return entry | {f"heldout_{name}": heldout[f"masked.{name}"] for name in names}


def _finetuned(info: RunInfo, saved: Predictions | None) -> Results:
    finished, data = info.facts.get("finished") or {}, info.recipe.get("data") or {}
    pretrained = info.recipe.get("pretrained", True)
    start = "pretrained" if pretrained else "from scratch"
    task: Results = {
        "name": (info.recipe.get("task") or {}).get("name"),
        "file": data.get("train"),
        "train_rows": finished.get("train_rows"),
        "dev_rows": finished.get("dev_rows"),
        "defects": _defects(info.facts.get("checked") or {}),
    }
    entry = {"name": start, "steps": info.steps, **finished, "log": "metrics.jsonl"}
    results: Results = {"finetuning": [entry], "data": {"task": task}}
    if saved is not None:
        named = [(verbatim(info.folder.resolve().name), "pretrained" if pretrained else "other", saved)]
        comparison = compare_predictions(named, [saved.baseline] if saved.baseline else [])
        how = "".join(f", {name}={value}" for name, value in saved.read_options.items())
        results["evaluation"] = {"split": f"{saved.file}{how}", **comparison.to_dict()}
        results["samples"] = {"predictions": saved.samples}
        task |= {"test_rows": len(saved.reference), "labels": len(saved.labels)}
    return results


def _defects(checked: Results) -> list[str]:
    """What the run found in its rows before it learnt from them, in sentences."""
    text = "{rows:,} of {all:,} {part} rows also occur in the training rows"
    leaks = (checked.get("leaks") or {}).items()
    found: list[str] = [message(text, leak["rows"], leak["of"], message(part)) for part, leak in leaks]
    if contradictions := checked.get("contradictions"):
        found.append(message("{rows:,} training rows have a text with several labels", contradictions["rows"]))
    if dropped := checked.get("dropped"):
        found.append(message("{rows:,} of these rows were skipped in training", dropped))
    return found
