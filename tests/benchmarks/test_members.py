"""The command, the text that benchmarks read, and the arithmetic of bits per character. No peers needed."""

import argparse
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from benchmarks import __main__ as command
from benchmarks import bits, harness, lengths, pretraining, results, texts
from errors import refused
from unmask.data.corpus.shards import Shards
from unmask.data.public import datasets as public
from unmask.errors import UserError
from unmask.text.tokenizer import Tokenizer
from unmask.train.pretrain import build_learner, fit_to_corpus
from unmask.train.recipe import PretrainRecipe, parse_recipe


def options(*given: str, characters: int = 10_000) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    texts.add_options(parser, characters)
    return parser.parse_args(given)


@pytest.fixture
def stories_file(stories: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "stories.txt"
    path.write_text("\n\n".join(stories) + "\n", encoding="utf-8")
    return path


def test_the_list_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[: len(command.MEMBERS)]] == list(command.MEMBERS)


@pytest.mark.parametrize("name", command.MEMBERS)
def test_every_member_is_whole(name: str) -> None:
    module = command.member(name)
    assert module.BENCHMARK.name == name and module.BENCHMARK.sides[0].name == "ours"
    assert len({side.name for side in module.BENCHMARK.sides}) == len(module.BENCHMARK.sides) >= 2
    arguments = command.parser_of(name, module).parse_args([])
    assert arguments.rounds == command.ROUNDS[name] and arguments.threads >= 1


@pytest.mark.parametrize("architecture", pretraining.ARCHITECTURES)
@pytest.mark.parametrize("shape", [(6, 256, 4, 1024, 128), (12, 768, 12, 3072, 512)])
def test_our_networks_are_as_large_as_the_peer(architecture: str, shape: tuple[int, ...], tokenizer: Tokenizer) -> None:
    """Outside of the vocabulary; BERT's matrices, vectors and tables are counted by hand (Devlin et al. 2019)."""
    layers, width, _, inner, length = shape
    names = ("layers", "width", "heads", "inner", "length")
    settings = {**dict(zip(names, shape, strict=True)), "architecture": architecture}
    settings |= {"corpus": "none", "batch_tokens": 4096, "dtype": "float32"}
    with torch.device("meta"):
        recipe = fit_to_corpus(pretraining.recipe_for(settings), tokenizer)
        found = pretraining.outside(build_learner(recipe, tokenizer), tokenizer.vocab_size)
    block = 4 * width**2 + 2 * width * inner + 9 * width + inner
    peer = layers * block + (length + 2 + 2) * width + width**2 + 3 * width
    assert found == peer if architecture == "bert" else abs(found - peer) <= pretraining.NEAR * peer


def test_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["encodign"]) == 2
    told = capsys.readouterr().err
    assert "'encodign'" in told and "encoding?" in told


def test_a_peer_that_is_not_installed_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "missing", lambda module: ["transformers"])
    assert command.main(["pretraining"]) == 2
    assert "pip install 'unmask[bench]'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rounds", "--threads", "--repeat"])
def test_numbers_that_cannot_be_used(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["encoding", option, "0"]) == 2
    assert option in capsys.readouterr().err


def test_a_whole_benchmark_by_the_command(
    stories_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.conditions, "others_now", lambda: 0.0)
    given = [
        "--text",
        str(stories_file),
        "--vocabulary",
        "96",
        "--rounds",
        "1",
        "--repeat",
        "1",
        "--threads",
        "1",
    ]
    assert command.main(["encoding", *given, "--out", str(tmp_path / "records")]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("encoding: ours against tokenizers") == 2
    assert "did not do the same work" not in shown.err
    assert len(list((tmp_path / "records").glob("encoding-*.json"))) == 1


def test_nine_tenths_train_and_a_tenth_is_held_out(stories: list[str], stories_file: Path, tmp_path: Path) -> None:
    text = texts.arrange(options("--text", str(stories_file), characters=10**6), tmp_path)
    train, heldout = texts.documents_of(text.train), texts.documents_of(text.heldout)
    assert heldout == stories[1::10] and sorted(train + heldout) == sorted(stories)
    assert text.about["heldout"]["sha256"] == hashlib.sha256(text.heldout.read_bytes()).hexdigest()
    assert text.about["train"]["characters"] == sum(map(len, train))
    assert list(texts.lines_of(text.heldout)) == [f"{story}\n" for story in heldout]


def test_fewer_characters_come_evenly(stories: list[str], stories_file: Path, tmp_path: Path) -> None:
    wanted = -(-sum(map(len, stories)) // 4)
    text = texts.arrange(options("--text", str(stories_file), characters=wanted), tmp_path)
    kept = {*texts.documents_of(text.train), *texts.documents_of(text.heldout)}
    assert len(kept) == len(stories) // 4
    assert [sum(each in kept for each in stories[at : at + 40]) for at in (0, 40, 80)] == [10, 10, 10]


def test_too_few_documents(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    file.write_text("one\ndocument\n")
    with refused(file.name, "--split line"):
        texts.arrange(options("--text", str(file)), tmp_path)


def test_public_data_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> public.Fetched:
        raise UserError(f"{name} cannot be fetched", given="no network")

    monkeypatch.setattr(public, "download", offline)
    with refused("no network", "--text FILE"):
        texts.arrange(options(), tmp_path)


@pytest.fixture
def windows(tokenizer: Tokenizer, stories_file: Path, tmp_path: Path) -> list[list[bits.Word]]:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer" / "tokenizer.json"))
    return list(bits.windows_of(stories_file, backend, 3000))


def test_windows_hold_whole_words_of_the_text_in_order(
    windows: list[list[bits.Word]], stories: list[str], tokenizer: Tokenizer
) -> None:
    words = [word for window in windows for word in window]
    text = "".join("".join(stories).lower().split())
    assert text.startswith("".join(word for word, _ in words))
    assert 3000 <= sum(len(word) for word, _ in words) < 3000 + 2 * bits.WINDOW
    assert max(sum(len(word) for word, _ in window) for window in windows) <= bits.WINDOW
    for word, ids in words:
        pieces = [tokenizer.id_to_token(number) for number in ids]
        assert "".join(piece.removeprefix("##") for piece in pieces) == word


def test_every_piece_is_scored_once(windows: list[list[bits.Word]], tokenizer: Tokenizer) -> None:
    """With a network that knows nothing, a piece costs log2 of the vocabulary: once, or the sum is wrong."""
    values = {
        "data": {"corpus": "none"},
        "model": {
            "vocab_size": tokenizer.vocab_size,
            "num_hidden_layers": 1,
            "hidden_size": 16,
            "num_attention_heads": 2,
        },
    }
    learner = build_learner(parse_recipe(PretrainRecipe, values, (), "the test"), tokenizer).eval()
    with torch.no_grad():
        learner.encoder.embeddings.token.weight.zero_()  # all logits are the bias then, which begins as zero
    pieces = sum(len(ids) for window in windows for _, ids in window)
    total = sum(bits.piece_bits(learner, windows, tokenizer))
    assert total == pytest.approx(pieces * math.log2(tokenizer.vocab_size), rel=1e-5)


def test_the_passes_do_not_depend_on_the_pieces() -> None:
    drawn = [bits.groups(window, 40) for window in range(50)]
    assert drawn == [bits.groups(window, 40) for window in range(50)]
    counts = np.bincount(np.concatenate(drawn), minlength=bits.PASSES)
    assert len(counts) == bits.PASSES and counts.min() > 0.7 * 2000 / bits.PASSES


def test_the_number_of_pieces_costs_what_its_share_says(corpus: Shards, stories: list[str]) -> None:
    counts = [1] * bits.LONGEST
    for story in stories:
        words = [number for number in corpus.tokenizer.encode(story).word_ids if number is not None]
        for word in set(words):
            counts[words.count(word) - 1] += 1
    expected = [-math.log2(count / sum(counts)) for count in counts]
    assert bits.number_bits(corpus) == pytest.approx(expected)


def test_lengths_measures_the_same_network_at_every_point() -> None:
    arguments = command.parser_of("lengths", lengths).parse_args(["--lengths", "16", "48", "--tokens", "100"])
    settings, _ = lengths.arrange(arguments, None)
    settings |= {"layers": 3, "width": 16, "heads": 2, "window": 2}
    for point in lengths.points(arguments):
        parameters = set()
        for side in lengths.BENCHMARK.sides:
            prepared = side.prepare(settings | point)
            assert prepared.work() == 100 // point["length"] * point["length"]
            assert prepared.facts is not None
            parameters.add(prepared.facts()["parameters"])
        assert len(parameters) == 1
    with refused("--lengths", "9000"):
        lengths.arrange(command.parser_of("lengths", lengths).parse_args(["--lengths", "9000"]), None)


def test_the_table_of_lengths_has_a_row_for_each() -> None:
    sides = [side.name for side in lengths.BENCHMARK.sides]
    measured = [
        results.Measurement(0, name, [2.0], [4000.0 * number], 2.0, 0, number * 2**20)
        for number, name in enumerate(sides, 1)
    ]
    outcome = harness.Outcome(results.compare(sides, measured), [], [], Path("record"), True)
    head, *rows = lengths.table([({"length": 128}, outcome), ({"length": 256}, outcome)])
    assert all(name in head for name in sides)
    assert [row.split() for row in rows] == [
        [length, "500.0", "1", "250.0", "2", "166.7", "3"] for length in ("128", "256")
    ]
