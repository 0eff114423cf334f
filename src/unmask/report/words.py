"""All words of the report page, one catalogue for each language; and how it writes numbers.

A language is added by one more catalogue with the same keys and the same {places}.
"""

from unmask.errors import UserError

ENGLISH = {
    "kind": "Quick start report",
    "untitled": "A BERT of your own",
    "contents": "Contents",
    "summary": "Summary",
    "steps": "What was done",
    "data": "Data",
    "pretraining": "Pretraining",
    "finetuning": "Fine-tuning",
    "results": "Results",
    "errors": "Where it errs",
    "fills": "Filling in hidden words",
    "predictions": "Predictions on test rows",
    "repeat": "How to repeat it",
    # summary
    "trained": "A BERT{parameters} was trained from random weights{corpora}{time}{device}.",
    "trained.parameters": " of {count} parameters",
    "trained.corpora": " on {documents} documents of plain text ({names}, {size})",
    "trained.time": " in {time}",
    "trained.device": " on {device}",
    "threads": "a CPU with {threads} threads",
    "learnt": "It learnt to guess hidden words better than their frequencies allow: its loss on text kept "
    "aside is {loss} nats, where frequencies alone give {unigram} (lower is better).",
    "learnt.not": "It has not yet learnt more than how frequent words are: its loss on text kept aside is "
    "{loss} nats, where frequencies alone give {unigram} (lower is better). A larger budget would help.",
    "tuned": "It was then fine-tuned on {train} labelled rows{task} to tell {labels} labels apart.",
    "tuned.task": " ({name})",
    "right": "On {rows} test rows that it had never seen, it is right in {value} of cases "
    "(95 % interval {interval}).",
    "scratch.better": "Pretraining helped: the same network fine-tuned without it does worse by {points} "
    "(interval {interval}).",
    "scratch.worse": "Pretraining did not help here: the same network fine-tuned without it does better by "
    "{points} (interval {interval}).",
    "scratch.unclear": "Whether pretraining helped cannot be told from this test: the difference to the same "
    "network fine-tuned without it is {signed}, and its interval ({interval}) includes zero.",
    "tfidf.better": "It beats TF-IDF with logistic regression, a classical method that takes seconds, by "
    "{points} (interval {interval}).",
    "tfidf.worse": "TF-IDF with logistic regression, a classical method that takes seconds, is better here "
    "by {points} (interval {interval}): on this task and at this budget it is the method to use.",
    "tfidf.unclear": "No difference to TF-IDF with logistic regression, a classical method that takes "
    "seconds, can be shown: it is {signed}, and its interval ({interval}) includes zero.",
    "majority.better": "Always giving the most frequent label would be right less often by {points}.",
    "majority.worse": "Always giving the most frequent label would be right more often, by {points} "
    "(interval {interval}): this model is of no use yet.",
    "majority.unclear": "No difference to always giving the most frequent label can be shown: it is "
    "{signed}, and its interval ({interval}) includes zero. This model is of no use yet.",
    "caution": "The intervals say how far the figures would move with other test rows of the same kind. They "
    "do not cover another random seed or other training data.",
    "key.accuracy": "accuracy on {rows} test rows",
    "key.interval": "95 % interval {interval}",
    "key.scratch": "against no pretraining",
    "key.tfidf": "against TF-IDF",
    "key.unclear": "{interval}, includes zero",
    "points": "{value} points",
    "to": "{low} to {high}",
    # tables
    "step": "Step",
    "did": "What it did",
    "time": "Time",
    "total": "Total",
    "name": "Name",
    "documents": "Documents",
    "size": "Size",
    "source": "Source",
    "licence": "Licence",
    "corpora.caption": "Text for pretraining.",
    "task": "Task",
    "train_rows": "Training rows",
    "train_rows_used": "Training rows used",
    "dev_rows": "Development rows",
    "test_rows": "Test rows",
    "labels": "Labels",
    "task.caption": "Labelled rows for fine-tuning and testing.",
    "vocabulary": "Vocabulary (pieces)",
    "characters_per_piece": "Characters per piece",
    "unknown_rate": "Unknown pieces",
    "tokenizer.caption": "Tokenizer.",
    "objective": "Objective",
    "settings": "Settings",
    "objectives.caption": "What pretraining asks of the model.",
    "parameters": "Parameters",
    "train_steps": "Steps",
    "tokens": "Tokens",
    "tokens_per_second": "Tokens per second",
    "loss": "Last training loss (nats)",
    "heldout_loss": "Held-out loss (nats)",
    "heldout_accuracy": "Held-out accuracy",
    "best_step": "Best step",
    "start": "Start",
    "model": "Model",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "interval": "95 % interval",
    "models.caption": "{split} rows: n = {rows}. Intervals: percentile bootstrap over rows.",
    "difference": "Difference",
    "real": "Real?",
    "real.yes": "yes",
    "real.no": "cannot be told",
    "against": "{of} − {over}",
    "differences.caption": "Paired differences on the same {rows} rows, in percentage points. A difference "
    "in accuracy counts as real where its interval leaves out zero.",
    "label": "Label",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "n": "n",
    "per_label.caption": "Of the rows given a label, how many have it (precision); of the rows that have it, "
    "how many were given it (recall); their harmonic mean (F1); and rows with that label (n).",
    "true": "True label",
    "predicted": "Predicted",
    "rows": "Rows",
    "share": "Share of the true label",
    "pairs.caption": "The {count} most frequent confusions among {labels} labels.",
    "text": "Text",
    "hidden": "Hidden word",
    "candidates": "The model's guesses",
    "fills.caption": "One word of each text was hidden; guesses with their probabilities.",
    "probability": "Probability",
    "yes": "yes",
    "no": "no",
    "verdict": "",
    "verdict.right": "right",
    "verdict.wrong": "wrong",
    "predictions.caption": "Real test rows. The probability is the model's own.",
    "commands": "Commands",
    "setting": "Setting",
    "value": "Value",
    "seed": "Seed",
    "created": "Created",
    "command": "Command",
    "environment.caption": "Versions and machine.",
    "hash": "SHA-256",
    "file": "File or value",
    "hashes.caption": "Checksums of what went in and came out.",
    # figures
    "loss.axis": "loss (nats per masked piece)",
    "tokens.axis": "tokens seen",
    "steps.axis": "steps",
    "loss.train": "training",
    "loss.heldout": "held-out text",
    "uniform": "uniform guessing, {value}",
    "unigram": "word frequencies only, {value}",
    "loss.caption": "Pretraining loss against tokens seen. Lower is better. Dashed: what a guess that knows "
    "nothing would get, and one that knows only how frequent each piece is.",
    "accuracy.axis": "accuracy (%)",
    "dev.accuracy.caption": "Accuracy on the development rows while fine-tuning. The ring marks the step "
    "that was kept.",
    "dev.loss.axis": "loss (nats per row)",
    "dev.loss.caption": "Loss on the development rows while fine-tuning.",
    "dots.caption": "Accuracy on {rows} {split} rows; bars are 95 % intervals.",
    "confusion.caption": "Rows: the true label. Columns: the label predicted. Numbers: test rows. Shade: "
    "share of the true label's rows.",
    "recipe": "Recipe {file}",
}

CATALOGUES = {"en": ENGLISH}


def catalogue(language: str) -> dict[str, str]:
    """The words of a language. Raises UserError for one that there is no catalogue of."""
    if language not in CATALOGUES:
        raise UserError(
            f"the report cannot be written in the language {language!r}", allowed=", ".join(CATALOGUES)
        )
    return CATALOGUES[language]


def percent(share: float, digits: int = 1) -> str:
    """0.952 -> `95.2 %`."""
    return f"{100 * share:.{digits}f}\u00a0%"


def points(difference: float, *, sign: bool = True) -> str:
    """A difference of shares in percentage points: 0.021 -> `+2.1`."""
    value = round(100 * difference, 1) + 0.0
    shown = f"{abs(value):.1f}"
    if not sign or value == 0:
        return shown
    return f"{'+' if value > 0 else '−'}{shown}"


def percent_range(value: dict[str, float], words: dict[str, str]) -> str:
    """The interval of a share: `94.3 to 96.1 %`."""
    low, high = f"{100 * value['low']:.1f}", percent(value["high"])
    return words["to"].format(low=low, high=high)


def points_range(value: dict[str, float], words: dict[str, str]) -> str:
    """The interval of a difference: `+0.9 to +3.2`."""
    return words["to"].format(low=points(value["low"]), high=points(value["high"]))
