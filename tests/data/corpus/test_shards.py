"""Corpus folders: the tokens are the tokenizer's own, a build survives kills, damage is found and named."""

import hashlib
import itertools
import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import refused
from unmask.data.corpus import shardfiles, shardwriter
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shards import SENTENCE_START, WORD_START, Shards, build
from unmask.text.tokenizer import Tokenizer, TokenizerConfig

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dogs",
    "while",
    "rain",
    "falls",
    "on",
    "every",
    "small",
    "town",
    "near",
    "rivers",
]


def sample_documents(count: int, seed: int = 0) -> list[Document]:
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 40))) + ". Yes" * draw.randint(0, 1) for _ in range(count)]
    return [Document(text, f"{'abc'[n * 3 // count]}.txt", n) for n, text in enumerate(texts)]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = [document.text for document in sample_documents(300)] + ["Ünï 今天 ! ? ."]
    return Tokenizer.train(texts, TokenizerConfig(vocab_size=100, min_frequency=1))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


class Counting:
    """A tokenizer that knows which texts it was given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.seen = tokenizer, []

    def __getattr__(self, name: str):
        return getattr(self.tokenizer, name)

    def encode_texts(self, texts, words=None):
        self.seen += texts
        return self.tokenizer.encode_texts(texts, words)


texts = st.lists(st.text(st.sampled_from("theaqu .?!\n今Ü"), max_size=60), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, st.integers(1, 60), st.integers(1, 5))
def test_slices_are_the_tokenizers_own_pieces(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, texts: list[str], size: int, sources: int
) -> None:
    documents = [Document(text, f"{n % sources}.txt", n // sources) for n, text in enumerate([*texts, "the end"])]
    opened = build(documents, tokenizer, tmp_path_factory.mktemp("c") / "corpus", shard_tokens=size)
    expected = [
        (d, *pieces) for d, pieces in zip(documents, tokenizer.encode_texts([d.text for d in documents]), strict=True)
    ]
    kept = [(d, ids, flags) for d, ids, flags in expected if len(ids)]
    assert opened.documents == len(opened) == len(kept)
    assert opened.document_lengths.tolist() == [len(ids) for _, ids, _ in kept]
    assert opened.manifest["skipped"] == len(expected) - len(kept)
    for number, (_, ids, flags) in enumerate(kept):
        found, found_flags = opened.read(number, 0, len(ids))
        assert (found.dtype, found_flags.dtype) == (np.int64, np.uint8)
        assert (found.tolist(), found_flags.tolist()) == (ids.tolist(), flags.tolist())
        start = len(ids) // 3
        assert opened.read(number, start, len(ids) - 1)[0].tolist() == ids[start:-1].tolist()
    written = np.concatenate([np.load(path) for path in sorted(opened.folder.glob("*.documents.npy"))])
    places = [(opened.sources.index(document.source), document.number) for document, _, _ in kept]
    assert written[:, 1:].tolist() == list(map(list, places))
    counted = Counter(itertools.chain.from_iterable(ids.tolist() for _, ids, _ in kept))
    assert {n: c for n, c in enumerate(opened.token_counts.tolist()) if c} == counted
    assert opened.tokens == sum(counted.values())
    of_source = {s["name"]: (s["documents"], s["tokens"]) for s in opened.manifest["sources"]}
    for name, (count, tokens) in of_source.items():
        lengths = [len(ids) for d, ids, _ in kept if d.source == name]
        assert (count, tokens) == (len(lengths), sum(lengths))


def test_flags_are_what_they_say(tmp_path: Path, tokenizer: Tokenizer) -> None:
    opened = build([Document("The quick fox. Every town", "a", 0)], tokenizer, tmp_path / "c")
    ids, flags = opened.read(0, 0, opened.tokens)
    pieces = [tokenizer.id_to_token(int(piece)) for piece in ids]
    assert [bool(flag & WORD_START) for flag in flags] == [not piece.startswith("##") for piece in pieces]
    begun = "".join("|" * bool(flag & SENTENCE_START) + piece for flag, piece in zip(flags, pieces, strict=True))
    assert begun.replace("##", "") == "|thequickfox.|everytown"


@pytest.mark.parametrize("text", ["the fox. " * 60, "the fox\n\ndogs? " * 40, "the quick " * 50, "today" * 90])
def test_a_long_document_is_the_same_in_parts(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    document = Document(text, "a", 0)
    ((ids, flags),) = tokenizer.encode_texts([text])
    monkeypatch.setattr(shardwriter, "BATCH_CHARACTERS", 97)
    counting = Counting(tokenizer)
    opened = build([document], counting, tmp_path / "c")
    assert max(map(len, counting.seen)) <= 97 + 2 * shardwriter.CONTEXT
    if " " in text:  # a word is not cut
        found = opened.read(0, 0, opened.tokens)
        assert (found[0].tolist(), found[1].tolist()) == (ids.tolist(), flags.tolist())


def test_a_long_document_keeps_the_blanks_that_belong_to_pieces(
    tmp_path: Path, byte_level: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The river rose. Nobody knows\nwhy it did so.\n\n" * 12
    ((ids, flags),) = byte_level.encode_texts([text])
    monkeypatch.setattr(shardwriter, "BATCH_CHARACTERS", 97)
    found = build([Document(text, "a", 0)], byte_level, tmp_path / "c").read(0, 0, len(ids))
    assert (found[0].tolist(), found[1].tolist()) == (ids.tolist(), flags.tolist())


@pytest.mark.parametrize(("vocabulary", "name"), [(2**16, "uint16"), (2**16 + 1, "uint32")])
def test_ids_are_as_wide_as_the_vocabulary_needs(
    tmp_path: Path, tokenizer: Tokenizer, vocabulary: int, name: str
) -> None:
    class Wide(Counting):
        def __init__(self) -> None:
            super().__init__(tokenizer)
            self.vocab_size = vocabulary

        def encode_texts(self, texts, words=None):
            return [(np.array([vocabulary - 1, 0]), np.array([1, 1], np.uint8)) for _ in texts]

    opened = build([Document("x", "a", 0)], Wide(), tmp_path / "c")
    assert opened.manifest["dtype"] == name
    assert opened.read(0, 0, 2)[0].tolist() == [vocabulary - 1, 0]


def test_entropy_and_statistics(tmp_path: Path, tokenizer: Tokenizer) -> None:
    documents = sample_documents(200)
    opened = build(documents, tokenizer, tmp_path / "c", shard_tokens=500)
    counts = Counter(p for ids, _ in tokenizer.encode_texts([d.text for d in documents]) for p in ids.tolist())
    total = counts.total()
    entropy = -sum(c / total * np.log(c / total) for c in counts.values())
    assert opened.unigram_entropy() == pytest.approx(entropy)
    found = opened.statistics(3)
    assert found["uniform_entropy"] == pytest.approx(np.log(tokenizer.vocab_size))
    assert [row["count"] for row in found["frequent"]] == [c for _, c in counts.most_common(3)]
    assert found["bytes"] == sum(len(d.text.encode()) for d in documents if d.text)
    assert found["tokens_per_document"]["p50"] == np.median(opened.document_lengths)
    assert "documents" in repr(opened) and f"{total:,} tokens" in repr(opened)


def test_places_that_are_not_there(tmp_path: Path, tokenizer: Tokenizer) -> None:
    opened = build(sample_documents(10), tokenizer, tmp_path / "c")
    length = int(opened.document_lengths[3])
    assert len(opened.read(3, length, length)[0]) == 0
    for wrong in ((opened.documents, 0, 0), (-1, 0, 0), (3, 0, length + 1), (3, 2, 1), (3, -1, 1)):
        with pytest.raises(IndexError):
            opened.read(*wrong)


def test_several_threads_read_the_same(tmp_path: Path, tokenizer: Tokenizer) -> None:
    documents = sample_documents(200)
    opened = build(documents, tokenizer, tmp_path / "c", shard_tokens=200)
    expected = [ids.tolist() for ids, _ in tokenizer.encode_texts([d.text for d in documents]) if len(ids)]
    wrong: list[int] = []

    def read(numbers: range) -> None:
        fresh = [n for n in numbers if opened.read(n, 0, len(expected[n]))[0].tolist() != expected[n]]
        wrong.extend(fresh)

    threads = [threading.Thread(target=read, args=(range(opened.documents)[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def interrupted(documents: list[Document], after: int) -> Iterator[Document]:
    yield from documents[:after]
    raise KeyboardInterrupt


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 120), max_size=3), st.integers(150, 900))
def test_an_interrupted_build_goes_on_where_it_stopped(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, stops: list[int], size: int
) -> None:
    documents = sample_documents(120)
    folder = tmp_path_factory.mktemp("c")
    whole = build(documents, tokenizer, folder / "whole", shard_tokens=size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shardwriter, "BATCH_DOCUMENTS", 5)
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                build(interrupted(documents, stop), tokenizer, folder / "part", shard_tokens=size)
        finished = 0
        if stops:
            state = shardfiles.files.read_json(folder / "part" / "manifest.partial.json")
            finished = sum(shard["documents_read"] for shard in state["shards"])
        counting = Counting(tokenizer)
        build(documents, counting, folder / "part", shard_tokens=size)
    assert counting.seen == [document.text for document in documents[finished:]]
    assert contents(folder / "part") == contents(whole.folder)


def test_a_finished_corpus_is_not_built_again(tmp_path: Path, tokenizer: Tokenizer) -> None:
    documents = sample_documents(50)
    first = contents(build(documents, tokenizer, tmp_path / "c", shard_tokens=100).folder)
    counting = Counting(tokenizer)
    assert contents(build(documents, counting, tmp_path / "c", shard_tokens=100).folder) == first
    assert counting.seen == []


BUILD = """
import os, signal, sys
from unmask.data.corpus import shardwriter
from unmask.text.tokenizer import Tokenizer
from unmask.data.corpus.documents import read_documents
from unmask.data.corpus.shards import build
text, tokenizer, out, last, share = sys.argv[1:]
count = 0
def kill(event, arguments):
    global count
    opened = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    changes = opened or event in ("os.rename", "os.remove", "os.mkdir")
    if not (changes and str(arguments[0]).startswith(out)):
        return
    count += 1
    if count == int(last):
        if event == "os.rename" and os.path.isfile(arguments[0]):  # as in the midst of writing it
            os.truncate(arguments[0], int(float(share) * os.path.getsize(arguments[0])))
        os.kill(os.getpid(), signal.SIGKILL)
shardwriter.BATCH_DOCUMENTS = 20
documents, trained = read_documents([text]), Tokenizer.from_pretrained(tokenizer)
sys.addaudithook(kill)
build(documents, trained, out, shard_tokens=900)
print(count)
"""


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Killed before one of its changes of files: between two of them a build differs in memory alone."""
    seed = random.randrange(10**6)
    print("seed", seed)  # pytest shows it when the test fails
    draw = random.Random(seed)
    (tmp_path / "a.txt").write_text("\n\n".join(d.text or "." for d in sample_documents(600)))
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    arguments = [str(tmp_path / name) for name in ("a.txt", "tokenizer")]

    def start(out: str, last: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BUILD, *arguments, str(tmp_path / out), str(last), str(draw.random())]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True)

    changes = int(start("whole").stdout)
    for _ in range(4):  # each does a fifth of the work at most, so that all are killed before the end
        assert start("killed", draw.randint(1, changes // 5)).returncode == -signal.SIGKILL
    assert start("killed").returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_other_inputs_are_refused_until_a_restart(tmp_path: Path, tokenizer: Tokenizer) -> None:
    documents = sample_documents(50)
    out = tmp_path / "c"
    built = build(documents, tokenizer, out, shard_tokens=100, provenance={"keep": 1.0})
    ends = [0, *itertools.accumulate(shard["documents_read"] for shard in built.manifest["shards"])]
    of_shard = {n: f"{start + 1} to {end}" for start, end in itertools.pairwise(ends) for n in range(start, end)}
    texts = [document.text for document in documents]
    other = Tokenizer.train(texts, TokenizerConfig(vocab_size=80, min_frequency=1))
    changed = [*documents[:30], Document("the dogs", "b.txt", 30), *documents[31:]]
    for arguments, difference in (
        ((documents, tokenizer, {"keep": 0.5}), "provenance.keep: 1.0 -> 0.5"),
        ((documents, other, {"keep": 1.0}), f"tokenizer: {tokenizer.sha256} -> {other.sha256}"),
        ((changed, tokenizer, {"keep": 1.0}), of_shard[30]),
        ((documents[:-1], tokenizer, {"keep": 1.0}), of_shard[49]),
        (([*documents, Document("the end", "z", 0)], tokenizer, {"keep": 1.0}), "more"),
    ):
        given_, with_, provenance = arguments
        with refused(out, difference, "--output", "--restart"):
            build(given_, with_, out, shard_tokens=100, provenance=provenance)
    again = build(changed[:20], other, out, restart=True)
    assert contents(out) == contents(build(changed[:20], other, tmp_path / "fresh").folder)
    assert again.tokenizer.sha256 == other.sha256


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "thesis.txt").write_text("the work of years")
    (tmp_path / ".git").mkdir()
    for restart in (False, True):
        with refused(tmp_path, ".git, thesis.txt", "--output"):
            build(sample_documents(3), tokenizer, tmp_path, restart=restart)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "thesis.txt"]
    with refused(tmp_path / "thesis.txt", "--output"):
        build(sample_documents(3), tokenizer, tmp_path / "thesis.txt")


def test_documents_without_a_token_are_no_corpus(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with refused("tokens", "2 documents"):
        build([Document(" \n", "a", 0), Document("", "a", 1)], tokenizer, tmp_path / "c")


@pytest.mark.parametrize(
    "name", ["shard-00001.tokens.npy", "shard-00000.documents.npy", "counts.npy", "tokenizer.json"]
)
def test_damage_is_found_and_the_same_command_repairs_it(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    documents = sample_documents(60)
    out = tmp_path / "c"
    good = contents(build(documents, tokenizer, out, shard_tokens=100).folder)
    path = out / name
    data = path.read_bytes()

    path.write_bytes(data[:-3])
    with refused(path, f"{len(data) - 3:,} bytes", f"{len(data):,} bytes", "`unmask corpus build`"):
        Shards.open(out)
    build(documents, tokenizer, out, shard_tokens=100)
    assert contents(out) == good

    flipped = bytearray(data)
    flipped[-5] ^= 1
    path.write_bytes(flipped)
    Shards.open(out)  # the sizes are right
    with refused(path, hashlib.sha256(flipped).hexdigest(), hashlib.sha256(data).hexdigest()):
        Shards.open(out, check=True)
    build(documents, tokenizer, out, shard_tokens=100)
    assert contents(out) == good

    path.unlink()
    with refused(path, "`unmask corpus build`") as caught:
        Shards.open(out)
    assert caught.value.facts.keys() == {"hint"}


@pytest.mark.parametrize("changed", [{"shards": 5}, {"shards": [1]}, {"files": None}])
def test_a_damaged_manifest_is_named(tokenizer: Tokenizer, tmp_path: Path, changed: dict[str, object]) -> None:
    build([Document("a few words", "a.txt", 1)], tokenizer, tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with refused(path) as caught:
        Shards.open(tmp_path / "corpus")
    assert caught.value.facts.keys() == {"hint"}


def test_folders_that_are_no_corpus(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with refused(tmp_path / "absent", "unmask corpus build FILES..."):
        Shards.open(tmp_path / "absent")
    (tmp_path / "a.txt").write_text("x")
    with refused("manifest.json", f"unmask corpus build {tmp_path}"):
        Shards.open(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        build(interrupted(sample_documents(40), 30), tokenizer, tmp_path / "c", shard_tokens=50)
    with refused(tmp_path / "c", "`unmask corpus build`"):
        Shards.open(tmp_path / "c")
    opened = build(sample_documents(40), tokenizer, tmp_path / "c", shard_tokens=50)
    manifest = opened.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 9'))
    with refused(manifest, "format 2") as caught:
        Shards.open(opened.folder)
    assert caught.value.facts["given"] == "9"


def test_a_full_disk_keeps_the_finished_shards(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = sample_documents(60)
    written = itertools.count()
    real = np.save

    def full(file, array):
        if next(written) >= 7:  # within the third shard
            raise OSError(28, "No space left on device")
        real(file, array)

    monkeypatch.setattr(np, "save", full)
    with refused(tmp_path / "c", "disk is full"):
        build(documents, tokenizer, tmp_path / "c", shard_tokens=100)
    monkeypatch.undo()
    counting = Counting(tokenizer)
    build(documents, counting, tmp_path / "c", shard_tokens=100)
    assert 0 < len(counting.seen) < len(documents)
    whole = build(documents, tokenizer, tmp_path / "whole", shard_tokens=100)
    assert contents(tmp_path / "c") == contents(whole.folder)


def test_taking_many_is_as_slicing_each(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shards = build(sample_documents(60), tokenizer, tmp_path / "c", shard_tokens=200)
    assert len(shards.manifest["shards"]) > 3
    draw = np.random.default_rng(0)
    documents = draw.integers(0, shards.documents, 200)
    lengths = shards.document_lengths[documents]
    starts = draw.integers(0, lengths + 1)
    stops = draw.integers(starts, lengths + 1)
    ids, flags = shards.read_many(documents, starts, stops)
    each = [shards.read(*map(int, place)) for place in zip(documents, starts, stops, strict=True)]
    assert ids.tolist() == np.concatenate([one for one, _ in each]).tolist()
    assert flags.tolist() == np.concatenate([one for _, one in each]).tolist()
    for wrong in (
        (shards.documents, 0, 1),
        (-1, 0, 1),
        (0, 0, int(lengths.max()) + 99),
        (0, 2, 1),
        (0, -1, 1),
    ):
        with pytest.raises(IndexError):
            shards.read_many(*(np.array([value]) for value in wrong))
