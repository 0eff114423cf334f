"""Names of recipe keys and options of a release, and calls of its public functions, for redesign.py."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


class Deleted(Exception):
    """A key of a recipe that a release has no more."""


class Release:
    """What depends on the names of 0.1.0, in which recipes are written here."""

    renamed: Mapping[str, str] = {}  # keys of recipes; PART. renames the beginning of keys
    replaced: Mapping[tuple[str, Any], dict[str, Any]] = {}  # (key, value) -> other keys with their values
    deleted: frozenset[str] = frozenset()
    figures: Mapping[str, str] = {}  # figures that are called otherwise -> their names in 0.1.0
    output = "out"  # of a run, the folder
    heldout = "heldout"  # of the result of pretraining, the figures
    # of predictions, the first that there is
    attributes = (("name", "label"), ("piece",), ("text",), ("start",), ("stop",), ("score",))
    tokenizer = ("tokenizer", "train", "corpus.jsonl", "--vocabulary", "96", "--out", "tokenizer")
    corpus = ("corpus", "build", "corpus.jsonl", "--tokenizer", "tokenizer", "--out", "corpus")

    def recipe(self, kind: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe in the names of this release. kind: pretrain or finetune. Raises Deleted for a deleted key."""
        result: dict[str, Any] = {}
        for key, value in flat(recipe):
            if key in self.deleted:
                raise Deleted(key)
            if isinstance(value, list):
                new = {key: [self.recipe(kind, {key: one})[key] for one in value]}
            else:
                new = dict(self.replaced.get((key, value), {self.name(key): value}))
            for path, given in new.items():
                *sections, last = path.split(".")
                inner = result
                for section in sections:
                    inner = inner.setdefault(section, {})
                inner[last] = given
        return result

    def name(self, key: str) -> str:
        names = self.renamed.items()
        fits = (new + key[len(old) :] for old, new in names if key == old or (key.startswith(old) and old[-1] == "."))
        return next(fits, key)

    def train(self, kind: str, recipe: str, out: str) -> dict[str, float]:
        """Run a recipe file; returns the figures on held-out documents or dev rows."""
        import unmask

        if kind == "pretrain":
            run = unmask.pretrain(recipe, **{self.output: out})
            return getattr(run, self.heldout)
        tuned = unmask.finetune(recipe, **{self.output: out})
        dev = {name.rpartition(".")[2]: figure for name, figure in tuned.dev.items()}
        return dev | {"best step": tuned.best_step}

    def predict(self, model: str, texts: list[Any]) -> list[Any]:
        import unmask

        return unmask.load(model).predict(texts)

    def fill(self, model: str, texts: list[str]) -> list[Any]:
        import unmask

        return [place for text in texts for place in unmask.load(model).fill(text)]

    def evaluate(self, model: str, file: str) -> dict[str, Any]:
        """Figures of the rows of a file, each with its interval (value, low, high)."""
        import unmask

        return {name: dataclasses.astuple(x) for name, x in unmask.load(model).evaluate(file).figures.items()}

    def hidden(self, model: str, ids: Any, mask: Any, token_types: Any) -> tuple[Any, Any]:
        """Hidden states (tokens, width) of padded rows, and of the same rows packed. mask (rows, length) bool."""
        from unmask.model.spans import Spans

        import unmask

        encoder = unmask.load(model).encoder
        packed = None if token_types is None else token_types[mask]
        padded = encoder(ids, Spans.padded(mask), token_types)[mask]
        return padded, encoder(ids[mask], Spans.packed(mask.sum(1).tolist()), packed)


class Release020(Release):
    """The names of 0.2.0."""

    renamed: Mapping[str, str] = {
        "model": "init_from",
        "start.model": "init_from",
        "data.length": "data.max_length",
        "data.length_ramp.": "data.max_length_ramp.",
        "data.batch_tokens": "data.tokens_per_step",
        "data.heldout": "data.heldout_share",
        "data.batch_rows": "data.batch_size",
        "start.": "init.",
        "regularise.": "regularisation.",
        "hide": "mask_prob",
        "model.layers": "model.num_hidden_layers",
        "model.width": "model.hidden_size",
        "model.heads": "model.num_attention_heads",
        "model.inner": "model.intermediate_size",
        "model.length": "model.max_position_embeddings",
        "model.embedding": "model.embedding_size",
        "model.blocks": "model.num_hidden_groups",
        "model.segments": "model.type_vocab_size",
        "model.positions": "model.position_embedding_type",
        "model.pattern": "model.attention_pattern",
        "model.rotary_base_local": "model.local_rope_theta",
        "model.activation": "model.hidden_act",
        "objectives.ratio": "objectives.mask_prob",
        "objectives.final_ratio": "objectives.final_mask_prob",
        "objectives.mask_share": "objectives.mask_replace_prob",
        "objectives.random_share": "objectives.random_replace_prob",
        "task.length": "task.max_length",
        "task.long": "task.long_texts",
        "task.lstm": "task.lstm_hidden_size",
        "task.normalise": "task.normalize_embeddings",
        "train.clip": "train.max_grad_norm",
        "train.accumulate": "train.gradient_accumulation_steps",
        "train.recompute": "train.gradient_checkpointing",
        "train.optimizer.decay": "train.optimizer.weight_decay",
        "transfer.length": "transfer.max_position_embeddings",
        "transfer.layer_decay": "transfer.layerwise_lr_decay",
        "transfer.head_rate": "transfer.head_lr_factor",
        "transfer.reinitialise_layers": "transfer.reinit_layers",
    }
    replaced: Mapping[tuple[str, Any], dict[str, Any]] = {
        ("task.target", "labels"): {"task.name": "multilabel"},
        ("task.target", "number"): {"task.name": "regress"},
        ("task.decoder", "spans"): {"task.name": "nested"},
        ("objectives.unit", "piece"): {"objectives.unit": "token"},
        ("train.schedule", "plateau"): {"train.schedule": "warmup_stable_decay"},
    }
    deleted = frozenset({"task.mix_layers", "model.norm_kind", "model.attention"})
    tokenizer = ("tokenizer", "train", "corpus.jsonl", "--vocab-size", "96", "--output", "tokenizer")
    corpus = ("corpus", "build", "corpus.jsonl", "--tokenizer", "tokenizer", "--output", "corpus")
    output = "output"
    heldout = "heldout_figures"
    attributes = (("label",), ("token",), ("text",), ("start",), ("stop", "end"), ("score",))

    def recipe(self, kind: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
        return {"kind": kind, **super().recipe(kind, recipe)}

    def hidden(self, model: str, ids: Any, mask: Any, token_types: Any) -> tuple[Any, Any]:
        import unmask
        from unmask.model.layout import SequenceLayout

        encoder = unmask.load(model).engine.encoder
        packed = None if token_types is None else token_types[mask]
        padded = encoder(ids, SequenceLayout.padded(mask), token_types)[mask]
        return padded, encoder(ids[mask], SequenceLayout.packed(mask.sum(1).tolist()), packed)


RELEASES = {"0.1.0": Release, "0.2.0": Release020}
