"""Tags of tokens, and spans of characters, as examples.

Spans: `{"text": "...", "spans": [{"start": 0, "stop": 4, "label": "PER"}]}`. So write doccano, Label Studio
(label_studio.py) and this package itself; bounds of tokens may stand beside.

Tags: from CoNLL, or from records with lists, as `datasets` and Parquet files have them:
`{"tokens": ["Ada", "lives"], "ner_tags": ["B-PER", "O"]}`. They become spans of a text that is made of the tokens, with
a blank between, save where two touch with Chinese characters or punctuation; the bounds of the tokens are kept. The tag
scheme is detected.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from typing import Any, Literal

from unmask.advice import advise, option, to_change
from unmask.data.rows import schemes
from unmask.data.rows.cells.missing import are_numbers, plain, without_missing
from unmask.data.rows.columns import SPANS, TAGS, TEXTS, TOKENS, Records, excerpt, note_columns, text_in, text_or_none
from unmask.data.rows.example import Example, Span, Spans, in_order, keep_outermost, overlapping
from unmask.data.rows.offsets import (
    CHARACTERS,
    FileSpan,
    OffsetReader,
    file_span,
    marked_spans,
    to_characters,
)
from unmask.data.rows.schemes import SchemeName
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import message
from unmask.text.chinese import IDEOGRAPHS

FORMS = '[{"start": 0, "stop": 4, "label": "PER"}, ...] or [[0, 4, "PER"], ...]; stop is exclusive'
SHOWN = 16
# Every one of these is a word of its own to BERT, so that a token can end before or after it without a blank.
_PUNCTUATION = (
    "\u3001-\u3003\u3008-\u3011\u3014-\u301f\u3030\u303d\uff01-\uff03\uff05-\uff0a\uff0c-\uff0f\uff1a\uff1b\uff1f\uff20"
    "\uff3b-\uff3d\uff3f\uff5b\uff5d\uff5f-\uff65"
)
_ALONE = re.compile(f"[{IDEOGRAPHS}{_PUNCTUATION}]")
_PLACED = re.compile(r"\S+[0-9]")


def token_columns(records: Records) -> tuple[str, str | None] | None:
    """The columns of the tokens and the tags; None where the first row has no list of texts for tokens, and where spans
    of a text stand beside these in place of tags."""
    if "lines" in records.rows[0][1]:  # of CoNLL
        return "tokens", "tags"
    token = records.options.token_column
    if token is None or (token not in records.names and "token_column" in records.inherited):
        token = records.usual(TOKENS)
    if token is None or _texts(records.rows[0][1].get(token)) is None:
        return None
    lists = {name for _, row in records.rows for name, value in row.items() if isinstance(value, list)}
    tag = records.named("tag") or records.usual(TAGS, set(records.names) - lists)
    if (tag is None or records.holds_spans(tag)) and records.usual(TEXTS) is not None:
        names = [*records.annotated, *SPANS]
        both = ((len(row.get(token) or ()), map(file_span, _listed(_values(row, names)))) for _, row in records.rows)
        if any(span is not None and span.end > count for count, spans in both for span in spans):  # not in tokens
            return None
    return token, tag


def tagged_examples(records: Records, log: ReadLog, labelled: bool) -> tuple[Iterable[Example], SchemeName | None]:
    """The examples and the scheme of their tags; tags that break its rules are read as conlleval does, and noted.

    What `log` may leave out: a row without tokens, or without a tag for each; a tag outside the scheme. Raises
    UserError for tags that are not there.
    """
    rows, following = records.rows, records.following
    if "lines" not in rows[0][1]:  # else they come from CoNLL
        token, tag = token_columns(records) or ("", None)
        if tag is None and labelled:
            in_tokens = "spans counted in tokens are not read: write a tag for each token"
            records.missing("tag", TAGS, in_tokens if any(map(records.holds_spans, records.names)) else None)
        tag = tag if labelled else None
        sentences = partial(_sentence, records, token, tag)
        rows, following = list(log.usable(rows, sentences)), log.usable(following, sentences)
        note_columns(log, records.source, token=token, tag=tag)
        if labelled:
            records.note_unused(log, (token, tag))
        records.resolved.update({"token_column": token} | ({"tag_column": tag} if tag else {}))
    if placed := _have_places(records.source, rows, log):
        rows = list(map(_without_places, rows))
    if labelled:
        records = without_missing(replace(records, rows=rows), lambda row: {*map(plain, row[1]["tags"])}, "tags", log)
        rows = records.rows
        if are_numbers(tag for _, row in rows for tag in row["tags"]):
            log.note(
                "{source}: tags are numbers, each read as a label, 0 too; for entities, write B-PER, O, ...",
                records.source,
            )
        return _in_scheme(records.source, rows, records.options.scheme, log)
    following = map(_without_places, following) if placed else following
    return (_example(records.source, line, row, None) for line, row in chain(rows, following)), None


def _have_places(source: str, rows: list[Row], log: ReadLog) -> bool:
    """Whether tokens have a digit behind each character, its place in a word, as in Weibo NER; noted."""
    tokens = [token for _, row in rows for token in row["tokens"]]
    chinese = sum(_ALONE.match(token) is not None for token in tokens)
    starts = all(row["tokens"][0][-1] == "0" for _, row in rows)
    if not (starts and 2 * chinese > len(tokens) > 1 and all(map(_PLACED.fullmatch, tokens))):
        return False
    text = "{source}: the digit behind each character, its place in a word, is not read (the first: {first})"
    log.note(text, source, tokens[0])
    return True


def _without_places(row: Row) -> Row:
    """A row without these digits."""
    line, cells = row
    tokens = [token[:-1] if _PLACED.fullmatch(token) else token for token in cells["tokens"]]
    return line, {**cells, "tokens": tokens}


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and value and all(isinstance(one, str) for one in value) else None


def _sentence(records: Records, token: str, tag: str | None, line: int, row: dict[str, Any]) -> Row:
    """A row with lists as one of CoNLL."""
    where, tokens = records.place(line), _texts(row.get(token))
    tags: Any = [] if tag is None else row.get(tag)
    if tokens is None or not all(tokens):
        what = f"{where}: {token!r} is not a list of tokens" if tokens is None else f"{where}: a token is empty"
        raise UserError(what, given=excerpt(row.get(token)), allowed='["a", "b"]')
    if tag is not None and (not isinstance(tags, list) or len(tags) != len(tokens)):
        count = len(tags) if isinstance(tags, list) else "no"
        what = f"{where} has {len(tokens):,} tokens, but {count} tags"
        raise UserError(what, given=f"column {tag!r}", allowed="one each")
    if any(one in (None, "") for one in tags):
        raise UserError(f"{where}: a tag is empty", given=f"column {tag!r}: {excerpt(tags)}")
    # of a text that was cut into characters, blanks are tokens
    tokens, tags = [one.strip() or one for one in tokens], [str(one).strip() for one in tags]
    return line, {"id": text_or_none(row.get("id")), "tokens": tokens, "tags": tags, "lines": [line] * len(tokens)}


def _in_scheme(
    source: str, rows: Sequence[Row], asked: SchemeName | Literal["auto"], log: ReadLog
) -> tuple[list[Example], SchemeName]:
    """The tags as spans, in the scheme that is given or detected."""
    tags_of = [row["tags"] for _, row in rows]
    scheme = schemes.detect_scheme(tags_of) if asked == "auto" else asked
    read = schemes.scheme_tags(chain.from_iterable(tags_of), scheme)
    in_scheme = {tag: one for tag, one in read.items() if one is not None}
    disorder: list[str] = []  # tags that the scheme would not have for these chunks

    def example(line: int, row: dict[str, Any]) -> Example:
        names, lines = row["tags"], row["lines"]
        outside = next((place for place, tag in enumerate(names) if tag not in in_scheme), None)
        if outside is not None:
            tag = names[outside]
            raise UserError(
                f"{source}, line {lines[outside]:,}: the tag {tag!r} is outside the scheme {scheme}",
                given=f"token {row['tokens'][outside]!r}",
                allowed=listed(list(in_scheme)),
                hint=[
                    did_you_mean(suggest(tag, in_scheme)),
                    advise("{option} reads every tag as it is", option("scheme", "plain")),
                ],
            )
        tags = [in_scheme[tag] for tag in names]
        chunks = schemes.chunks(tags)
        if scheme != "plain":
            written = (f"{letter}-{label}" if label else letter for letter, label in tags)
            lawful = schemes.write_tags(len(tags), chunks, scheme)
            both = zip(lines, names, written, lawful, strict=True)
            disorder.extend(f"line {line:,}: {tag}" for line, tag, is_, should in both if is_ != should)
        return _example(source, line, row, chunks)

    examples = list(log.usable(rows, example))
    if disorder:
        text = "{source}: {count:,} tags break the rules of {scheme}, read as conlleval does (the first: {first})"
        log.note(text, source, len(disorder), scheme, disorder[0])
    labels = len({label for example in examples for label in example.labels})
    text = "{source}: {count:,} sentences, scheme {scheme}, labels: {labels:,}"
    log.note(to_change(text, source, len(examples), scheme, labels, by=[option("scheme")]))
    return examples, scheme


def listed(values: Sequence[str]) -> str:
    """The first values, for messages."""
    return ", ".join(values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


def _example(source: str, line: int, row: dict[str, Any], chunks: Iterable[schemes.Chunk] | None) -> Example:
    text, bounds = join_tokens(row["tokens"])
    spans = None
    if chunks is not None:
        spans = Spans(Span(bounds[i][0], bounds[j - 1][1], label) for i, j, label in chunks)
    return Example(text, target=spans, id=row["id"] or str(line), line=line, source=source, tokens=tuple(bounds))


def join_tokens(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The tokens as one text, and the bounds of each in it.

    A blank stands between two tokens, save where both touch with a Chinese character or punctuation mark
    (each is a word of its own to BERT), or one with white space.
    """
    parts: list[str] = []
    bounds: list[tuple[int, int]] = []
    place, alone, blank = 0, False, True
    for token in tokens:
        first = token[0]
        if not (blank or first.isspace() or (alone and _ALONE.match(first))):
            parts.append(" ")
            place += 1
        parts.append(token)
        bounds.append((place, place + len(token)))
        place += len(token)
        last = token[-1]
        alone, blank = last > "\u2fff" and _ALONE.match(last) is not None, last.isspace()
    return "".join(parts), bounds


def span_examples(records: Records, log: ReadLog, nested: bool) -> list[Example]:
    """Texts with their spans.

    A span is {"start", "stop" or "end", "label" or "type"} or [start, stop, label]; what its bounds are counted in,
    is for the setting `span_offsets` (offsets.py). White space at the ends of a span is taken off; empty ones are left
    out and noted.
    nested: spans may overlap; otherwise that is a UserError, or with on_error="skip" the first of them is kept (at
    one start the longest), and the others are noted. `tokens`, where there are any, are the bounds [start, stop] of
    given tokens. What `log` may leave out: no text, a span that is not of this form or reaches beyond the text.
    """
    text, pair = records.texts()
    label = records.labels(SPANS, (text, pair))
    records.note_detected(log, text=text, pair=pair, label=label)
    records.note_unused(log, (text, pair, *SPANS, label))
    if not records.annotated:
        records.resolved.pop("label_column", None)  # it has one of few names, in each row
    # unless an option or the format names the column, each row may have its spans under another name
    named = records.named("label") or (label if records.annotated else None)
    keys = SPANS if named is None else (named,)
    about = records.about()
    marked = (
        (row[text], marked_spans(values))
        for _, row in records.rows
        if isinstance(row.get(text), str) and isinstance(values := _values(row, keys), list)
    )
    reader = OffsetReader(
        records.source,
        records.options.span_offsets,
        "span_offsets" in records.inherited,
        [(content, spans) for content, spans in marked if spans],
        log,
    )
    left_out: dict[str, list[int]] = {"empty": [], "overlapping": []}  # lines

    def example(line: int, row: dict[str, Any]) -> Example:
        where = records.place(line)
        content = text_in(row, text, where)
        if (identity := text_or_none(row.get("id"))) is not None:
            where = f"{where} (id {identity})"
        bounds, unit = reader.bounds(content, row)
        tokens = _tokens(row.get("tokens"), bounds, where)
        given = _spans(row, keys, content, where, lambda span, at: reader.read(span, content, bounds, unit, at))
        spans = sorted({span for span in given if span.start < span.end}, key=in_order)
        left_out["empty"] += [line for span in given if span.start >= span.end]
        if not nested and (both := overlapping(spans)) is not None:
            if log.on_error == "stop":
                raise UserError(
                    f"{where}: two spans overlap, and tags are one for each word",
                    given="; ".join(f"{content[span.start : span.end]!r} ({span.label})" for span in both),
                    hint=[
                        advise("{option} leaves the inner ones out", option("on_error", "skip")),
                        advise("{option} is for entities that nest", option("task", "nested")),
                    ],
                )
            apart = keep_outermost(spans)
            left_out["overlapping"] += [line] * (len(spans) - len(apart))
            spans = apart
        return Example(content, target=Spans(spans), tokens=tokens, **about(line, row))

    examples = list(log.usable(records.rows, example))
    reader.note()
    for kind, lines in left_out.items():
        if lines:
            text = "{source}: {lines:,} {kind} spans skipped (the first on line {first})"
            log.note(text, records.source, len(lines), message(kind), lines[0])
    return examples


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _values(row: dict[str, Any], keys: Sequence[str]) -> Any:
    """What a row has under the first of the keys that it has."""
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _spans(
    row: dict[str, Any], keys: Sequence[str], text: str, where: str, place: Callable[[FileSpan, str], tuple[int, int]]
) -> list[Span]:
    """The spans of a row without white space at their ends; those that hold nothing else are empty."""
    values = _values(row, keys)
    if values is None:
        fitting = (name for name, some in row.items() if isinstance(some, list) and some and all(map(file_span, some)))
        hint = [option("label_column", name) for name in fitting]
        raise UserError(f"{where} has no spans", given=", ".join(row), allowed=f'"spans": {FORMS}', hint=hint)
    key = next(key for key in keys if row.get(key) is not None)
    if not isinstance(values, list):
        columns = option("token_column", "NAME"), option("tag_column", "NAME")
        hint = [
            advise("labels of whole texts: {option}", option("task", "classify")),
            advise("a token in each row: {token} and {tag}", *columns),
        ]
        what = f"{where}: {key!r} is not a list of spans"
        raise UserError(what, given=excerpt(values), allowed=FORMS, hint=hint if isinstance(values, str) else None)
    result = []
    where = f"{where}: {key!r}"
    for value in values:
        if (span := file_span(value)) is None:
            what = f"{where} contains something that is not a span"
            raise UserError(what, given=excerpt(value), allowed=FORMS)
        start, end = place(span, where)
        inner = text[start:end]
        start += len(inner) - len(inner.lstrip())
        result.append(Span(start, start + len(inner.strip()), span.label))
    return result


def _tokens(given: Any, bounds: Sequence[int], where: str) -> tuple[tuple[int, int], ...] | None:
    """The characters of the tokens, where the row has them: in order, without overlap. bounds: of the characters."""
    if not isinstance(given, list) or not given or not all(isinstance(one, list) and len(one) == 2 for one in given):
        return None
    tokens = []
    for before, one in pairwise([(0, 0), *given]):
        start, end = one
        is_number = type(start) is int and type(end) is int
        place = to_characters(start, end, bounds, CHARACTERS) if is_number and before[1] <= start < end else None
        if place is None:
            allowed = f"[start, stop] in order, without overlap, up to {bounds[-1]:,}, counted as the spans are"
            what = f"{where}: 'tokens' holds something that is no token"
            raise UserError(what, given=excerpt(list(one)), allowed=allowed)
        tokens.append(place)
    return tuple(tokens)
