"""Labelled tables: what is read, what is refused and how, and splits that do not leak."""

import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, rows_of
from unmask.data.rows.check import check_targets
from unmask.data.rows.columns import LABELS, PAIRS, TEXTS
from unmask.data.rows.example import Example
from unmask.data.rows.split import split
from unmask.data.tables import MAX_FIELD_LINES
from unmask.errors import UserError

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# lines end differently on different systems, and a NUL is no text: both are textfiles' affair
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
TEXT = WORDS.filter(str.strip)
LABEL = WORDS.filter(lambda text: not text.lstrip().startswith(("[", "(", "{")))  # lists: test_cells.py


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


class TestReading:
    @QUICK
    @given(
        rows=st.lists(st.tuples(TEXT, LABEL), max_size=8).map(lambda rows: [("first", "x"), *rows]),
        delimiter=st.sampled_from(",;\t"),
        quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        end=st.sampled_from(["\n", "\r\n"]),
    )
    def test_csv_round_trip(
        self, tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, quoting: int, end: str
    ) -> None:
        file = io.StringIO()
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
        writer.writerows([("text", "label"), *rows])
        examples = examples_of(write(tmp_path, "a.csv", file.getvalue()), on_error="skip", missing_labels="")
        kept = [(text, label.strip(), n) for n, (text, label) in enumerate(rows, 2) if label.strip()]
        assert [(e.text, e.label, e.line) for e in examples] == kept

    @QUICK
    @given(rows=st.lists(st.tuples(TEXT, TEXT, LABEL), max_size=8).map(lambda rows: [("a", "b", "c"), *rows]))
    def test_jsonl_round_trip(self, tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
        lines = [json.dumps({"premise": a, "hypothesis": b, "label": c}) for a, b, c in rows]
        examples = examples_of(write(tmp_path, "a.jsonl", "\n".join(lines)), on_error="skip", missing_labels="")
        assert [(e.text, e.pair, e.label) for e in examples] == [(a, b, c.strip()) for a, b, c in rows if c.strip()]

    def test_quoted_fields_go_on_over_lines_and_line_numbers_stay_true(self, tmp_path: Path) -> None:
        content = 'text,label\n"one\n""two""\n\nthree",a\n\nfour,b\n5"" disk,c\n'
        examples = examples_of(write(tmp_path, "a.csv", content))
        assert [(e.text, e.line, e.id) for e in examples] == [
            ('one\n"two"\n\nthree', 2, "2"),
            ("four", 7, "7"),
            ('5"" disk', 8, "8"),
        ]

    def test_a_quotation_mark_in_tsv_is_text(self, tmp_path: Path) -> None:
        examples = examples_of(write(tmp_path, "a.tsv", 'sentence\tlabel\nhe said "go\t1\n"so"\t0\n'))
        assert [(e.text, e.label) for e in examples] == [('he said "go', "1"), ("so", "0")]

    def test_compressed_is_the_same(self, tmp_path: Path) -> None:
        plain = write(tmp_path, "a.csv", "text,label\nhello,1\n")
        packed = tmp_path / "b.csv.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        strip = [(e.text, e.label, e.line) for e in examples_of(packed)]
        assert strip == [(e.text, e.label, e.line) for e in examples_of(plain)] == [("hello", "1", 2)]

    def test_labels_are_text_as_written(self, tmp_path: Path) -> None:
        values = ['"x"', "1", "1.5", "true", "false", "null", '""']
        lines = "\n".join(f'{{"text": "t", "label": {value}}}' for value in values)
        labels = [e.label for e in examples_of(write(tmp_path, "a.jsonl", lines), on_error="skip")]
        assert labels == ["x", "1", "1.5", "true", "false"]
        assert examples_of(write(tmp_path, "a.csv", "text,label\nt, 007 \n"))[0].label == "007"

    def test_ids_and_groups_come_from_their_columns(self, tmp_path: Path) -> None:
        examples = examples_of(write(tmp_path, "a.csv", "id,text,group\nq7,a,film\n,b,\n"), use="predict")
        assert [(e.id, e.group) for e in examples] == [("q7", "film"), ("3", None)]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("a b\n\nc\n", [("a b", 1), ("c", 3)]),
            ('{"text": "a", "label": "x"}\n{"text": "b"}\n', [("a", 1), ("b", 2)]),
            ("{not json\n", [("{not json", 1)]),
            ("12\n", [("12", 1)]),
        ],
    )
    def test_standard_input(
        self, monkeypatch: pytest.MonkeyPatch, content: str, expected: list[tuple[str, int]]
    ) -> None:
        class Input:
            buffer = io.BufferedReader(io.BytesIO(content.encode()))  # type: ignore[arg-type]

        monkeypatch.setattr("sys.stdin", Input)
        examples = examples_of("-", use="predict")
        assert [(e.text, e.line) for e in examples] == expected
        assert {e.source for e in examples} == {"standard input"}


class TestColumns:
    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("label", [LABELS[0], LABELS[1].upper()])
    def test_every_known_name_is_taken(self, tmp_path: Path, text: str, label: str) -> None:
        path = write(tmp_path, "a.csv", f"number,{label},{text.title()}\n1,yes,hello\n")
        assert [(e.text, e.label, e.pair) for e in examples_of(path)] == [("hello", "yes", None)]

    @pytest.mark.parametrize("pair", PAIRS)
    def test_every_known_pair_is_taken(self, tmp_path: Path, pair: tuple[str, str]) -> None:
        path = write(tmp_path, "a.csv", f"{pair[1]},{pair[0]}\nsecond,first\n")
        assert [(e.text, e.pair) for e in examples_of(path, use="predict")] == [("first", "second")]

    def test_what_is_named_stands_over_the_guess(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "text,label,plot,genre,tagline\na,b,c,d,e\n")
        named = examples_of(path, text_column="plot", label_column="genre", pair_column="tagline")
        assert [(e.text, e.label, e.pair) for e in named] == [("c", "d", "e")]

    def test_a_guess_is_said_and_plain_names_are_not(self, tmp_path: Path) -> None:
        (note,) = rows_of(write(tmp_path, "a.csv", "review,stars\nfine,4\n")).notes
        assert "'review'" in note and "'stars'" in note and "label_column" in note
        assert rows_of(write(tmp_path, "a.csv", "text,label\nfine,4\n")).notes == ()

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "text,label\na,b\n")
        with refused(path, "'lable'", "text, label", "--label-column") as caught:
            examples_of(path, label_column="lable")
        suggested, _ = caught.value.facts["hint"].splitlines()
        assert "label" in suggested

    def test_a_file_without_header(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "hello,1\nbye,2\n")
        with refused(path, "hello, 1", "--text-column"):
            examples_of(path)

    def test_no_label_column_where_labels_are_needed(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "text,outcome\na,b\n")
        with refused(path, "text, outcome", "--label-column"):
            examples_of(path)


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "content", "line", "names"),
        [
            ("a.csv", "text,label\nok,1\nshort\n", 3, ["fields", "short"]),
            ("a.csv", "text,label\nok,1\na,b,c\n", 3, ["fields", "a,b,c"]),
            ("a.tsv", "text\tlabel\nok\t1\na\tb\tc\n", 3, ["fields", "a\tb\tc"]),
            ("a.csv", "text,label\nok,1\n  ,b\n", 3, ["'text'", "empty"]),
            ("a.csv", 'text,label\nok,1\n"a"b,c\n', 3, ["CSV", '"a"b,c']),
            ("a.csv", 'text,label\nok,1\n"a,b\n', 3, ["CSV", '"a,b']),
            ("a.jsonl", '{"text": "ok", "label": "a"}\n{"label": "b"}\n', 2, ["'text'", "label"]),
            ("a.jsonl", '{"text": "ok", "label": "a"}\n{"text": 3}\n', 2, ["'text'", "not text"]),
            ("a.jsonl", '{"text": "ok", "label": "a"}\n{"text": null}\n', 2, ["'text'", "empty"]),
            (
                "a.jsonl",
                '{"text": "ok", "label": "a"}\n{"text": "x", "label": ["a", "b"]}\n',
                2,
                ["'label'", '["a", "b"]', "--task multilabel"],
            ),
            ("a.jsonl", '{"text": "ok", "label": "a"}\nnot json\n', 2, ["JSON", "not json"]),
        ],
    )
    def test_a_row_at_fault_stops_or_is_left_out(
        self, tmp_path: Path, name: str, content: str, line: int, names: list[str]
    ) -> None:
        path = write(tmp_path, name, content)
        with refused(f"{path}, line {line}", *names, "--on-error skip"):
            rows_of(path)
        rows = rows_of(path, on_error="skip")
        assert [e.text for e in rows.examples] == ["ok"]
        assert "skipped: 1 " in rows.notes[-1]

    def test_a_missing_label_matters_only_where_labels_are_needed(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "text,label\na,x\nb,\n")
        assert [e.text for e in examples_of(path, use="predict")] == ["a", "b"]
        with refused(f"{path}, line 3", "column 'label'"):
            examples_of(path)
        assert [e.text for e in examples_of(path, on_error="skip")] == ["a"]

    def test_a_quote_that_swallows_the_file_is_found_where_it_begins(self, tmp_path: Path) -> None:
        rows = "".join(f"text {number},1\n" for number in range(3 * MAX_FIELD_LINES))
        path = write(tmp_path, "a.csv", f'text,label\nfine,1\n"lost,1\n{rows}')
        with refused(f"{path}, line 3", "CSV", '"lost,1'):
            examples_of(path)
        kept = examples_of(path, on_error="skip")
        assert len(kept) == 1 + 3 * MAX_FIELD_LINES
        assert (kept[1].text, kept[1].line) == ("text 0", 4)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("", "empty"),
            ("text,label\n", "no rows"),
            ("text,label,text\na,b,c\n", "'text'"),
        ],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, content: str, said: str) -> None:
        path = write(tmp_path, "a.csv", content)
        with refused(path, said):
            examples_of(path)

    def test_nothing_left_is_an_error_even_when_skipping(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "text,label\n,1\n,2\n")
        with refused(path, "usable", "line 2"):
            examples_of(path, on_error="skip")

    def test_wrong_encoding_names_the_line(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes("text,label\nok,1\ncafé,1\n".encode("latin-1"))
        with refused(f"{path}, line 3", "UTF-8"):
            examples_of(path)


def test_labels_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "dev.csv", "text,label\na,sports\nb,sprots\nc,\n")
    examples = [*examples_of(path, on_error="skip"), Example("c")]
    with refused(f"{path}, line 3", '"sprots"', "2 labels", "train.csv", "sports, world") as caught:
        check_targets(examples, "label", ["world", "sports"], of="train.csv")
    assert "sports" in caught.value.facts["hint"]
    kept, notes = check_targets(examples, "label", ["sports"], of="the training data", unknown="skip")
    assert kept == examples[:1] and "skipped: 2" in notes[-1]


EXAMPLES = st.lists(
    st.builds(
        lambda text, label, group: Example(text, None, label, "", 1, "f", group),
        text=st.integers(0, 60).map(str),
        label=st.sampled_from("abc"),
        group=st.one_of(st.none(), st.integers(0, 9).map(str)),
    ),
    min_size=12,
    max_size=60,
)


class TestSplit:
    @QUICK
    @given(examples=EXAMPLES, share=st.floats(0.05, 0.95), seed=st.integers(0, 99), data=st.data())
    def test_nothing_is_lost_and_nothing_leaks(
        self, examples: list[Example], share: float, seed: int, data: st.DataObject
    ) -> None:
        try:
            rest, held = split(examples, share, seed)
        except UserError as error:
            assert f"{len(examples)} rows" in str(error) and f"{share:.0%}" in str(error)
            return
        assert sorted(map(repr, rest + held)) == sorted(map(repr, examples))
        assert rest and held
        assert not {e.text for e in rest} & {e.text for e in held}
        assert not {e.group for e in rest} & {e.group for e in held} - {None}
        shuffled = data.draw(st.permutations(examples))
        again = split(shuffled, share, seed)
        assert sorted(map(repr, again[1])) == sorted(map(repr, held))

    @QUICK
    @given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), share=st.floats(0.1, 0.9))
    def test_every_label_gives_its_share(self, sizes: list[int], share: float) -> None:
        examples = [
            Example(f"{label} {number}", None, str(label), "", 1, "f")
            for label, size in enumerate(sizes)
            for number in range(size)
        ]
        try:
            rest, held = split(examples, share)
        except UserError:
            assert share * len(examples) < 1 + len(sizes)
            return
        for label, size in enumerate(sizes):
            count = sum(e.label == str(label) for e in held)
            # a label that is all but used up hands its rest on to the next ones
            assert count < size and count >= min(round(share * size) - 1, size - 1)
        assert {e.label for e in rest} == {str(label) for label in range(len(sizes))}
        assert len(held) <= share * len(examples) + 1

    def test_seeds_differ_and_groups_stay_together(self) -> None:
        examples = [Example(str(n), None, "a", "", 1, "f") for n in range(80)]
        first, second = (split(examples, 0.25, seed=seed)[1] for seed in (0, 1))
        assert len(first) == len(second) == 20 and first != second
        grouped = [replace(example, group=str(n % 4)) for n, example in enumerate(examples)]
        assert len({e.group for e in split(grouped, 0.25)[1]}) == 1


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
@pytest.mark.parametrize("header", ["text,label", '"text","label"', "\ufefftext,label", " text, label"])
def test_a_header_in_the_middle_is_no_row(tmp_path: Path, name: str, header: str) -> None:
    """So cat leaves it: also with a byte order mark, quotes or blanks of its own."""
    text = f"text,label\na,x\n{header}\nb,y\ntext,x\n{header}\n"
    path = write(tmp_path, name, text.replace(",", "\t") if name.endswith("tsv") else text)
    rows = rows_of(path)
    assert [(example.text, example.label, example.line) for example in rows.examples] == [
        ("a", "x", 2),
        ("b", "y", 4),
        ("text", "x", 5),
    ]
    assert any("2 more times" in note and "line 3" in note for note in rows.notes)
