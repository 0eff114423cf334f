"""What a quick start runs on: a job with public data, or one's own files; and step 2, which gets them."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from unmask.advice import option
from unmask.console import Progress
from unmask.data.corpus import documents as corpus
from unmask.data.public import datasets as public
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import RowKind
from unmask.data.rows.missing import for_labels
from unmask.data.rows.options import ReadOptions
from unmask.data.textfiles import find_files
from unmask.errors import UserError, did_you_mean, suggest
from unmask.tasks import task_of
from unmask.train.budget import Budget
from unmask.train.rows import RowReader, options_like

READING_SPEED = 12_000  # bytes of text a second of budget, about, on two cores; only decides how much text to take
# more text is added where the budget would read what there is more often than this: text like the task's own, read
# many times with other masks, brings the task more than other text (Gururangan et al. 2020, section 4)
READINGS = 30
VOCABULARY = 8192
BYTES_PER_TOKEN = 200  # with less text per token of the vocabulary, most would be seen too rarely to be learnt


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
OPTIONS = {"language": "lang", "start": "from", "format": "input-format"}  # of the others the name of the field


@dataclass(frozen=True)
class Request:
    """One quick start. With `train` and `test` (and `text`) it runs on one's own files.

    task: a job of the language, its first by default; for one's own files classify or tag, by default by the ending of
    the training file; read_options: how to read one's own labelled files; start: a public checkpoint to
    fine-tune beside the own encoder, a name in PUBLIC_MODELS or what `bundle.read` takes; allow_unused: ignore
    weights of it that no layer here has. Raises UserError for an unknown language or task, a budget that is no time, or
    own files that are not complete.
    """

    language: str = "en"
    text: tuple[str, ...] = ()
    train: str | None = None
    test: str | None = None
    task: str | None = None
    read_options: ReadOptions = field(default_factory=ReadOptions)
    budget: str = "5m"
    output: Path | None = None
    next_sentence: bool = False
    whole_words: bool = False
    start: str | None = None
    seed: int = 0
    allow_unused: bool = False

    def __post_init__(self) -> None:
        own = {option(name) or name: getattr(self, name) for name in ("text", "train", "test")}
        missing = [name for name, value in own.items() if not value]
        if 0 < len(missing) < len(own) or (missing and self.read_options != ReadOptions()):
            raise UserError("your own files need {options}", ", ".join(own), given=f"missing: {', '.join(missing)}")
        if self.language not in LANGUAGES:
            raise UserError("the quick start has no language {language}", self.language, allowed=", ".join(LANGUAGES))
        jobs = [name for language, name in JOBS if language == self.language]
        allowed = OWN_TASKS if self.own_files else jobs
        if self.task is not None and self.task not in allowed:
            others = [option("lang", language, python="language") for language, name in JOBS if name == self.task]
            raise UserError(
                "{task} is not a task of the quick start",
                self.task,
                allowed=", ".join(allowed),
                hint=[did_you_mean(suggest(self.task, allowed)), *others],
            )
        if not self.own_files and self.task is None:
            object.__setattr__(self, "task", jobs[0])
        try:
            unit = Budget.parse(self.budget).unit
        except ValueError:
            unit = "steps"
        if unit != "seconds":
            raise UserError("the budget of a quick start is a time", given=self.budget, allowed="20s, 5m, 1h30m")

    @property
    def own_files(self) -> bool:
        return self.train is not None

    @property
    def seconds(self) -> float:
        return Budget.parse(self.budget).amount

    @property
    def job(self) -> PublicJob:
        """What is done with public data."""
        return JOBS[self.language, str(self.task)]

    @property
    def learns(self) -> str:
        """The task that is fine-tuned for: classify or tag."""
        if not self.own_files:
            return self.job.task
        return self.task or ("tag" if set(Path(str(self.train)).suffixes) & set(TAGGED) else "classify")

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
        """The command line of the same request, without the folder."""
        return shlex.join(["unmask", "quickstart", *_options(replace(self, output=None))])


def _options(request: Request) -> Iterator[str]:
    """The command line options of the settings that are not at their defaults, and the budget."""
    for one in fields(request):
        value = getattr(request, one.name)
        if isinstance(value, ReadOptions):
            settings = value.changed
        else:
            settings = {one.name: value} if value != one.default or one.name == "budget" else {}
        for name, setting in settings.items():
            for part in setting if isinstance(setting, tuple) else [setting]:
                yield f"--{OPTIONS.get(name, name.replace('_', '-'))}"
                yield from [] if part is True else [str(part)]


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
    def vocab_size(self) -> int:
        return max(300, min(VOCABULARY, self.bytes // BYTES_PER_TOKEN))


def gather_data(request: Request, progress: Progress, reader: RowReader) -> Material:
    """Step 2: the files of a request, fetched where they are public."""
    if request.own_files:
        return _own(request, reader)
    rows = public.download(request.job.rows, progress)
    texts: list[public.Fetched] = []
    for name in request.job.text:
        if texts and READING_SPEED * request.seconds < READINGS * sum(one.bytes for one in texts):
            break
        texts.append(public.download(name, progress))
    data = public.PUBLIC[rows.name]
    counts = {name: getattr(rows, name) for name in ("name", "train_rows", "dev_rows", "test_rows")}
    about = {"labels": len(rows.labels), "source": data.source, "licence": data.licence, "defects": list(data.defects)}
    return Material(
        text=[str(one.text) for one in texts],
        train=str(rows.train),
        dev=str(rows.dev) if rows.dev else None,
        test=str(rows.test),
        corpora=[_corpus(one) for one in texts],
        rows=counts | about,
        cached=all(one.cached for one in texts),
    )


def _corpus(text: public.Fetched) -> dict[str, Any]:
    data = public.PUBLIC[text.name]
    about = {"name": data.title, "source": data.source, "licence": data.licence}
    return about | {"documents": text.documents, "bytes": text.bytes}


def _own(request: Request, reader: RowReader) -> Material:
    """One's own files, read once here, so that what is wrong with them stops the run before any work."""
    assert request.train is not None and request.test is not None
    if "-" in (*request.text, request.train, request.test):
        raise UserError("the quick start reads its files more than once", given="-", allowed="files")
    train = reader(request.train, request.read_options, request.reads, "train", frozenset())
    options, detected = options_like(request.read_options, train)
    labels = {label for example in train.examples for label in example.labels}
    heldout = for_labels(options, labels)
    unseen = reader(request.test, heldout, request.reads, "test", detected).examples
    test, _ = check_targets(unseen, request.reads, labels, request.train, options.unknown)
    rows = {"name": Path(request.train).name, "train_rows": len(train.examples), "test_rows": len(test)}
    material = Material(
        read_options=request.read_options,
        text=find_files(request.text),
        train=request.train,
        test=request.test,
        corpora=[],
        rows=rows | {"labels": len(labels)},
    )
    counts: dict[str, dict[str, Any]] = {}
    for document in material.documents():
        row = counts.setdefault(document.source, {"name": document.source, "documents": 0, "bytes": 0})
        row["documents"] += 1
        row["bytes"] += len(document.text.encode("utf-8", "replace"))
    return replace(material, corpora=list(counts.values()))
