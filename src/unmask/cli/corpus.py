"""`unmask corpus`: build a corpus of token shards from text files, and say what is in one."""

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unmask import console
from unmask.cli.common import options
from unmask.cli.common.help import App
from unmask.cli.common.output import print_result
from unmask.messages import join, message
from unmask.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unmask.data.corpus.documents import Document

SHOWN = 12  # tokens and sources; --json has them all

commands = App(name="corpus", help="A corpus: text files as token shards, ready for pretraining.")


@commands.command(example="unmask corpus build texts/ more.jsonl.gz --tokenizer tokenizer --output corpus --keep 20%")
def build(
    sources: options.TextFiles,
    tokenizer: Annotated[Path, typer.Option(help="The tokenizer's folder (unmask tokenizer train).")],
    output: Annotated[Path, typer.Option(help="The corpus folder to create, or to continue.")],
    text_column: options.TextColumn = "text",
    split: options.Split = "blank",
    words: Annotated[str, typer.Option(help="Words of Chinese text: auto, learn, jieba, none, or a file.")] = "auto",
    keep: Annotated[str, typer.Option(help="Share of the documents to sample, for example 20%.")] = "100%",
    by: Annotated[str, typer.Option(help="How to sample: uniform, or source (as many of each source).")] = "uniform",
    seed: options.RandomSeed = 0,
    encoding: options.Encoding = None,
    on_error: options.OnError = "stop",
    restart: Annotated[bool, typer.Option("--restart", help="Remove an earlier corpus in --output first.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Tokenise text files into a corpus folder.

    Resumes after an interruption when the same command is run again, and writes the same files.
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
    reading |= {} if encoding is None else {"encoding": encoding}
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
        made = built.manifest
        counts = message("{built.documents:,} documents · {built.tokens:,} tokens", built)
        empty = message("{count:,} empty documents skipped", made["skipped"]) if made["skipped"] else None
        work.result(join([counts, console.size(made["bytes"]), describe_words(cut) if cut else None, empty]))
    totals = {key: made[key] for key in ("documents", "tokens", "bytes", "skipped")}
    result = {"corpus": output, **totals, "words": made["settings"].get("words"), "sha256": built.sha256}
    print_result(as_json, result, _show_built)


def _show_built(result: dict[str, Any]) -> None:
    console.print_text(str(result["corpus"]))
    console.note("to inspect it: unmask corpus stats {out}", shlex.quote(str(result["corpus"])))


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


@commands.command(example="unmask corpus stats corpus")
def stats(
    corpus: Annotated[Path, typer.Argument(metavar="DIR", help="A corpus folder (unmask corpus build).")],
    as_json: options.AsJson = False,
) -> None:
    """Verify the checksums of a corpus and show its statistics."""
    from unmask.data.corpus.shards import Shards

    with console.start_step("Corpus") as work:
        opened = Shards.open(corpus, check=True)
        found = opened.statistics(100)
        work.result("{shards:,} shards · checksums verified", len(opened.manifest["shards"]))
    print_result(as_json, found, _show)


def _show(found: dict[str, Any]) -> None:
    frequent = [f"{row['token']} {row['count'] / found['tokens']:.1%}" for row in found["frequent"][:SHOWN]]
    entropies = {name: f"{found[name]:.3f} nats" for name in ("unigram_entropy", "uniform_entropy")}
    console.facts(found | entropies | {"bytes": console.size(found["bytes"]), "frequent": frequent, "sources": None})
    sources = sorted(found["sources"], key=lambda source: -source["tokens"])
    console.table(
        ("source", "documents", "tokens", "share"),
        [
            (row["name"], row["documents"], row["tokens"], f"{row['tokens'] / found['tokens']:.1%}")
            for row in sources[:SHOWN]
        ],
    )
    if len(sources) > SHOWN:
        console.print_text("and {sources:,} more sources (--json shows all)", len(sources) - SHOWN)
