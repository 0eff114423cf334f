"""Export of a model's network for other engines: ONNX, and OpenVINO made of it.

The graph is the padded path of encoder and head, which reads tensors alone: batch and length stay free. Where the head
reads the first token of each sequence, the last layer computes nothing else.
"""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unmask import files
from unmask.advice import advise, option
from unmask.bundle.bundle import Bundle
from unmask.bundle.card import model_card
from unmask.bundle.description import describe
from unmask.bundle.weights import save_tensors
from unmask.config import dump
from unmask.engine.quantise import Sample, draw_sample, quantise
from unmask.engine.torch_backend import TorchEngine
from unmask.errors import UserError, missing_extra
from unmask.heads.answer import AnswerHead
from unmask.heads.nested import NestedHead
from unmask.heads.tag import TagHead
from unmask.learner.batch import EMPTY, Batch
from unmask.learner.head import Head
from unmask.model.encoder import Encoder
from unmask.model.layout import SequenceLayout
from unmask.model.mlm_head import MLMHead
from unmask.runtime.backend import arrays_of
from unmask.runtime.manifest import FACTS, FORMAT, HEAD_ARRAYS, RECORDED, WEIGHTS, ExportedNetwork, HeadName, Precision
from unmask.runtime.verify import outputs_of, recorded_rows
from unmask.tasks.task import Arrays
from unmask.version import __version__

OPSET = 20
LONGEST_RECORDED = 512  # tokens
LARGEST_FOLDED = 2**31  # numbers
FILES = {
    ("onnx", "float32"): "onnx/model.onnx",
    ("onnx", "int8"): "onnx/model_int8.onnx",
    ("openvino", "float32"): "openvino/openvino_model.xml",
    ("openvino", "int8"): "openvino/openvino_model_int8.xml",
}
"""By format and precision, the file of a network."""


class _Network(nn.Module):
    """Encoder and head on padded input. outputs: what `compute` gives for a batch, in one tensor."""

    def __init__(self, encoder: Encoder, head: nn.Module, reads_first: bool) -> None:
        super().__init__()
        self.encoder, self.head, self.reads_first = encoder, head, reads_first

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        layout = SequenceLayout.padded(attention_mask.bool())
        queries = layout.gather_first() if self.reads_first else None
        batch = Batch(
            input_ids,
            token_type_ids,
            layout,
            EMPTY,
            EMPTY,
            EMPTY,
            positions=EMPTY if positions is None else positions,
            query_positions=queries,
        )
        hidden = self.encoder(input_ids, layout, token_type_ids, queries)
        if isinstance(self.head, MLMHead):
            return self.head(hidden.flatten(0, 1).index_select(0, batch.positions), self.encoder)  # type: ignore[no-any-return]
        return self.head(hidden, batch)  # type: ignore[no-any-return]


def export(
    source: Path | str,
    format: str,
    folder: Path,
    *,
    precision: Precision = "float32",
    calibration: Path | None = None,
    allow_unused: bool = False,
) -> ExportedNetwork:
    """Write the network of a model for another engine into a model folder, atomically: a new one, or the one that holds
    other networks (or the weights) of the same model. Return its entry in the manifest.

    The head is that of the task, or of a pretrained model that of masked tokens. precision: float32 or int8;
    calibration: rows from which int8 takes the ranges of activations, by default those that the model was trained on
    where they are still there. Raises UserError where the packages that export are not installed, and for a folder that
    is anything else.
    """
    engine = TorchEngine.open(source, "cpu", allow_unused=allow_unused)
    opened = engine.bundle
    head: HeadName = "masked" if opened.task is None else "task"
    sample = draw_sample(engine, calibration) if precision == "int8" else None
    with files.atomic(folder) as temporary:
        if folder.exists():
            _check_same(opened, folder)
            shutil.copytree(folder, temporary, copy_function=_copy)
            facts = files.read_object(folder / FACTS)
        else:
            temporary.mkdir()
            facts = _new_folder(opened, temporary)
        network = _write_network(engine, head, format, temporary, sample)
        torch_backend = engine.backend(head)
        _save_arrays(torch_backend.parameters, temporary / HEAD_ARRAYS)
        facts["sha256"] = {**facts["sha256"], HEAD_ARRAYS: files.sha256(temporary / HEAD_ARRAYS)}
        longest = min(opened.config.max_position_embeddings, LONGEST_RECORDED)
        is_pair = bool(opened.config.type_vocab_size > 1)
        rows = recorded_rows(opened.config.vocab_size, longest, is_pair, reads_positions(engine.head(head)))
        outputs = np.concatenate(outputs_of(torch_backend, rows, network.per_token))
        _save_arrays({**arrays_of(rows), "outputs": outputs}, temporary / RECORDED)
        key = (network.backend, network.precision, network.head)
        others = [one for one in facts.get("networks", []) if (one["backend"], one["precision"], one["head"]) != key]
        facts["networks"] = [*others, dump(network)]
        files.write_json(temporary / FACTS, facts)
    return network


def _save_arrays(arrays: Arrays, path: Path) -> None:
    save_tensors({name: torch.from_numpy(one) for name, one in arrays.items()}, path)


def _copy(source: str, target: str) -> None:
    """Copy a file; the weights, which nothing here changes, become a second name of the same file."""
    if source.endswith(WEIGHTS):
        with suppress(OSError):  # a file system without hard links
            os.link(source, target)
            return
    shutil.copy2(source, target)


def reads_positions(head: nn.Module) -> bool:
    """Return whether a head reads single tokens, whose positions are an input."""
    return isinstance(head, MLMHead | TagHead | NestedHead)


def _check_same(opened: Bundle, folder: Path) -> None:
    facts = files.read_object(folder / FACTS) if (folder / FACTS).is_file() else {}
    if opened.sha256 not in (facts.get("weights"), facts.get("sha256", {}).get(WEIGHTS)):
        raise UserError("{out} already exists", folder, hint="remove it, or choose another name")


def _new_folder(opened: Bundle, folder: Path) -> dict[str, Any]:
    """Write what is no network: tokenizer and card. Return the facts of unmask.json."""
    opened.tokenizer.save_pretrained(folder, opened.config.max_position_embeddings)
    files.write_text(folder / "README.md", model_card(describe(opened)))
    return {
        "format": FORMAT,
        "unmask": __version__,
        "encoder": dump(opened.config),
        "task": opened.task,
        "reading": opened.reading,
        "lineage": opened.lineage,
        "weights": opened.sha256,
        "sha256": {"tokenizer.json": files.sha256(folder / "tokenizer.json")},
    }


def _write_network(
    engine: TorchEngine, head: HeadName, format: str, folder: Path, sample: Sample | None
) -> ExportedNetwork:
    """sample: of int8, None for float32."""
    module = engine.head(head)
    if format == "openvino" and isinstance(module, TagHead) and module.wide is not None:
        raise UserError(
            "a tagger with token pairs (wide) cannot run in OpenVINO",
            given="numbers of pairs are hashed in 64 bits, of which OpenVINO computes 32",
            hint=advise("{option} for such a model", option("format", "onnx")),
        )
    reads_first = isinstance(module, Head) and module.reads_first
    network = _Network(engine.encoder, module, reads_first).eval()
    precision: Precision = "float32" if sample is None else "int8"
    name = FILES[format, precision]
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "float32.onnx"
        _onnx_program(network, engine.bundle.config.max_position_embeddings, reads_positions(module)).save(written)
        if sample is not None:
            written, float32 = Path(scratch) / "int8.onnx", written
            quantise(float32, written, sample.batches, fused=format == "onnx")
        (_save_onnx if format == "onnx" else _save_openvino)(written, file)
    both = [name, f"{name}.data" if format == "onnx" else name.replace(".xml", ".bin")]
    names = [one for one in both if (folder / one).exists()]
    return ExportedNetwork(
        backend=format,
        precision=precision,
        head=head,
        output=module.output if isinstance(module, Head) else "logits",
        per_token=isinstance(module, AnswerHead),
        file=name,
        sha256={name: files.sha256(folder / name) for name in names},
        quantised=None if sample is None else sample.facts,
    )


def _onnx_program(network: _Network, longest: int, needs_positions: bool) -> Any:
    """The ONNX program of a network, with free batch and length."""
    length = min(16, longest)
    ids = torch.randint(0, 5, (3, length))
    mask = torch.ones_like(ids)
    mask[1, length // 2 :] = 0
    args = [ids, mask, torch.zeros_like(ids)]
    batch, places = torch.export.Dim("batch"), torch.export.Dim("length", max=longest)
    shapes: list[Any] = [{0: batch, 1: places}] * 3
    names = ["input_ids", "attention_mask", "token_type_ids"]
    if needs_positions:
        args.append(torch.tensor([1, 2, length + 1, 2 * length + 1, 2 * length + 2]))
        shapes.append({0: torch.export.Dim("positions")})
        names.append("positions")
    program = torch.onnx.export(
        network,
        tuple(args),
        dynamo=True,
        dynamic_shapes=tuple(shapes),
        opset_version=OPSET,
        input_names=names,
        output_names=["output"],
        verbose=False,
    )
    assert program is not None
    from onnx_ir.passes import common
    from onnxscript import optimizer

    # a matrix of the last layer is cut in two for query positions, and layers may share theirs: the exporter sees to
    # small matrices alone
    optimizer.fold_constants(program.model, input_size_limit=LARGEST_FOLDED, output_size_limit=LARGEST_FOLDED)
    optimizer.remove_unused_nodes(program.model)
    common.DeduplicateInitializersPass(size_limit=LARGEST_FOLDED)(program.model)
    return program


def _save_onnx(source: Path, file: Path) -> None:
    """Write a network with its weights in a file of their own, which is opened in half the time."""
    import onnx

    weights = file.with_name(f"{file.name}.data")
    weights.unlink(missing_ok=True)  # onnx would append to it
    onnx.save(onnx.load(source), file, save_as_external_data=True, location=weights.name)
    if weights.exists():  # small tensors stay in the graph
        weights.chmod(file.stat().st_mode)


def _save_openvino(source: Path, file: Path) -> None:
    try:
        from unmask.runtime.openvino import convert
    except ImportError:
        raise missing_extra("openvino", "openvino", "exporting to OpenVINO") from None
    convert(source, file)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter says is for those who write it."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
