"""What many tests share: one thread, hypothesis without deadlines, a tiny corpus made in code."""

import importlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import HealthCheck, settings
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from public_weights import MODELS, RECORDED, drawn
from tests.advice_checks import refused_advice
from tests.reference_attention import reference
from unmask import console
from unmask.cli.common.help import Command
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shards import Shards, build
from unmask.data.encoded import EncodedRow
from unmask.learner.batch import Batch, pack
from unmask.model import attention
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.runtime import choice
from unmask.text.tokenizer import Tokenizer

torch.set_num_threads(1)
pytest.MonkeyPatch().setattr(choice, "has_bfloat16_units", lambda: False)  # the same precision on every machine
settings.register_profile(
    "unmask", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("unmask")

WORDS = """river stone bridge lantern winter harbour captain letter garden window silver morning shadow market
orchard engine travel whisper mountain feather candle thunder village winding golden broken hollow distant
narrow gentle forgotten brighter carried opened followed answered remembered watched wandered gathered""".split()


def story(number: int, sentences: int = 6) -> str:
    """A text of its own for each number: sentences of random words."""
    draw = random.Random(number)
    return " ".join(" ".join(draw.choices(WORDS, k=draw.randint(3, 12))).capitalize() + "." for _ in range(sentences))


@pytest.fixture(autouse=True)
def advice_that_a_command_accepts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No command prints the name of an option or a setting that it does not have."""
    under_way: dict[str, Any] = {"name": None, "given": []}
    faults: list[str] = []
    app = importlib.import_module("unmask.cli.app")  # the package has its `app` under this name
    invoke, choose = Command.invoke, app._choose_language

    def begin(option: str | None, arguments: list[str]) -> list[str]:
        under_way.update(name=None, given=arguments)
        return choose(option, arguments)

    def record(self: Command, ctx: Any) -> Any:
        under_way["name"] = ctx.command_path.removeprefix("unmask ")
        return invoke(self, ctx)

    def checked(print_it: Callable[..., None]) -> Callable[..., None]:
        def check(text: Any, *values: object) -> None:
            shown = console.message(text, *values) if values else str(text)
            if under_way["name"] is not None and not shown.startswith(("{", "[")):  # JSON is for programs
                faults.extend(refused_advice(under_way["name"], shown, under_way["given"]))
            print_it(text, *values)

        return check

    monkeypatch.setattr(app, "_choose_language", begin)
    monkeypatch.setattr(Command, "invoke", record)
    for name in ("print_text", "note", "show_error"):
        monkeypatch.setattr(console, name, checked(getattr(console, name)))
    yield
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="session")
def stories() -> list[str]:
    """120 documents, from one sentence to a dozen."""
    return [story(number, 1 + number % 12) for number in range(120)]


@pytest.fixture(scope="session")
def tokenizer(stories: list[str]) -> Tokenizer:
    return Tokenizer.train(stories, vocab_size=96)


@pytest.fixture(scope="session")
def byte_level(stories: list[str]) -> Tokenizer:
    """RoBERTa's kind: the special pieces are not the first ones, two stand between the texts of a pair."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        stories, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    mask = tokenizers.AddedToken("<mask>", lstrip=True)
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", mask])
    ends = [(piece, backend.token_to_id(piece)) for piece in ("</s>", "<s>")]
    backend.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=False)
    return Tokenizer(backend.to_str())


@pytest.fixture(scope="session")
def corpus(stories: list[str], tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    documents = [Document(text, "stories.txt", number) for number, text in enumerate(stories)]
    return build(documents, tokenizer, tmp_path_factory.mktemp("corpus") / "stories")


@pytest.fixture
def tiny(tokenizer: Tokenizer) -> EncoderConfig:
    """Two layers of width 16: seconds are for people."""
    return EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=64,
    )


@pytest.fixture
def reference_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention by its formula: torch counts the FLOPs of no other kind on a CPU."""
    monkeypatch.setattr(attention, "sdpa", reference)


@pytest.fixture
def make_encoder() -> Callable[..., Encoder]:
    """An encoder in evaluation whose weights are large enough that a mistake shows."""

    def make(config: EncoderConfig, seed: int = 0) -> Encoder:
        torch.manual_seed(seed)
        encoder = Encoder(config)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return encoder.eval()

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """A packed batch of random sequences with [CLS] 2 and [SEP] 3 around; ids from 5."""

    def make(lengths: list[int], vocabulary: int = 96, seed: int = 0, epoch: int = 0) -> Batch:
        draw = np.random.default_rng(seed)
        rows = []
        for number, length in enumerate(lengths):
            ids = draw.integers(5, vocabulary, length)
            flags = draw.integers(0, 2, length).astype(np.uint8)
            ids[0], ids[-1], flags[0], flags[-1] = 2, 3, 4, 4
            segments = (np.arange(length) >= length // 2).astype(np.int64)
            rows.append(EncodedRow(ids, segments, flags, example=number, epoch=epoch, owner=number))
        return pack(rows)

    return make


@pytest.fixture(scope="session")
def recipe_values(corpus: Shards) -> dict[str, object]:
    """A pretraining recipe of twelve steps, with dropout, as plain values."""
    return {
        "data": {"corpus": str(corpus.folder), "max_length": 32, "tokens_per_step": 256, "heldout_share": 0.1},
        "model": {
            "num_hidden_layers": 1,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "dropout": 0.1,
        },
        "train": {"budget": "12 steps", "evaluations": 3, "optimizer": {"lr": 0.01}},
    }


@pytest.fixture(scope="session")
def pretrained(recipe_values: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a short pretraining run."""
    from unmask.console import SILENT
    from unmask.train.pretrain import pretrain
    from unmask.train.recipe import PretrainRecipe, parse_recipe

    recipe = parse_recipe(PretrainRecipe, recipe_values, (), "the test")
    return pretrain(recipe, output=tmp_path_factory.mktemp("runs") / "pretrain", progress=SILENT).model


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 labelled rows that one word tells apart."""
    draw = random.Random(5)
    lines = ["text,label"]
    for number in range(80):
        label, mark = [("water", "river"), ("stone", "mountain")][number % 2]
        words = [word for word in draw.choices(WORDS, k=4) if word not in ("river", "mountain")] + [mark]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)},{label}")
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def many_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 rows with none, one or two labels, each of which one word tells."""
    draw = random.Random(6)
    lines = ["text,label"]
    for number in range(80):
        wanted = [mark for place, mark in enumerate(("river", "mountain")) if number >> place & 1]
        words = [word for word in draw.choices(WORDS, k=4) if word not in ("river", "mountain")] + wanted
        draw.shuffle(words)
        lines.append(f"{' '.join(words)},{'|'.join('water' if w == 'river' else 'stone' for w in wanted)}")
    path = tmp_path_factory.mktemp("labels") / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 pairs of texts with a number from 10 to 40: how often `river` stands in them, times 10."""
    draw = random.Random(8)
    lines = ["text_a,text_b,label"]
    for number in range(80):
        times = 1 + number % 4
        words = [word for word in draw.choices(WORDS, k=6) if word != "river"] + ["river"] * times
        draw.shuffle(words)
        lines.append(f"{' '.join(words[:4])},{' '.join(words[4:])},{10 * times}")
    path = tmp_path_factory.mktemp("numbers") / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pairs of texts that share one word, every third with a negative; some texts stand in several rows."""
    draw, rows = random.Random(9), []
    for number in range(60):
        mark = WORDS[number % 20]
        sides = [" ".join([mark, *draw.choices(WORDS[20:], k=2)]) for _ in range(2)]
        row = {"text_a": mark if number % 5 == 0 else sides[0], "text_b": sides[1]}
        rows.append(row | ({"negative": " ".join(draw.choices(WORDS[20:], k=3))} if number % 3 == 0 else {}))
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _conll(path: Path, tag: Callable[[list[str], int], str], sentences: int = 60) -> Path:
    draw, lines = random.Random(7), []
    for _ in range(sentences):
        words = draw.choices(WORDS, k=draw.randint(2, 9))
        lines += [f"{word}\t{tag(words, place)}" for place, word in enumerate(words)] + [""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 sentences in CoNLL with BIO: `river` and what follows it is a PLACE, `captain` alone a PERSON."""

    def tag(words: list[str], place: int) -> str:
        if words[place] in ("river", "stone"):
            return "B-PLACE"
        if place and words[place - 1] in ("river", "stone") and words[place] != "captain":
            return "I-PLACE"
        return "B-PERSON" if words[place] == "captain" else "O"

    return _conll(tmp_path_factory.mktemp("tagged") / "entities.conll", tag)


@pytest.fixture(scope="session")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows of JSON lines: `river` and the word after it are a PLACE, `captain` a PERSON, there too."""
    draw, rows = random.Random(8), []
    for _ in range(60):
        words = draw.choices(["river", "captain", "winter", "letter"], k=draw.randint(3, 7))
        starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
        spans = [
            [starts[place], starts[place] + len(word), "PERSON"]
            for place, word in enumerate(words)
            if word == "captain"
        ]
        spans += [
            [starts[place], starts[place + 1] + len(words[place + 1]), "PLACE"]
            for place, word in enumerate(words[:-1])
            if word == "river"
        ]
        rows.append(json.dumps({"text": " ".join(words), "spans": spans}))
    file = tmp_path_factory.mktemp("nested") / "nested.jsonl"
    file.write_text("\n".join(rows) + "\n")
    return file


@pytest.fixture(scope="session")
def plain_tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 sentences in CoNLL with a tag for every token, told by its last letter."""

    def tag(words: list[str], place: int) -> str:
        return "PAST" if words[place].endswith("ed") else "NAME" if words[place] < "m" else "THING"

    return _conll(tmp_path_factory.mktemp("plain") / "tags.conll", tag)


def _questions(path: Path, unanswerable: bool) -> Path:
    """48 questions on 16 contexts in SQuAD's form: the word after `river` (or `stone`) answers, which
    every third context lacks where some are unanswerable."""
    draw, paragraphs = random.Random(11), []
    others = [word for word in WORDS if word not in ("river", "stone")]
    for number in range(16):
        marked = {mark: draw.choice(others) for mark in ("river", "stone")}
        words = draw.choices(others, k=draw.randint(6, 14))
        known = not unanswerable or number % 3 > 0
        if known:
            words += [part for mark, answer in marked.items() for part in (mark, answer)]
        context, asked = " ".join(words) + ".", []
        for which, mark in enumerate(("river", "stone", "river")):
            start = context.rfind(f"{mark} ") + len(mark) + 1
            answers = [{"text": marked[mark], "answer_start": start}] if known else []
            asked.append({"id": f"{number}-{which}", "question": f"{mark} what?", "answers": answers})
        paragraphs.append({"context": context, "qas": asked})
    whole = {"version": "v2.0", "data": [{"title": "stories", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each question has an answer in its context."""
    return _questions(tmp_path_factory.mktemp("questions") / "questions.json", unanswerable=False)


@pytest.fixture(scope="session")
def doubtful_questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, where a third of the questions has none."""
    return _questions(tmp_path_factory.mktemp("questions") / "doubtful.json", unanswerable=True)


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """As many tokens as the public models of `publish` have embeddings."""
    text = "the quick brown fox jumps over the lazy dog. 今天天气很好 naïve 1999"
    return Tokenizer.train([text] * 3, vocab_size=RECORDED["pieces"], allow_fewer=True)


@pytest.fixture
def publish(small_tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of public_outputs.json by its name, with changes of its config.json."""

    def make(name: str, folder: Path = tmp_path / "public", **changes: object) -> Path:
        said = MODELS[name]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**said["config"], **changes}))
        save_file(drawn(said["shapes"]), folder / "model.safetensors", {"format": "pt"})
        small_tokenizer.save_pretrained(folder)
        return folder

    return make
