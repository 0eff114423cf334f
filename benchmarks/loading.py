"""A public checkpoint from disk to ready: unmask.load beside transformers' AutoModel and AutoTokenizer.

Each timed run is the first load of a fresh process, after the imports, of a folder that the system has in its cache.
`x the weights` is the most memory that was held while loading, beyond what was held before, over the size of the
weights; mapped weights that were not touched are not held. Afterwards both say the same of a text.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, Prepared, Settings, Side

TEXT = "From disk to ready."
DIGITS = 3  # in which the hidden states must agree


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="a public checkpoint (default: all-MiniLM-L6-v2, fetched)",
    )


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    from unmask import bundle, files
    from unmask.data.public.models import download_model

    model = arguments.model or download_model("minilm")
    opened = bundle.read(model, weights=False)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in opened.tensors.values())
    settings = {"model": str(model), "weights": weights}
    return settings, [{"name": Path(model).name, "sha256": files.sha256(Path(model) / "config.json")}]


def ours(settings: Settings) -> Prepared:
    import torch

    import unmask.engine.torch_backend  # what `load` imports for this engine
    import unmask.runtime.predictor
    from unmask.model.layout import SequenceLayout

    def load() -> Any:
        return unmask.runtime.predictor.load(settings["model"], device="cpu")

    def first(model: Any) -> list[float]:
        encoded = model.tokenizer.encode(TEXT)
        ids, segments = torch.tensor(encoded.input_ids), torch.tensor(encoded.token_type_ids)
        with torch.inference_mode():
            return model.engine.encoder(ids, SequenceLayout.packed([len(ids)]), segments)[0].tolist()  # type: ignore[no-any-return]

    return _loading(settings, load, first)


def peer(settings: Settings) -> Prepared:
    import torch
    from transformers import AutoModel, AutoTokenizer, BertModel, BertTokenizerFast  # noqa: F401

    def load() -> Any:
        folder = settings["model"]
        return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    def first(loaded: Any) -> list[float]:
        model, tokenizer = loaded
        with torch.inference_mode():
            return model(**tokenizer(TEXT, return_tensors="pt")).last_hidden_state[0, 0].tolist()  # type: ignore[no-any-return]

    return _loading(settings, load, first)


def _loading(settings: Settings, load: Any, first: Any) -> Prepared:
    from benchmarks.child import held_bytes, peak_bytes

    known: dict[str, Any] = {}

    def work() -> float:
        known["before"] = held_bytes()
        known["model"] = load()
        known["peak"] = peak_bytes()
        return float(settings["weights"]) / 2**20

    def facts() -> dict[str, Any]:
        held = (known["peak"] - known["before"]) / settings["weights"]
        return {"held": held, "state": [round(x, DIGITS) + 0.0 for x in first(known["model"])[:8]]}

    return Prepared(work, facts)


BENCHMARK = Benchmark(
    name="loading",
    unit="MiB of weights",
    sides=(Side("ours", ours), Side("transformers", peer)),
    packages=("torch", "transformers"),
    same=("state",),
    shown={"held": "x the weights held"},
    warmup=0,
    repeat=1,
)
