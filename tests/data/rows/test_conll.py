"""Tagged files of every kind, and what is said of bad ones."""

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask import console
from unmask.data.rows import conll
from unmask.data.rows.conll import TagColumns, check_tags, join_tokens, read_tagged
from unmask.data.rows.spanrows import keep_outermost, overlapping
from unmask.data.rows.tables import Example, Span
from unmask.errors import UserError

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


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    remarks: list[str] = []
    monkeypatch.setattr(console, "note", remarks.append)
    return remarks


def surfaces(example: Example) -> list[tuple[str, str]]:
    return [(example.text[span.start : span.end], span.label) for span in example.spans or ()]


def tokens(example: Example) -> list[str]:
    return [example.text[start:stop] for start, stop in example.tokens or ()]


@pytest.mark.parametrize("separator", ["\t", " ", "   ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tokens_and_tags_become_a_text_with_spans(write: Write, said: list[str], separator: str, end: str) -> None:
    path = write(NER.replace("\t", separator).replace("\n", end))
    tagged = read_tagged(path)
    first, second = tagged.examples
    assert first.text == "EU rejects Peter Blackburn"
    assert first.spans == (Span(0, 2, "ORG"), Span(11, 26, "PER"))
    assert first.tokens == ((0, 2), (3, 10), (11, 16), (17, 26))
    assert (second.text, second.line, second.id, second.location) == ("Brussels", 6, "6", f"{path}, line 6")
    assert (tagged.scheme, tagged.labels, tagged.tokens, tagged.out_of_order) == (
        "BIO", ["LOC", "ORG", "PER"], 5, 0,
    )  # fmt: skip
    assert said == [
        f"{path}: 2 sentences, tokens in column 1, tags in column 2 of 2; scheme BIO, labels: 3"
        " (to change: --token-column, --tag-column, --scheme)"
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("a.bio", NER), ("a.tsv", NER), ("a.txt", NER), ("a", NER), ("a.conll.gz", None)]
)
def test_the_name_of_the_file_does_not_matter(write: Write, name: str, content: str | None) -> None:
    path = write(gzip.compress(NER.encode()) if content is None else content, name)
    assert [len(example.spans or ()) for example in read_tagged(path).examples] == [2, 1]


def test_conll_2003_with_documents_and_four_columns_in_iob1(write: Write, said: list[str]) -> None:
    path = write(
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nGerman JJ I-NP I-MISC\nBonn NNP B-NP B-MISC\n\n\n"
        "-DOCSTART- -X- O O\n\nit PRP I-NP O\n"
    )
    tagged = read_tagged(path)
    assert tagged.scheme == "IOB1"
    assert [surfaces(example) for example in tagged.examples] == [
        [("EU", "ORG"), ("German", "MISC"), ("Bonn", "MISC")],
        [],
    ]
    pos = read_tagged(path, columns=TagColumns(tag="2"))
    assert (pos.scheme, pos.labels) == ("plain", ["JJ", "NNP", "PRP"])
    assert surfaces(pos.examples[0]) == [("EU", "NNP"), ("German", "JJ"), ("Bonn", "NNP")]
    chunks = read_tagged(path, columns=TagColumns(tag="-2"), scheme="BIO")
    assert surfaces(chunks.examples[0]) == [("EU German", "NP"), ("Bonn", "NP")]
    assert chunks.out_of_order == 2
    assert (
        f"{path}: 2 tags break the rules of BIO and are read as conlleval does"
        " (the first: line 3: I-NP at the start of a sentence)"
    ) in said


def test_conll_u(write: Write) -> None:
    tagged = read_tagged(write(UD))
    assert [example.id for example in tagged.examples] == ["a-1", "a-2"]
    assert surfaces(tagged.examples[0]) == [("Vamos", "VERB"), ("nos", "PRON"), ("mar", "NOUN")]
    assert surfaces(tagged.examples[1]) == [("#", "SYM")]
    assert (tagged.scheme, tagged.examples[0].line) == ("plain", 4)
    by_name = read_tagged(write(UD), columns=TagColumns(token="LEMMA", tag="XPOS"))
    assert surfaces(by_name.examples[0]) == [("ir", "VV"), ("nosotros", "PP"), ("mar", "NN")]
    assert by_name == read_tagged(write(UD), columns=TagColumns(token="3", tag="5"))


def test_conll_u_that_is_not_tagged_yet(write: Write, said: list[str]) -> None:
    path = write(UD.replace("NOUN", "_"))
    first, second = read_tagged(path).examples
    assert first.spans is None and tokens(first) == ["Vamos", "nos", "mar"]
    assert surfaces(second) == [("#", "SYM")]
    with pytest.raises(UserError, match="line 8: the tag of 'mar' is empty"):
        read_tagged(path, require_tags=True)
    nothing = write("1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n")
    assert [example.spans for example in read_tagged(nothing).examples] == [None]
    assert "no tags of 10" in said[-1]


def test_columns_that_the_file_names(write: Write) -> None:
    plus = write("# global.columns = ID UPOS FORM NE\n1\tNOUN\tBonn\tB-LOC\n2-3\t_\tdon't\t_\n2\tX\tdo\tO\n")
    assert surfaces(read_tagged(plus).examples[0]) == [("Bonn", "NOUN"), ("do", "X")]
    assert surfaces(read_tagged(plus, columns=TagColumns(tag="NE")).examples[0]) == [("Bonn", "LOC")]
    header = write("word\tpos\tner\nBonn\tNNP\tB-LOC\n")
    assert surfaces(read_tagged(header, columns=TagColumns(token="word", tag="pos")).examples[0]) == [("Bonn", "NNP")]


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
    examples = read_tagged(write(content)).examples
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
    tagged = read_tagged(path, scheme=asked)
    assert tagged.scheme == scheme
    assert tagged.examples[0].spans == tuple(Span(2 * i, 2 * j - 1, label) for i, j, label in spans)


def test_chinese_is_written_without_blanks(write: Write) -> None:
    path = write("同样\tADV\n，\tPUNCT\n2004\tNUM\n年\tNOUN\nＡ\tX\nＢ\tX\n施力\tVERB\n。\tPUNCT\n")
    assert read_tagged(path).examples[0].text == "同样， 2004 年 Ａ Ｂ 施力。"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), min_size=1))
def test_the_bounds_of_joined_tokens_are_exact(given_tokens: list[str]) -> None:
    text, bounds = join_tokens(given_tokens)
    assert [text[start:stop] for start, stop in bounds] == given_tokens
    gaps = [text[i:j] for (_, i), (j, _) in pairwise(bounds)]
    assert set(gaps) <= {"", " "} and len(text) == bounds[-1][1]


def test_white_space_as_a_token_stays(write: Write) -> None:
    (example,) = read_tagged(write("中\tO\n\u3000\tO\n国\tB-x\n a b \tO\n")).examples
    assert tokens(example) == ["中", "\u3000", "国", "a b"] and example.text == "中\u3000国 a b"


def test_one_column_is_tokens_without_tags(write: Write, said: list[str]) -> None:
    path = write("a\nb\n\nc\n")
    tagged = read_tagged(path)
    assert [example.text for example in tagged.examples] == ["a b", "c"]
    assert all(example.spans is None for example in tagged.examples)
    assert "no tags of 1" in said[0]
    with pytest.raises(UserError, match="has tokens, but no tags"):
        read_tagged(path, require_tags=True)


def test_a_sentence_of_100_000_tokens(write: Write) -> None:
    (example,) = read_tagged(write("river\tB-x\nstone\tI-x\n" * 50_000)).examples
    assert len(example.tokens or ()) == 100_000 and len(example.spans or ()) == 50_000


BAD: list[tuple[str, int, str]] = [
    ("a\tO\nb\tX\tO\nc\tO\n", 2, "has 3 columns, line 1 has 2"),
    ("a\tO\nb O\n", 2, "has 1 column, line 1 has 2"),
    ("a O\nb\n", 2, "has 1 column, line 1 has 2"),
    ("a\tO\nb\t\n", 2, "the tag of 'b' is empty"),
    ("a\tO\n\tO\n", 2, "the token is empty"),
    ("a\tB-x\nb\tI-x\nc\t0\n", 3, "the tag '0' is outside the scheme BIO"),
    ("a\tB-x\nb\tI-x\nc\tLOC\n", 3, "the tag 'LOC' is outside the scheme BIO"),
    ("a\tB-x\nb\tI-x\nc\tX-x\n", 3, "the tag 'X-x' is outside the scheme BIO"),
]


@pytest.mark.parametrize(("content", "line", "what"), BAD)
def test_a_faulty_line_is_named_or_its_sentence_left_out(
    write: Write, said: list[str], content: str, line: int, what: str
) -> None:
    path = write(content + "\nfine\tO\n" if "\t" in content else content + "\nfine O\n")
    with pytest.raises(UserError) as raised:
        read_tagged(path)
    assert raised.value.message.startswith(f"{path}, line {line}") and what in raised.value.message
    assert raised.value.facts["to leave such lines out"] == "--on-error skip"
    tagged = read_tagged(path, on_error="skip")
    assert [example.text for example in tagged.examples] == ["fine"] and tagged.left_out == 1
    assert any(remark.startswith("left out: 1 (the first: ") and what in remark for remark in said)


def test_what_a_wrong_tag_was_meant_to_be(write: Write) -> None:
    path = write("a\tB-PER\nb\tI-PER\nc\tI_PER\nd\tb-PER\n")
    with pytest.raises(UserError) as raised:
        read_tagged(path)
    assert "line 4: the tag 'b-PER'" in raised.value.message
    assert raised.value.facts["did you mean"] == "B-PER"
    assert raised.value.facts["to read every tag as it is"] == "--scheme plain"


def test_a_tag_outside_the_scheme_asked_for(write: Write) -> None:
    path = write("a\tB-x\nb\tE-x\n")
    assert read_tagged(path).scheme == "BIOES"
    with pytest.raises(UserError, match="line 2: the tag 'E-x' is outside the scheme BIO"):
        read_tagged(path, scheme="BIO")
    wrong: Any = "IOB3"
    with pytest.raises(UserError, match="'IOB3' is not a tag scheme"):
        read_tagged(path, scheme=wrong)


def test_a_sentence_with_an_unreadable_line_is_left_out_whole(write: Write) -> None:
    fine = b"fine\tO\n"
    for broken in (b"a\tO\nb\xff\tO\nc\tO\n", b"b\xff\tO\nc\tO\n", b"a\tO\nb\xff\tO\n"):
        for content in (broken + b"\n" + fine, fine + b"\n" + broken):
            path = write(content)
            with pytest.raises(UserError, match="is not UTF-8"):
                read_tagged(path)
            tagged = read_tagged(path, on_error="skip")
            assert [example.text for example in tagged.examples] == ["fine"] and tagged.left_out == 1


@pytest.mark.parametrize("content", ["\n\n\n", "# a comment\n\n", "-DOCSTART- O\n\n", ""])
def test_a_file_without_a_sentence(write: Write, content: str) -> None:
    path = write(content)
    with pytest.raises(UserError, match=r"holds no sentence|is empty|holds only white space"):
        read_tagged(path)


def test_empty_sentences_are_nothing(write: Write) -> None:
    assert len(read_tagged(write("\n\na\tO\n \n\t\n\n\nb\tO\n\n\n")).examples) == 2


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        (TagColumns(tag="3"), "has no column '3'"),
        (TagColumns(tag="0"), "has no column '0'"),
        (TagColumns(tag="-3"), "has no column '-3'"),
        (TagColumns(token="FORM"), "has no column 'FORM'"),
        (TagColumns(tag="1"), "column 1 cannot hold both"),
        (TagColumns(token="2"), "column 2 cannot hold both"),
    ],
)
def test_columns_that_are_not_there(write: Write, columns: TagColumns, what: str) -> None:
    with pytest.raises(UserError, match=what):
        read_tagged(write(NER), columns=columns)


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
    tagged = read_tagged(write(row + "\n", "a.jsonl"), require_tags=True)
    assert tagged.examples[0].spans == (Span(0, 5, "PER"), Span(10, 14, "LOC"))
    assert tagged.examples[0].tokens is None
    assert (tagged.scheme, tagged.labels, tagged.tokens) == ("BIO", ["LOC", "PER"], 0)


def test_spans_that_are_empty_are_counted(write: Write, said: list[str]) -> None:
    path = write("\n".join(ROWS) + "\n", "a.jsonl")
    assert read_tagged(path).spans_left_out == 1
    assert said == [f"{path}: 1 empty spans left out (the first on line 4)"]


def test_spans_that_nest_are_for_the_decoder_that_can(write: Write, said: list[str]) -> None:
    path = write(ROWS[0] + "\n" + NESTED + "\n", "a.jsonl")
    with pytest.raises(UserError, match="line 2: two spans overlap") as raised:
        read_tagged(path)
    assert raised.value.facts["for entities that nest"] == "--task nested"
    assert raised.value.facts["given"] == "'Peter saw Bonn' (X); 'w B' (X)"
    skipped = read_tagged(path, on_error="skip")
    assert [len(example.spans) for example in skipped.examples] == [2, 1] and skipped.left_out == 0
    assert skipped.spans_left_out == 3
    assert said == [f"{path}: 3 overlapping spans left out (the first on line 2)"]
    nested = read_tagged(path, nested=True)
    assert nested.spans_left_out == 0
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
    ("row", "what"),
    [
        ('{"text": "ab", "spans": [[0, 3, "x"]]}', "a span reaches beyond the text"),
        ('{"text": "ab", "spans": [[-1, 1, "x"]]}', "a span reaches beyond the text"),
        ('{"text": "ab", "spans": [[2, 1, "x"]]}', "a span reaches beyond the text"),
        ('{"text": "ab", "spans": [[0, 1]]}', "holds something that is no span"),
        ('{"text": "ab", "spans": [[0, true, "x"]]}', "holds something that is no span"),
        ('{"text": "ab", "spans": [[0, 1, ""]]}', "holds something that is no span"),
        ('{"text": "ab", "spans": [{"start": 0, "label": "x"}]}', "holds something that is no span"),
        ('{"text": "ab", "spans": "x"}', "is not a list of spans"),
        ('{"text": "ab"}', "has no spans"),
        ('{"text": " ", "spans": []}', "the text is empty"),
        ('{"text": 3, "spans": []}', "'text' is not text"),
        ('{"spans": []}', "has no 'text'"),
        ('{"text": "a\\ud800b", "spans": []}', "holds half of a surrogate pair"),
        ("[1]", "is not a JSON object"),
    ],
)
def test_faulty_rows_of_json_lines(write: Write, row: str, what: str) -> None:
    path = write('{"text": "fine", "spans": []}\n' + row + "\n", "a.jsonl")
    with pytest.raises(UserError) as raised:
        read_tagged(path, require_tags=True)
    assert raised.value.message.startswith(f"{path}, line 2") and what in raised.value.message
    tagged = read_tagged(path, on_error="skip", require_tags=True)
    assert len(tagged.examples) == 1 and tagged.left_out == 1


def test_json_lines_without_spans_and_without_rows(write: Write) -> None:
    assert read_tagged(write('{"text": "a"}\n', "a.jsonl")).examples[0].spans is None
    with pytest.raises(UserError, match="no column is named like a text"):
        read_tagged(write('{"a": "a"}\n', "b.jsonl"), on_error="skip")


def test_tags_never_seen(write: Write, said: list[str]) -> None:
    path = write(NER)
    examples = read_tagged(path).examples
    assert check_tags(examples, ["ORG", "PER", "LOC", "MISC"]) == examples
    with pytest.raises(UserError) as raised:
        check_tags(examples, ["ORG", "LOC", "PERS"])
    error = raised.value
    assert error.message == f'{path}, line 1: tag "PER" is not among the 3 tags of the training data'
    assert error.facts["given"] == "on 'Peter Blackburn', in the sentence that begins there"
    assert error.facts["all that are new"] == "PER (1)"
    assert (error.facts["did you mean"], error.facts["allowed"]) == ("PERS", "LOC, ORG, PERS")
    assert check_tags(examples, ["LOC"], owner="the model", unknown="skip") == examples[1:]
    assert said[-1].startswith("left out: 1 (the first: ")


def test_shown_tags_are_not_too_many() -> None:
    example = Example("1", "a", None, None, 1, "f", spans=(Span(0, 1, "new"),))
    with pytest.raises(UserError) as raised:
        check_tags([example], [f"T{number:02}" for number in range(conll.SHOWN + 1)])
    assert raised.value.facts["allowed"].endswith("T15, ...")
