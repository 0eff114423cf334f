"""How the rows of a file are laid out, whatever its first line: columns, comments, headers, separators, line ends."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, questions_of, rows_of, tagged_of
from unmask.data.rows.example import Example
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import Rows, read_rows
from unmask.evaluate.datacheck import check_data

GERMEVAL = (
    "#\thttp://a.org [2009-10-1{n}]\n1\tFrau\tO\tO\n2\tBerg\tB-PER\tO\n3\tFC\tB-ORG\tO\n4\tBonn\tI-ORG\tB-LOC\n\n"
)
FRAU = ["Frau", "Berg", "FC", "Bonn"]


def write(folder: Path, content: str, name: str = "a.conll") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def tokens(rows: Rows) -> list[list[str]]:
    return [[one.text[start:end] for start, end in one.tokens or ()] for one in rows.examples]


def spans(example: Example) -> list[tuple[str, str]]:
    return [(example.text[span.start : span.end], span.label) for span in example.spans or ()]


# CoNLL


@pytest.mark.parametrize("name", ["a.tsv", "a.conll", "a.txt"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_comments_with_tabs_above_rows_of_more_columns(tmp_path: Path, name: str, end: str) -> None:
    path = write(tmp_path, "".join(GERMEVAL.format(n=n) for n in range(3)).replace("\n", end), name)
    outer = tagged_of(path, token_column="2", tag_column="3")
    assert tokens(outer) == [FRAU] * 3
    assert spans(outer.examples[0]) == [("Berg", "PER"), ("FC Bonn", "ORG")]
    assert [one.line for one in outer.examples] == [2, 8, 14]
    inner = tagged_of(path)
    assert tokens(inner) == [FRAU] * 3 and spans(inner.examples[0]) == [("Bonn", "LOC")]
    assert any("column 1 counts" in note for note in inner.notes)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("# id 0-a\tdomain=en\nanna _ _ B-PER\nlyon _ _ B-LOC\n\n# id 1-b\tdomain=en\nota _ _ O\n", 2),
        ("a\tB-x\nb\tO\n# see\thttp://b.org [2010]\nc\tO\n\n#\tB-x\nd\tO\n", 2),
        ("# title\na B-x\nb O\n\n# other\nc B-x\n# O\n", 2),
        ("# x\ty\tz\na\tb\tB-x\n# w\tx\ty\tz\nc\td\tO\n", 1),
    ],
)
def test_a_comment_is_one_wherever_it_stands_and_a_token_stays_a_token(
    tmp_path: Path, content: str, expected: int
) -> None:
    rows = tagged_of(write(tmp_path, content))
    every = [token for sentence in tokens(rows) for token in sentence]
    assert len(rows.examples) == expected
    assert every.count("#") == content.count("#\tB-x") + content.count("# O")
    assert "see" not in every and "title" not in every and "id" not in every


@pytest.mark.parametrize("first", ["1", "0"])
def test_a_column_that_counts_holds_no_tokens(tmp_path: Path, first: str) -> None:
    start = int(first)
    content = "\n".join(
        "".join(f"{start + n}\t{word}\tB-x\n" for n, word in enumerate(words))
        for words in (["a", "b"], ["c"], ["d", "e"])
    )
    assert tokens(tagged_of(write(tmp_path, content))) == [["a", "b"], ["c"], ["d", "e"]]
    assert tokens(tagged_of(write(tmp_path, content), token_column="1"))[1] == [first]
    numbers = "7\tB-x\n9\tO\n\n3\tO\n"
    assert tokens(tagged_of(write(tmp_path, numbers))) == [["7", "9"], ["3"]]


@pytest.mark.parametrize(
    ("header", "tag"),
    [("Word\tPOS\tTag", "LOC"), ("token\tlabel\tpos", "NNP"), ("TOKENS\tx\tNER_tags", "LOC")],
)
def test_a_header_of_names_is_no_sentence(tmp_path: Path, header: str, tag: str) -> None:
    rows = tagged_of(write(tmp_path, f"{header}\nBonn\tNNP\tB-LOC\n\nLyon\tNNP\tB-LOC\n"))
    assert tokens(rows) == [["Bonn"], ["Lyon"]]
    assert {span.label for one in rows.examples for span in one.spans or ()} == {tag}


@pytest.mark.parametrize("tail", ["\t", " ", "\t\t", " \t "])
def test_blanks_and_tabs_at_the_ends_of_lines_and_between_sentences(tmp_path: Path, tail: str) -> None:
    content = f"a\tB-x{tail}\nb\tO\n{tail}\nc\tO{tail}\n\u00a0\nd\tB-x\n"
    assert tokens(tagged_of(write(tmp_path, content))) == [["a", "b"], ["c"], ["d"]]


def test_most_lines_decide_how_many_columns_there_are(tmp_path: Path) -> None:
    content = "a\tx\tB-y\tmore\n\n" + "b\tx\tO\n\n" * 5
    with refused("line 1", "columns is 4", "3 on every line"):
        tagged_of(write(tmp_path, content))
    rows = tagged_of(write(tmp_path, content), on_error="skip")
    assert tokens(rows) == [["b"]] * 5 and "skipped: 1" in rows.notes[-1]


def test_a_line_that_cannot_be_read_takes_its_sentence_along(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(b"a\tO\nb\xff\tO\n\nc\tO\n\nd\n\n" + b"e\tO\n\n" * 300 + b"f\xff\tO\ng\tO\n\nh\tO\n")
    found = [sentence[0] for sentence in tokens(tagged_of(path, on_error="skip"))]
    assert found == ["c", *["e"] * 300, "h"]


# tables of tokens

SENTENCES = [["Anna", "visited", "Lyon", ","], ["Berlin"], ["Anna", "slept"]]
NER = [["B-per", "O", "B-geo", "O"], ["B-geo"], ["B-per", "O"]]


def token_table(header: list[str], delimiter: str = ",", every: bool = False, gap: bool = False) -> str:
    """SENTENCES as a table with these columns, the first of which counts them unless there is an empty row between."""
    out = io.StringIO()
    table = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    table.writerow(header)
    for number, (words, tags) in enumerate(zip(SENTENCES, NER, strict=True)):
        for place, (word, tag) in enumerate(zip(words, tags, strict=True)):
            name = [] if gap else [f"Sentence: {number}" if every or place == 0 else ""]
            table.writerow([*name, word, *["NN"] * (len(header) - len(name) - 2), tag])
        out.write("\n" if gap else "")
    return out.getvalue()


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [["Sentence #", "Word", "POS", "Tag"], ["sentence_id", "words", "labels"]])
def test_a_table_of_tokens_with_a_column_of_sentences(
    tmp_path: Path, header: list[str], delimiter: str, every: bool
) -> None:
    path = write(tmp_path, token_table(header, delimiter, every), "a.csv")
    rows = tagged_of(path)
    assert tokens(rows) == SENTENCES
    assert spans(rows.examples[0]) == [("Anna", "per"), ("Lyon", "geo")]
    assert [(one.id, one.line) for one in rows.examples] == [(f"Sentence: {n}", x) for n, x in enumerate((2, 6, 7))]
    assert tokens(tagged_of(path, "predict")) == SENTENCES


@pytest.mark.parametrize("gap", ["\n", ",\n", " , \n"])
@pytest.mark.parametrize("header", [["token", "tag"], ["word", "pos", "ner"]])
def test_a_table_of_tokens_with_empty_rows(tmp_path: Path, header: list[str], gap: str) -> None:
    gap = gap.replace(",", "," * (len(header) - 1))
    content = token_table(header, gap=True).replace("\n\n", f"\n{gap}")
    rows = tagged_of(write(tmp_path, content, "a.csv"))
    assert tokens(rows) == SENTENCES and [one.line for one in rows.examples] == [2, 7, 9]


def test_columns_of_a_table_of_tokens_by_name_or_number(tmp_path: Path) -> None:
    path = write(tmp_path, token_table(["Satz", "Wort", "POS", "Ding"]).replace("Satz", "sent_id"), "a.csv")
    for token, tag in (("Wort", "Ding"), ("2", "Ding"), ("Wort", "-1")):
        rows = tagged_of(path, token_column=token, tag_column=tag)
        assert tokens(rows) == SENTENCES and spans(rows.examples[1]) == [("Berlin", "geo")]
    with refused(path, "'Wurt'", "Wort"):
        tagged_of(path, token_column="Wurt", tag_column="Ding")
    with refused(path, "token", "Wort", "--token-column"):
        tagged_of(path)
    with refused(path, "tag", "Klasse", "--tag-column"):
        tagged_of(write(tmp_path, "Sentence #,Word,Klasse\n1,a,O\n", "a.csv"))


@pytest.mark.parametrize(("bad", "line"), [("2,,O\n", 4), ("2,x,\n", 4), ("2,x,O,O\n", 4)])
def test_a_fault_in_a_table_of_tokens_names_its_line(tmp_path: Path, bad: str, line: int) -> None:
    path = write(tmp_path, f"sentence_id,words,labels\n1,a,B-x\n1,b,O\n{bad}2,y,O\n3,c,O\n", "a.csv")
    with refused(f"{path}, line {line}"):
        tagged_of(path)
    assert tokens(tagged_of(path, on_error="skip"))[-1] == ["c"]


# what predict reads

CONLL = "Anna\tB-PER\nlives\tO\nin\tO\nLyon\tB-LOC\n\nBerlin\tB-LOC\nsleeps\tO\n"


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("a.txt", CONLL, ()),
        ("a.tsv", CONLL, ()),
        ("a.txt", CONLL.replace("\t", " "), ()),
        ("a", CONLL.replace("\t", " "), ()),
        (
            "a.txt",
            "Anna PROPN\nlives VERB\nin ADP\nLyon PROPN\n\nBerlin PROPN\nsleeps VERB\n",
            ("PROPN", "VERB", "ADP"),
        ),
        ("a.txt", "# id = 1\n" + CONLL.replace("\n", "\r\n"), ()),
        ("a.csv", "token,tag\n" + CONLL.replace("\t", ","), ()),
        ("a.jsonl", '{"tokens": ["Anna", "lives", "in", "Lyon"]}\n{"tokens": ["Berlin", "sleeps"]}\n', ()),
    ],
)
def test_to_predict_a_file_is_read_as_to_evaluate(
    tmp_path: Path, name: str, content: str, labels: tuple[str, ...]
) -> None:
    path = write(tmp_path, content, name)
    rows = read_rows(path, ReadOptions(), "tags", "predict", (), labels)
    assert tokens(rows) == [["Anna", "lives", "in", "Lyon"], ["Berlin", "sleeps"]]
    assert all(one.target is None for one in rows.examples)
    if name != "a.jsonl":
        assert tokens(tagged_of(path, "test")) == tokens(rows)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "Anna lives in Lyon.\nBerlin sleeps.\n", ["Anna lives in Lyon.", "Berlin sleeps."]),
        ("a.txt", "Vitamin B\n", ["Vitamin B"]),
        ("a.txt", "Anna Berg\nOtto Lyon\nEmma Bonn\n", ["Anna Berg", "Otto Lyon", "Emma Bonn"]),
        ("a.txt", "1\tAnna lives\n2\tBerlin sleeps\n", ["1\tAnna lives", "2\tBerlin sleeps"]),
        ("a.txt", "Anna\nBerlin\n", ["Anna", "Berlin"]),
        ("a.tsv", "text\tlabel\nhello\tx\nbye\ty\n", ["hello", "bye"]),
        ("a.csv", "id,text\n1,hello O\n2,bye O\n", ["hello O", "bye O"]),
        ("a.txt", "# Anna B-PER\n", ["# Anna B-PER"]),
    ],
)
def test_texts_stay_texts(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    rows = tagged_of(write(tmp_path, content, name), "predict")
    assert [one.text for one in rows.examples] == expected
    assert all(one.tokens is None for one in rows.examples)


# tables

ROWS = [("Yes, no", "a"), ("so; it | is", "b"), ('he "said"', "a"), ("two\nlines", "b"), ("tab\there", "a")]


@pytest.mark.parametrize("above", ["", "sep={}\n", '"sep={}"\n', "\n\n", "A title of it\n", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_same_table_with_every_delimiter_and_line_end(tmp_path: Path, above: str, delimiter: str, end: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([("text", "label"), *ROWS])
    path = write(tmp_path, (above.format(delimiter) + out.getvalue()).replace("\n", end), "a.csv")
    rows = rows_of(path)
    assert [(one.text, one.label) for one in rows.examples] == ROWS
    first = above.count("\n") + 2
    assert [one.line for one in rows.examples] == [first + n for n in (0, 1, 2, 3, 5)]
    assert any("line 1" in note for note in rows.notes) == (above not in ("", "\n\n", "\ufeff"))


cells = st.text("ab,;|\t\"\n'# é中", max_size=8).filter(lambda cell: cell.strip())
SAME = st.lists(st.tuples(cells, st.sampled_from(["x", "y"])), min_size=1, max_size=8)


@given(SAME, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_every_delimiter_and_line_end_reads_to_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, end: str, quoted: bool
) -> None:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    table = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    table.writerows([("text", "label"), *rows])
    path = write(tmp_path_factory.mktemp("t"), out.getvalue().replace("\n", end), "a.csv")
    assert [(one.text, one.label) for one in examples_of(path)] == rows


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", '"text, in full";label\na, b;x\nc;y\n', [("a, b", "x"), ("c", "y")]),
        ("a.csv", "text, in full;label\na, b;x\nc;y\nd;y\n", [("a, b", "x"), ("c", "y"), ("d", "y")]),
        ("a.tsv", "text, in full;label\na;x\nb;y\n", [("a", "x"), ("b", "y")]),
    ],
)
def test_a_header_with_two_separators(tmp_path: Path, name: str, content: str, expected: list[tuple[str, str]]) -> None:
    rows = rows_of(write(tmp_path, content, name), text_column="text, in full")
    assert [(one.text, one.label) for one in rows.examples] == expected


def test_a_column_of_texts_is_not_taken_apart(tmp_path: Path) -> None:
    texts = ["one; two", "three | four", "five; six"]
    for name, above in (("a.csv", "text"), ("a.tsv", "text")):
        path = write(tmp_path, "\n".join([above, *texts]) + "\n", name)
        assert [one.text for one in examples_of(path, use="predict")] == texts


def test_files_put_one_after_another(tmp_path: Path) -> None:
    one = "\ufefftext,label\na,x\nb,y\n"
    rows = rows_of(write(tmp_path, one * 3, "a.csv"))
    assert [(e.text, e.line) for e in rows.examples] == [
        (t, 3 * n + d) for n in range(3) for t, d in (("a", 2), ("b", 3))
    ]
    assert any("2 more times" in note for note in rows.notes)


# identity


@pytest.mark.parametrize(
    "separators", [None, (",", ":"), (", \n", ": ")], ids=["on one line", "without blanks", "a key a line"]
)
def test_rows_of_an_array_have_numbers_of_their_own(tmp_path: Path, separators: tuple[str, str] | None) -> None:
    records = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(4)]
    path = write(tmp_path, json.dumps(records, separators=separators), "a.json")
    examples = examples_of(path)
    numbers = [1, 3, 5, 7] if separators == (", \n", ": ") else [1, 2, 3, 4]
    assert [(one.id, one.line) for one in examples] == [(str(n), n) for n in numbers]
    assert "same_ids" not in str(check_data({"train": examples}).to_dict().get("findings", {}))


def test_errors_in_an_array_on_one_line_name_the_row(tmp_path: Path) -> None:
    records: list[Any] = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, {"text": "", "label": "x"}]
    with refused(tmp_path / "a.json", "row 3"):
        examples_of(write(tmp_path, json.dumps(records), "a.json"))
    with refused(tmp_path / "a.json", "row 2"):
        examples_of(write(tmp_path, json.dumps([records[0], 7, records[1]]), "a.json"))
    with refused(tmp_path / "a.json", "line 4"):
        examples_of(write(tmp_path, "[\n" + ",\n".join(map(json.dumps, records)) + "]", "a.json"))


def test_questions_of_an_array_on_one_line(tmp_path: Path) -> None:
    rows = [{"question": "What?", "context": f"In {n} a lantern.", "answers": ["a lantern"]} for n in range(4)]
    examples = questions_of(write(tmp_path, json.dumps(rows), "a.json"))
    assert [(one.id, one.answers and one.answers[0].text) for one in examples] == [
        (str(n), "a lantern") for n in range(1, 5)
    ]
