"""Whole-word masks of Chinese text, from the files to the mask, against a brute-force reading of the words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from errors import refused
from unmask.data.corpus import shards
from unmask.data.corpus.documents import Document
from unmask.data.encoded import IGNORE_INDEX, SPECIAL_TOKEN
from unmask.data.hashing import hash_uniform
from unmask.data.sequences import CorpusSequences
from unmask.learner.batches import evaluation_batches
from unmask.model.config import EncoderConfig
from unmask.objectives.masked import CHOICE, Masked
from unmask.text.lexicon import Lexicon, jieba_segmenter
from unmask.text.tokenizer import Tokenizer

LEXICON = Lexicon({"图书馆": 9, "大学": 8, "北京": 9, "我们": 7, "去": 5, "的": 5, "在": 5})
TEXT = "我们在北京大学的图书馆。Reading 2020 books，我们去图书馆！"
SEED, RATIO, LENGTH = 5, 0.4, 24


def documents(count: int = 30) -> list[Document]:
    return [Document(TEXT[n % 7 :] + TEXT[: n % 5], "a.txt", n) for n in range(count)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(
        [document.text for document in documents()], vocab_size=70, min_frequency=1, allow_fewer=True
    )


def sequences(text: str, words: Sequence[str], tokenizer: Tokenizer) -> list[tuple[str, int]]:
    """The pieces of a text, each with the number of its word: BERT's, Chinese ones as `words` has them."""
    encoded = tokenizer.encode(text)
    numbers, end = [], 0
    for number, word in enumerate(words):
        numbers += [number] * len(word)
        end += len(word)
    pieces = []
    for piece, (start, _), own in list(zip(encoded.input_ids, encoded.offsets, encoded.word_ids, strict=True))[1:-1]:
        chinese = "\u4e00" <= text[start] <= "\u9fff"
        pieces.append((tokenizer.id_to_token(piece), numbers[start] if chinese else 1000 + int(own or 0)))
    return pieces


def test_masks_are_those_of_a_brute_force_reading(tmp_path: Path, tokenizer: Tokenizer) -> None:
    corpus = shards.build(documents(), tokenizer, tmp_path / "corpus", words=LEXICON)
    examples = CorpusSequences(corpus, LENGTH, seed=0, heldout_share=0)
    objective = Masked(unit="word", mask_prob=RATIO).build(
        EncoderConfig(vocab_size=tokenizer.vocab_size, num_hidden_layers=1, hidden_size=16, num_attention_heads=2),
        tokenizer.mask_token_id,
        range(5, tokenizer.vocab_size),
    )
    seen = hidden_words = 0
    for batch in evaluation_batches(examples, 4096, 10**6):
        masked = objective.prepare(batch, SEED).targets["masked"] != IGNORE_INDEX
        begin = 0
        for number, length in zip(batch.example.tolist(), batch.layout.lengths, strict=True):
            ids, flags = batch.input_ids[begin : begin + length], batch.flags[begin : begin + length]
            chosen = masked[begin : begin + length].tolist()
            begin += length
            document, start = place_of(examples, number)
            pieces = sequences(documents()[document].text, LEXICON(documents()[document].text), tokenizer)
            pieces = pieces[start : start + length - 2]
            assert [tokenizer.id_to_token(int(i)) for i in ids[1:-1]] == [piece for piece, _ in pieces]
            assert flags[0] & SPECIAL_TOKEN and flags[-1] & SPECIAL_TOKEN and not chosen[0] and not chosen[-1]
            # a word shares the draw of its first piece in the sequence; what a cut left of one is a word
            first = 0
            for at, (_, word) in enumerate(pieces):
                if at == 0 or word != pieces[at - 1][1]:
                    first = at
                # the rest of a word that a cut divided goes with [CLS], where its draw comes from
                rest = first == 0 and start and cut_inside(documents()[document].text, start, tokenizer)
                draw = hash_uniform(
                    SEED, CHOICE, np.array([number]), np.array([0]), np.array([0 if rest else first + 1])
                )
                assert chosen[at + 1] == bool(draw[0] < RATIO)
            seen += length
            hidden_words += sum(chosen)
    assert seen > 500 and 0.25 < hidden_words / seen < 0.5


def place_of(examples: CorpusSequences, number: int) -> tuple[int, int]:
    """The document of an example, and the first of its pieces: documents are cut into nearly equal chunks."""
    for document, chunks in zip(examples.documents.tolist(), examples.chunks.tolist(), strict=True):
        if number < chunks:
            size = int(examples.shards.document_lengths[document])
            return document, number * size // chunks
        number -= chunks
    raise AssertionError


def cut_inside(text: str, start: int, tokenizer: Tokenizer) -> bool:
    pieces = sequences(text, LEXICON(text), tokenizer)
    return pieces[start][1] == pieces[start - 1][1]


def test_the_manifest_says_where_the_words_came_from(tmp_path: Path, tokenizer: Tokenizer) -> None:
    built = shards.build(documents(), tokenizer, tmp_path / "a", words=LEXICON)
    assert built.manifest["settings"]["words"]["lexicon"] == LEXICON.sha256
    assert Lexicon.load(tmp_path / "a" / "lexicon.txt").counts == LEXICON.counts
    assert "lexicon.txt" in {entry["name"] for entry in built.manifest["files"]}
    # the same again is the same corpus; other words are another one
    assert shards.build(documents(), tokenizer, tmp_path / "a", words=LEXICON).sha256 == built.sha256
    with refused(tmp_path / "a", "words", "--restart"):
        shards.build(documents(), tokenizer, tmp_path / "a", words=Lexicon({"北京": 1}))
    with refused(tmp_path / "a", "words", "--restart"):
        shards.build(documents(), tokenizer, tmp_path / "a")
    plain = shards.build(documents(), tokenizer, tmp_path / "a", restart=True)
    assert "words" not in plain.manifest["settings"] and not (tmp_path / "a" / "lexicon.txt").exists()


def test_any_function_gives_words(tmp_path: Path, tokenizer: Tokenizer) -> None:
    def pairs(text: str) -> list[str]:
        return [text[n : n + 2] for n in range(0, len(text), 2)]

    built = shards.build(documents(1), tokenizer, tmp_path / "pairs", words=pairs)
    assert built.manifest["settings"]["words"]["function"].endswith("pairs")
    with_jieba = shards.build(documents(1), tokenizer, tmp_path / "jieba", words=jieba_segmenter())
    assert with_jieba.manifest["settings"]["words"]["function"].startswith("jieba 0.")
    assert with_jieba.tokens == built.tokens
