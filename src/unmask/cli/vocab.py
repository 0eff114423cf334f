"""`unmask vocab`: how well a vocabulary suits a text, and more pieces for a model."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AllowUnused, AsJson, Encoding
from unmask.messages import message, translate

if TYPE_CHECKING:
    from unmask.bundle.grow import GrowResult, VocabularyFit
    from unmask.text.tokenizer import Tokenizer

SHOWN = 12  # pieces and characters of a list

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...",
        help="txt, jsonl, csv or tsv files, also .gz or .zst; folders; globs; - for standard input.",
    ),
]
Column = Annotated[str, typer.Option(help="The CSV column or JSON key that holds the text.")]
Split = Annotated[
    Literal["blank", "line", "file"],
    typer.Option(help="Separator of documents in plain text: blank (lines), line, file."),
]
OnError = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="Action on an unreadable line: stop, or skip (the number is reported)."),
]


def register(app: App) -> None:
    noun = App(help="The vocabulary of a model, on your own text.")
    noun.command(example="unmask vocab audit runs/tiny texts/*.txt")(audit)
    noun.command(example="unmask vocab grow runs/tiny texts/*.txt --add 1000 --output models/grown")(grow)
    app.add_typer(noun, name="vocab")


def audit(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL|TOKENIZER", help="A model, or the folder or file of a tokenizer."),
    ],
    sources: Files,
    text_column: Column = "text",
    split: Split = "blank",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    as_json: AsJson = False,
) -> None:
    """Measure how a vocabulary suits a text: tokens by script, fragmented words, unknown characters."""
    from unmask.text.usage import audit as figures_of
    from unmask.text.usage import count_usage

    tokenizer = _tokenizer(model)
    with console.start_step("Audit") as work:
        found = count_usage(tokenizer, _texts(sources, text_column, split, encoding, on_error), work)
        work.result("{documents:,} documents · {tokens:,} tokens", found.documents, found.total.tokens)
    figures = figures_of(found)
    if as_json:
        console.print_json({"model": model, **figures})
    else:
        _say_audit(figures)


def _tokenizer(source: str) -> "Tokenizer":
    """Of a run, a model or a tokenizer; of a model on the hub or one inside other folders through its bundle."""
    from unmask.text.tokenizer import Tokenizer

    path = Path(source)
    if path.is_file():
        return Tokenizer.from_pretrained(path)
    known = ("tokenizer.json", "vocab.txt", "vocab.json")
    for folder in (path / "model", path):
        if any((folder / name).is_file() for name in known):
            return Tokenizer.from_pretrained(folder)
    if path.is_dir() and not (path / "modules.json").is_file() and not (path / "run.json").is_file():
        return Tokenizer.from_pretrained(path)  # which says what is missing
    from unmask import bundle

    return bundle.read(source, weights=False, allow_unused=True).tokenizer


def _texts(sources: list[str], text_column: str, split: Any, encoding: str | None, on_error: Any) -> Iterator[str]:
    from unmask.data.corpus import documents as corpus

    documents = corpus.read_documents(sources, column=text_column, split=split, encoding=encoding, on_error=on_error)
    return (document.text for document in documents)


def _say_audit(figures: dict[str, Any]) -> None:
    rows = [
        (
            translate(script),
            f"{one['characters']:,}",
            f"{one['words']:,}",
            f"{one['characters_per_token']:.2f}",
            f"{one['tokens_per_word']:.2f}",
            f"{one['unknown_rate']:.2%}",
        )
        for script, one in [*figures["scripts"].items(), ("all", figures)]
    ]
    console.table(
        ("script", "characters", "words", "characters per token", "tokens per word", "unknown tokens"),
        rows,
    )
    unused = figures["unused"]
    lines: list[tuple[str, str]] = [
        (
            "unused",
            message("{count:,} tokens, {share:.1%} of the ordinary ones", unused["count"], unused["share"]),
        )
    ]
    lines += [("", "  ".join(unused["examples"][:SHOWN]))] if unused["examples"] else []
    if figures["unknown_characters"]:
        shown = [f"{one['character']} {one['count']:,}" for one in figures["unknown_characters"]]
        lines.append(("unknown", "  ".join(shown)))
    if figures["unknown_otherwise"]:
        words = message(
            "{count:,} words of known characters: too long, or no token fits there", figures["unknown_otherwise"]
        )
        lines.append(("", words))
    console.facts(lines)
    if figures["fragmented"]:
        console.table(
            ("word", "count", "tokens"),
            [(one["word"], one["count"], "  ".join(one["tokens"])) for one in figures["fragmented"]],
            title="words that need the most tokens",
        )
    if figures["forgotten"]:
        console.note("{forgotten:,} rare words were not counted, to save memory", figures["forgotten"])


def grow(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run, a model folder, a public checkpoint, or OWNER/NAME on the model hub.",
        ),
    ],
    sources: Files,
    output: Annotated[Path, typer.Option(help="The folder to write the grown model to.")],
    add: Annotated[int, typer.Option(min=1, help="Maximum number of tokens to add.")] = 1000,
    min_frequency: Annotated[int, typer.Option(min=1, help="Minimum count of words and parts of words.")] = 2,
    text_column: Column = "text",
    split: Split = "blank",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    seed: Annotated[int, typer.Option(help="Random seed of the held-out tenth of the documents.")] = 0,
    allow_unused: AllowUnused = False,
    as_json: AsJson = False,
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
    if as_json:
        console.print_text(json.dumps({"output": str(output), **asdict(grown)}, ensure_ascii=False))
        return
    _say_grown(grown, output, add)


def _say_grown(grown: "GrowResult", output: Path, asked: int) -> None:
    first = [f"{one.token} {one.count:,}" for one in grown.chosen[:SHOWN]]
    console.facts(
        [
            (
                "added",
                message(
                    "{count:,} tokens, which save {saved:,}",
                    len(grown.chosen),
                    sum(one.tokens_saved for one in grown.chosen),
                ),
            ),
            ("", "  ".join(first)),
        ]
    )
    console.table(
        ("held-out text", "before", "after"),
        [
            (translate(name), before, after)
            for (name, before), (_, after) in zip(_shown(grown.before), _shown(grown.after), strict=True)
        ],
    )
    if len(grown.chosen) < asked:
        console.note("the text supports only {tokens:,} tokens", len(grown.chosen))
    console.note(
        "new pieces have not been trained: pretrain the model further on such text before you judge or fine-tune it"
    )
    console.print_text("next: unmask corpus build FILES --tokenizer {out} --output corpus", output)


def _shown(fit: "VocabularyFit") -> list[tuple[str, str]]:
    rows = [
        ("characters per token", f"{fit.characters_per_token:.3f}"),
        ("unknown words", f"{fit.unknown_rate:.3%}"),
    ]
    if fit.bits_per_character is not None:
        rows.append(("bits per character of masked words", f"{fit.bits_per_character:.3f}"))
    return rows
