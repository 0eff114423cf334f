"""What a quick start runs on: a job with public data, or one's own files; and step 2, which gets them."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.console import Progress
from unmask.data.corpus import documents as corpus
from unmask.data.public import datasets as public
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import RowKind
from unmask.data.rows.options import ReadOptions
from unmask.data.textfiles import find_files
from unmask.errors import UserError, did_you_mean, suggest
from unmask.tasks import task_of
from unmask.train.budget import Budget
from unmask.train.rows import RowReader, same_scheme

READING_SPEED = 12_000  # bytes of text a second of budget, about, on two cores; only decides how much text to take
# more text is added where the budget would read what there is more often than this: text like the task's own, read
# many times with other masks, brings the task more than other text (Gururangan et al. 2020, section 4)
READINGS = 30
VOCABULARY = 8192
BYTES_PER_PIECE = 200  # with less text per piece, most pieces would be seen too rarely to be learnt


@dataclass(frozen=True)
class PublicJob:
    """Labelled rows and the text to pretrain on, nearest first: names of public data. No text holds test rows.

    name: what the command line calls it; task: what the encoder is fine-tuned for, classify or tag.
    """

    language: str
    name: str
    title: str
    rows: str
    text: tuple[str, ...]
    task: str = "classify"


# the first of each language is its default
JOBS = {
    (job.language, job.name): job
    for job in (
        PublicJob("en", "topics", "Topics of Reuters news", "reuters-r8", ("reuters-r52", "newsgroups")),
        PublicJob("en", "reviews", "Film reviews, fresh or rotten", "reviews", ("reviews", "friends", "newsgroups")),
        PublicJob("zh", "pos", "Parts of speech, People's Daily", "zh-pos", ("zh-pos", "zh-reviews"), task="tag"),
        PublicJob("zh", "reviews", "Chinese product reviews", "zh-reviews", ("zh-reviews", "zh-pos")),
    )
}
OWN_TASKS = ("classify", "tag")
TAGGED = (".conll", ".conllu", ".bio", ".iob", ".bioes", ".bmes")  # files of one's own that hold tags
LANGUAGES = tuple(dict.fromkeys(language for language, _ in JOBS))


def tasks_of(language: str) -> list[str]:
    """The names of the jobs of a language, its default first."""
    return [name for its, name in JOBS if its == language]


@dataclass(frozen=True)
class Request:
    """One quick start as asked for. With `train` and `test` (and `text`) it runs on one's own files.

    task: a job of the language, its first if not given; for one's own files classify or tag, by the kind of
    the training file if not given; reading: how to read one's own labelled files; start: a public checkpoint to
    fine-tune beside the own encoder, a name in PUBLIC_MODELS or what `bundle.read` takes. Raises UserError for an
    unknown language or task, a budget that is no time, or own files that are not complete.
    """

    task: str | None = None
    budget: str = "5m"
    output: Path | None = None
    text: tuple[str, ...] = ()
    train: str | None = None
    test: str | None = None
    next_sentence: bool = False
    whole_words: bool = False
    seed: int = 0
    language: str = "en"
    read_options: ReadOptions = field(default_factory=ReadOptions)
    start: str | None = None

    def __post_init__(self) -> None:
        if not self.own_files and self.read_options != ReadOptions():
            raise UserError(
                "how to read labelled files was given, but no files of one's own",
                hint="--text FILES --train FILE --test FILE",
            )
        if self.language not in LANGUAGES:
            raise UserError("the quick start has no language {language}", self.language, allowed=", ".join(LANGUAGES))
        allowed = OWN_TASKS if self.own_files else tasks_of(self.language)
        if self.task is not None and self.task not in allowed:
            raise UserError(
                "{task} is not a task of the quick start",
                self.task,
                allowed=", ".join(allowed),
                hint=[did_you_mean(suggest(self.task, allowed)), _elsewhere(self.task, self.language)],
            )
        try:
            unit = Budget.parse(self.budget).unit
        except ValueError:
            unit = "steps"
        if unit != "seconds":
            raise UserError("the budget of a quick start is a time", given=self.budget, allowed="20s, 5m, 1h30m")
        given = {"--text": self.text, "--train": self.train, "--test": self.test}
        missing = [name for name, value in given.items() if not value]
        if missing and len(missing) < len(given):
            raise UserError(
                "one's own files need {given}",
                ", ".join(given),
                given=[", ".join(name for name, value in given.items() if value), f"missing: {', '.join(missing)}"],
            )

    @property
    def own_files(self) -> bool:
        return self.train is not None

    @property
    def seconds(self) -> float:
        return Budget.parse(self.budget).amount

    @property
    def job(self) -> PublicJob:
        """What is done with public data."""
        return JOBS[self.language, self.task or tasks_of(self.language)[0]]

    @property
    def learns(self) -> str:
        """The task that is fine-tuned for: classify or tag."""
        if not self.own_files:
            return self.job.task
        return self.task or ("tag" if _is_tagged(str(self.train)) else "classify")

    @property
    def reads(self) -> RowKind:
        return task_of(self.learns).reads

    @property
    def folder(self) -> Path:
        if self.output is not None:
            return self.output
        language = "" if self.language == "en" else f"{self.language}-"
        return Path("runs") / f"quickstart-{language}{'own' if self.own_files else self.job.name}"

    @property
    def title(self) -> str:
        return "Your own files" if self.own_files else self.job.title

    @property
    def command(self) -> str:
        """The command line that asks for the same, but for the folder."""
        parts = ["unmask", "quickstart"]
        parts += ["--lang", self.language] if self.language != "en" else []
        if self.own_files:
            texts = [part for name in self.text for part in ("--text", name)]
            parts += [*texts, "--train", str(self.train), "--test", str(self.test)]
            parts += ["--task", self.task] if self.task else []
            parts += _options(self.read_options)
        else:
            parts += ["--task", self.job.name]
        parts += ["--budget", self.budget]
        parts += ["--next-sentence"] if self.next_sentence else []
        parts += ["--whole-words"] if self.whole_words else []
        parts += ["--from", self.start] if self.start else []
        parts += ["--seed", str(self.seed)] if self.seed else []
        return shlex.join(parts)


def _options(reading: ReadOptions) -> list[str]:
    """The command line options that say how to read rows."""
    names = {name: "data-format" if name == "format" else name.replace("_", "-") for name in reading.changed}
    return [part for name, value in reading.changed.items() for part in (f"--{names[name]}", value)]


def _elsewhere(task: str, language: str) -> str | None:
    others = [its for its, name in JOBS if name == task and its != language]
    return f"--lang {others[0]}" if others else None


def _is_tagged(path: str) -> bool:
    return any(suffix in TAGGED for suffix in Path(path).suffixes)


@dataclass(frozen=True)
class Material:
    """The files of a quick start, and what results.json says of them. dev: None where it is a part of train."""

    text: list[str]
    train: str
    test: str
    corpora: list[dict[str, Any]]
    rows: dict[str, Any]
    dev: str | None = None
    cached: bool = False
    read_options: ReadOptions = field(default_factory=ReadOptions)

    def documents(self) -> Iterator[corpus.Document]:
        """The text to pretrain on."""
        return corpus.read_documents(
            self.text, encoding=self.read_options.encoding, on_error=self.read_options.on_error
        )

    @property
    def bytes(self) -> int:
        return sum(row["bytes"] for row in self.corpora)

    @property
    def vocabulary(self) -> int:
        return max(300, min(VOCABULARY, self.bytes // BYTES_PER_PIECE))


def gather_data(request: Request, progress: Progress, reader: RowReader) -> Material:
    """Step 2: the files that a request is about, fetched where they are public."""
    if request.own_files:
        return _own(request, reader)
    job = request.job
    rows = public.download(job.rows, progress)
    fetched: list[public.Fetched] = []
    for name in job.text:
        if fetched and READING_SPEED * request.seconds < READINGS * sum(one.bytes for one in fetched):
            break
        fetched.append(public.download(name, progress))
    assert rows.train is not None and rows.test is not None
    return Material(
        text=[str(one.text) for one in fetched],
        train=str(rows.train),
        dev=str(rows.dev) if rows.dev else None,
        test=str(rows.test),
        corpora=[_described(one) for one in fetched],
        rows={
            "name": rows.name,
            "train_rows": rows.train_rows,
            "dev_rows": rows.dev_rows,
            "test_rows": rows.test_rows,
            "labels": len(rows.labels),
            "source": public.PUBLIC[rows.name].source,
            "licence": public.PUBLIC[rows.name].licence,
            "defects": list(public.PUBLIC[rows.name].defects),
        },
        cached=all(one.cached for one in fetched),
    )


def _described(one: public.Fetched) -> dict[str, Any]:
    known = public.PUBLIC[one.name]
    return {
        "name": known.title,
        "documents": one.documents,
        "bytes": one.bytes,
        "source": known.source,
        "licence": known.licence,
    }


def _own(request: Request, reader: RowReader) -> Material:
    """One's own files: read once here, so that what is wrong with them is said before any work."""
    assert request.train is not None and request.test is not None
    if "-" in (*request.text, request.train, request.test):
        raise UserError("the quick start reads its files more than once", given="-", allowed="files")
    train = reader(request.train, request.read_options, request.reads, "train")
    options = same_scheme(request.read_options, train)
    labels = {label for example in train.examples for label in example.labels}
    unseen = reader(request.test, options, request.reads, "test").examples
    test, _ = check_targets(unseen, request.reads, labels, request.train, options.unknown)
    files = find_files(request.text)
    return Material(
        read_options=request.read_options,
        text=files,
        train=request.train,
        test=request.test,
        corpora=_counted(files, request.read_options),
        rows={
            "name": Path(request.train).name,
            "train_rows": len(train.examples),
            "test_rows": len(test),
            "labels": len(labels),
        },
    )


def _counted(patterns: Sequence[str], reading: ReadOptions) -> list[dict[str, Any]]:
    counts: dict[str, dict[str, Any]] = {}
    for document in corpus.read_documents(patterns, encoding=reading.encoding, on_error=reading.on_error):
        row = counts.setdefault(document.source, {"name": document.source, "documents": 0, "bytes": 0})
        row["documents"] += 1
        row["bytes"] += len(document.text.encode("utf-8", "replace"))
    return list(counts.values())
