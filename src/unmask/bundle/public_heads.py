"""Heads of public checkpoints: the task that a head was trained for, as our own bundles have it, or why it is left out.

What the class says that config.json names, and where it names none that is known, what the weights say.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask import console, files
from unmask.bundle.sentence_transformers import SETTINGS
from unmask.bundle.weights import list_some
from unmask.data.rows.schemes import OUTSIDE, read_outputs
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.mlm_head import MLMHead
from unmask.model.pooler import HeadTransform

PROBLEMS = {  # what other libraries call the tasks on whole texts
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regress": "regression",
}
_OUTPUTS = {"classify": (2, math.inf), "multilabel": (1, math.inf), "regress": (1, 1)}  # at least and at most
_SEQUENCE, _TOKEN, _ANSWERS = "SequenceClassification", "TokenClassification", "QuestionAnswering"
_LAYERS = {_SEQUENCE: "classifier", _TOKEN: "classifier", _ANSWERS: "qa_outputs"}
# heads of classes that no task here is for
_WITHOUT_TASK = ("MaskedLM", "PreTraining", "NextSentencePrediction", "MultipleChoice", "CausalLM")
# of a cross-encoder of sentence-transformers, by the last part of the name of the class
ACTIVATIONS = {"Sigmoid": "sigmoid", "Identity": None, "": None}
SIGMOID = "torch.nn.modules.activation.Sigmoid"


def head_schema(
    public: Mapping[str, Any], architecture: str, tensors: dict[str, Tensor], config: EncoderConfig, where: Path
) -> dict[str, Any] | None:
    """The schema of the task that a head was trained for; None where there is none. public: the content of config.json,
    which is the file `where`; tensors: by our names, from which heads that lack weights are taken out."""
    _drop_incomplete(tensors, config, where)
    kind = architecture.partition("For")[2]
    if kind not in (*_LAYERS, *_WITHOUT_TASK):
        kind = _kind_of_weights(public, tensors, config, where) or ""
    if kind not in _LAYERS:
        return None
    weight = tensors.get(f"{_LAYERS[kind]}.weight")
    if weight is None:
        console.note("{where} names a head ({architecture}) without weights: head ignored", where, architecture)
        return None
    length = _max_length(config, where)
    if kind == _ANSWERS:
        if FAMILIES[config.family].head.use_before_tagging:  # a head for answers with one layer more is not read
            return None
        if len(weight) != 2:
            return _left_out(where, f"{len(weight)} outputs for the start and the end of answers")
        # nothing says whether it learnt that there may be no answer
        return {"name": "answer", "max_length": min(length, 384), "labels": [], "has_unanswerable": False}
    if kind == _TOKEN:
        return _tagging(_labels(public, len(weight), where), tensors, length)
    return _of_whole_texts(public, len(weight), tensors, config, where, length)


def _left_out(where: Path, why: str) -> dict[str, Any] | None:
    """Say why a head has no schema."""
    console.note("{where}: head left out: {why}", where, why)
    return None


def _drop_incomplete(tensors: dict[str, Tensor], config: EncoderConfig, where: Path) -> None:
    """Take out a masked-LM head or a pooler of which some weights are missing, or have other sizes."""
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {"masked": MLMHead(config), **HeadTransform(config).saved_modules()}
    for prefix, module in parts.items():
        own = [name for name in tensors if name.startswith(f"{prefix}.")]
        shapes = {f"{prefix}.{name}": tensor.shape for name, tensor in module.state_dict().items()}
        wrong = [name for name, shape in shapes.items() if name not in tensors or tensors[name].shape != shape]
        if own and wrong:
            console.note(
                "{where}: {head} left out: missing or of another size: {names}", where, prefix, list_some(wrong)
            )
            for name in own:
                del tensors[name]


def _kind_of_weights(
    public: Mapping[str, Any], tensors: Mapping[str, Tensor], config: EncoderConfig, where: Path
) -> str | None:
    """The kind of a head whose class is not known: a pooler is for whole texts, without one it is for tokens."""
    if "qa_outputs.weight" in tensors:
        return _ANSWERS
    if "classifier.weight" not in tensors:
        return None
    count = len(tensors["classifier.weight"])
    if len(public.get("id2label") or range(count)) != count:
        _left_out(where, f"architectures names no known class, and id2label does not fit its {count:,} outputs")
        return None
    scheme = read_outputs(_labels(public, count, where))[0]
    kind = _TOKEN if scheme not in ("plain", "IO") or "pooler.weight" not in tensors else _SEQUENCE
    if FAMILIES[config.family].head.use_before_tagging and scheme in ("plain", "IO"):
        _left_out(where, "architectures names no known class, and its weights may be for texts or for tokens")
        return None
    console.note("{where}: architectures names no known class; by its weights the head is for {kind}", where, kind)
    return kind


def _max_length(config: EncoderConfig, where: Path) -> int:
    """Tokens of a text: at most 512, and no more than the model and the file beside its tokenizer allow."""
    beside = where.with_name("tokenizer_config.json")
    longest = files.read_object(beside).get("model_max_length") if beside.is_file() else None
    allowed = [config.max_position_embeddings, 512, *([longest] if type(longest) is int and longest >= 8 else [])]
    return min(allowed)


def _of_whole_texts(
    public: Mapping[str, Any],
    outputs: int,
    tensors: Mapping[str, Tensor],
    config: EncoderConfig,
    where: Path,
    length: int,
) -> dict[str, Any] | None:
    """The schema of a classifier or of regression: one output is a number where nothing says otherwise."""
    with torch.device("meta"):
        before = HeadTransform(config).saved_modules()
    if missing := [f"{name}.weight" for name in before if f"{name}.weight" not in tensors]:
        return _left_out(where, f"it has no {list_some(missing)}")
    problem = public.get("problem_type") or PROBLEMS["regress" if outputs == 1 else "classify"]
    name = {its: name for name, its in PROBLEMS.items()}.get(problem)
    least, most = _OUTPUTS.get(name or "", (0, -1))
    if not least <= outputs <= most:
        return _left_out(where, f"problem_type {problem} with {outputs:,} outputs")
    schema = {"name": name, "max_length": length, "pooling": public.get("classifier_pooling", "cls")}
    activation = _activation(public, where)
    if most == 1:
        return {**schema, "labels": [], **({"activation": activation} if activation else {})}
    if activation and least == 2:
        console.note(
            "{where}: {activation} of sentence-transformers is not applied: scores are a softmax", where, activation
        )
    return {**schema, "labels": _labels(public, outputs, where)}


def _activation(public: Mapping[str, Any], where: Path) -> str | None:
    """The function that a cross-encoder of sentence-transformers applies to its outputs, as the first of these files
    and keys says that has one. Raises UserError for one that is not known."""
    beside, older = where.with_name(SETTINGS), public.get("sentence_transformers")
    places = (
        (beside, "activation_fn", files.read_object(beside) if beside.is_file() else {}),
        (where, "activation_fn", older if isinstance(older, Mapping) else {}),
        (where, "sbert_ce_default_activation_function", public),
    )
    path, key, given = next(
        ((path, key, made) for path, key, values in places if (made := values.get(key))), (where, "", "")
    )
    short = str(given).rpartition(".")[2].removesuffix("()")
    if short not in ACTIVATIONS:
        raise UserError(f"{path}: {key} cannot be used", given=given, allowed=SIGMOID)
    return ACTIVATIONS[short]


def _labels(public: Mapping[str, Any], count: int, where: Path) -> list[str]:
    """The names of the outputs, in order."""
    given = public.get("id2label")
    if not given and isinstance(numbers := public.get("label2id"), dict):
        given = {number: label for label, number in numbers.items()}
    given = given or {number: f"LABEL_{number}" for number in range(count)}
    expected = {str(number) for number in range(count)}
    if not isinstance(given, dict) or set(map(str, given)) != expected or len(set(map(str, given.values()))) < count:
        raise UserError(f"{where}: id2label does not fit the head", given=given, allowed=f"{count:,} different labels")
    return [str(label) for _, label in sorted(given.items(), key=lambda item: int(item[0]))]


def _tagging(names: Sequence[str], tensors: dict[str, Tensor], length: int) -> dict[str, Any]:
    """Tags of the scheme BIO in the order in which our head has them: its rows are put into that order. Of another
    scheme, or with tags missing, its outputs stay as they are, and are read by their names."""
    schema = {"name": "tag", "max_length": length, "decoder": "softmax"}
    labels = list(dict.fromkeys(name[2:] for name in names if name[:2] in ("B-", "I-")))
    ours = [OUTSIDE, *(f"{letter}-{label}" for label in labels for letter in "BI")]
    if labels and sorted(ours) == sorted(names):
        order = torch.tensor([names.index(name) for name in ours])
        for kind in ("weight", "bias"):
            tensors[f"classifier.{kind}"] = tensors[f"classifier.{kind}"][order]
        return {**schema, "labels": labels, "scheme": "BIO"}
    scheme, tags = read_outputs(names)
    if strange := [name for name in names if tags[name][0] == OUTSIDE and name != OUTSIDE]:
        console.note("tags that are read as O: {names}", list_some(strange))
    labels = list(dict.fromkeys(label for name in names if (label := tags[name][1])))
    console.note(
        "tags of the scheme {scheme}, not BIO, are read as the head has them: {names}", scheme, list_some(names)
    )
    return {**schema, "labels": labels, "scheme": scheme, "outputs": list(names)}
