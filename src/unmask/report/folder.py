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
           task: {name, file, train_rows, train_rows_used, dev_rows, test_rows, labels, source, licence, defects}}
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
    tokens | entities, per_label, confusion, confusions, label_cardinality, parts, numbers, largest_errors

kind of a model: pretrained, scratch, public (a checkpoint of others), tfidf, frequent (the most frequent tag of each
word), majority, mean (always the mean), overlap (the words beside those of a question), words (those that two
texts have in common), other.
"""

import shlex
from pathlib import Path
from typing import Any

from unmask import files
from unmask.errors import UserError
from unmask.evaluate import saved
from unmask.messages import message, verbatim
from unmask.report.runs import QUICKSTART, RunInfo, locked, require_run

FORMAT = 1

Results = dict[str, Any]


def results_of(run: Path) -> Results:
    """The figures of a run folder. Raises UserError where it holds no run that can be read."""
    if (run / "results.json").is_file():
        return _quickstart(run)
    info = require_run(run)
    results: Results = {
        "format": FORMAT,
        "kind": info.kind,
        "title": verbatim(run.resolve().name),
        "created": info.created,
        "state": info.state,
        "steps_done": info.steps,
        "progress": info.progress,
        "environment": _shown_environment(info.facts.get("environment") or {}),
        "init": info.facts.get("init"),
        "repeat": {
            "commands": [_command(info)],
            "seed": info.recipe.get("seed"),
            "hashes": info.facts.get("inputs") or {},
        },
    }
    return results | (_pretrained(info) if info.kind == "pretrain" else _finetuned(info))


def _quickstart(run: Path) -> Results:
    path = run / "results.json"
    results: Any = files.read_json(path)
    form = results.get("format") if isinstance(results, dict) else None
    kind = results.get("kind") if isinstance(results, dict) else None
    if form != FORMAT or kind != QUICKSTART:
        raise UserError(
            f"{path} is not something that a report can be made from",
            given=f"format {form}, kind {kind}",
            allowed=f"format {FORMAT}, kind {QUICKSTART}, as `unmask quickstart` writes it",
            hint="run the quick start again with this version of unmask",
        )
    unfinished = {"state": "running" if locked(run) else "interrupted"}
    whole: Results = results
    return whole if "evaluation" in whole or "steps" not in whole else whole | unfinished


def _shown_environment(environment: Results) -> Results:
    return {key: value for key, value in environment.items() if not isinstance(value, dict | list)}


def _command(info: RunInfo) -> str:
    """What makes the run again from its own recipe, in another folder."""
    recipe, out = str(info.folder / "recipe.yaml"), f"{info.folder}-again"
    kept = test_run_of(info.folder)
    data = info.recipe.get("data") or {}
    named = data.get("test") is not None or bool(data.get("test_share"))  # the recipe says it itself
    test = ["--test", kept.test] if kept is not None and kept.test is not None and not named else []
    return shlex.join(["unmask", info.kind, recipe, *test, "--output", out])


def _pretrained(info: RunInfo) -> Results:
    finished = info.facts.get("finished") or {}
    entry = pretraining_entry({"steps": info.steps, "tokens": info.tokens, **finished}, "metrics.jsonl")
    results: Results = {"pretraining": entry, "objectives": info.recipe.get("objectives") or []}
    corpus = _corpus(str((info.recipe.get("data") or {}).get("corpus") or ""))
    return results | ({"data": {"corpora": [corpus]}} if corpus else {})


def pretraining_entry(finished: Results, log: str) -> Results:
    """`pretraining` of the results of a run: its outcome (run.json), and the log inside the folder of the results."""
    entry: Results = {key: value for key, value in finished.items() if key != "heldout_figures"} | {"log": log}
    if finished.get("tokens") and finished.get("seconds"):
        entry["tokens_per_second"] = round(finished["tokens"] / finished["seconds"])
    for name, value in (finished.get("heldout_figures") or {}).items():
        if name in ("masked.loss", "masked.accuracy"):
            entry[f"heldout_{name.removeprefix('masked.')}"] = value
    return entry


def _corpus(folder: str) -> Results | None:
    """What the manifest of the corpus says, where it is still there."""
    path = Path(folder) / "manifest.json"
    if not folder or not path.is_file():
        return None
    try:
        manifest = files.read_json(path)
        documents = manifest.get("documents")
    except (UserError, AttributeError):
        return None
    found: Results = {"name": Path(folder).name}
    return found | ({"documents": documents} if isinstance(documents, int) else {})


def _finetuned(info: RunInfo) -> Results:
    finished = dict(info.facts.get("finished") or {})
    data = info.recipe.get("data") or {}
    start = "pretrained" if info.recipe.get("pretrained", True) else "from scratch"
    entry: Results = {"name": start, "steps": info.steps, **finished, "log": "metrics.jsonl"}
    task: Results = {
        "name": (info.recipe.get("task") or {}).get("name"),
        "file": data.get("train"),
        "train_rows": finished.get("train_rows"),
        "dev_rows": finished.get("dev_rows"),
        "defects": _defects(info.facts.get("checked")),
    }
    results: Results = {"finetuning": [entry], "data": {"task": task}}
    kept = test_run_of(info.folder)
    if kept is not None:
        kind = "pretrained" if start == "pretrained" else "other"
        named = [(verbatim(info.folder.resolve().name), kind, kept)]
        comparison = saved.compare_predictions(named, [] if kept.baseline is None else [kept.baseline])
        how = "".join(f", {name}={value}" for name, value in kept.read_options.items())
        results["evaluation"] = {"split": f"{kept.file}{how}", **comparison.to_dict()}
        if kept.samples:
            results["samples"] = {"predictions": list(kept.samples)}
        task |= {"test_rows": len(kept.reference), "labels": len(kept.labels)}
    return results


def _defects(checked: Any) -> list[str]:
    """What the run found in its rows before it learnt from them, in sentences."""
    if not isinstance(checked, dict):
        return []
    found: list[str] = []
    for part, leak in (checked.get("leaks") or {}).items():
        text = "{rows:,} of {all:,} {part} rows stand in the training rows, too"
        found.append(message(text, leak["rows"], leak["of"], message(part)))
    if contradictions := checked.get("contradictions"):
        found.append(message("{rows:,} training rows have a text with several labels", contradictions["rows"]))
    if left_out := checked.get("dropped"):
        found.append(message("{rows:,} of these rows were skipped in training", left_out))
    return found


def test_run_of(run: Path) -> saved.Predictions | None:
    """The predictions on the rows that fine-tuning was to be tested on, else those that were kept last: a run may
    have been evaluated on several files."""
    paths = sorted((run / saved.FOLDER).glob("*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    kept = [saved.read(path) for path in reversed(paths)]
    return next((one for one in kept if one.test is not None), kept[0] if kept else None)
