"""Which columns of a table hold the text, a second text and the label: told by their names, and said.

`Columns` overrides the guess. Names are compared in lower case; the first of a list that is there is taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from unmask import console
from unmask.config import config, setting
from unmask.errors import UserError, did_you_mean, suggest

PAIRS = (
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("query1", "query2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("question", "answer"),
    ("query", "passage"),
    ("anchor", "positive"),
    ("文本1", "文本2"),
    ("句子1", "句子2"),
    ("问题1", "问题2"),
    ("前提", "假设"),
    ("问题", "答案"),
    ("问题", "回答"),
)
TEXTS = (
    "text",
    "sentence",
    "content",
    "review",
    "document",
    "body",
    "comment",
    "tweet",
    "message",
    "utterance",
    "headline",
    "abstract",
    "description",
    "question",
    "title",
    "文本",
    "正文",
    "内容",
    "句子",
    "评论",
    "评价",
    "文章",
    "留言",
    "描述",
    "问题",
    "标题",
    "data",
)
LABELS = (
    "label",
    "category",
    "class",
    "target",
    "sentiment",
    "topic",
    "intent",
    "gold_label",
    "rating",
    "stars",
    "score",
    "similarity",
    "labels",
    "标签",
    "类别",
    "分类",
    "类型",
    "情感",
    "意图",
    "主题",
    "评分",
)
SPANS = ("spans", "entities", "labels", "label", "实体", "标签")
TOKENS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "pos_tags", "upos", "labels", "label")
IDS = ("id", "编号")
NEGATIVES = ("negative", "hard_negative", "负例")
GROUPS = ("group", "分组")


@config
class Columns:
    """The names of the columns that hold the text, the second text of a pair and the label; None: guessed."""

    text: str | None = setting(default=None, description="Column of the text; guessed from its name when not given")
    pair: str | None = setting(default=None, description="Column of the second text, where the task is about two")
    label: str | None = setting(default=None, description="Column of the label; guessed from its name when not given")
    separator: str | None = setting(
        default=None, description="What stands between several labels in one field; found out when not given"
    )


@config
class TagColumns:
    """Where a CoNLL file has its tokens and tags: the number of a column (from 1; -1 is the last) or its name."""

    token: str | None = setting(
        default=None, description="Column of the token: the first, or FORM of CoNLL-U, when not given"
    )
    tag: str | None = setting(
        default=None, description="Column of the tag: the last, or UPOS of CoNLL-U, when not given"
    )


@dataclass(frozen=True)
class ColumnChoice:
    """Which column is which, by the names in the file."""

    text: str
    pair: str | None
    label: str | None
    id: str | None
    group: str | None
    negative: str | None = None


def first_present(names: Iterable[str], available: Iterable[str]) -> str | None:
    """The first of the known names that is there, as it is written there."""
    written = {name.lower(): name for name in available}
    return next((written[name] for name in names if name in written), None)


def choose_columns(
    source: str,
    names: Sequence[str],
    columns: Columns,
    require_labels: bool = False,
    annotated: Sequence[str] = (),
    what: Literal["label", "spans"] = "label",
) -> ColumnChoice:
    """The columns as named, else as their names tell; says what was guessed.

    names: of the columns there. annotated: those among them that are known to hold annotations; a single one is
    the label. what: is looked for beside the text. Raises UserError for columns that are not there or told.
    """
    labels = LABELS if what == "label" else SPANS
    for given, option in ((columns.text, "text"), (columns.pair, "pair"), (columns.label, "label")):
        if given is not None and given not in names:
            raise UserError(
                f"{source} has no column {given!r}",
                given=f"columns: {', '.join(names)}",
                hint=[did_you_mean(suggest(given, names)), f"--{option}-column NAME"],
            )
    known = {name.lower(): name for name in reversed(names) if name not in (columns.pair, columns.label)}
    text, pair = columns.text, columns.pair
    if text is None and pair is None:
        both = next((both for both in PAIRS if known.keys() >= set(both)), None)
        if both is not None:
            text, pair = known[both[0]], known[both[1]]
    text = text or next((known[name] for name in TEXTS if name in known), None)
    if text is None:
        raise UserError(
            f"{source}: no column is named like a text",
            given=f"columns: {', '.join(names)}",
            allowed=", ".join(TEXTS) + "; in pairs " + ", ".join("+".join(both) for both in PAIRS[:4]),
            hint=[
                "--text-column NAME (and --label-column NAME)",
                "the file has no header: write one as its first line, such as text,label",
            ],
        )
    label = columns.label
    if label is None and len(annotated) == 1:
        label = annotated[0]
    elif label is None:
        label = first_present(labels, (name for name in annotated or names if name not in (text, pair)))
    if label is None and require_labels:
        raise UserError(
            f"{source}: no column is named like a label",
            given=f"columns: {', '.join(annotated or names)}",
            allowed=", ".join(labels),
            hint="--label-column NAME",
        )
    _report_guess(source, columns, text, pair, label, what)
    ids, groups, negatives = (first_present(known, names) for known in (IDS, GROUPS, NEGATIVES))
    return ColumnChoice(text, pair, label, ids, groups, negatives)


def _report_guess(source: str, columns: Columns, text: str, pair: str | None, label: str | None, what: str) -> None:
    """Remark which columns were taken, unless they are called `text` and `label`, which needs no saying."""
    guessed = []
    if columns.text is None and (text != "text" or pair is not None):
        guessed.append(f"text from {text!r}" + (f" and {pair!r}" if pair and columns.pair is None else ""))
    if columns.label is None and label not in (None, what):
        guessed.append(f"spans from {label!r}" if what == "spans" else f"label from {label!r}")
    if guessed:
        console.note("{source}: {guessed} (to change: --text-column, --label-column)", source, ", ".join(guessed))
