"""Pretraining tokens per second: our packed stream and training loop beside transformers' BertForMaskedLM.

The same heads, layers and width (6 layers, width 256, 4 heads, inner 1024, 8,192 pieces), no dropout, float32,
AdamW with torch's fused kernel and the same settings, gradients clipped, 15 % masked. Ours has the same architecture
(--architecture bert), or our own with as many parameters outside the vocabulary, within 1 % (house). Both read ids
that were encoded before; masking and batching are inside the timing. Tokens that are not padding count, [CLS] and
[SEP] among them. The peer's loop is the plain one (DataLoader, DataCollatorForLanguageModeling, forward, backward,
step), three times:

  same tokens    the very examples that ours reads, in batches of as many, padded to the longest
  concatenated   all documents end to end in blocks of full length, nothing padded (the text crosses documents):
                 the most that this network gets out of a token, so the stricter comparison
  line by line   a sequence for each line of the text, cut at the length, padded to the longest of its batch; batches
                 of as many places as a step has tokens

What differs is what is compared: ours computes the vocabulary only at masked places, packs without padding, and
prepares batches in a thread beside the training (--pin holds that thread to the same cores).

  larger     --vocabulary 30000
  BERT-base  --layers 12 --width 768 --heads 12 --inner 3072 --length 512 --vocabulary 30000 --steps 1
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import texts
from benchmarks.harness import Benchmark, Prepared, Settings, Side

if TYPE_CHECKING:
    from unmask.data.corpus.shards import Shards
    from unmask.train.recipe import PretrainRecipe

SEED = 0

# what ours may change of BERT's architecture; the width of the feed-forward follows from the number of parameters
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {"position_embedding_type": "learned"},
    "house": {"position_embedding_type": "rotary", "norm": "pre", "bias": False, "gated": True, "type_vocab_size": 0},
}
NEAR = 0.01  # by how much of them the parameters outside the vocabulary may differ


def add_options(parser: argparse.ArgumentParser) -> None:
    texts.add_options(parser, characters=1_500_000)
    texts.add_tokenizer_options(parser)
    for name, value, meaning in (
        ("layers", 6, "blocks"),
        ("width", 256, "of hidden states"),
        ("heads", 4, "of attention"),
        ("inner", 1024, "width of the feed-forward"),
        ("length", 128, "tokens of a sequence at most"),
        ("batch-tokens", 4096, "tokens a step, about"),
        ("steps", 3, "in a timed run"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{meaning} (default {value})")
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), default="bert", help="of ours (default bert)")


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    from unmask.data.corpus import documents as corpus
    from unmask.data.corpus import shards

    text = texts.arrange(arguments, folder)
    tokenizer = texts.tokenizer_for(arguments, text, folder / "tokenizer")
    built = shards.build(corpus.read_documents(text.train), tokenizer, folder / "corpus")
    shards.build(corpus.read_documents(text.train, split="line"), tokenizer, folder / "lines")
    names = ("layers", "width", "heads", "inner", "length", "batch_tokens", "steps", "architecture")
    settings = {name: getattr(arguments, name) for name in names}
    settings |= {"corpus": str(folder / "corpus"), "lines": str(folder / "lines"), "dtype": "float32"}
    return settings, [text.about, {"name": "corpus", "sha256": built.sha256, "tokens": built.tokens}]


NETWORK = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "length": "max_position_embeddings",
}  # options, and what they set


def recipe_for(settings: Settings) -> "PretrainRecipe":
    """What both sides are built from."""
    from unmask.train.recipe import PretrainRecipe, parse_recipe

    values = {
        "seed": SEED,
        "data": {
            "corpus": settings["corpus"],
            "max_length": settings["length"],
            "tokens_per_step": settings["batch_tokens"],
            "heldout_share": 0.0,
        },
        "model": {**network_of(settings), "dropout": 0.0},
        "train": {
            "budget": "1000000 steps",
            "precision": settings["dtype"],
            "schedule": {"name": "linear", "warmup_ratio": 0.0},
        },
    }
    return parse_recipe(PretrainRecipe, values, (), "the benchmark")


def network_of(settings: Settings) -> dict[str, Any]:
    """Our architecture. A gated feed-forward has three matrices: two thirds of the width, and what the biases and
    embeddings that it does without leave over, in steps of 8."""
    network = {name: settings[option] for option, name in NETWORK.items()}
    changes = ARCHITECTURES[settings["architecture"]]
    if changes.get("gated"):
        layers, width, inner = (settings[name] for name in ("layers", "width", "inner"))
        spare = layers * (inner + 5 * width) + (settings["length"] + 2) * width
        network["intermediate_size"] = round((2 * inner / 3 + spare / (3 * width * layers)) / 8) * 8
    return {**network, **changes}


def outside(model: Any, vocabulary: int) -> int:
    """Parameters but for those that each piece of the vocabulary has of its own."""
    return sum(p.numel() for p in model.parameters() if p.shape[0] != vocabulary)


def ours(settings: Settings) -> Prepared:
    import torch

    from unmask.data.corpus.shards import Shards
    from unmask.train.pretrain import build_batches, build_learner, fit_to_corpus
    from unmask.train.steps import optim
    from unmask.train.steps.device import keep_freed_memory
    from unmask.train.steps.loop import LoopState, Step, train_steps

    keep_freed_memory()  # as a run does when it begins
    built = Shards.open(settings["corpus"])
    recipe = fit_to_corpus(recipe_for(settings), built.tokenizer)
    torch.manual_seed(SEED)
    learner = build_learner(recipe, built.tokenizer).train()
    optimizer = optim.build_optimizer(recipe.train.optimizer, learner)
    loop = train_steps(learner, optimizer, build_batches(recipe, built), recipe.train, LoopState(), SEED)
    last: list[Step] = []

    def work() -> float:
        last[:] = [next(loop) for _ in range(settings["steps"])]
        return float(sum(step.tokens for step in last))

    def facts() -> dict[str, Any]:
        return {
            "parameters": sum(p.numel() for p in learner.parameters()),
            "outside_vocabulary": outside(learner, built.vocab_size),
            "loss": last[-1].loss,
            "fill_percent": 100.0,
        }

    return Prepared(work, facts)


def same_tokens(settings: Settings) -> Prepared:
    import numpy as np

    from unmask.data.corpus.shards import Shards
    from unmask.data.sequences import CorpusSequences

    built = Shards.open(settings["corpus"])
    examples = CorpusSequences(built, settings["length"], SEED, 0.0)
    rows = [np.asarray(examples.rows([(number, 0)])[0].input_ids) for number in range(len(examples))]
    return _peer(settings, built, rows, max(1, round(settings["batch_tokens"] / examples.mean_tokens)))


def concatenated(settings: Settings) -> Prepared:
    import numpy as np

    from unmask.data.corpus.shards import Shards

    built, length = Shards.open(settings["corpus"]), settings["length"]
    cls, sep = np.array([built.tokenizer.cls_token_id]), np.array([built.tokenizer.sep_token_id])
    ids = np.concatenate(
        [
            part
            for document, size in enumerate(built.document_lengths.tolist())
            for part in (cls, built.read(document, 0, size)[0], sep)
        ]
    )
    rows = [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)]
    return _peer(settings, built, rows, max(1, settings["batch_tokens"] // length))


def line_by_line(settings: Settings) -> Prepared:
    import numpy as np

    from unmask.data.corpus.shards import Shards

    built, room = Shards.open(settings["lines"]), settings["length"] - 2
    cls, sep = np.array([built.tokenizer.cls_token_id]), np.array([built.tokenizer.sep_token_id])
    rows = [
        np.concatenate([cls, built.read(line, 0, min(size, room))[0], sep])
        for line, size in enumerate(built.document_lengths.tolist())
    ]
    return _peer(settings, built, rows, max(1, settings["batch_tokens"] // settings["length"]))


def _peer(settings: Settings, built: "Shards", rows: list[Any], batch_rows: int) -> Prepared:
    """A plain training loop over rows of ids with transformers."""
    import torch

    from unmask.train.steps import optim

    recipe = recipe_for(settings)
    torch.manual_seed(SEED)
    model = bert_of(settings, built.vocab_size)
    stream = _stream(settings, built, rows, batch_rows)
    update = recipe.train.optimizer
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=update.peak_lr,
        betas=(optim.BETA1, update.beta2),
        eps=optim.EPS,
        weight_decay=update.weight_decay,
        fused=True,
    )
    seen = {"tokens": 0, "places": 0, "loss": 0.0}

    def work() -> float:
        tokens = 0
        for _ in range(settings["steps"]):
            batch = next(stream)
            optimizer.zero_grad(set_to_none=True)
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.max_grad_norm)
            optimizer.step()
            seen["loss"] = float(loss.detach())
            seen["places"] += batch["input_ids"].numel()
            tokens += int(batch["attention_mask"].sum())
        seen["tokens"] += tokens
        return float(tokens)

    def facts() -> dict[str, Any]:
        return {
            "parameters": sum(p.numel() for p in model.parameters()),
            "outside_vocabulary": outside(model, built.vocab_size),
            "loss": seen["loss"],
            "fill_percent": 100 * seen["tokens"] / seen["places"],
        }

    return Prepared(work, facts)


def bert_of(settings: Settings, vocabulary: int) -> Any:
    """The peer's network."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=settings["width"],
        num_hidden_layers=settings["layers"],
        num_attention_heads=settings["heads"],
        intermediate_size=settings["inner"],
        max_position_embeddings=settings["length"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    return BertForMaskedLM(config).train()


def _stream(settings: Settings, built: "Shards", rows: list[Any], batch_rows: int) -> Iterator[Any]:
    """Masked batches of the rows, shuffled, without end."""
    import torch
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    specials = dict(zip(names, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), strict=True))
    file = str(Path(settings["corpus"]) / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, **specials)
    special = {built.tokenizer.cls_token_id, built.tokenizer.sep_token_id}
    features = [
        {"input_ids": row.tolist(), "special_tokens_mask": [int(i in special) for i in row.tolist()]} for row in rows
    ]
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        features,  # type: ignore[arg-type]  # a list is a data set
        batch_size=min(batch_rows, len(rows)),
        shuffle=True,
        drop_last=True,
        collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
    )

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    return endless()


BENCHMARK = Benchmark(
    name="pretraining",
    unit="tokens",
    sides=(
        Side("ours", ours),
        Side("transformers, same tokens", same_tokens),
        Side("transformers, concatenated", concatenated),
        Side("transformers, line by line", line_by_line),
    ),
    packages=("torch", "tokenizers", "transformers"),
    near={"outside_vocabulary": NEAR},
    shown={"fill_percent": "% of places filled", "outside_vocabulary": "parameters outside the vocabulary"},
    repeat=2,
)
