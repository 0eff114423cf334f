"""Sequence labelling: parts of speech, named entities, words of running text.

Tags are B-x, I-x and O over the units of the aligner (`spans.py`), predicted at the first piece of each unit
by a linear layer, with or without a linear-chain CRF above it. Decoding never gives a sequence that the
rules forbid. A long text is read in windows that overlap, and decoded as a whole. Entities that nest are
another way of decoding, in `spantag.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask.config import config, dump, setting
from unmask.data.batch import IGNORE_INDEX, SPECIAL_TOKEN, Batch, EncodedRow
from unmask.data.rows.conll import check_tags, read_tagged
from unmask.data.rows.memory import Source
from unmask.data.rows.records import format_by_name
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.tables import Example, Span, UnknownLabels, read_examples
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import tagscore
from unmask.tasks.crf import Grammar
from unmask.tasks.lattice import chunk_bounds, lattices
from unmask.tasks.spans import AlignmentErrors, Tags, Words, align_words
from unmask.tasks.taghead import (
    EDGE,
    SCORED,
    TagHead,
    TagLearner,
    WordRow,
    mean_loss,
    targets_per_sequence,
)
from unmask.tasks.tagscore import Measure, TagEvaluation
from unmask.tasks.task import Head, Logits, ReadOptions, Task, TaskLearner
from unmask.tasks.windows import Window, windows
from unmask.text.tokenizer import Encoding, Tokenizer


@config
class Tag:
    """Settings of sequence labelling."""

    name: Literal["tag"] = "tag"
    max_length: int = setting(
        default=128, ge=8, description="longest input in tokens; longer texts are read in windows"
    )
    stride: int | None = setting(
        default=None, ge=1, description="tokens from one window to the next; half of length if not given"
    )
    decoder: Literal["softmax", "crf", "spans"] = setting(
        default="softmax",
        description="each tag by itself, a linear-chain CRF over them, or a score for each span "
        "(Su et al. 2022, arXiv 2208.03054), so that entities may nest",
    )
    max_span_length: int | None = setting(
        default=None,
        ge=1,
        description="spans: the longest entity in words (Chinese: characters); that of the training data if not given",
    )
    flat: bool | None = setting(
        default=None,
        description="spans: of entities that overlap only the most probable one stays; as in the training data "
        "if not given",
    )
    wide: bool = setting(
        default=False,
        description="beside the network a linear model of pairs of pieces, which remembers words seen rarely",
    )
    wide_dropout: float = setting(
        default=0.0, ge=0, lt=1, description="wide: share of the pairs that are hidden in training"
    )
    lstm_hidden_size: int = setting(
        default=0,
        ge=0,
        description="width, in each direction, of a bidirectional LSTM above the encoder; 0: none",
    )
    crf_lr_factor: float = setting(
        default=10.0, gt=0, description="learning rate of the CRF's transitions, as a multiple of the rest's"
    )
    head_lr_factor: float = setting(
        default=1.0,
        gt=0,
        description="learning rate of the last layer and of the LSTM, as a multiple of the encoder's",
    )
    classifier_dropout: float = setting(default=0.1, ge=0, lt=1, description="before the last layer")
    label_smoothing: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the target spread over all tags (Szegedy et al. 2016, section 7); softmax only",
    )

    def __post_init__(self) -> None:
        if self.decoder == "crf" and self.label_smoothing:
            raise ValueError(f"label_smoothing {self.label_smoothing} is for decoder softmax; a CRF has no such target")
        if self.decoder == "spans" and (self.label_smoothing or self.wide or self.lstm_hidden_size):
            raise ValueError("label_smoothing, wide and lstm_hidden_size are about tags; decoder spans has none")
        if self.decoder != "spans" and (self.max_span_length, self.flat) != (None, None):
            raise ValueError(f"max_span and flat are for decoder spans, not for {self.decoder}")
        if self.stride is not None and self.stride > self.max_length - 2:
            raise ValueError(f"stride {self.stride} leaves tokens out: at most length - 2 = {self.max_length - 2}")

    @property
    def task(self) -> type[Task[Any]]:
        from unmask.tasks.spantag import NestedTask  # a TagTask, so that it comes after it

        return NestedTask if self.decoder == "spans" else TagTask


@dataclass(frozen=True)
class LabelledSpan:
    """A stretch of a text with its label; score: the probability of exactly this span with this label (of decoder
    spans the sigmoid of its score)."""

    label: str
    text: str
    start: int
    end: int
    score: float

    def __repr__(self) -> str:
        return (
            f"LabelledSpan(label={self.label!r}, text={self.text!r}, start={self.start}, stop={self.end}, "
            f"score={self.score:.2f})"
        )


class TagTask(Task[list[LabelledSpan]]):
    """How sentences become rows, and what is predicted for units becomes spans.

    plain: every token has a tag of its own (parts of speech); otherwise spans of any length are found.
    """

    settings: Tag
    kind = "tags"
    baseline = "frequent"
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "csv", "table", "conll")
    nested: ClassVar[bool] = False  # whether the spans of an example may overlap

    def __init__(self, settings: Tag, tokenizer: Tokenizer, labels: Sequence[str], tags_every_token: bool) -> None:
        super().__init__(settings, tokenizer, labels)
        self.tags_every_token = tags_every_token
        self.tags = Tags(self.labels)
        self.metric: Measure = "accuracy" if tags_every_token else "entity_f1"

    @classmethod
    def build(cls, settings: Tag, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        labels = sorted({span.label for example in train for span in example.spans or ()})
        if not labels:
            raise UserError(
                f"{train[0].source}: there is nothing to learn",
                given=f"{len(train):,} sentences without a single span",
                to_do="check the column of the tags (--tag-column)",
            )
        return cls(settings, tokenizer, labels, tagscore.is_plain(train))

    @classmethod
    def restore(cls, settings: Tag, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"], schema["scheme"] == "plain")

    @property
    def scheme(self) -> SchemeName:
        return "plain" if self.tags_every_token else "BIO"

    def schema(self) -> dict[str, Any]:
        return {**dump(self.settings), "labels": self.labels, "scheme": self.scheme}

    @property
    def head_settings(self) -> dict[str, Any]:
        return {"scheme": self.scheme}

    @property
    def public_architecture(self) -> tuple[str | None, list[str]]:
        # nobody else knows what is beside BERT's own head: the rest alone would be read as if it were the whole model
        chosen = self.settings
        alone = chosen.decoder == "softmax" and not (chosen.wide or chosen.lstm_hidden_size)
        name = "BertForTokenClassification" if alone else None
        return name, self.tags.tags

    @classmethod
    def read(cls, path: Source, read_options: ReadOptions) -> list[Example]:
        return read_tagged(
            path,
            columns=read_options.tags,
            names=read_options.columns,
            scheme=read_options.scheme,
            on_error=read_options.on_error,
            require_tags=True,
            encoding=read_options.encoding,
            format=read_options.format,
            nested=cls.nested,
        ).examples

    def read_test(self, path: Source, read_options: ReadOptions) -> list[Example]:
        scheme = "plain" if self.tags_every_token and read_options.scheme == "auto" else read_options.scheme
        return self.read(path, replace(read_options, scheme=scheme))

    def read_new(self, path: Source, read_options: ReadOptions) -> list[Example]:
        """CoNLL where the name of the file or the options say so; else rows, or a text a line."""
        kind = format_by_name(path) if read_options.format == "auto" else read_options.format
        if kind == "conll" or read_options.tags.token is not None or read_options.tags.tag is not None:
            return read_tagged(
                path,
                columns=read_options.tags,
                scheme="plain",
                on_error=read_options.on_error,
                encoding=read_options.encoding,
                say_tags=False,
                format="conll" if kind == "conll" else read_options.format,
            ).examples
        return read_examples(
            path,
            columns=read_options.columns,
            on_error=read_options.on_error,
            encoding=read_options.encoding,
            format=read_options.format,
        )

    @classmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        return check_tags(examples, labels, owner, unknown)

    def encode(self, examples: Sequence[Example]) -> list[EncodedRow]:
        """The windows of each text; a text without units has none. Spans that no tags stand for are said."""
        rows: list[EncodedRow] = []
        misfits, spans = AlignmentErrors(), 0
        every = self.tokenizer.encode_batch([example.text for example in examples])
        for number, (example, encoded) in enumerate(zip(examples, every, strict=True)):
            units = align_words(example.text, encoded, example.tokens)
            tags = None
            if example.spans is not None:
                tags, wrong = self.tags.encode(units, example.spans)
                misfits.add(example, wrong)
                spans += len(example.spans)
            rows += self._rows(encoded, units, tags, number)
        misfits.report(spans)
        return rows

    def _rows(
        self, encoded: Encoding, words: Words, tags: npt.NDArray[np.int64] | None, owner: int
    ) -> Iterator[WordRow]:
        ids = np.array(encoded.input_ids)
        for window in self._cut(words):
            whole, flags = self._window_input(ids, window)
            flags[0] |= EDGE * (window.first_word == 0)
            flags[-1] |= EDGE * (window.last_word == len(words))
            places = words.first_tokens[window.first_word : window.last_word] - window.start + 1
            flags[places] |= SCORED
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if tags is not None:
                wanted = np.full(len(whole), IGNORE_INDEX)
                wanted[places] = tags[window.first_word : window.last_word]
                targets["tag"] = wanted
            segments = np.zeros_like(whole)
            yield WordRow(whole, segments, flags, owner, owner=owner, targets=targets, words=words)

    def _cut(self, words: Words) -> list[Window]:
        """The windows in which a text is read."""
        room = self.settings.max_length - 2
        return windows(words.first_tokens, room, self.settings.stride or max(1, room // 2))

    def _window_input(
        self, ids: npt.NDArray[np.int64], window: Window
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """What is read in a window: its pieces between [CLS] and [SEP], and their flags."""
        inner = ids[window.start : window.end]
        whole = np.concatenate([[self.tokenizer.cls_token_id], inner, [self.tokenizer.sep_token_id]])
        flags = np.zeros(len(whole), dtype=np.uint8)
        flags[[0, -1]] = SPECIAL_TOKEN
        return whole, flags

    @property
    def grammar(self) -> Grammar:
        return Grammar(self.tags.start, self.tags.follows, self.tags.end, self.tags.within)

    def head(self, encoder: EncoderConfig) -> Head:
        chosen = self.settings
        return TagHead(
            encoder,
            self.grammar,
            chosen.classifier_dropout,
            crf=chosen.decoder == "crf",
            wide=chosen.wide,
            hidden=chosen.wide_dropout,
            lstm=chosen.lstm_hidden_size,
        )

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> TaskLearner:
        check_rows(train, rows)
        head = self.head(encoder.config)
        assert isinstance(head, TagHead)
        head.init_from_counts(rows)
        beside = {"head.wide.": head.wide, "head.lstm.": head.lstm}
        present = ["head.classifier.", *(prefix for prefix, part in beside.items() if part is not None)]
        factors = dict.fromkeys(present, self.settings.head_lr_factor)
        if head.crf is not None:
            factors["head.crf."] = self.settings.crf_lr_factor
        return TagLearner(encoder, head, self.settings.label_smoothing, factors)

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """(units, tags) for each window: the logarithm of the probability of each tag by itself."""
        logs = outputs.float().log_softmax(-1).cpu().numpy()
        return np.split(logs, targets_per_sequence(batch).cumsum(0)[:-1].tolist())

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        assert isinstance(head, TagHead)
        measure = self.metric_for(examples)
        if measure != self.metric:
            raise UserError(
                f"{examples[0].source} is not tagged as the training data",
                given="spans of running text; in training every token has a tag",
            )
        found: list[Sequence[Span]] = [()] * len(examples)
        for group in lattices(self.tags, self.tags_every_token, examples, rows, logits):
            for number, units, path in zip(group.numbers, group.words, group.decode(head.decoder()), strict=True):
                found[number] = self.tags.decode(units, path)
        score = tagscore.value(tagscore.counts_of(examples, found, measure), measure)
        return {"tag.loss": mean_loss(head, rows, logits), self.metric_key: score}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[list[LabelledSpan]]:
        """The spans of each example, in order, from the most probable tags that the rules allow."""
        assert isinstance(head, TagHead)
        result: list[list[LabelledSpan]] = [[] for _ in examples]
        chain = head.decoder()
        for group in lattices(self.tags, self.tags_every_token, examples, rows, logits):
            places, spans = [], []
            for row, (units, path) in enumerate(zip(group.words, group.decode(chain), strict=True)):
                for start, stop in chunk_bounds(path):
                    first = int(path[start])
                    places.append((row, start, stop, first, first + 1))
                spans += [(row, span) for span in self.tags.decode(units, path)]
            scores = chain.span_probabilities(group.emissions, group.lengths, places, group.is_continuation)
            for (row, span), score in zip(spans, scores, strict=True):
                number = group.numbers[row]
                text = examples[number].text[span.start : span.end]
                result[number].append(LabelledSpan(span.label, text, span.start, span.end, float(score)))
        return result

    def top_prediction(self, prediction: list[LabelledSpan]) -> list[LabelledSpan]:
        return prediction

    def metric_for(self, examples: Sequence[Example]) -> Measure:
        """How predictions for these examples are scored: token by token only where their tags are plain, too."""
        return "accuracy" if self.tags_every_token and tagscore.is_plain(examples) else "entity_f1"

    def score(
        self, examples: Sequence[Example], predictions: Sequence[list[LabelledSpan]], seed: int = 0
    ) -> TagEvaluation:
        measure = self.metric_for(examples)
        return tagscore.evaluation(tagscore.counts_of(examples, predictions, measure), measure, seed)

    def reference(self, examples: Sequence[Example]) -> list[Any]:
        return tagscore.comparable(examples, [e.spans or () for e in examples], self.metric_for(examples))

    def comparable(self, examples: Sequence[Example], predictions: Sequence[list[LabelledSpan]]) -> list[Any]:
        return tagscore.comparable(examples, predictions, self.metric_for(examples))

    def tagged_words(self, examples: Sequence[Example]) -> list[tuple[list[str], list[str]]]:
        found = []
        for example, tokens in zip(examples, self._tokens(examples), strict=True):
            spans = example.spans or ()
            tags = tagscore.token_tags(tokens, spans) if self.tags_every_token else tagscore.chunk_tags(tokens, spans)
            found.append(([example.text[start:stop] for start, stop in tokens], tags))
        return found

    def from_word_tags(self, examples: Sequence[Example], tags: Sequence[Sequence[str]]) -> list[Any]:
        read = tagscore.token_spans if self.tags_every_token else tagscore.chunk_spans
        tokens = self._tokens(examples)
        spans = [read(bounds, said) for bounds, said in zip(tokens, tags, strict=True)]
        return tagscore.comparable(examples, spans, self.metric_for(examples))

    def _tokens(self, examples: Sequence[Example]) -> list[Sequence[tuple[int, int]]]:
        """The bounds of the given tokens, or else of the units."""
        return [
            example.tokens
            if example.tokens is not None
            else [(a, b) for a, b in align_words(example.text, self.tokenizer.encode(example.text)).offsets.tolist()]
            for example in examples
        ]

    def sample(self, example: Example, prediction: list[LabelledSpan]) -> dict[str, Any]:
        """Bounds count the characters of the text."""
        true, said = (
            [[span.start, span.end, span.label] for span in spans] for spans in (example.spans or (), prediction)
        )
        return {"text": example.text, "spans": true, "predicted": said}

    def to_record(self, example: Example, prediction: list[LabelledSpan], all_scores: bool) -> dict[str, Any]:
        """In the form of training data: text and spans."""
        _refuse_all(all_scores)
        spans = [{**asdict(span), "score": round(span.score, 6)} for span in prediction]
        return {"id": example.id, "line": example.line, "text": example.text, "spans": spans}

    def columns(self, all_scores: bool) -> list[str]:
        _refuse_all(all_scores)
        return ["id", "line", "label", "score", "start", "end", "text"]

    def to_rows(self, example: Example, prediction: list[LabelledSpan], all_scores: bool) -> list[list[object]]:
        """One for each span."""
        return [[example.id, example.line, x.label, round(x.score, 6), x.start, x.end, x.text] for x in prediction]

    def conll(self, example: Example, prediction: list[LabelledSpan]) -> str:
        """The given tokens with their tags; of running text its units, in which plain tags make the words."""
        (tokens,) = self._tokens([example])
        if self.tags_every_token and example.tokens is None:
            covered = [(span.start, span.end) for span in prediction]
            loose = [(a, b) for a, b in tokens if not any(c <= a < d for c, d in covered)]
            tokens = sorted([*covered, *loose])
        tags = (tagscore.token_tags if self.tags_every_token else tagscore.chunk_tags)(tokens, prediction)
        rows = zip(tokens, tags, strict=True)
        return "".join(f"{example.text[start:stop]}\t{tag}\n" for (start, stop), tag in rows) + "\n"


def check_rows(train: Sequence[Example], rows: Sequence[EncodedRow]) -> None:
    """Raises UserError where there is nothing to learn from."""
    if not rows:
        raise UserError(f"{train[0].source} holds no text", given=f"{len(train):,} sentences without a word")


def _refuse_all(every: bool) -> None:
    if every:
        raise UserError("--all is for labels of whole texts", given="a model that finds spans")
