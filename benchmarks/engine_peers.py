"""The peers of engines.py: a model as users of other libraries run it. Nothing of unmask is imported.

Each peer is a function of the settings of engines.py that gives a function from texts to what they are: vectors
(texts, width) float32, of a classifier labels. Tokenisation is inside it.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BATCH = 32
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = 18

Settings = Mapping[str, Any]
Predict = Callable[[list[str]], Any]
Arrays = dict[str, npt.NDArray[np.int64]]


def sentence_transformers(settings: Settings) -> Predict:
    """Its `encode` by torch, in the dtype of the settings."""
    import torch
    from sentence_transformers import SentenceTransformer

    more = {"torch_dtype": getattr(torch, settings["precision"])}
    model = SentenceTransformer(settings["model"], device="cpu", model_kwargs=more)
    model.max_seq_length = settings["max_length"]
    return lambda texts: model.encode(texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False)


def pipeline(settings: Settings) -> Predict:
    """transformers' pipeline, in the order of the texts; of a tagger the best tag of each wordpiece."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["model"], model_max_length=settings["max_length"])
    kind, more = "token-classification", {}
    if settings["task"] == "classify":
        kind, more = "text-classification", {"truncation": True}
    run = transformers.pipeline(kind, model=settings["model"], tokenizer=tokenizer, device="cpu")
    if settings["task"] == "tag":
        return lambda texts: run(texts, batch_size=settings["batch"])
    return lambda texts: [each["label"] for each in run(texts, batch_size=settings["batch"], **more)]


def onnxruntime(settings: Settings) -> Predict:
    """A session over the exported graph, or the one that its dynamic int8 made of it."""
    import onnxruntime as library

    options = library.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.log_severity_level = 3
    file = Path(settings["peers"]) / f"{settings['precision']}.onnx"
    session = library.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return _by_hand(settings, lambda arrays: session.run(None, {name: arrays[name] for name in names})[0])


def openvino(settings: Settings) -> Predict:
    """A request over the converted network; precision "default" is what the library takes by itself."""
    import openvino as library

    given = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": settings["threads"]}
    if settings["precision"] == "float32":
        given["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = library.Core().compile_model(str(Path(settings["peers"]) / "openvino.xml"), "CPU", given)
    request = compiled.create_infer_request()
    names = [each.get_any_name() for each in compiled.inputs]

    def run(arrays: Arrays) -> Any:
        return np.array(request.infer({name: arrays[name] for name in names}, share_inputs=True)[0])

    return _by_hand(settings, run)


PEERS = {each.__name__: each for each in (sentence_transformers, pipeline, onnxruntime, openvino)}


def export(settings: Settings) -> None:
    """Write float32.onnx (eager attention), int8.onnx (onnxruntime's dynamic int8 of it) and openvino.xml (torch's
    fused attention) into the folder `peers`."""
    import openvino as library
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    vectors = settings["task"] == "embed"
    kind = transformers.AutoModel if vectors else transformers.AutoModelForSequenceClassification
    folder = Path(settings["peers"])
    folder.mkdir()
    ids = torch.arange(5, 37).view(2, 16)
    mask = torch.ones_like(ids)
    mask[0, 10:] = 0
    example = (ids, mask, torch.zeros_like(ids))

    class Network(torch.nn.Module):
        def __init__(self, attention: str) -> None:
            super().__init__()
            self.model = kind.from_pretrained(settings["model"], attn_implementation=attention).eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types)[0]  # type: ignore[no-any-return]

    axes = {**{name: {0: "batch", 1: "length"} for name in INPUTS}, "output": {0: "batch"}}
    if vectors:
        axes["output"] = {0: "batch", 1: "length"}
    files = [str(folder / f"{precision}.onnx") for precision in ("float32", "int8")]
    with warnings.catch_warnings(action="ignore"):  # of tracing
        torch.onnx.export(
            Network("eager"),
            example,
            files[0],
            input_names=list(INPUTS),
            output_names=["output"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        converted = library.convert_model(Network("sdpa"), example_input=example)
    quantize_dynamic(*files, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    for each, name in zip(converted.inputs, INPUTS, strict=True):
        each.get_tensor().set_names({name})
        each.get_node().set_partial_shape(library.PartialShape([-1, -1]))
    converted.validate_nodes_and_infer_types()
    library.save_model(converted, str(folder / "openvino.xml"), compress_to_fp16=False)


def _by_hand(settings: Settings, run: Callable[[Arrays], Any]) -> Predict:
    """What a careful user writes around an engine: texts sorted by length, batches padded to their longest."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(Path(settings["model"]) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings["max_length"])
    finish = _vectors if settings["task"] == "embed" else _labels(settings)

    def predict(texts: list[str]) -> Any:
        rows = [each.ids for each in tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
        parts = []
        for start in range(0, len(order), BATCH):
            arrays = _padded([rows[number] for number in order[start : start + BATCH]])
            parts.append(finish(run(arrays), arrays["attention_mask"]))
        sorted_ = np.concatenate(parts)
        found = np.empty_like(sorted_)
        found[order] = sorted_
        return found if settings["task"] == "embed" else found.tolist()

    return predict


def _padded(rows: list[list[int]]) -> Arrays:
    """One segment; padding has id 0."""
    arrays = {name: np.zeros((len(rows), max(map(len, rows))), np.int64) for name in INPUTS}
    for number, ids in enumerate(rows):
        arrays["input_ids"][number, : len(ids)] = ids
        arrays["attention_mask"][number, : len(ids)] = 1
    return arrays


def _vectors(states: Any, mask: Any) -> Any:
    """The mean over the tokens, of length 1."""
    weights = mask[:, :, None].astype(np.float32)
    means = (states * weights).sum(axis=1) / weights.sum(axis=1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def _labels(settings: Settings) -> Callable[[Any, Any], Any]:
    config = json.loads((Path(settings["model"]) / "config.json").read_text(encoding="utf-8"))
    names = np.array([config["id2label"][str(number)] for number in range(len(config["id2label"]))])

    def finish(logits: Any, _mask: Any) -> Any:
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        return names[scores.argmax(axis=1)]

    return finish
