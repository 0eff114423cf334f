"""`unmask vocab`: how well a vocabulary suits a text, and more pieces for a model."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.common import options
from unmask.cli.common.help import App
from unmask.cli.common.output import print_result
from unmask.messages import join, message, translate

if TYPE_CHECKING:
    from unmask.bundle.grow import GrowResult, VocabularyFit
    from unmask.text.tokenizer import Tokenizer

FIGURES = ("characters", "words", "characters_per_token", "tokens_per_word", "unknown_rate")
SHOWN = 12  # tokens of a list

commands = App(name="vocab", help="The vocabulary of a model, on your own text.")


@commands.command(example="unmask vocab audit runs/tiny texts/*.txt")
def audit(
    model: Annotated[str, typer.Argument(metavar="MODEL|TOKENIZER", help="A model, or a tokenizer's folder or file.")],
    sources: options.TextFiles,
    text_column: options.TextColumn = "text",
    split: options.Split = "blank",
    encoding: options.Encoding = None,
    on_error: options.OnError = "stop",
    as_json: options.AsJson = False,
) -> None:
    """Measure how a vocabulary suits a text: tokens by script, fragmented words, unknown characters."""
    from unmask.text.usage import audit as figures_of
    from unmask.text.usage import count_usage

    tokenizer = _tokenizer(model)
    with console.start_step("Audit") as work:
        found = count_usage(tokenizer, _texts(sources, text_column, split, encoding, on_error), work)
        work.result("{documents:,} documents · {tokens:,} tokens", found.documents, found.total.tokens)
    print_result(as_json, {"model": model, **figures_of(found)}, _show_audit)


def _tokenizer(source: str) -> "Tokenizer":
    """The tokenizer in a folder or file, else that of a model: a run, one on the hub, one inside other folders."""
    from unmask import bundle
    from unmask.text.tokenizer import Tokenizer

    for path in (Path(source) / "model", Path(source)):
        files = [path / name for name in ("tokenizer.json", "vocab.txt", "vocab.json")]
        if any(file.is_file() for file in (path, *files)):
            return Tokenizer.from_pretrained(path)
    return bundle.read(source, weights=False, allow_unused=True).tokenizer


def _texts(sources: list[str], text_column: str, split: Any, encoding: str | None, on_error: Any) -> Iterator[str]:
    from unmask.data.corpus import documents as corpus

    documents = corpus.read_documents(sources, column=text_column, split=split, encoding=encoding, on_error=on_error)
    return (document.text for document in documents)


def _show_audit(figures: dict[str, Any]) -> None:
    rows = [
        (translate(script), *(one[key] for key in FIGURES))
        for script, one in [*figures["scripts"].items(), ("all", figures)]
    ]
    console.table(("script", *(key.replace("_", " ") for key in FIGURES)), rows)
    unused, otherwise = figures["unused"], figures["unknown_otherwise"]
    unknown = {one["character"]: one["count"] for one in figures["unknown_characters"]}
    count = message("{count:,} tokens, {share:.1%} of the ordinary ones", unused["count"], unused["share"])
    words = message("{count:,} words of known characters: too long, or without matching tokens", otherwise)
    console.facts(
        {
            "unused": join([count, console.plain(unused["examples"][:SHOWN])], "\n"),
            "unknown": join([console.plain(unknown), words if otherwise else None], "\n"),
        }
    )
    if figures["fragmented"]:
        fragmented = [(one["word"], one["count"], one["tokens"]) for one in figures["fragmented"]]
        console.table(("word", "count", "tokens"), fragmented, title="words that need the most tokens")


@commands.command(example="unmask vocab grow runs/tiny texts/*.txt --add 1000 --output models/grown")
def grow(
    model: options.AnyModel,
    sources: options.TextFiles,
    output: Annotated[Path, typer.Option(help="The folder to write the grown model to.")],
    add: Annotated[int, typer.Option(min=1, help="Maximum number of tokens to add.")] = 1000,
    min_frequency: options.MinFrequency = 2,
    text_column: options.TextColumn = "text",
    split: options.Split = "blank",
    encoding: options.Encoding = None,
    on_error: options.OnError = "stop",
    seed: options.RandomSeed = 0,
    allow_unused: options.AllowUnused = False,
    as_json: options.AsJson = False,
) -> None:
    """Extend the vocabulary of a WordPiece model by fragmented words of your own text.

    A new token's embedding is initialised with the mean of the tokens that it replaces; all other weights stay as they
    are. The model needs further pretraining to benefit.
    """
    from unmask import bundle
    from unmask.bundle.grow import grow as grown_of

    opened = bundle.read(model, allow_unused=allow_unused)
    with console.start_step("Vocabulary") as work:
        texts = _texts(sources, text_column, split, encoding, on_error)
        grown = grown_of(opened, texts, output, add=add, min_frequency=min_frequency, seed=seed, progress=work)
        work.result("{tokens:,} more tokens · {documents:,} documents", len(grown.chosen), grown.documents)
    print_result(as_json, {"output": output, **asdict(grown)}, lambda _: _show_grown(grown, output, add))


def _show_grown(grown: "GrowResult", output: Path, wanted: int) -> None:
    saved = sum(one.tokens_saved for one in grown.chosen)
    first = {one.token: one.count for one in grown.chosen[:SHOWN]}
    count = message("{count:,} tokens, which save {saved:,}", len(grown.chosen), saved)
    console.facts({"added": join([count, console.plain(first)], "\n")})
    after = _figures(grown.after)
    rows = [(translate(name), before, after[name]) for name, before in _figures(grown.before).items()]
    console.table(("held-out text", "before", "after"), rows)
    if len(grown.chosen) < wanted:
        console.note("the text supports only {tokens:,} tokens", len(grown.chosen))
    console.note(
        "new tokens have not been trained: continue pretraining on such text before evaluating or fine-tuning the model"
    )
    console.print_text("next: unmask corpus build FILES --tokenizer {out} --output corpus", output)


def _figures(fit: "VocabularyFit") -> dict[str, str]:
    return {"characters per token": f"{fit.characters_per_token:.3f}", "unknown words": f"{fit.unknown_rate:.3%}"}
