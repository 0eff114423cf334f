"""`unmask tokenizer`: train a vocabulary on text files, and look into one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console, files
from unmask.cli.help import App
from unmask.errors import UserError
from unmask.messages import message, translate, verbatim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unmask.data.corpus.documents import Document
    from unmask.text.tokenizer import Tokenizer

LONGEST = 8  # pieces shown
DROPPED = 24  # characters shown

noun = App(help="A tokenizer: text to tokens and back.")


def register(app: App) -> None:
    app.add_typer(noun, name="tokenizer")


@noun.command(example="unmask tokenizer train texts/ more.jsonl.gz --vocab-size 8192 --output tokenizer")
def train(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="txt, jsonl, csv or tsv files, also .gz or .zst; folders; globs; - for standard input.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The folder to write the tokenizer to.")],
    vocab_size: Annotated[int, typer.Option(help="The vocabulary size.")] = 8192,
    cased: Annotated[bool, typer.Option("--cased", help="Keep capital letters and accents.")] = False,
    min_frequency: Annotated[int, typer.Option(help="Minimum count of characters and of pairs of tokens.")] = 2,
    fold_width: Annotated[
        bool, typer.Option("--fold-width", help="Read full- and half-width forms as the ordinary characters.")
    ] = False,
    simplify: Annotated[
        bool,
        typer.Option("--simplify", help="Read traditional Chinese characters as simplified (extra zh)."),
    ] = False,
    text_column: Annotated[str, typer.Option(help="The CSV column or JSON key that holds the text.")] = "text",
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of the files; UTF-8 if not given, or UTF-16 or GB18030 where detected."),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Action on an unreadable line: stop, or skip (the number is reported).")
    ] = "stop",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a WordPiece vocabulary. The same text always gives the same vocabulary."""
    from unmask.data.corpus import documents as corpus
    from unmask.text.tokenizer import Tokenizer

    _check_folder(output)
    with console.start_step("Tokenizer") as work:
        tokenizer = Tokenizer.train(
            _texts(corpus.read_documents(sources, column=text_column, on_error=on_error, encoding=encoding)),  # type: ignore[arg-type]
            vocab_size=vocab_size,
            lowercase=not cased,
            min_frequency=min_frequency,
            fold_width=fold_width,
            simplify=simplify,
            progress=work,
        )
        tokenizer.save_pretrained(output)
        result = _training(tokenizer)
        work.result(
            "{tokenizer[vocab_size]:,} tokens · {tokenizer[characters_per_token]:.2f} characters per token · "
            "{tokenizer[unknown_rate]:.2%} unknown",
            result,
        )
    result = {"tokenizer": str(output), **result, "seconds": round(work.elapsed, 3)}
    if as_json:
        console.print_text(json.dumps(result))
        return
    _say_training(result)


def _check_folder(output: Path) -> None:
    """Raises UserError where a tokenizer would spoil what is there."""
    files.check_file(output / "tokenizer.json")
    theirs = next((name for name in ("unmask.json", "run.json", "manifest.json") if (output / name).exists()), None)
    if theirs is not None:
        raise UserError(
            "{out} holds a model, a run or a corpus, which belong to the tokenizer that they were made with",
            output,
            given=f"{theirs} is there",
            hint="choose another --output folder",
        )


def _texts(documents: "Iterable[Document]") -> "Iterator[str]":
    return (document.text for document in documents)


def _training(tokenizer: "Tokenizer") -> dict[str, Any]:
    training = tokenizer.training
    assert training is not None
    statistics = training.statistics
    return {
        "vocab_size": tokenizer.vocab_size,
        "cased": not tokenizer.lowercase,
        "fold_width": tokenizer.fold_width,
        "simplify": tokenizer.simplify,
        "sha256": tokenizer.sha256,
        "documents": training.texts,
        "characters": statistics.characters,
        "words": statistics.words,
        "distinct_words": training.distinct_words,
        "tokens": statistics.tokens,
        "characters_per_token": statistics.characters_per_token,
        "tokens_per_word": statistics.tokens_per_word,
        "unknown_rate": statistics.unknown_rate,
        "alphabet": training.alphabet,
        "dropped_characters": training.dropped_characters,
        "dropped_words": training.dropped_words,
        "forgotten_words": training.forgotten_words,
    }


def _say_training(result: dict[str, Any]) -> None:
    rows = [
        (
            "tokens",
            message("{tokenizer[vocab_size]:,}, with {tokenizer[alphabet]:,} single characters", result),
        ),
        ("characters per token", f"{result['characters_per_token']:.2f}"),
        ("tokens per word", f"{result['tokens_per_word']:.2f}"),
        ("unknown words", f"{100 * result['unknown_rate']:.3f} %"),
        ("text", message("{tokenizer[documents]:,} documents, {tokenizer[words]:,} words", result)),
        ("time", console.seconds(result["seconds"])),
        ("sha256", result["sha256"]),
    ]
    console.table(["tokenizer", verbatim(result["tokenizer"])], [(translate(name), value) for name, value in rows])
    dropped = result["dropped_characters"]
    if dropped:
        shown = " ".join(dropped[:DROPPED]) + (" ..." if len(dropped) > DROPPED else "")
        console.note(
            "{dropped:,} rare characters are not in the alphabet; the {dropped_words:,} words with "
            "them become [UNK]: {shown}",
            len(dropped),
            result["dropped_words"],
            shown,
        )
    if result["forgotten_words"]:
        console.note("{tokenizer[forgotten_words]:,} rare words were not counted, to save memory", result)
    console.print_text("next: unmask corpus build FILES --tokenizer {tokenizer} --output corpus", result["tokenizer"])


@noun.command(example='unmask tokenizer inspect tokenizer "Shares rose after the merger."')
def inspect(
    folder: Annotated[
        Path,
        typer.Argument(metavar="TOKENIZER", help="A tokenizer's folder, its tokenizer.json or its vocab.txt."),
    ],
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="A text to tokenize.")] = None,
    pair: Annotated[str | None, typer.Option(help="A second text.")] = None,
    special_tokens: Annotated[
        bool, typer.Option("--special-tokens", help="Read [MASK] in the text as the mask.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Describe a tokenizer, or show the tokens of a text and their positions."""
    from unmask.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(folder)
    facts = _facts(tokenizer) if text is None else _pieces(tokenizer, text, pair, special_tokens)
    if as_json:
        console.print_text(json.dumps({"tokenizer": str(folder), **facts}))
    elif text is None:
        console.table(
            ["tokenizer", verbatim(str(folder))],
            [(translate(key.replace("_", " ")), _shown(facts[key])) for key in facts],
        )
    else:
        rows = [
            (row["token"], row["id"], row["characters"], f"{row['start']}-{row['end']}", _shown(row["word_id"]))
            for row in facts["tokens"]
        ]
        console.table(["token", "id", "stands for", "position", "word"], rows)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return translate("yes" if value else "no")
    if isinstance(value, dict):
        return "  ".join(f"{key} {number}" for key, number in value.items())
    return "  ".join(value) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else str(value)


def _facts(tokenizer: "Tokenizer") -> dict[str, Any]:
    special = set(tokenizer.all_special_ids)
    ordinary = [number for number in range(tokenizer.vocab_size) if number not in special]
    starts = int(tokenizer.word_start[ordinary].sum())
    pieces = [(len(tokenizer.token_text(number).strip()), tokenizer.id_to_token(number)) for number in ordinary]
    longest = [piece for _, piece in sorted(pieces, key=lambda item: (-item[0], item[1]))[:LONGEST]]
    example = "An unmasked word: Überraschung, 你好!"
    encoded = tokenizer.encode(example)
    return {
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "cased": not tokenizer.lowercase,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        "fold_width": tokenizer.fold_width,
        "simplify": tokenizer.simplify,
        "special_tokens": {tokenizer.id_to_token(number): number for number in tokenizer.all_special_ids},
        "single_characters": sum(length == 1 for length, _ in pieces),
        "word_starts": starts,
        "continuations": len(ordinary) - starts,
        "longest_tokens": longest,
        "example": example,
        "example_tokens": [tokenizer.id_to_token(number) for number in encoded.input_ids],
        "sha256": tokenizer.sha256,
    }


def _pieces(tokenizer: "Tokenizer", text: str, pair: str | None, special_tokens: bool) -> dict[str, Any]:
    encoded = tokenizer.encode(text, pair, add_special_tokens=special_tokens)
    rows = []
    for place, (number, token_type, (start, end), word) in enumerate(
        zip(encoded.input_ids, encoded.token_type_ids, encoded.offsets, encoded.word_ids, strict=True)
    ):
        source = text if encoded.pair_start is None or place < encoded.pair_start else pair or ""
        rows.append(
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
    return {"text": text, "pair": pair, "tokens": rows}
