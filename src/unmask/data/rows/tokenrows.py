"""Records with lists of tokens and tags: `{"tokens": ["Ada", "lives"], "ner_tags": ["B-PER", "O"]}`.

So the data sets of `datasets` and their Parquet files are made; the tags are read as those of a CoNLL file.
"""

from typing import Any

from unmask import console
from unmask.data.rows.columns import TAGS, TOKENS, TagColumns, first_present
from unmask.data.rows.records import Records
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.sentences import Sentence, TaggedSentences, read_sentences
from unmask.data.textfiles import Faults, shorten_path
from unmask.errors import UserError, did_you_mean, suggest


def _columns(records: Records, columns: TagColumns) -> tuple[str | None, str | None]:
    """The columns of the tokens and of the tags: as named, else as their names tell."""
    names = records.names
    tags = [name for name in names if any(isinstance(row.get(name), list) for _, row in records.rows)]
    return columns.token or first_present(TOKENS, names), columns.tag or first_present(TAGS, tags)


def are_token_rows(records: Records, columns: TagColumns) -> bool:
    """Whether the first row has a list of texts for tokens."""
    token, _ = _columns(records, columns)
    return token is not None and _texts(records.rows[0][1].get(token)) is not None


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and value and all(isinstance(one, str) for one in value) else None


def read_token_rows(
    source: str,
    records: Records,
    columns: TagColumns,
    asked: SchemeName | None,
    faults: Faults,
    require_tags: bool = False,
) -> TaggedSentences:
    """One sentence a row. asked: the scheme of the tags; None: found out, which is said.

    Faults: a row without tokens, or without a tag for each. Raises UserError for columns that are not there.
    """
    names, (token, tag) = records.names, _columns(records, columns)
    for given, option in ((token, "token"), (tag, "tag")):
        if given is not None and given not in names:
            raise UserError(
                f"{source} has no column {given!r}",
                given=f"columns: {', '.join(names)}",
                hint=[did_you_mean(suggest(given, names)), f"--{option}-column"],
            )
    if tag is None and require_tags:
        raise UserError(
            f"{source} has tokens, but no tags",
            given=f"columns: {', '.join(names)}",
            allowed=", ".join(TAGS),
            hint="--tag-column",
        )
    assert token is not None
    sentences = []
    for line, row in records.rows:
        try:
            sentences.append(_sentence(row, token, tag, line, f"{source}, line {line:,}"))
        except UserError as error:
            faults.record(error)
    if not sentences:
        raise UserError(f"{source} holds no row that can be used", given=faults.first and faults.first.message)
    tagged = read_sentences(source, sentences, asked, faults, tag is not None)
    count = f"{len(tagged.examples):,} sentence" + ("" if len(tagged.examples) == 1 else "s")
    said = f"{source}: {count}, tokens in column {token!r}"
    if tag is not None:
        said += f", tags in column {tag!r}; {tagged.scheme}, labels: {len(tagged.labels):,}"
    console.note("{said} (to change: --token-column, --tag-column, --scheme)", said)
    return tagged


def _sentence(row: dict[str, Any], token: str, tag: str | None, line: int, where: str) -> Sentence:
    tokens = _texts(row.get(token))
    if tokens is None or not all(one.strip() for one in tokens):
        given = shorten_path(str(row.get(token)))
        raise UserError(f"{where}: {token!r} is not a list of tokens", given=given, allowed='["a", "b"]')
    tags: list[str] = []
    if tag is not None:
        given_tags = row.get(tag)
        if not isinstance(given_tags, list) or len(given_tags) != len(tokens):
            count = len(given_tags) if isinstance(given_tags, list) else "no"
            raise UserError(
                f"{where} has {len(tokens):,} tokens, but {count} tags", given=f"column {tag!r}", allowed="one each"
            )
        tags = [str(one).strip() for one in given_tags]
        if any(one in (None, "") for one in given_tags):
            raise UserError(f"{where}: a tag is empty", given=f"column {tag!r}: {shorten_path(str(given_tags))}")
    identity = row.get("id")
    name = None if identity in (None, "") else str(identity)
    return Sentence(line, name, [one.strip() for one in tokens], tags, [line] * len(tokens))
