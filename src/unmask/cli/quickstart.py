"""`unmask quickstart`: the whole job in one command."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: unmask quickstart --task reviews --budget 10m --out runs/reviews"


def register(app: typer.Typer) -> None:
    app.command("quickstart", epilog=EXAMPLE)(quickstart)


def quickstart(
    task: Annotated[str, typer.Option(help="topics (Reuters news) or reviews (of films).")] = "topics",
    budget: Annotated[
        str, typer.Option(help="Time for pretraining and all fine-tuning: 90s, 5m, 1h.")
    ] = "5m",
    out: Annotated[Path | None, typer.Option(help="The run folder. [default: runs/quickstart-TASK]")] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Your own text to pretrain on; may be repeated.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="Your own labelled rows: csv, tsv or jsonl.")] = None,
    test: Annotated[str | None, typer.Option(help="Your own test rows.")] = None,
    next_sentence: Annotated[
        bool, typer.Option("--next-sentence", help="Also learn which texts follow.")
    ] = False,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Hide whole words, not pieces.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")] = False,
) -> None:
    """Tokenizer, pretraining, fine-tuning and evaluation in seven steps, on real public text or your own files."""
    from unmask import console, files
    from unmask.quickstart import Request
    from unmask.quickstart import quickstart as run

    request = Request(task, budget, out, tuple(text or ()), train, test, next_sentence, whole_words, seed)
    folder = run(request)
    results = files.read_json(folder / "results.json")
    if as_json:
        console.say((folder / "results.json").read_text(encoding="utf-8").rstrip())
        return
    evaluation = results["evaluation"]
    rows = [
        [model["name"], *(_shown(model[key]) for key in ("accuracy", "macro_f1"))]
        for model in evaluation["models"]
    ]
    console.table(
        [f"{evaluation['rows']:,} test rows", "accuracy [95 %]", "macro-F1 [95 %]"],
        rows,
    )
    console.say(f"report   {folder / 'report.html'}")
    console.say(f"next     unmask predict {folder / 'finetune' / 'model'} FILE")


def _shown(interval: dict[str, float]) -> str:
    return f"{100 * interval['value']:.1f} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"
