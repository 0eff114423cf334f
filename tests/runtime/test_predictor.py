"""Predictions: the same whatever stands beside them; [MASK] filled; errors for what cannot be answered."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from errors import refused
from unmask import bundle
from unmask.console import SILENT
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.layout import SequenceLayout
from unmask.model.mlm_head import MLMHead
from unmask.runtime import backend, choice
from unmask.runtime.predictor import Predictor, load
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune


@pytest.fixture(scope="module")
def classifier(classifier: Path) -> Predictor:
    return load(classifier)


@pytest.fixture(scope="module")
def filler(pretrained: Path) -> Predictor:
    return load(pretrained)


def test_neighbours_and_order_change_nothing(
    classifier: Predictor, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(story.split()[: 1 + n % 20]) for n, story in enumerate(stories)]
    together = dict(zip(texts, classifier.predict(texts), strict=True))
    shuffled = random.Random(1).sample(texts, len(texts))
    mixed = dict(zip(shuffled, classifier.predict(shuffled), strict=True))
    monkeypatch.setattr(backend, "TOKENS_PER_BATCH", 50)
    small = dict(zip(texts, classifier.predict(texts), strict=True))
    for text in texts:
        alone = {label.label: label.score for label in classifier.predict([text])[0]}
        assert sum(alone.values()) == pytest.approx(1, abs=1e-6)
        for other in (together, mixed, small):
            assert {label.label: label.score for label in other[text]} == pytest.approx(alone, abs=1e-5)
    assert len({round(labels[0].score, 4) for labels in together.values()}) > 10


def test_bfloat16_is_taken_where_it_is_faster_and_that_is_said(
    classifier: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With weights of torch alone; the units of the processor and the times of the trial are made up."""
    classifier.save_pretrained(tmp_path / "model")
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "has_bfloat16_units", lambda: True)
    times = iter((2.0, 1.0))
    monkeypatch.setattr(choice, "_seconds", lambda run, *sizes: next(times))
    fast = load(tmp_path / "model", "cpu")
    assert repr(fast.engine.precision) == "'bfloat16'" and "bfloat16" in capsys.readouterr().err  # type: ignore[attr-defined]
    exact = load(tmp_path / "model", "cpu", precision="float32")
    assert capsys.readouterr().err == ""
    (one,), (other,) = (each.predict(["river stone bridge"]) for each in (fast, exact))
    ours, theirs = ({label.label: label.score for label in each} for each in (one, other))
    assert ours == pytest.approx(theirs, abs=0.05) and ours != theirs
    assert load(tmp_path / "model", "cpu").predict(["river"]) == fast.predict(["river"]), "the trial is kept"


def test_one_text_many_texts_and_pairs(classifier: Predictor) -> None:
    one = classifier("river stone")
    beside = classifier(["river stone", "mountain"])[0]
    assert beside.label == one.label and beside.score == pytest.approx(one.score, abs=1e-6)
    assert classifier.predict(["river stone"])[0][0] == one
    assert classifier([]) == [] and classifier.predict([]) == []
    (pair,) = classifier.predict([("river", "mountain")])
    assert {label.label for label in pair} == {"stone", "water"}
    assert len(classifier.predict(["", "river"])) == 2


def device_of(predictor: Predictor) -> torch.device:
    return next(predictor.engine.encoder.parameters()).device


def test_probabilities_are_the_softmax_of_the_head(classifier: Predictor) -> None:
    encoded = classifier.tokenizer.encode("river winter", max_length=24)
    ids = torch.tensor(encoded.input_ids, device=device_of(classifier))
    with torch.no_grad():
        layout = SequenceLayout.packed([len(ids)]).map_tensors(lambda x: x.to(ids.device))
        hidden = classifier.engine.encoder(ids, layout, torch.zeros_like(ids))
        tensors = classifier.engine.bundle.tensors
        pooled = torch.tanh(tensors["pooler.weight"] @ hidden[0].cpu() + tensors["pooler.bias"])
        logits = (tensors["classifier.weight"] @ pooled + tensors["classifier.bias"]).double().numpy()
    wanted = dict(zip(classifier.task.labels, np.exp(logits) / np.exp(logits).sum(), strict=True))
    found = {label.label: label.score for label in classifier.predict(["river winter"])[0]}
    assert found == pytest.approx(wanted, abs=1e-6)


def test_evaluation_counts_what_is_predicted(classifier: Predictor, tmp_path: Path) -> None:
    texts = ["river stone", "mountain winter", "harbour", "river"]
    said = [label.label for label in classifier(texts)]
    truth = [said[0], said[1], *({"stone": "water", "water": "stone"}[name] for name in said[2:])]
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(texts, truth, strict=True))
    )
    evaluation = classifier.evaluate(tmp_path / "t.csv")
    assert evaluation.rows == 4 and evaluation.figures["accuracy"].value == 0.5
    new = tmp_path / "new.csv"
    new.write_text("text,label\nriver,granite\n")
    with refused(f"{new}, line 2", "granite"):
        classifier.evaluate(new)


def test_each_mask_is_filled(filler: Predictor) -> None:
    text = "The [MASK] carried a lantern over the [MASK]."
    first, second = filler.fill(text, top_k=4)
    assert len(first) == len(second) == 4
    for fills in (first, second):
        scores = [fill.score for fill in fills]
        assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
        assert not {fill.token for fill in fills} & {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    best = first[0].token
    if not best.startswith("##"):
        assert first[0].text == f"The {best} carried a lantern over the [MASK]."
    best = second[0].token
    if not best.startswith("##"):
        assert second[0].text == f"The [MASK] carried a lantern over the {best}."


def test_fills_are_the_softmax_over_ordinary_pieces(filler: Predictor) -> None:
    (fills,) = filler.fill("river [MASK] stone", top_k=500)
    assert sum(fill.score for fill in fills) == pytest.approx(1, abs=1e-5)
    pieces = filler.tokenizer.tokens
    found = {fill.token: fill.score for fill in fills if fill.score > 0}
    ids = torch.tensor(
        filler.tokenizer.encode("river [MASK] stone", add_special_tokens=True).input_ids,
        device=device_of(filler),
    )
    place = int((ids == filler.tokenizer.mask_token_id).nonzero())
    with torch.no_grad():
        layout = SequenceLayout.packed([len(ids)]).map_tensors(lambda x: x.to(ids.device))
        hidden = filler.engine.encoder(ids, layout, torch.zeros_like(ids))
        head = MLMHead(filler.engine.bundle.config)
        filler.engine.bundle.load_into(head, "masked")
        logits = head.to(ids.device)(hidden[place], filler.engine.encoder)[5:].double().cpu().numpy()
    shares = np.exp(logits) / np.exp(logits).sum()
    assert found == pytest.approx(dict(zip(pieces[5:], shares, strict=True)), abs=1e-6)


def test_special_pieces_are_never_proposed(filler: Predictor) -> None:
    """Not even when every ordinary piece is asked for."""
    (fills,) = filler.fill("river [MASK]", top_k=10_000)
    assert len(fills) == filler.tokenizer.vocab_size - len(filler.tokenizer.all_special_ids)
    assert not {fill.token for fill in fills} & {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def test_what_cannot_be_answered(filler: Predictor, classifier: Predictor) -> None:
    with refused("[MASK]", "river stone"):
        filler.fill("river stone")
    with refused("positions", f"at most {filler.manifest.max_position_embeddings}"):
        filler.fill("[MASK] " + "river " * 40)
    with refused(filler.manifest.folder, "unmask finetune"):
        filler("river")
    with refused(classifier.manifest.folder, "missing: masked"):
        classifier.fill("river [MASK]")
    with refused("nowhere", "unmask pretrain"):
        load("nowhere")


def test_truncated_texts_are_counted_in_each_result(classifier: Predictor) -> None:
    long, short = "river " * 60, "river"
    assert classifier.predict([long, short, long]).notes.truncated == 2
    assert classifier.predict([short]).notes.truncated == 0 == classifier.predict([]).notes.truncated


def test_threads_fill_what_one_thread_fills(filler: Predictor) -> None:
    texts = [f"{word} [MASK] stone" for word in ("river", "winter", "captain", "letter")] * 4
    fresh = load(filler.manifest.folder)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fresh.fill, texts)) == [filler.fill(text) for text in texts]


def test_what_a_predictor_is_called(classifier: Predictor, filler: Predictor) -> None:
    assert "1 layers x 16" in repr(filler) and "2 labels" in repr(classifier)


def test_filling_with_pieces_that_hold_their_blanks(byte_level: Tokenizer, tmp_path: Path) -> None:
    """The text with a piece in it is what the pieces together spell."""
    config = EncoderConfig(
        vocab_size=byte_level.vocab_size,
        num_hidden_layers=1,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    modules = {"encoder": Encoder(config), "masked": MLMHead(config)}
    bundle.write(tmp_path / "m", config, modules, byte_level, [])
    predictor = load(tmp_path / "m", device="cpu")
    text = "The river <mask> the stone"
    (fills,) = predictor.fill(text, top_k=10_000)
    ids = byte_level.encode(text, add_special_tokens=True).input_ids
    place = ids.index(byte_level.mask_token_id)
    spelled = [byte_level.decode([*ids[:place], n, *ids[place + 1 :]]) for n in byte_level.text_token_ids]
    whole = [one for one in spelled if "\ufffd" not in one]  # no half characters
    assert len(fills) == len(spelled) and {fill.text for fill in fills} >= set(whole)
    number = max(byte_level.text_token_ids, key=lambda n: len(byte_level.id_to_token(n)) * byte_level.word_start[n])
    word = byte_level.display_token(number)
    assert byte_level.id_to_token(number) == "Ġ" + word
    assert word in {fill.token for fill in fills if fill.text == f"The river {word} the stone"}
    with refused("<mask>", "no [MASK] here"):
        predictor.fill("no [MASK] here")


@pytest.fixture(scope="module")
def embedder(pretrained: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    settings = ["train.budget=2 steps", "task.max_length=16", "task.normalize_embeddings=false"]
    out = tmp_path_factory.mktemp("runs") / "embedder"
    return finetune(
        None, settings, model=pretrained, task="embed", train=pairs, output=out, progress=SILENT
    ).predictor()


def test_vectors_as_one_array(embedder: Predictor) -> None:
    texts = ["river stone", "", "winter", "the captain of the harbour", "river stone"]
    vectors = embedder.encode(texts)
    assert vectors.shape == (5, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.stack(embedder.predict(texts)), atol=1e-6)
    for batch_size in (1, 2, 5, 32):
        np.testing.assert_allclose(embedder.encode(texts, batch_size=batch_size), vectors, atol=1e-5)
    lengths = np.linalg.norm(vectors, axis=1)
    assert not np.allclose(lengths, 1, atol=1e-3)
    np.testing.assert_array_equal(embedder.encode(texts, normalize_embeddings=False), vectors)
    normalized = embedder.encode(texts, normalize_embeddings=True)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, vectors / lengths[:, None], atol=1e-6)
    np.testing.assert_allclose(embedder.encode("winter"), vectors[2], atol=1e-5)
    assert embedder.encode([]).shape == (0, 16) and embedder.encode([]).dtype == np.float32


def test_what_cannot_be_encoded(embedder: Predictor, classifier: Predictor, filler: Predictor) -> None:
    with refused(classifier.manifest.folder, "task classify", "task embed"):
        classifier.encode(["river"])
    with refused(filler.manifest.folder, "unmask finetune --model ... --task ..."):
        filler.encode(["river"])
    with refused("encode", ("a", "b"), "list of str"):
        embedder.encode([("a", "b")])  # type: ignore[list-item]
    with refused("batch_size", "1 or more"):
        embedder.encode(["a"], batch_size=0)


def test_a_saved_predictor_predicts_the_same(
    classifier: Predictor, embedder: Predictor, filler: Predictor, tmp_path: Path
) -> None:
    for number, predictor in enumerate((classifier, embedder, filler)):
        before, folder = predictor.manifest.folder, tmp_path / str(number)
        for _ in range(2):  # over a model folder, too
            predictor.save_pretrained(folder)
        for file in ("model.safetensors", "tokenizer.json", "unmask.json", "config.json", "README.md"):
            assert (folder / file).read_bytes() == (before / file).read_bytes(), file
        assert {path.name for path in folder.iterdir()} == {path.name for path in before.iterdir()}
    assert not list(tmp_path.glob(".*"))
    texts = ["river stone", "mountain"]
    assert Predictor.from_pretrained(tmp_path / "0").predict(texts) == classifier.predict(texts)
    np.testing.assert_array_equal(load(tmp_path / "1").encode(texts), embedder.encode(texts))


def test_a_predictor_replaces_no_other_folder(classifier: Predictor, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with refused(tmp_path, "exists"):
        classifier.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with refused(tmp_path / "mine.txt"):
        classifier.save_pretrained(tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "kept"
