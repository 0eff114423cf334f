"""Files that are not read, known by their first bytes or their first line, and the lines that convert them.

`FILE` and `NAME` (the file without its suffix) in a line are replaced. Lines that begin with `$` are for a shell, the
others are Python.
"""

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unmask.errors import UserError
from unmask.messages import message

_WRITE = (
    'open("NAME.jsonl", "w", encoding="utf-8").writelines(json.dumps(row, ensure_ascii=False) + "\\n" for row in rows)'
)
_TEXT = 'open("NAME.txt", "w", encoding="utf-8").write(text)'
_OPEN = 'data = json.load(open("FILE", encoding="utf-8"))'
_WRITTEN = (".csv", ".jsonl", ".txt", ".conll", ".parquet")


@dataclass(frozen=True)
class Foreign:
    """A format that is not read. lines: of Python or a shell that convert it."""

    title: str
    lines: tuple[str, ...] = ()

    def error(self, name: str, path: str) -> UserError:
        """The error for such a file, with the lines that convert it."""
        stem = Path(path).with_suffix("") if path != "-" else Path("rows")
        if Path(path).suffix in _WRITTEN:  # a table's name on what is none is not to be written over
            stem = stem.with_name(f"{stem.name}-rows")
        lines = [line.replace("FILE", path).replace("NAME", str(stem)) for line in self.lines]
        allowed = "CSV, TSV, JSON, JSON lines, Parquet, CoNLL, text in UTF-8"
        see = "docs/coming-from.md" if lines else None
        title = message(self.title)
        return UserError(
            "{name} is in a format that is not read", name, given=title, allowed=allowed, hint=lines, see=see
        )


def _pandas(reader: str, *, needs: str = "") -> tuple[str, ...]:
    return f"import pandas{needs}", f'pandas.{reader}.to_csv("NAME.csv", index=False)'


EXCEL = Foreign("an Excel workbook", _pandas('read_excel("FILE", sheet_name=0)', needs="  # and openpyxl"))
OLD_EXCEL = Foreign(
    "an Excel workbook of before 2007", _pandas('read_excel("FILE", sheet_name=0)', needs="  # and xlrd")
)
ODS = Foreign("an OpenDocument spreadsheet", _pandas('read_excel("FILE", sheet_name=0)', needs="  # and odfpy"))
WORD = Foreign(
    "a Word document",
    (
        "import docx  # pip install python-docx",
        'text = "\\n".join(p.text for p in docx.Document("FILE").paragraphs)',
        _TEXT,
    ),
)
OLD_WORD = Foreign("an Office document of before 2007", ("$ libreoffice --headless --convert-to txt:Text FILE",))
ODT = Foreign("an OpenDocument text", ("$ libreoffice --headless --convert-to txt:Text FILE",))
PDF = Foreign(
    "a PDF document",
    ("import pypdf", 'text = "\\n".join(page.extract_text() for page in pypdf.PdfReader("FILE").pages)', _TEXT),
)
PICKLE = Foreign(
    "a pickle, which may run any code when it is loaded",
    (
        "import pandas  # only for a file from somebody you trust",
        'pandas.read_pickle("FILE").to_csv("NAME.csv", index=False)',
    ),
)
TORCH = Foreign(
    "a file of torch.save",
    (
        "import json, torch",
        'rows = torch.load("FILE", weights_only=True)  # where it is a list of dicts of plain values',
        _WRITE,
    ),
)
ARROW = Foreign(
    "an Arrow file",
    (
        "import pyarrow.ipc, pyarrow.parquet",
        'table = pyarrow.ipc.open_file(pyarrow.memory_map("FILE")).read_all()',
        'pyarrow.parquet.write_table(table, "NAME.parquet")',
    ),
)
ARROW_STREAM = Foreign(
    "an Arrow stream, as datasets.save_to_disk writes it",
    (
        "import pyarrow.ipc, pyarrow.parquet",
        'table = pyarrow.ipc.open_stream(pyarrow.memory_map("FILE")).read_all()',
        'pyarrow.parquet.write_table(table, "NAME.parquet")',
    ),
)
SAVED_DATASET = Foreign(
    "a folder of datasets.save_to_disk",
    ("import datasets", 'datasets.load_from_disk("FILE").to_parquet("NAME.parquet")'),
)
SAVED_SPLITS = Foreign(
    "a folder of datasets.save_to_disk",
    (
        "import datasets",
        'for name, split in datasets.load_from_disk("FILE").items():',
        '    split.to_parquet(f"{name}.parquet")',
    ),
)
SPACY = Foreign(
    "a DocBin of spaCy",
    (
        "import json, spacy.tokens",
        'docs = spacy.tokens.DocBin().from_disk("FILE").get_docs(spacy.blank("xx").vocab)',
        "ents = lambda doc: [[one.start_char, one.end_char, one.label_] for one in doc.ents]",
        'rows = [{"text": doc.text, "spans": ents(doc), "cats": doc.cats} for doc in docs]',
        _WRITE,
    ),
)
ZIP = Foreign("a zip archive", ("$ python -m zipfile -e FILE NAME",))
TAR = Foreign("a tar archive", ("$ python -m tarfile -e FILE NAME",))
XML = Foreign(
    "XML",
    (
        "import json, xml.etree.ElementTree as tree  # where each child of the root is a row",
        'rows = [{**row.attrib, **{one.tag: one.text for one in row}} for row in tree.parse("FILE").getroot()]',
        _WRITE,
    ),
)
HTML = Foreign("HTML", ("import pandas  # and lxml", 'pandas.read_html("FILE")[0].to_csv("NAME.csv", index=False)'))
WEBANNO = Foreign(
    "WebAnno TSV, as INCEpTION exports it",
    (
        'out, before = open("NAME.conll", "w", encoding="utf-8"), "_"',
        'for row in (line.rstrip("\\n").split("\\t") for line in open("FILE", encoding="utf-8") if line[0] != "#"):',
        '    name = row[3] if row[3:] else "_"  # 3: the column of the labels, from 0',
        '    tag = "O" if name in "_*" else "BI"[name[-1] == "]" and name == before] + "-" + name.split("[")[0]',
        '    before = out.write(f"{row[2]}\\t{tag}\\n" if row[3:] else "\\n") and name',
    ),
)
LIGHTTAG = Foreign(
    "an export of LightTag",
    (
        "import json",
        _OPEN,
        'spans = lambda one: [[tag["start"], tag["end"], tag["tag"]] for tag in one["annotations"]]',
        'rows = [{"text": one["content"], "spans": spans(one)} for one in data["examples"]]',
        _WRITE,
    ),
)
RASA = Foreign(
    "training data of Rasa",
    (
        "import json",
        _OPEN,
        'rows = [{"text": one["text"], "label": one["intent"]} for one in data["rasa_nlu_data"]["common_examples"]]',
        _WRITE,
    ),
)
NER_ANNOTATOR = Foreign(
    "an export of NER Annotator",
    (
        "import json",
        _OPEN,
        'rows = [one for one in data["annotations"] if one and one[0].strip()]',
        _WRITE,
    ),
)

_MAGIC: tuple[tuple[bytes, Foreign], ...] = (
    (b"\x89PNG", Foreign("a PNG image")),
    (b"\xff\xd8\xff", Foreign("a JPEG image")),
    (b"%PDF-", PDF),
    (b"PAR1\x15", Foreign("a Parquet file", _pandas('read_parquet("FILE")'))),
    (b"\x1f\x8b", Foreign("gzip data: its name should end in .gz")),
    (b"\x28\xb5\x2f\xfd", Foreign("zstd data: its name should end in .zst")),
    (b"BZh", Foreign("bzip2 data", ("$ bunzip2 FILE",))),
    (b"\xfd7zXZ\0", Foreign("xz data", ("$ unxz FILE",))),
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", ("$ 7z x FILE",))),
    (b"Rar!\x1a\x07", Foreign("a RAR archive", ("$ unrar x FILE",))),
    (b"ARROW1", ARROW),
    (b"\xff\xff\xff\xff", ARROW_STREAM),
    (b"FEA1", Foreign("a Feather file", _pandas('read_feather("FILE")', needs="  # and pyarrow"))),
    (b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", _pandas('read_hdf("FILE")', needs="  # and tables"))),
    (b"ORC", Foreign("an ORC file", _pandas('read_orc("FILE")', needs="  # and pyarrow"))),
    (
        b"SQLite format 3\0",
        Foreign(
            "an SQLite database",
            _pandas('read_sql("select * from TABLE", sqlite3.connect("FILE"))', needs=", sqlite3"),
        ),
    ),
    (
        b"\x93NUMPY",
        Foreign(
            "an array of numpy",
            ("import numpy", 'text = "\\n".join(map(str, numpy.load("FILE")))', _TEXT),
        ),
    ),
    (b"<stata_dta>", Foreign("a data set of Stata", _pandas('read_stata("FILE")'))),
    (b"$FL2", Foreign("a data set of SPSS", _pandas('read_spss("FILE")', needs="  # and pyreadstat"))),
    (b"{\\rtf", Foreign("a rich text document", ("$ libreoffice --headless --convert-to txt:Text FILE",))),
)
# parts of archives, by what stands in them
_IN_ZIP = (
    (b"opendocument.spreadsheet", ".ods", ODS),
    (b"opendocument.text", ".odt", ODT),
    (b"xl/", ".xlsx", EXCEL),
    (b"word/", ".docx", WORD),
    (b"/data.pkl", ".pt", TORCH),
)
# a whole object, by its first keys
_OBJECTS = (
    (re.compile(r'\{\s*"examples"\s*:\s*\[\s*\{'), LIGHTTAG),
    (re.compile(r'\{\s*"rasa_nlu_data"\s*:\s*\{'), RASA),
    (re.compile(r'\{\s*"classes"\s*:\s*\[[^\]]*\]\s*,\s*"annotations"\s*:\s*\['), NER_ANNOTATOR),
)
_TAG = r"<[A-Za-z_][\w:.-]*(\s[^<>]*)?>"
_XML = re.compile(rf"<\?xml\b|<!DOCTYPE\b|{_TAG}\s*\n\s*<", re.IGNORECASE)
_HTML = re.compile(r"<!DOCTYPE\s+html|<(html|body|table|div)\b", re.IGNORECASE)


def binary(head: bytes, path: str) -> Foreign | None:
    """The format of a file that is not text, by its first bytes; None for others."""
    suffix = Path(path).suffix.lower()
    if head.startswith(b"PK\x03\x04"):
        by_content = (kind for mark, _, kind in _IN_ZIP if mark in head)
        by_name = (kind for _, name, kind in _IN_ZIP if name == suffix)
        return next(by_content, None) or next(by_name, ZIP)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return OLD_EXCEL if suffix == ".xls" or b"W\0o\0r\0k\0b\0o\0o\0k" in head else OLD_WORD
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return TORCH if suffix in (".pt", ".pth", ".bin") else PICKLE
    if head[257:262] == b"ustar":
        return TAR
    if head[:1] == b"\x78":
        with suppress(zlib.error):
            start = zlib.decompressobj().decompress(head, 400)
            if b"attrs" in start or b"tokens" in start:
                return SPACY
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def markup(opening: str) -> Foreign | None:
    """The format of text that is no rows, by its first characters; None for others."""
    if opening.startswith("#FORMAT=WebAnno TSV"):
        return WEBANNO
    if _XML.match(opening) or _HTML.match(opening):
        return HTML if _HTML.search(opening[:1000]) else XML
    return next((kind for pattern, kind in _OBJECTS if pattern.match(opening)), None)


def folder(path: Path) -> Foreign | None:
    """The format of a folder that is not read; None for others."""
    if (path / "dataset_dict.json").is_file():
        return SAVED_SPLITS
    return SAVED_DATASET if (path / "state.json").is_file() and any(path.glob("*.arrow")) else None
