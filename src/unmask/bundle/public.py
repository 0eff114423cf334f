"""Checkpoints of other libraries: a folder in a public layout as a Bundle, and a Bundle as such a folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask import console, files
from unmask.bundle.layout import encoder_config
from unmask.bundle.own import PROBLEMS, Bundle, why_not_public, write_public
from unmask.bundle.sentence_transformers import MODULES, describe_modules, embed_task, read_sentence
from unmask.bundle.weights import check_dtypes, check_finite, list_some, read_tensors
from unmask.errors import UserError
from unmask.heads import head_class
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES, Family
from unmask.model.names import from_public
from unmask.tasks import restore
from unmask.text.tokenizer import Tokenizer

# older names of the parameters of LayerNorm
_RENAMED = ((".gamma", ".weight"), (".beta", ".bias"))


def is_public(folder: Path) -> bool:
    """Whether a folder is in the layout of the hub: a config.json, or a sentence-transformers folder around one."""
    return (folder / "config.json").is_file() or (folder / MODULES).is_file()


def read_public(
    folder: Path,
    source: str,
    revision: str | None = None,
    allow_unused: bool = False,
    *,
    hub: bool = False,
    device: str = "cpu",
) -> Bundle:
    """Open a public checkpoint; hub: whether source is a name there; device: meta for shapes alone.

    Raises UserError for what is missing, damaged or not known here, and for weights that would not be used, unless
    they are allowed.
    """
    sentence = read_sentence(folder)
    inside = folder / sentence.pop("path", "")
    where = inside / "config.json"
    if not where.is_file():
        raise UserError("{folder} is not a model", folder, given=f"missing: {where!s}")
    public = files.read_json(where)
    if not isinstance(public, dict):
        raise UserError("{where} is not a configuration", where, allowed="a JSON object")
    config = encoder_config(public, where)
    tokenizer = Tokenizer.from_pretrained(inside)
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer in {inside} does not belong to the weights: it has more pieces than there are embeddings",
            given=f"{tokenizer.vocab_size:,} pieces, {config.vocab_size:,} embeddings",
        )
    names = public.get("architectures") or [""]
    architecture = str(names[0]) if isinstance(names, list) else ""
    tensors = _tensors(inside, config, architecture, allow_unused, device)
    task = _task(public, architecture, tensors, config, where) or embed_task(sentence, config.max_position_embeddings)
    lineage = {
        "kind": "public",
        "source": source,
        "hub": hub,
        "revision": revision,
        "model_type": public["model_type"],
        "architecture": architecture or None,
    }
    return Bundle(inside, config, tokenizer, tensors, {"task": task, "lineage": [lineage]})


def _tensors(
    folder: Path, config: EncoderConfig, architecture: str, allow_unused: bool, device: str
) -> dict[str, Tensor]:
    """The weights by our names, all of them finite and of the sizes that the configuration says."""
    family = FAMILIES[config.family]
    given = _named(read_tensors(folder, device), family, folder)
    if device != "meta":
        check_dtypes(given, folder)
        check_finite(folder)
    tensors = from_public(given, config, answers=architecture.endswith("ForQuestionAnswering"))
    if not config.type_vocab_size:
        tensors.pop("encoder.embeddings.segment.weight", None)
    with torch.device("meta"):
        wanted = {f"encoder.{name}": tensor.shape for name, tensor in Encoder(config).state_dict().items()}
    missing = wanted.keys() - tensors.keys()
    if missing:
        raise UserError("{folder} lacks weights of the encoder", folder, given=f"missing: {list_some(missing)}")
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise UserError(
                f"the weights in {folder} do not fit its config.json",
                given=f"{name}: {tuple(tensors[name].shape)}",
                allowed=tuple(shape),
            )
    unused = {name for name in tensors if name not in wanted and name.partition(".")[0] not in family.heads}
    if unused and not allow_unused:
        raise UserError(
            f"{folder} holds weights that are not known here, so the model would compute something else",
            given=list_some(unused),
            hint="--allow-unused (allow_unused=True) to leave them out all the same",
        )
    if unused:
        console.note("weights that are not used: {unused}", list_some(unused))
    return {name: tensor for name, tensor in tensors.items() if name not in unused}


def _named(tensors: dict[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """The weights under the names of the family's table: older names made new, copies and counters left out."""
    for old, new in _RENAMED:
        tensors = {name.removesuffix(old) + new if name.endswith(old) else name: t for name, t in tensors.items()}
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.endswith((".position_ids", ".token_type_ids")) or tensor.is_floating_point()
    }
    if not any(name.startswith(f"{family.prefix}.") for name in tensors):
        rows = family.parameter_names((), 1, public=True)
        parts = {name.split(".")[1] for _, names in rows for name in names if name.startswith(f"{family.prefix}.")}
        tensors = {f"{family.prefix}.{n}" if n.partition(".")[0] in parts else n: t for n, t in tensors.items()}
    bias = str({**family.names, **family.sequence_names}["masked.bias"])
    if (copy := f"{family.decoder}.bias") in tensors:
        tensors.setdefault(bias, tensors.pop(copy))
    table = tensors.get(str(family.names["encoder.embeddings.token.weight"]))
    if (name := f"{family.decoder}.weight") in tensors and table is not None:
        again = tensors.pop(name)
        if again.shape != table.shape or not (again.is_meta or torch.equal(again, table)):
            raise UserError(
                f"{folder}: the masked-LM head has a matrix of its own, where unmask shares the embeddings",
                given=name,
            )
    return tensors


_OUTPUTS = {"classify": (2, math.inf), "multilabel": (1, math.inf), "regress": (1, 1)}  # of heads, at least and at most


def _task(
    public: Mapping[str, Any],
    architecture: str,
    tensors: dict[str, Tensor],
    config: EncoderConfig,
    where: Path,
) -> dict[str, Any] | None:
    """The schema of the task that a head was trained for, as our own bundles have it; None where there is none."""
    kind = architecture.partition("For")[2]
    wanted = {
        "SequenceClassification": "classifier.weight",
        "TokenClassification": "classifier.weight",
        # a head for answers with a layer more than BERT's is not read
        **({} if FAMILIES[config.family].head.use_before_tagging else {"QuestionAnswering": "qa_outputs.weight"}),
    }.get(kind)
    if wanted is None:
        return None
    if wanted not in tensors:
        console.note(
            "{where} names a head ({architecture}) whose weights are not there: it is left out", where, architecture
        )
        return None
    length = min(config.max_position_embeddings, 512)
    if kind == "QuestionAnswering":  # nothing says whether it learnt that there may be no answer
        return {"name": "answer", "max_length": min(length, 384), "labels": [], "has_unanswerable": False}
    labels = _labels(public, tensors[wanted].shape[0], where)
    if kind == "TokenClassification":
        return _tagging(labels, tensors, length)
    problem = public.get("problem_type") or next(iter(PROBLEMS.values()))
    name = next((name for name, its in PROBLEMS.items() if its == problem), None)
    if name is None or not _OUTPUTS[name][0] <= len(labels) <= _OUTPUTS[name][1]:
        return None
    pooling = public.get("classifier_pooling", "cls")
    named = [] if _OUTPUTS[name][1] == 1 else labels
    return {"name": name, "max_length": length, "pooling": pooling, "labels": named}


def _labels(public: Mapping[str, Any], count: int, where: Path) -> list[str]:
    """The names of the outputs, in order."""
    given = public.get("id2label") or {number: f"LABEL_{number}" for number in range(count)}
    try:
        labels = {int(number): str(label) for number, label in given.items()}
    except (AttributeError, ValueError):
        raise UserError("{where}: id2label cannot be used", where, given=given, allowed="numbers and names") from None
    if sorted(labels) != list(range(count)) or len(set(labels.values())) < count:
        raise UserError(
            f"{where}: id2label does not fit the head",
            given=list_some(labels.values()),
            allowed=f"{count:,} different labels",
        )
    return [labels[number] for number in range(count)]


def _tagging(names: Sequence[str], tensors: dict[str, Tensor], length: int) -> dict[str, Any] | None:
    """Tags of the scheme BIO, in the order in which our head has them: its rows are put into that order."""
    labels = list(dict.fromkeys(name[2:] for name in names if name[:2] in ("B-", "I-")))
    ours = ["O", *(f"{letter}-{label}" for label in labels for letter in "BI")]
    if sorted(ours) != sorted(names):
        console.note("the tags of the head are not in BIO, so it is not used: {names}", list_some(names))
        return None
    order = torch.tensor([names.index(name) for name in ours])
    if list(names) != ours:
        for kind in ("weight", "bias"):
            tensors[f"classifier.{kind}"] = tensors[f"classifier.{kind}"][order]
    return {"name": "tag", "max_length": length, "decoder": "softmax", "labels": labels, "scheme": "BIO"}


def export(opened: Bundle, folder: Path, sentences: bool = False) -> str:
    """Write a model as other libraries read it, with nothing of ours; the name of the class that it is of.

    sentences: as sentence-transformers reads it. Raises UserError where the public layouts cannot say what it computes.
    """
    config, tokenizer = opened.config, opened.tokenizer
    if sentences and not describe_modules(opened.task):
        task = opened.task or {}
        pooling = task.get("pooling") if "normalize_embeddings" in task else None
        raise UserError(
            f"{opened.folder} cannot be written for sentence-transformers",
            given=f"pooling {pooling}" if pooling else "a model that was not trained for vectors of texts",
            allowed="a model of the task embed with pooling mean, cls or max",
        )
    if lacking := why_not_public(config, tokenizer):
        raise UserError(
            f"{opened.folder} cannot be written for other libraries: the layout of {config.family} cannot say it",
            given=", ".join(lacking),
        )
    architecture, labels = public_task(opened)
    if architecture is None and opened.task is not None:
        # a head that nobody else knows
        kept = {name: t for name, t in opened.tensors.items() if name.startswith(("encoder.", "pooler."))}
        opened = replace(opened, tensors=kept)
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        write_public(temporary, opened, architecture, labels)
        written = files.read_json(temporary / "config.json")["architectures"][0]
    return str(written)


def public_task(opened: Bundle) -> tuple[str | None, list[str]]:
    """BERT's class for the head, and what its outputs are called."""
    if opened.task is not None:
        task = restore(opened.task, opened.tokenizer, str(opened.folder))
        return head_class(task).public_architecture(task, opened.config.family)
    first = opened.lineage[-1] if opened.lineage else {}
    kind = str(first.get("architecture") or "").partition("For")[2]  # a head that no task of ours is for
    return (f"BertFor{kind}" if first.get("kind") == "public" and kind else None), []
