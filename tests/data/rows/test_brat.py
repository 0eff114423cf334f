"""Documents of brat: texts with the annotations beside them, whose offsets count characters of the whole text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, rows_of, tagged_of

ADA = "Ada lives in\nRome 😀, and Bob\n"


def document(folder: Path, name: str, text: str, *annotations: str) -> Path:
    """FILE.txt and FILE.ann; without annotations no .ann."""
    path = folder / f"{name}.txt"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(text.encode())
    if annotations:
        path.with_suffix(".ann").write_text("".join(one + "\n" for one in annotations if one), encoding="utf-8")
    return path


def surfaces(examples):
    return [[(e.text[s.start : s.end], s.label) for s in e.spans] for e in examples]


def spans_of(text: str, *surfaces: str) -> list[str]:
    """Annotations of the first place of each surface."""
    return [
        f"T{number}\tPER {text.index(one)} {text.index(one) + len(one)}\t{one}"
        for number, one in enumerate(surfaces, 1)
    ]


def test_a_folder_and_those_below_it(tmp_path: Path) -> None:
    document(tmp_path, "b", ADA, *spans_of(ADA, "Ada", "Bob"), "R1\tKnows Arg1:T1 Arg2:T2", "#1\tNote T1\tsure?")
    document(tmp_path, "sub/a", "Nobody.", "")
    document(tmp_path, "c", "unread")
    found = tagged_of(tmp_path)
    assert [(e.id, e.line) for e in found.examples] == [("b", 1), ("sub/a", 2)]
    assert found.examples[0].text == ADA.strip()
    assert surfaces(found.examples) == [[("Ada", "PER"), ("Bob", "PER")], []]
    notes = " ".join(found.notes)
    assert "brat, 2 entries" in notes and "2 relations" in notes and "1 texts without an .ann" in notes
    assert [e.id for e in examples_of(tmp_path, use="predict")] == ["b", "c", "sub/a"]
    assert len(found.sha256 or "") == 64
    document(tmp_path, "b", ADA, *spans_of(ADA, "Ada"))
    assert tagged_of(tmp_path).sha256 != found.sha256


@pytest.mark.parametrize("suffix", [".txt", ".ann"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_either_file_of_a_document(tmp_path: Path, suffix: str, end: str) -> None:
    """Offsets count the two characters that end a line of Windows, or one where the file was converted."""
    for counted in (end, "\n"):
        text = ADA.replace("\n", end)
        path = document(tmp_path, "a", text, *spans_of(ADA.replace("\n", counted), "Ada", "Rome", "Bob"))
        (example,) = tagged_of(path.with_suffix(suffix)).examples
        assert surfaces([example]) == [[("Ada", "PER"), ("Rome", "PER"), ("Bob", "PER")]]


@given(st.text("ab 😀城\n", min_size=1, max_size=20), st.data())
def test_any_stretch_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str, data) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    surface = text[start:end].replace("\n", " ")
    if not surface.strip() or text[:end].endswith("\n"):
        return
    path = document(tmp_path_factory.mktemp("b"), "a", text, f"T1\tX {start} {end}\t{surface}")
    (example,) = tagged_of(path).examples
    (span,) = example.spans or ()
    assert example.text[span.start : span.end] == text[start:end].strip()


def test_discontinuous_and_overlapping_spans(tmp_path: Path) -> None:
    text = "upper and lower leg"
    path = document(tmp_path, "a", text, "T1\tPART 0 5;16 19\tupper leg", "T2\tPART 10 19\tlower leg")
    found = tagged_of(path)
    assert surfaces(found.examples) == [[("lower leg", "PART")]] and "1 discontinuous" in " ".join(found.notes)
    path = document(tmp_path, "b", text, "T1\tPART 16 19\tleg", "T2\tPART 10 19\tlower leg")
    assert surfaces(tagged_of(path, nested=True).examples) == [[("lower leg", "PART"), ("leg", "PART")]]
    with refused(path, "lower leg", "--task nested"):
        tagged_of(path)


@pytest.mark.parametrize(
    ("annotation", "names"),
    [
        ("T1\tPER 0 3\tAxa", ["Axa"]),
        ("T1\tPER 1 4\tAda", ["Ada"]),
        ("T1\tPER 0 300\tAda", ["Ada"]),
        ("T1 PER 0 3 Ada", ["T1 PER"]),
        ("T1\tPER 0\tAda", ["PER 0"]),
        ("Ada\tB-PER", ["B-PER"]),
    ],
)
def test_annotations_that_do_not_fit(tmp_path: Path, annotation: str, names: list[str]) -> None:
    document(tmp_path, "a", "Bob", *spans_of("Bob", "Bob"))
    path = document(tmp_path, "b", ADA, spans_of(ADA, "Ada")[0], annotation)
    with refused(f"{path.with_suffix('.ann')}, line 2", *names):
        tagged_of(tmp_path)
    found = tagged_of(tmp_path, on_error="skip")
    assert [e.id for e in found.examples] == ["a"] and "skipped: 1 " in found.notes[-1]


def test_surfaces_need_not_be_there(tmp_path: Path) -> None:
    path = document(tmp_path, "a", ADA, "T1\tPER 0 3", "", "A1\tSure T1", "*\tEquiv T1 T2")
    assert surfaces(tagged_of(path).examples) == [[("Ada", "PER")]]


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text("T1\tPER 0 3\tAda\n")
    for path in (tmp_path, tmp_path / "a.ann"):
        with refused(tmp_path / "a.ann", "a.txt"):
            tagged_of(path)
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / "empty", ".ann"):
        tagged_of(tmp_path / "empty")
    with refused(tmp_path / "b.ann"):
        tagged_of(tmp_path / "b.ann")
    with refused(tmp_path / "b.txt"):
        tagged_of(tmp_path / "b.txt", format="brat")


def test_a_text_without_annotations_beside_it_is_one_row_a_line(tmp_path: Path) -> None:
    document(tmp_path, "a", ADA)
    assert len(examples_of(tmp_path / "a.txt", use="predict")) == 2
    with refused(tmp_path / "b", "label"):
        document(tmp_path, "b/a", ADA, *spans_of(ADA, "Ada"))
        rows_of(tmp_path / "b")


def test_texts_in_gb18030(tmp_path: Path) -> None:
    text = "第一行很长很长的文字\n王明在北京"
    path = document(tmp_path, "a", "", *spans_of(text, "王明"))
    path.write_bytes(text.encode("gb18030"))
    found = tagged_of(path)
    assert surfaces(found.examples) == [[("王明", "PER")]] and "GB18030" in " ".join(found.notes)
