"""`unmask corpus`: build a corpus of token shards from text files, and say what is in one."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.errors import UserError, suggest
from unmask.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.data.corpus.documents import Document

FREQUENT = 12  # pieces shown on the terminal; --json has them all
SOURCES = 12

noun = typer.Typer(help="A corpus: text files as token shards, ready for pretraining.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(noun, name="corpus")


@noun.command(epilog="Example: unmask corpus build texts/ more.jsonl.gz --tokenizer tokenizer --out corpus --keep 20%")
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="txt, jsonl, csv or tsv files, also .gz or .zst; folders; globs; - for standard input.",
        ),
    ],
    tokenizer: Annotated[Path, typer.Option(help="The tokenizer's folder (unmask tokenizer train).")],
    out: Annotated[Path, typer.Option(help="The corpus folder to make, or to go on with.")],
    column: Annotated[str, typer.Option(help="The CSV column or JSON key that holds the text.")] = "text",
    split: Annotated[
        str, typer.Option(help="What parts the documents of plain text: blank (lines), line, file.")
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
    seed: Annotated[int, typer.Option(help="Chooses the documents that --keep keeps.")] = 0,
    encoding: Annotated[
        str | None,
        typer.Option(help="Of the files; without it UTF-8, and UTF-16 or GB18030 where they are found out."),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="A line that cannot be read: stop, or skip (the number is reported).")
    ] = "stop",
    restart: Annotated[bool, typer.Option(help="Remove an earlier corpus in --out first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tokenise text files into a corpus folder.

    Stopped at any moment, the same command goes on where it stopped and ends with the same files.
    """
    from unmask.data.corpus import shards
    from unmask.data.corpus.wholewords import describe_words, load_words
    from unmask.data.textfiles import find_files, text_bytes
    from unmask.text.sample import parse_share
    from unmask.text.tokenizer import Tokenizer

    loaded = Tokenizer.from_pretrained(tokenizer)
    share = parse_share(keep)
    files = find_files(sources)
    reading = {"column": column, "split": split, "on_error": on_error}
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
            out,
            progress=work,
            total_bytes=None if size is None else size * share,
            provenance={"unmask": __version__, "files": sources, **reading, "sample": sample},
            restart=restart,
            words=cut,
        )
        left_out = built.manifest["skipped"]
        work.result(
            f"{built.documents:,} documents · {built.tokens:,} tokens · "
            f"{console.size(built.manifest['bytes'])}"
            + (f" · {describe_words(cut)}" if cut else "")
            + (f" · {left_out:,} empty left out" if left_out else "")
        )
    if as_json:
        totals = {key: built.manifest[key] for key in ("documents", "tokens", "bytes", "skipped")}
        words_from = built.manifest["settings"].get("words")
        console.print_text(json.dumps({"corpus": str(out), **totals, "words": words_from, "sha256": built.sha256}))
    else:
        console.print_plain(str(out))
        console.note(f"what is in it: unmask corpus stats {shlex.quote(str(out))}")


def _documents(
    files: list[str], reading: dict[str, Any], sample: dict[str, Any] | None, work: console.Progress
) -> "Iterator[Document]":
    """The documents of the files, or the sample of them; counts them first where the sample asks for it."""
    from unmask.data.corpus.documents import read_documents
    from unmask.text.sample import count_by_source, sample_documents

    documents = read_documents(files, **reading)
    if sample is None:
        return documents
    counts = None
    if sample["by"] == "source" and "-" not in files:
        work.show("counting the documents of each source")
        counts = count_by_source(read_documents(files, **reading))
    return sample_documents(documents, sample["keep"], by=sample["by"], seed=sample["seed"], counts=counts)


@noun.command(epilog="Example: unmask corpus stats corpus")
def stats(
    corpus: Annotated[Path, typer.Argument(metavar="DIR", help="A corpus folder (unmask corpus build).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what is in a corpus, after checking the checksum of every file."""
    from unmask.data.corpus.shards import Shards

    if corpus.is_file():
        raise UserError(
            f"{corpus} is a file, not a built corpus",
            to_build_one_of_it=f"unmask corpus build {shlex.quote(str(corpus))} --tokenizer DIR --out DIR",
        )
    if not corpus.exists() and corpus.parent.is_dir():
        neighbour = suggest(corpus.name, (path.name for path in corpus.parent.iterdir()))
        raise UserError(f"{corpus} does not exist", did_you_mean=neighbour and corpus.parent / neighbour)
    with console.start_step("Corpus") as work:
        opened = Shards.open(corpus, check=True)
        found = opened.statistics(100)
        work.result(f"{len(opened.manifest['shards']):,} shards · checksums verified")
    if as_json:
        console.print_text(json.dumps(found, ensure_ascii=False))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    lengths = found["tokens_per_document"]
    quartiles = " · ".join(f"{lengths[key]:,.0f}" for key in lengths)
    left_out = f" ({found['skipped']:,} empty ones were left out)" if found["skipped"] else ""
    facts = [
        ("documents", f"{found['documents']:,}{left_out}"),
        ("tokens", f"{found['tokens']:,}"),
        ("text", f"{console.size(found['bytes'])}, {found['characters_per_token']:.2f} characters per token"),
        ("tokens per document", f"{quartiles} (least · quartiles · most)"),
        ("unknown", f"{found['unknown_rate']:.3%} of the tokens"),
        (
            "unigram entropy",
            f"{found['unigram_entropy']:.3f} nats per token: the loss of guessing by frequency",
        ),
        ("uniform", f"{found['uniform_entropy']:.3f} nats: ln {found['vocab_size']:,}"),
    ]
    console.facts(facts, width=20)
    pieces = "  ".join(f"{row['token']} {row['count'] / found['tokens']:.1%}" for row in found["frequent"][:FREQUENT])
    console.facts([("most frequent", console.Verbatim(pieces))], width=20)
    sources = sorted(found["sources"], key=lambda source: -source["tokens"])
    console.table(
        ("source", "documents", "tokens", "share"),
        [
            (row["name"], row["documents"], row["tokens"], f"{row['tokens'] / found['tokens']:.1%}")
            for row in sources[:SOURCES]
        ],
    )
    if len(sources) > SOURCES:
        console.print_text(f"and {len(sources) - SOURCES:,} more sources (--json shows all)")
