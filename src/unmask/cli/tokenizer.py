"""`unmask tokenizer`: train a vocabulary on text files, and look into one."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console, files
from unmask.cli.common import options
from unmask.cli.common.help import App
from unmask.cli.common.output import print_result
from unmask.errors import UserError

if TYPE_CHECKING:
    from unmask.text.tokenizer import Tokenizer

LONGEST = 8  # tokens shown
FIGURES = ("characters_per_token", "tokens_per_word", "unknown_rate")

commands = App(name="tokenizer", help="A tokenizer: text to tokens and back.")


@commands.command(example="unmask tokenizer train texts/ more.jsonl.gz --vocab-size 8192 --output tokenizer")
def train(
    sources: options.TextFiles,
    output: Annotated[Path, typer.Option(help="The folder to write the tokenizer to.")],
    vocab_size: Annotated[int, typer.Option(help="The vocabulary size.")] = 8192,
    cased: Annotated[bool, typer.Option("--cased", help="Keep capital letters and accents.")] = False,
    min_frequency: Annotated[int, typer.Option(help="Minimum count of characters and of pairs of tokens.")] = 2,
    fold_width: Annotated[bool, typer.Option("--fold-width", help="Read full-width forms as ordinary ones.")] = False,
    simplify: Annotated[bool, typer.Option("--simplify", help="Traditional Chinese to simplified (extra zh).")] = False,
    text_column: options.TextColumn = "text",
    encoding: options.Encoding = None,
    on_error: options.OnError = "stop",
    as_json: options.AsJson = False,
) -> None:
    """Train a WordPiece vocabulary. The same text always gives the same vocabulary."""
    from unmask.data.corpus.documents import read_documents
    from unmask.text.tokenizer import Tokenizer

    _check_folder(output)
    with console.start_step("Tokenizer") as work:
        documents = read_documents(sources, column=text_column, on_error=on_error, encoding=encoding)
        tokenizer = Tokenizer.train(
            (document.text for document in documents),
            vocab_size=vocab_size,
            lowercase=not cased,
            min_frequency=min_frequency,
            fold_width=fold_width,
            simplify=simplify,
            progress=work,
        )
        tokenizer.save_pretrained(output)
        result = {"tokenizer": str(output), **_training(tokenizer), "seconds": round(work.elapsed, 3)}
        work.result(
            "{tokenizer[vocab_size]:,} tokens · {tokenizer[characters_per_token]:.2f} characters per token · "
            "{tokenizer[unknown_rate]:.2%} unknown",
            result,
        )
    print_result(as_json, result, _show_training)


def _check_folder(output: Path) -> None:
    """Raises UserError where a tokenizer would spoil what is there."""
    files.check_file(output / "tokenizer.json")
    theirs = next((name for name in ("unmask.json", "run.json", "manifest.json") if (output / name).exists()), None)
    if theirs is not None:
        raise UserError(
            "{out} contains a model, a run or a corpus, which depend on their tokenizer",
            output,
            given=f"{theirs} is there",
            hint="choose another --output folder",
        )


def _settings(tokenizer: "Tokenizer") -> dict[str, Any]:
    names = ("vocab_size", "fold_width", "simplify", "sha256")
    return {"cased": not tokenizer.lowercase, **{name: getattr(tokenizer, name) for name in names}}


def _training(tokenizer: "Tokenizer") -> dict[str, Any]:
    """The settings of a trained tokenizer, and the figures of the training text."""
    assert tokenizer.training is not None
    summary = asdict(tokenizer.training)
    figures = {name: getattr(tokenizer.training.statistics, name) for name in FIGURES}
    return {
        **_settings(tokenizer),
        "documents": summary.pop("texts"),
        **summary.pop("statistics"),
        **figures,
        **summary,
    }


def _show_training(result: dict[str, Any]) -> None:
    console.facts(result | {"dropped_characters": len(result["dropped_characters"]), "tokens": None})
    console.print_text("next: unmask corpus build FILES --tokenizer {tokenizer} --output corpus", result["tokenizer"])


@commands.command(example='unmask tokenizer inspect tokenizer "Shares rose after the merger."')
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="TOKENIZER", help="Its folder, tokenizer.json or vocab.txt.")],
    text: Annotated[str | None, typer.Argument(help="A text to tokenize.")] = None,
    pair: Annotated[str | None, typer.Option(help="A second text.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Describe a tokenizer, or show the tokens of a text and their positions."""
    from unmask.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(folder)
    if text is None:
        print_result(as_json, {"tokenizer": str(folder), **_facts(tokenizer)}, console.facts)
    else:
        tokens = _tokens(tokenizer, text, pair)
        result = {"tokenizer": str(folder), "text": text, "pair": pair, "tokens": tokens}
        print_result(as_json, result, _show_tokens)


def _show_tokens(result: dict[str, Any]) -> None:
    rows = [
        (row["token"], row["id"], row["characters"], f"{row['start']}-{row['end']}", row["word_id"])
        for row in result["tokens"]
    ]
    console.table(("token", "id", "text", "position", "word"), rows)


def _facts(tokenizer: "Tokenizer") -> dict[str, Any]:
    ordinary = tokenizer.text_token_ids.tolist()
    starts = int(tokenizer.word_start[ordinary].sum())
    lengths = {tokenizer.id_to_token(number): len(tokenizer.token_text(number).strip()) for number in ordinary}
    return {
        "kind": tokenizer.kind,
        **_settings(tokenizer),
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        "special_tokens": {tokenizer.id_to_token(number): number for number in tokenizer.all_special_ids},
        "single_characters": sum(length == 1 for length in lengths.values()),
        "word_starts": starts,
        "continuations": len(ordinary) - starts,
        "longest_tokens": sorted(lengths, key=lambda token: (-lengths[token], token))[:LONGEST],
    }


def _tokens(tokenizer: "Tokenizer", text: str, pair: str | None) -> list[dict[str, Any]]:
    """The tokens of a text or a pair, with the characters that each stands for."""
    encoded = tokenizer.encode(text, pair)
    rows = zip(encoded.input_ids, encoded.token_type_ids, encoded.offsets, encoded.word_ids, strict=True)
    tokens = []
    for place, (number, token_type, (start, end), word) in enumerate(rows):
        source = text if encoded.pair_start is None or place < encoded.pair_start else pair or ""
        tokens.append(
            {
                "token": tokenizer.id_to_token(number),
                "id": number,
                "token_type_id": token_type,
                "start": start,
                "end": end,
                "characters": source[start:end].encode("utf-8", "replace").decode("utf-8"),
                "word_id": word,
            }
        )
    return tokens
