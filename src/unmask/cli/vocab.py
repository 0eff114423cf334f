"""`unmask vocab`: how well a vocabulary suits a text, and more pieces for a model."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.shared import AllowUnused, AsJson, Encoding

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
    typer.Option(help="What parts documents in plain text: blank lines, every line end, or nothing."),
]
OnError = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="A line that cannot be read: stop, or skip (the number is reported)."),
]


def register(app: typer.Typer) -> None:
    noun = typer.Typer(help="The vocabulary of a model, on your own text.", no_args_is_help=True)
    noun.command(epilog="Example: unmask vocab audit runs/tiny texts/*.txt")(audit)
    noun.command(epilog="Example: unmask vocab grow runs/tiny texts/*.txt --add 1000 --out models/grown")(grow)
    app.add_typer(noun, name="vocab")


def audit(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL|TOKENIZER", help="A model, or the folder or file of a tokenizer."),
    ],
    sources: Files,
    column: Column = "text",
    split: Split = "blank",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    as_json: AsJson = False,
) -> None:
    """Say how a vocabulary suits a text: pieces by script, words that it cuts up, characters that it lacks."""
    from unmask.text.audit import audit as figures_of
    from unmask.text.usage import count_usage

    tokenizer = _tokenizer(model)
    with console.start_step("Audit") as work:
        found = count_usage(tokenizer, _texts(sources, column, split, encoding, on_error), work)
        work.result(f"{found.documents:,} documents · {found.total.tokens:,} pieces")
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


def _texts(sources: list[str], column: str, split: Any, encoding: str | None, on_error: Any) -> Iterator[str]:
    from unmask.data.corpus import documents as corpus

    documents = corpus.read_documents(sources, column=column, split=split, encoding=encoding, on_error=on_error)
    return (document.text for document in documents)


def _say_audit(figures: dict[str, Any]) -> None:
    rows = [
        (
            script,
            f"{one['characters']:,}",
            f"{one['words']:,}",
            f"{one['characters_per_token']:.2f}",
            f"{one['tokens_per_word']:.2f}",
            f"{one['unknown_rate']:.2%}",
        )
        for script, one in [*figures["scripts"].items(), ("all", figures)]
    ]
    console.table(
        ("script", "characters", "words", "characters per piece", "pieces per word", "unknown pieces"),
        rows,
        prose=(0,),
    )
    unused = figures["unused"]
    examples = console.Verbatim("  ".join(unused["examples"][:SHOWN]))
    lines = [("unused", f"{unused['count']:,} pieces, {unused['share']:.1%} of the ordinary ones")]
    lines += [("", examples)] if unused["examples"] else []
    if figures["unknown_characters"]:
        shown = [f"{one['character']} {one['count']:,}" for one in figures["unknown_characters"]]
        lines.append(("unknown", console.Verbatim("  ".join(shown))))
    if figures["unknown_otherwise"]:
        lines.append(
            (
                "",
                f"{figures['unknown_otherwise']:,} words of known characters: too long, or none fits where it stands",
            )
        )
    console.facts(lines)
    if figures["fragmented"]:
        console.table(
            ("word", "count", "pieces"),
            [(one["word"], one["count"], "  ".join(one["tokens"])) for one in figures["fragmented"]],
            title="what costs the most pieces",
        )
    if figures["forgotten"]:
        console.note(f"{figures['forgotten']:,} rare words were not counted, to save memory")


def grow(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run, a model folder, a public checkpoint, or OWNER/NAME on the model hub.",
        ),
    ],
    sources: Files,
    out: Annotated[Path, typer.Option(help="The folder to write the grown model to.")],
    add: Annotated[int, typer.Option(min=1, help="How many pieces to add, at most.")] = 1000,
    minimum_count: Annotated[
        int, typer.Option(min=1, help="Words and parts of words seen less often do not become pieces.")
    ] = 2,
    column: Column = "text",
    split: Split = "blank",
    encoding: Encoding = None,
    on_error: OnError = "stop",
    seed: Annotated[int, typer.Option(help="Chooses the documents that are kept aside, a tenth.")] = 0,
    allow_unused: AllowUnused = False,
    as_json: AsJson = False,
) -> None:
    """Add pieces for the words of your own text that a WordPiece model cuts up, and write it with them.

    A new piece begins with the mean of the embeddings of the pieces that it replaces; all other weights stay as they
    are. The model must be pretrained further before it gains by it.
    """
    from unmask import bundle
    from unmask.bundle.grow import grow as grown_of

    opened = bundle.read(model, allow_unused=allow_unused)
    with console.start_step("Vocabulary") as work:
        texts = _texts(sources, column, split, encoding, on_error)
        grown = grown_of(opened, texts, out, add=add, min_frequency=minimum_count, seed=seed, progress=work)
        work.result(f"{len(grown.chosen):,} pieces more · {grown.documents:,} documents")
    if as_json:
        console.print_text(json.dumps({"out": str(out), **asdict(grown)}, ensure_ascii=False))
        return
    _say_grown(grown, out, add)


def _say_grown(grown: "GrowResult", out: Path, asked: int) -> None:
    first = [f"{one.token} {one.count:,}" for one in grown.chosen[:SHOWN]]
    console.facts(
        [
            (
                "added",
                f"{len(grown.chosen):,} pieces, which saved {sum(one.tokens_saved for one in grown.chosen):,}",
            ),
            ("", console.Verbatim("  ".join(first))),
        ]
    )
    console.table(
        ("held-out text", "before", "after"),
        [
            (name, before, after)
            for (name, before), (_, after) in zip(_shown(grown.before), _shown(grown.after), strict=True)
        ],
        prose=(0,),
    )
    if len(grown.chosen) < asked:
        console.note(f"the text supports no more than {len(grown.chosen):,} pieces")
    console.note(
        "new pieces have not been trained: pretrain the model further on such text before you judge or fine-tune it"
    )
    console.print_text(f"next: unmask corpus build FILES --tokenizer {out} --out corpus")


def _shown(fit: "VocabularyFit") -> list[tuple[str, str]]:
    rows = [
        ("characters per piece", f"{fit.characters_per_token:.3f}"),
        ("unknown words", f"{fit.unknown_rate:.3%}"),
    ]
    if fit.bits_per_character is not None:
        rows.append(("bits per character of masked words", f"{fit.bits_per_character:.3f}"))
    return rows
