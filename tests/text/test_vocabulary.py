"""vocab.txt as transformers reads it: empty last lines, byte order mark, line ends, tokens on several lines.

Recorded with transformers 5.23: AutoTokenizer and AutoModelForSequenceClassification of a folder with this vocab.txt,
the config.json of "bert ForSequenceClassification" in public_outputs.json, and the weights that `public_weights.drawn`
makes of its shapes; softmax of the logits.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from errors import refused
from unmask import bundle
from unmask.runtime.predictor import load
from unmask.text.tokenizer import Tokenizer

BERT = "bert ForSequenceClassification"
TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] the river flows north past old mill ##s ##ing walk a b c ##d , . 河 流".split()
TEXTS = ["The river flows north.", "walking past mills, abcd", "河流 river"]
LABELS = ["no", "yes", "maybe"]
Recorded = list[tuple[list[int], list[float]]]
PLAIN: Recorded = [
    ([2, 5, 6, 7, 8, 20, 3], [0.350542, 0.335089, 0.314369]),
    ([2, 14, 13, 9, 11, 12, 19, 1, 3], [0.350499, 0.335361, 0.31414]),
    ([2, 21, 22, 6, 3], [0.350785, 0.33547, 0.313746]),
]
RIVER_TWICE: Recorded = [
    ([2, 5, 8, 7, 9, 21, 3], [0.350661, 0.335251, 0.314087]),
    ([2, 15, 14, 10, 12, 13, 20, 1, 3], [0.350116, 0.335567, 0.314316]),
    ([2, 22, 23, 8, 3], [0.350985, 0.334888, 0.314126]),
]
TWO_AT_THE_END: Recorded = [
    ([2, 23, 6, 7, 8, 20, 3], [0.350658, 0.335052, 0.314289]),
    ([2, 14, 24, 9, 11, 12, 19, 1, 3], [0.350438, 0.335418, 0.314144]),
    ([2, 21, 22, 6, 3], [0.350785, 0.33547, 0.313746]),
]
ADDED: Recorded = [*PLAIN, ([2, 5, 24, 6, 3], [0.350529, 0.335234, 0.314238])]


@pytest.fixture
def listed(publish: Callable[..., Path]) -> Callable[[bytes], Path]:
    """A model with this vocab.txt alone."""

    def make(content: bytes) -> Path:
        folder = publish(BERT)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink(missing_ok=True)
        (folder / "vocab.txt").write_bytes(content)
        return folder

    return make


def lines(tokens: list[str], end: str = "\n") -> bytes:
    return "".join(token + end for token in tokens).encode()


def check(folder: Path, recorded: Recorded, *more: str) -> None:
    predictor = load(folder)
    for text, (ids, probabilities) in zip([*TEXTS, *more], recorded, strict=True):
        assert predictor.tokenizer.encode(text).input_ids == ids
        scores = {label.label: label.score for label in predictor.predict([text])[0]}
        assert [scores[label] for label in LABELS] == pytest.approx(probabilities, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (lines(TOKENS), None),
        (lines(TOKENS).removesuffix(b"\n"), None),
        (lines(TOKENS, "\r\n"), None),
        (lines(TOKENS) + b"\n", "1, from line 24"),
        (lines(TOKENS) + b"\n\n", "2, from line 24"),
        (lines(TOKENS, "\r\n") + b"\r\n\r\n", "2, from line 24"),
        (lines(TOKENS) + b"\n" * 90, "90, from line 24"),
        ("\ufeff".encode() + lines(TOKENS), "byte order mark"),
        ("\ufeff".encode() + lines(TOKENS, "\r\n") + b"\r\n", "byte order mark"),
    ],
)
def test_what_is_around_the_tokens_is_left_out(
    content: bytes, note: str | None, listed: Callable[[bytes], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = listed(content)
    check(folder, PLAIN)
    said = capsys.readouterr().err
    assert (f"{folder / 'vocab.txt'}: " in said and note in said) if note else not said


@pytest.mark.parametrize(
    ("tokens", "recorded", "note"),
    [
        ([*TOKENS[:8], "river", *TOKENS[8:]], RIVER_TWICE, "1 ('river' 7 9)"),
        ([*TOKENS, "the", "##ing"], TWO_AT_THE_END, "2 ('the' 6 24, '##ing' 14 25)"),
        ([*TOKENS, "the", "##ing", "", ""], TWO_AT_THE_END, "2 ('the' 6 24, '##ing' 14 25)"),
    ],
)
def test_of_a_token_on_several_lines_the_last_one_counts(
    tokens: list[str],
    recorded: Recorded,
    note: str,
    listed: Callable[[bytes], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = listed(lines(tokens))
    check(folder, recorded)
    assert note in capsys.readouterr().err


def test_an_empty_last_line_before_an_added_token_has_an_id(
    listed: Callable[[bytes], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = listed(lines([*TOKENS, ""]))
    (folder / "added_tokens.json").write_text(json.dumps({"[E1]": len(TOKENS) + 1}))
    check(folder, ADDED, "the [E1] river")
    opened = bundle.read(folder)
    again = folder / "again"
    opened.tokenizer.save_pretrained(again)
    assert Tokenizer.from_pretrained(again).tokens == opened.tokenizer.tokens
    assert "differs" not in capsys.readouterr().err


@pytest.mark.parametrize("line", [1, 7, len(TOKENS)])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_empty_line_among_the_tokens_is_refused(line: int, end: str, listed: Callable[[bytes], Path]) -> None:
    folder = listed(lines([*TOKENS[: line - 1], "", *TOKENS[line - 1 :]], end))
    with refused(f"{folder / 'vocab.txt'}, line {line}:"):
        bundle.read(folder)


def test_more_tokens_than_embeddings_name_the_first_without_one(listed: Callable[[bytes], Path]) -> None:
    more = [*TOKENS, *(f"word{number}" for number in range(60))]  # 64 embeddings: the first without is on line 65
    folder = listed(lines(more))
    with refused("83 tokens, 64 embeddings", more[64], f"{folder / 'vocab.txt'}, line 65"):
        bundle.read(folder)
    Tokenizer.from_pretrained(folder).save_pretrained(folder)
    with refused("83 tokens, 64 embeddings", more[64], "id 64"):
        bundle.read(folder)
    folder = listed(lines([*TOKENS, *(f"word{number}" for number in range(41))]))
    assert bundle.read(folder).tokenizer.vocab_size == 64
    (folder / "added_tokens.json").write_text('{"[E1]": 64, "[E2]": 65}')
    with refused("66 tokens, 64 embeddings", "[E1]", "id 64"):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda tokens: tokens, None),
        (lambda tokens: tokens[:20], None),
        (lambda tokens: [*tokens[:6], "other", *tokens[7:]], "'other' on line 7, not 'river'"),
        (lambda tokens: tokens[1:], "'[UNK]' on line 1, not '[PAD]'"),
        (lambda tokens: [*tokens, "more"], f"'more' on line {len(TOKENS) + 1}"),
    ],
)
def test_a_list_that_disagrees_with_the_file_that_is_read_is_said(
    change: Callable[[list[str]], list[str]], note: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vocab.txt").write_bytes(lines(TOKENS))
    Tokenizer.from_pretrained(tmp_path / "vocab.txt").save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(lines(change(TOKENS)))
    capsys.readouterr()
    assert Tokenizer.from_pretrained(tmp_path).tokens == TOKENS
    said = capsys.readouterr().err
    assert (f"{tmp_path / 'tokenizer.json'} is read" in said and note in said) if note else not said
