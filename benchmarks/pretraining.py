"""Pretraining tokens per second: our packed stream and training loop beside transformers' BertForMaskedLM.

The same network (6 layers, width 256, 4 heads, inner 1024, 8,192 pieces; learned positions, no dropout), float32,
AdamW with torch's fused kernel and the same settings, gradients clipped, 15 % masked. Both read ids that were
encoded before; masking and batching are inside the timing. Tokens that are not padding count, [CLS] and [SEP]
among them. The peer's loop is the plain one (DataLoader, DataCollatorForLanguageModeling, forward, backward,
step), twice:

  padded         the very examples that ours reads, in batches of as many, padded to the longest
  concatenated   all documents end to end in blocks of full length, nothing padded (the text crosses documents):
                 the most that this network gets out of a token, so the stricter comparison

What differs is what is compared: ours computes the vocabulary only at masked places, packs without padding, and
prepares batches in a thread beside the training (--pin holds that thread to the same cores).
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import texts
from benchmarks.harness import Benchmark, Prepared, Settings, Side

if TYPE_CHECKING:
    from unmask.data.shards import Shards
    from unmask.train.recipe import PretrainRecipe

SEED = 0


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


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    from unmask.data import corpus, shards

    text = texts.arrange(arguments, folder)
    tokenizer = texts.tokenizer_for(arguments, text, folder / "tokenizer")
    built = shards.build(corpus.read(text.train), tokenizer, folder / "corpus")
    names = ("layers", "width", "heads", "inner", "length", "batch_tokens", "steps")
    settings = {name: getattr(arguments, name) for name in names}
    settings |= {"corpus": str(folder / "corpus"), "dtype": "float32"}
    return settings, [text.about, {"name": "corpus", "sha256": built.sha256, "tokens": built.tokens}]


def recipe_for(settings: Settings) -> "PretrainRecipe":
    """What both sides are built from."""
    from unmask.train.recipe import PretrainRecipe, recipe_of

    network = {name: settings[name] for name in ("layers", "width", "heads", "inner", "length")}
    values = {
        "seed": SEED,
        "data": {
            "corpus": settings["corpus"],
            "length": settings["length"],
            "batch_tokens": settings["batch_tokens"],
            "heldout": 0.0,
        },
        "model": {**network, "positions": "learned", "dropout": 0.0},
        "train": {"budget": "1000000 steps", "schedule": {"name": "linear", "warmup": 0.0}},
    }
    return recipe_of(PretrainRecipe, values, (), "the benchmark")


def ours(settings: Settings) -> Prepared:
    import torch

    from unmask.data.shards import Shards
    from unmask.train import optim
    from unmask.train.pretrain import batches_of, fitted, learner_of
    from unmask.train.steps import State, Step, steps

    built = Shards.open(settings["corpus"])
    recipe = fitted(recipe_for(settings), built.tokenizer)
    torch.manual_seed(SEED)
    learner = learner_of(recipe, built.tokenizer).train()
    optimizer = optim.build(recipe.train.optimizer, learner)
    loop = steps(learner, optimizer, batches_of(recipe, built), recipe.train, State(), SEED)
    last: list[Step] = []

    def work() -> float:
        last[:] = [next(loop) for _ in range(settings["steps"])]
        return float(sum(step.tokens for step in last))

    def facts() -> dict[str, Any]:
        parameters = sum(p.numel() for p in learner.parameters())
        return {"parameters": parameters, "loss": last[-1].loss, "padding_percent": 0.0}

    return Prepared(work, facts)


def padded(settings: Settings) -> Prepared:
    import numpy as np

    from unmask.data.batches import CorpusExamples
    from unmask.data.shards import Shards

    built = Shards.open(settings["corpus"])
    examples = CorpusExamples(built, settings["length"], SEED, 0.0)
    rows = [np.asarray(examples.row(number, 0).ids) for number in range(len(examples))]
    return _peer(settings, built, rows, max(1, round(settings["batch_tokens"] / examples.mean_tokens)))


def concatenated(settings: Settings) -> Prepared:
    import numpy as np

    from unmask.data.shards import Shards

    built, length = Shards.open(settings["corpus"]), settings["length"]
    cls, sep = np.array([built.tokenizer.cls_id]), np.array([built.tokenizer.sep_id])
    ids = np.concatenate(
        [
            part
            for document, size in enumerate(built.document_lengths.tolist())
            for part in (cls, built.slice(document, 0, size)[0], sep)
        ]
    )
    rows = [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)]
    return _peer(settings, built, rows, max(1, settings["batch_tokens"] // length))


def _peer(settings: Settings, built: "Shards", rows: list[Any], batch_rows: int) -> Prepared:
    """A plain training loop over rows of ids with transformers."""
    import torch

    recipe = recipe_for(settings)
    torch.manual_seed(SEED)
    model = _network(settings, built.vocabulary)
    stream = _stream(settings, built, rows, batch_rows)
    update = recipe.train.optimizer
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=update.lr,
        betas=(update.beta1, update.beta2),
        eps=update.eps,
        weight_decay=update.decay,
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
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.clip)
            optimizer.step()
            seen["loss"] = float(loss.detach())
            seen["places"] += batch["input_ids"].numel()
            tokens += int(batch["attention_mask"].sum())
        seen["tokens"] += tokens
        return float(tokens)

    def facts() -> dict[str, Any]:
        parameters = sum(p.numel() for p in model.parameters())
        padding = 100 * (1 - seen["tokens"] / seen["places"])
        return {"parameters": parameters, "loss": seen["loss"], "padding_percent": padding}

    return Prepared(work, facts)


def _network(settings: Settings, vocabulary: int) -> Any:
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
    special = {built.tokenizer.cls_id, built.tokenizer.sep_id}
    features = [
        {"input_ids": row.tolist(), "special_tokens_mask": [int(i in special) for i in row.tolist()]}
        for row in rows
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
        Side("transformers, padded", padded),
        Side("transformers, concatenated", concatenated),
    ),
    packages=("torch", "tokenizers", "transformers"),
    same=("parameters",),
    shown={"padding_percent": "% padding"},
    repeat=2,
)
