"""Tagged files of every kind, and what is said of bad ones."""

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import labels_of, tagged_of
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example, Span, Spans, keep_outermost, overlapping
from unmask.data.rows.tagged import SHOWN, join_tokens

Write = Callable[..., Path]
NER = "EU\tB-ORG\nrejects\tO\nPeter\tB-PER\nBlackburn\tI-PER\n\nBrussels\tB-LOC\n"
UD = """# newdoc id = a
# sent_id = a-1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tVV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tPP\t_\t1\tobj\t_\t_
2.1\tfue\tir\tVERB\t_\t_\t_\t_\t_\t_
3\tmar\tmar\tNOUN\tNN\t_\t1\tobl\t_\tSpaceAfter=No

# sent_id = a-2
1\t#\t#\tSYM\tNFP\t_\t0\troot\t_\t_
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(content: str | bytes, name: str = "tags.conll") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def surfaces(example: Example) -> list[tuple[str, str]]:
    return [(example.text[span.start : span.end], span.label) for span in example.spans or ()]


def tokens(example: Example) -> list[str]:
    return [example.text[start:stop] for start, stop in example.tokens or ()]


@pytest.mark.parametrize("separator", ["\t", " ", "   ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tokens_and_tags_become_a_text_with_spans(write: Write, separator: str, end: str) -> None:
    path = write(NER.replace("\t", separator).replace("\n", end))
    tagged = tagged_of(path)
    first, second = tagged.examples
    assert first.text == "EU rejects Peter Blackburn"
    assert first.spans == (Span(0, 2, "ORG"), Span(11, 26, "PER"))
    assert first.tokens == ((0, 2), (3, 10), (11, 16), (17, 26))
    assert (second.text, second.line, second.id, second.location) == ("Brussels", 6, "6", f"{path}, line 6")
    assert (tagged.scheme, labels_of(tagged)) == ("BIO", ["LOC", "ORG", "PER"])
    assert list(tagged.notes) == [
        f"{path}: token column 1, tag column 2 (to change: token_column, tag_column)",
        f"{path}: 2 sentences, scheme BIO, labels: 3 (to change: scheme)",
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("a.bio", NER), ("a.tsv", NER), ("a.txt", NER), ("a", NER), ("a.conll.gz", None)]
)
def test_the_name_of_the_file_does_not_matter(write: Write, name: str, content: str | None) -> None:
    path = write(gzip.compress(NER.encode()) if content is None else content, name)
    assert [len(example.spans or ()) for example in tagged_of(path).examples] == [2, 1]


def test_conll_2003_with_documents_and_four_columns_in_iob1(write: Write) -> None:
    path = write(
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nGerman JJ I-NP I-MISC\nBonn NNP B-NP B-MISC\n\n\n"
        "-DOCSTART- -X- O O\n\nit PRP I-NP O\n"
    )
    tagged = tagged_of(path)
    assert tagged.scheme == "IOB1"
    assert [surfaces(example) for example in tagged.examples] == [
        [("EU", "ORG"), ("German", "MISC"), ("Bonn", "MISC")],
        [],
    ]
    pos = tagged_of(path, tag_column="2")
    assert (pos.scheme, labels_of(pos)) == ("plain", ["JJ", "NNP", "PRP"])
    assert surfaces(pos.examples[0]) == [("EU", "NNP"), ("German", "JJ"), ("Bonn", "NNP")]
    chunks = tagged_of(path, tag_column="-2", scheme="BIO")
    assert surfaces(chunks.examples[0]) == [("EU German", "NP"), ("Bonn", "NP")]
    assert (f"{path}: 2 tags break the rules of BIO, read as conlleval does (the first: line 3: I-NP)") in chunks.notes


def test_conll_u(write: Write) -> None:
    tagged = tagged_of(write(UD))
    assert [example.id for example in tagged.examples] == ["a-1", "a-2"]
    assert surfaces(tagged.examples[0]) == [("Vamos", "VERB"), ("nos", "PRON"), ("mar", "NOUN")]
    assert surfaces(tagged.examples[1]) == [("#", "SYM")]
    assert (tagged.scheme, tagged.examples[0].line) == ("plain", 4)
    by_name = tagged_of(write(UD), token_column="LEMMA", tag_column="XPOS")
    assert surfaces(by_name.examples[0]) == [("ir", "VV"), ("nosotros", "PP"), ("mar", "NN")]
    assert by_name.examples == tagged_of(write(UD), token_column="3", tag_column="5").examples


def test_conll_u_that_is_not_tagged_yet(write: Write) -> None:
    path = write(UD.replace("NOUN", "_"))
    first, second = tagged_of(path, "predict").examples
    assert first.spans is None and tokens(first) == ["Vamos", "nos", "mar"]
    assert second.spans is None
    with refused(f"{path}, line 8", "'mar'", "--tag-column"):
        tagged_of(path)
    nothing = tagged_of(write("1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n"), "predict")
    assert [example.spans for example in nothing.examples] == [None]
    assert "token column 2" in nothing.notes[0]


def test_columns_that_the_file_names(write: Write) -> None:
    header = write("word\tpos\tner\nBonn\tNNP\tB-LOC\n")
    assert surfaces(tagged_of(header, token_column="word", tag_column="pos").examples[0]) == [("Bonn", "NNP")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("#\tB-x\n# a comment\n#a\tO\n", ["#", "#a"]),
        ("# B-x\na O\n", ["#", "a"]),
        ("a O\n# id = 3\n# O\n", ["a", "#"]),
        ("# id = 3\n\na O\n", ["a"]),
        ("#\na O\n", ["a"]),
    ],
)
def test_what_is_a_comment_and_what_a_token(write: Write, content: str, expected: list[str]) -> None:
    examples = tagged_of(write(content), "predict").examples
    assert [token for example in examples for token in tokens(example)] == expected


@pytest.mark.parametrize(
    ("content", "scheme", "spans"),
    [
        ("B-x M-x E-x S-y O", "BIOES", [(0, 3, "x"), (3, 4, "y")]),
        ("B-x I-x L-x U-y O", "BIOES", [(0, 3, "x"), (3, 4, "y")]),
        ("B M E S S", "BIOES", [(0, 3, "chunk"), (3, 4, "chunk"), (4, 5, "chunk")]),
        ("O I-x I-x B-y I-x", "BIO", [(1, 3, "x"), (3, 4, "y"), (4, 5, "x")]),
        ("NN VB NN NN O", "plain", [(0, 1, "NN"), (1, 2, "VB"), (2, 3, "NN"), (3, 4, "NN"), (4, 5, "O")]),
        ("O O O O O", "BIO", []),
    ],
)
def test_every_scheme(write: Write, content: str, scheme: str, spans: list[tuple[int, int, str]]) -> None:
    path = write("".join(f"{token}\t{tag}\n" for token, tag in zip("abcde", content.split(), strict=True)))
    asked: Any = "BIO" if "B-y I-x" in content else "auto"
    tagged = tagged_of(path, scheme=asked)
    assert tagged.scheme == scheme
    assert tagged.examples[0].spans == tuple(Span(2 * i, 2 * j - 1, label) for i, j, label in spans)


def test_chinese_is_written_without_blanks(write: Write) -> None:
    path = write("同样\tADV\n，\tPUNCT\n2004\tNUM\n年\tNOUN\nＡ\tX\nＢ\tX\n施力\tVERB\n。\tPUNCT\n")
    assert tagged_of(path).examples[0].text == "同样， 2004 年 Ａ Ｂ 施力。"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), min_size=1))
def test_the_bounds_of_joined_tokens_are_exact(given_tokens: list[str]) -> None:
    text, bounds = join_tokens(given_tokens)
    assert [text[start:stop] for start, stop in bounds] == given_tokens
    gaps = [text[i:j] for (_, i), (j, _) in pairwise(bounds)]
    assert set(gaps) <= {"", " "} and len(text) == bounds[-1][1]


def test_white_space_as_a_token_stays(write: Write) -> None:
    (example,) = tagged_of(write("中\tO\n\u3000\tO\n国\tB-x\n a b \tO\n")).examples
    assert tokens(example) == ["中", "\u3000", "国", "a b"] and example.text == "中\u3000国 a b"


def test_one_column_is_tokens_without_tags(write: Write) -> None:
    path = write("a\nb\n\nc\n")
    tagged = tagged_of(path, "predict")
    assert [example.text for example in tagged.examples] == ["a b", "c"]
    assert all(example.spans is None for example in tagged.examples)
    assert "token column 1" in tagged.notes[0]
    with refused(path, "no tags", "line 1: a", "--tag-column"):
        tagged_of(path)


def test_a_sentence_of_100_000_tokens(write: Write) -> None:
    (example,) = tagged_of(write("river\tB-x\nstone\tI-x\n" * 50_000)).examples
    assert len(example.tokens or ()) == 100_000 and len(example.spans or ()) == 50_000


BAD: list[tuple[str, int, str]] = [
    ("a\tO\nb\tX\tO\nc\tO\n", 2, "columns"),
    ("a\tO\nb O\n", 2, "columns"),
    ("a O\nb\n", 2, "columns"),
    ("a\tO\nb\t\n", 2, "'b'"),
    ("a\tO\n\tO\n", 2, "token"),
    ("a\tB-x\nb\tI-x\nc\t0\n", 3, "'0'"),
    ("a\tB-x\nb\tI-x\nc\tLOC\n", 3, "'LOC'"),
    ("a\tB-x\nb\tI-x\nc\tX-x\n", 3, "'X-x'"),
]


@pytest.mark.parametrize(("content", "line", "name"), BAD)
def test_a_faulty_line_is_named_or_its_sentence_left_out(write: Write, content: str, line: int, name: str) -> None:
    path = write(content + "\nfine\tO\n" if "\t" in content else content + "\nfine O\n")
    with refused(f"{path}, line {line}", name, "--on-error skip"):
        tagged_of(path)
    tagged = tagged_of(path, on_error="skip")
    assert [example.text for example in tagged.examples] == ["fine"]
    assert tagged.notes[-1].startswith("skipped: 1 (the first: ") and name in tagged.notes[-1]


def test_what_a_wrong_tag_was_meant_to_be(write: Write) -> None:
    path = write("a\tB-PER\nb\tI-PER\nc\tI_PER\nd\tb-PER\n")
    with refused(f"{path}, line 4", "'b-PER'", "--scheme plain") as caught:
        tagged_of(path)
    assert "-PER" in caught.value.facts["hint"]


def test_a_tag_outside_the_scheme_asked_for(write: Write) -> None:
    path = write("a\tB-x\nb\tE-x\n")
    assert tagged_of(path).scheme == "BIOES"
    with refused(f"{path}, line 2", "'E-x'", "BIO", "--scheme plain"):
        tagged_of(path, scheme="BIO")


def test_a_sentence_with_an_unreadable_line_is_left_out_whole(write: Write) -> None:
    fine = b"fine\tO\n"
    for broken in (b"a\tO\nb\xff\tO\nc\tO\n", b"b\xff\tO\nc\tO\n", b"a\tO\nb\xff\tO\n"):
        for content in (broken + b"\n" + fine, fine + b"\n" + broken):
            path = write(content)
            with refused(f"{path}, line", "UTF-8"):
                tagged_of(path)
            tagged = tagged_of(path, on_error="skip")
            assert [example.text for example in tagged.examples] == ["fine"] and "skipped: 1 " in tagged.notes[-1]


@pytest.mark.parametrize(
    ("content", "name"),
    [("\n\n\n", "white space"), ("# a comment\n\n", "no rows"), ("-DOCSTART- O\n\n", "no rows"), ("", "empty")],
)
def test_a_file_without_a_sentence(write: Write, content: str, name: str) -> None:
    path = write(content)
    with refused(path, name):
        tagged_of(path)


def test_empty_sentences_are_nothing(write: Write) -> None:
    assert len(tagged_of(write("\n\na\tO\n \n\t\n\n\nb\tO\n\n\n")).examples) == 2


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"tag_column": "3"}, "'3'"),
        ({"tag_column": "0"}, "'0'"),
        ({"tag_column": "-3"}, "'-3'"),
        ({"token_column": "FORM"}, "'FORM'"),
        ({"tag_column": "1"}, "column 1"),
        ({"token_column": "2"}, "column 2"),
    ],
)
def test_columns_that_are_not_there(write: Write, columns: dict[str, str], name: str) -> None:
    path = write(NER)
    (option,) = columns
    with refused(path, name, f"--{option.replace('_', '-')}"):
        tagged_of(path, **columns)


ROWS: list[str] = [
    '{"text": "Peter saw Bonn", "spans": [{"start": 10, "stop": 14, "label": "LOC"}, '
    '{"start": 0, "end": 5, "label": "PER"}]}',
    '{"text": "Peter saw Bonn", "entities": [[0, 6, "PER"], [9, 14, "LOC"]]}',
    '{"text": "Peter saw Bonn", "labels": [{"start": 0, "end": 5, "type": "PER"}, [10, 14, "LOC"], [10, 14, "LOC"]]}',
    '{"text": "Peter saw Bonn", "label": [[0, 5, "PER"], [10, 14, "LOC"], [3, 3, "X"]]}',
]
NESTED = (
    '{"text": "Peter saw Bonn", "spans": [[12, 14, "X"], [10, 14, "LOC"], [0, 14, "X"], [8, 11, "X"], [0, 14, "X"]]}'
)


@pytest.mark.parametrize("row", ROWS)
def test_json_lines_with_spans(write: Write, row: str) -> None:
    tagged = tagged_of(write(row + "\n", "a.jsonl"))
    assert tagged.examples[0].spans == (Span(0, 5, "PER"), Span(10, 14, "LOC"))
    assert tagged.examples[0].tokens is None
    assert (tagged.scheme, labels_of(tagged)) == ("BIO", ["LOC", "PER"])


def test_spans_that_are_empty_are_counted(write: Write) -> None:
    path = write("\n".join(ROWS) + "\n", "a.jsonl")
    tagged = tagged_of(path)
    assert list(tagged.notes) == [f"{path}: 1 empty spans skipped (the first on line 4)"]


def test_spans_that_nest_are_for_the_decoder_that_can(write: Write) -> None:
    path = write(ROWS[0] + "\n" + NESTED + "\n", "a.jsonl")
    with refused(f"{path}, line 2", "--on-error skip", "--task nested") as raised:
        tagged_of(path)
    assert raised.value.facts["given"] == "'Peter saw Bonn' (X); 'w B' (X)"
    skipped = tagged_of(path, on_error="skip")
    assert [len(example.spans) for example in skipped.examples] == [2, 1]
    assert list(skipped.notes) == [f"{path}: 3 overlapping spans skipped (the first on line 2)"]
    nested = tagged_of(path, nested=True)
    assert nested.notes == ()
    assert nested.examples[1].spans == (
        Span(0, 14, "X"), Span(8, 11, "X"), Span(10, 14, "LOC"), Span(12, 14, "X"),
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.sampled_from("ab"))))
def test_what_overlaps_and_what_is_left(drawn: list[tuple[int, int, str]]) -> None:
    spans = [Span(start, start + size, label) for start, size, label in dict.fromkeys(drawn)]
    pairs = [(a, b) for a in spans for b in spans if a is not b and a.start < b.end and b.start < a.end]
    found = overlapping(spans)
    assert found in pairs if pairs else found is None
    kept = keep_outermost(spans)
    assert overlapping(kept) is None and set(kept) <= set(spans)
    for span in set(spans) - set(kept):  # each one left out lies on one that was kept and begins no later
        assert any(one.start <= span.start < one.end for one in kept)


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ('{"text": "ab", "spans": [[0, 3, "x"]]}', ["'spans'", '[0, 3, "x"]', "stop <= 2"]),
        ('{"text": "ab", "spans": [[-1, 1, "x"]]}', ["'spans'", '[-1, 1, "x"]', "stop <= 2"]),
        ('{"text": "ab", "spans": [[2, 1, "x"]]}', ["'spans'", '[2, 1, "x"]', "stop <= 2"]),
        ('{"text": "ab", "spans": [[0, 1]]}', ["'spans'", "[0, 1]"]),
        ('{"text": "ab", "spans": [[0, true, "x"]]}', ["'spans'", '[0, true, "x"]']),
        ('{"text": "ab", "spans": [[0, 1, ""]]}', ["'spans'", '[0, 1, ""]']),
        ('{"text": "ab", "spans": [{"start": 0, "label": "x"}]}', ["'spans'", '{"start": 0, "label": "x"}']),
        ('{"text": "ab", "spans": "x"}', ["'spans'", "list"]),
        ('{"text": "ab"}', ['"spans"']),
        ('{"text": " ", "spans": []}', ["'text'", "empty"]),
        ('{"text": 3, "spans": []}', ["'text'", "not text"]),
        ('{"spans": []}', ["'text'", "spans"]),
        ('{"text": "a\\ud800b", "spans": []}', ["surrogate"]),
        ("[1]", ["JSON", "[1]"]),
    ],
)
def test_faulty_rows_of_json_lines(write: Write, row: str, names: list[str]) -> None:
    path = write('{"text": "fine", "spans": []}\n' + row + "\n", "a.jsonl")
    with refused(f"{path}, line 2", *names):
        tagged_of(path)
    tagged = tagged_of(path, on_error="skip")
    assert len(tagged.examples) == 1 and "skipped: 1 " in tagged.notes[-1]


def test_json_lines_without_spans_and_without_rows(write: Write) -> None:
    assert tagged_of(write('{"text": "a"}\n', "a.jsonl"), "predict").examples[0].spans is None
    path = write('{"a": "a"}\n', "b.jsonl")
    with refused(path, "--text-column"):
        tagged_of(path, on_error="skip")


def test_tags_never_seen(write: Write) -> None:
    path = write(NER)
    examples = tagged_of(path).examples
    assert check_targets(examples, "tags", ["ORG", "PER", "LOC", "MISC"], of="the training data")[0] == examples
    with refused("'Peter Blackburn'") as raised:
        check_targets(examples, "tags", ["ORG", "LOC", "PERS"], of="the training data")
    message = f'{path}, line 1: label "PER" is not among the 3 labels of the training data'
    assert raised.value.message == message  # golden
    assert "PERS" in raised.value.facts["hint"] and raised.value.facts["allowed"] == "LOC, ORG, PERS"
    kept, notes = check_targets(examples, "tags", ["LOC"], of="the model", unknown="skip")
    assert kept == examples[1:] and notes[-1].startswith("skipped: 1 (the first: ")


def test_shown_tags_are_not_too_many() -> None:
    example = Example("a", None, Spans((Span(0, 1, "new"),)), "1", 1, "f")
    with refused('"new"') as raised:
        check_targets([example], "tags", [f"T{number:02}" for number in range(SHOWN + 1)], of="the training data")
    assert raised.value.facts["allowed"].endswith("T15, ...")
