"""`unmask corpus`: build a corpus of token shards from text files, and say what is in one."""

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.help import App
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import join, message
from unmask.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.data.corpus.documents import Document

FREQUENT = 12  # pieces shown on the terminal; --json has them all
SOURCES = 12

noun = App(help="A corpus: text files as token shards, ready for pretraining.")


def register(app: App) -> None:
    app.add_typer(noun, name="corpus")


@noun.command(example="unmask corpus build texts/ more.jsonl.gz --tokenizer tokenizer --output corpus --keep 20%")
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="txt, jsonl, csv or tsv files, also .gz or .zst; folders; globs; - for standard input.",
        ),
    ],
    tokenizer: Annotated[Path, typer.Option(help="The tokenizer's folder (unmask tokenizer train).")],
    output: Annotated[Path, typer.Option(help="The corpus folder to create, or to continue.")],
    text_column: Annotated[str, typer.Option(help="The CSV column or JSON key that holds the text.")] = "text",
    split: Annotated[
        str, typer.Option(help="Separator of documents in plain text: blank (lines), line, file.")
    ] = "blank",
    words: Annotated[
        str,
        typer.Option(
            help="Words of Chinese text, for whole-word masks: learn, jieba, none, or a file of words; "
            "auto: learn where the text is mostly Chinese."
        ),
    ] = "auto",
    keep: Annotated[str, typer.Option(help="The share of the documents to keep, for example 20%.")] = "100%",
    by: Annotated[
        str, typer.Option(help="uniform: of all alike; source: as many of each source, as far as it goes.")
    ] = "uniform",
    seed: Annotated[int, typer.Option(help="Random seed of --keep.")] = 0,
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of the files; UTF-8 if not given, or UTF-16 or GB18030 where detected."),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Action on an unreadable line: stop, or skip (the number is reported).")
    ] = "stop",
    restart: Annotated[bool, typer.Option(help="Remove an earlier corpus in --output first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tokenise text files into a corpus folder.

    Stopped at any moment, the same command goes on where it stopped and ends with the same files.
    """
    from unmask.data.corpus import shards
    from unmask.data.corpus.sample import parse_share
    from unmask.data.corpus.wholewords import describe_words, load_words
    from unmask.data.textfiles import find_files, text_bytes
    from unmask.text.tokenizer import Tokenizer

    loaded = Tokenizer.from_pretrained(tokenizer)
    share = parse_share(keep)
    files = find_files(sources)
    reading = {"column": text_column, "split": split, "on_error": on_error}
    if encoding is not None:
        reading["encoding"] = encoding
    sample = {"keep": share, "by": by, "seed": seed} if share < 1 or by != "uniform" else None
    size = text_bytes(files)
    with console.start_step("Corpus") as work:
        cut = load_words(
            words, lambda: _documents(files, reading, sample, work), restart="-" not in files, progress=work
        )
        built = shards.build(
            _documents(files, reading, sample, work),
            loaded,
            output,
            progress=work,
            total_bytes=None if size is None else size * share,
            provenance={"unmask": __version__, "files": sources, **reading, "sample": sample},
            restart=restart,
            words=cut,
        )
        left_out = built.manifest["skipped"]
        counts = message("{built.documents:,} documents · {built.tokens:,} tokens", built)
        empty = message("{count:,} empty documents skipped", left_out) if left_out else None
        work.result(join([counts, console.size(built.manifest["bytes"]), describe_words(cut) if cut else None, empty]))
    if as_json:
        totals = {key: built.manifest[key] for key in ("documents", "tokens", "bytes", "skipped")}
        words_from = built.manifest["settings"].get("words")
        console.print_text(json.dumps({"corpus": str(output), **totals, "words": words_from, "sha256": built.sha256}))
    else:
        console.print_text(str(output))
        console.note("what is in it: unmask corpus stats {out}", shlex.quote(str(output)))


def _documents(
    files: list[str], reading: dict[str, Any], sample: dict[str, Any] | None, work: console.Progress
) -> "Iterator[Document]":
    """The documents of the files, or the sample of them; counts them first where the sample asks for it."""
    from unmask.data.corpus.documents import read_documents
    from unmask.data.corpus.sample import sample_documents

    documents = read_documents(files, **reading)
    if sample is None:
        return documents
    counts = None
    if sample["by"] == "source" and "-" not in files:
        work.show("counting the documents of each source")
        counts = Counter(document.source for document in read_documents(files, **reading))
    return sample_documents(documents, sample["keep"], by=sample["by"], seed=sample["seed"], counts=counts)


@noun.command(example="unmask corpus stats corpus")
def stats(
    corpus: Annotated[Path, typer.Argument(metavar="DIR", help="A corpus folder (unmask corpus build).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Verify the checksums of a corpus and show its statistics."""
    from unmask.data.corpus.shards import Shards

    if corpus.is_file():
        raise UserError(
            "{corpus} is a file, not a built corpus",
            corpus,
            hint=f"unmask corpus build {shlex.quote(str(corpus))} --tokenizer DIR --output DIR",
        )
    if not corpus.exists() and corpus.parent.is_dir():
        neighbour = suggest(corpus.name, (path.name for path in corpus.parent.iterdir()))
        raise UserError("{corpus} does not exist", corpus, hint=did_you_mean(neighbour and corpus.parent / neighbour))
    with console.start_step("Corpus") as work:
        opened = Shards.open(corpus, check=True)
        found = opened.statistics(100)
        work.result("{shards:,} shards · checksums verified", len(opened.manifest["shards"]))
    if as_json:
        console.print_text(json.dumps(found, ensure_ascii=False))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    lengths = found["tokens_per_document"]
    quartiles = " · ".join(f"{lengths[key]:,.0f}" for key in lengths)
    documents = f"{found['documents']:,}"
    if found["skipped"]:
        documents = message("{documents} ({empty:,} empty ones skipped)", documents, found["skipped"])
    size = console.size(found["bytes"])
    frequent = [f"{row['token']} {row['count'] / found['tokens']:.1%}" for row in found["frequent"]]
    facts = [
        ("documents", documents),
        ("tokens", f"{found['tokens']:,}"),
        ("text", message("{size}, {corpus[characters_per_token]:.2f} characters per token", size, found)),
        ("tokens per document", message("{quartiles} (least · quartiles · most)", quartiles)),
        ("unknown", message("{corpus[unknown_rate]:.3%} of the tokens", found)),
        (
            "unigram entropy",
            message("{corpus[unigram_entropy]:.3f} nats per token, by frequency alone", found),
        ),
        ("uniform", message("{corpus[uniform_entropy]:.3f} nats: ln {corpus[vocab_size]:,}", found)),
        ("most frequent", "  ".join(frequent[:FREQUENT])),
    ]
    console.facts(facts, width=20)
    sources = sorted(found["sources"], key=lambda source: -source["tokens"])
    console.table(
        ("source", "documents", "tokens", "share"),
        [
            (row["name"], row["documents"], row["tokens"], f"{row['tokens'] / found['tokens']:.1%}")
            for row in sources[:SOURCES]
        ],
    )
    if len(sources) > SOURCES:
        console.print_text("and {sources:,} more sources (--json shows all)", len(sources) - SOURCES)
