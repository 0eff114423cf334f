"""`unmask quickstart`: the whole job in one command."""

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.common.help import App
from unmask.cli.common.options import AllowUnused, AsJson, RandomSeed
from unmask.cli.common.output import print_result, scores_table
from unmask.cli.common.reading import NOTHING, Given, reads_rows

commands = App()


@commands.command(example="unmask quickstart --task reviews --budget 10m --output runs/reviews")
@reads_rows("label_separator")
def quickstart(
    job: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="en: topics (Reuters news), reviews (of films); zh: pos (parts of speech), reviews (of products); "
            "with your own files: classify, tag. [default: the first]",
        ),
    ] = None,
    lang: Annotated[str, typer.Option(help="en or zh: language of data, messages and report.")] = "en",
    budget: Annotated[str, typer.Option(help="Time for pretraining and all fine-tuning: 90s, 5m, 1h.")] = "5m",
    output: Annotated[Path | None, typer.Option(help="The run folder. [default: runs/quickstart-TASK]")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Your own text to pretrain on; may be repeated.")] = None,
    train: Annotated[str | None, typer.Option(help="Your own labelled rows: csv, tsv, jsonl; CoNLL.")] = None,
    test: Annotated[str | None, typer.Option(help="Your own test rows.")] = None,
    reading: Given = NOTHING,
    next_sentence: Annotated[bool, typer.Option("--next-sentence", help="Add next-sentence prediction.")] = False,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Mask whole words instead of tokens.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="Also fine-tune minilm, a folder, or OWNER/NAME.")] = None,
    seed: RandomSeed = 0,
    allow_unused: AllowUnused = False,
    as_json: AsJson = False,
) -> None:
    """Tokenizer, pretraining, fine-tuning and evaluation in seven steps, on real public text or your own files."""
    from unmask import console, files
    from unmask.data.rows.options import ReadOptions
    from unmask.quickstart import Request
    from unmask.quickstart import quickstart as run

    request = Request(
        task=job,
        budget=budget,
        output=output,
        text=tuple(text or ()),
        train=train,
        test=test,
        next_sentence=next_sentence,
        whole_words=whole_words,
        seed=seed,
        language=lang,
        read_options=ReadOptions(**reading),
        start=start,
        allow_unused=allow_unused,
    )
    folder = run(request)
    results = files.read_json(folder / "results.json")
    print_result(as_json, results, lambda _: scores_table(results["evaluation"]))
    if not as_json:
        following = f"unmask predict {folder / 'finetune' / 'model'} FILE"
        console.facts({"report": folder / "report.html", "next": following})
