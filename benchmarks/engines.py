"""Prediction in one process, one model in every engine: unmask.load(...).predict beside other libraries.

--task embed: the vectors of all-MiniLM-L6-v2, beside sentence-transformers, and onnxruntime and openvino driven by
hand. --task classify and tag: a model that `unmask finetune` made before (a few steps), beside transformers' pipeline
in batches of 8 and of 32, and for classify the engines by hand. All get the same texts as a list of str, and tokenise
them inside the timing. By hand is what a careful user writes: the graph that torch.onnx.export (or
openvino.convert_model) makes of transformers' network, texts sorted by length, batches of 32. Exports are not timed;
int8 of ours is calibrated on rows that are not among those measured.

`agreement` is with float32 torch of another library (of a tagger, whose CRF only ours has, with our own): the mean
cosine of the vectors, or the share of equal labels. Where the processor has units for bfloat16 there are sides in it.

--latency: one text at a time instead, and beside ours the bare network of the same engine on arrays that are ready.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import commands, conditions, engine_peers, texts
from benchmarks.against import words_of
from benchmarks.engine_peers import Predict
from benchmarks.harness import Benchmark, Prepared, Settings, Side
from unmask.errors import UserError
from unmask.files import sha256, write_json
from unmask.runtime.choice import RUNS_BFLOAT16, has_bfloat16_units
from unmask.runtime.manifest import read_manifest

TASKS = ("embed", "classify", "tag")
EXPORTS = (("onnx", "float32"), ("openvino", "float32"), ("onnx", "int8"), ("openvino", "int8"))
HELD = 640  # rows that are not measured: of fine-tuning and calibration
WARM = 128  # texts, evenly of those measured, that each side predicts before
CALLS = 200  # of one text, in one timed run of --latency
SHORT = "A film that is worth the evening."
EXPORT = "export {model} --output {out} --format {backend}"
EXPORT_INT8 = f"{EXPORT} --precision int8 --calibration {{train}}"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=TASKS, default="embed", help="(default embed)")
    parser.add_argument(
        "--file", type=Path, help="rows: jsonl of text (to classify: and label); to tag: CoNLL of token and tag"
    )
    parser.add_argument("--data", metavar="NAME", help="public data (default reviews; to tag: zh-pos)")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="(default: all-MiniLM-L6-v2, fetched)")
    parser.add_argument("--rows", type=int, default=2000, help="measured, of the file or data, at most (default 2,000)")
    parser.add_argument("--max-length", type=int, default=256, help="tokens; to embed the model's own (default 256)")
    parser.add_argument("--steps", type=int, default=20, help="of fine-tuning (default 20)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows per step of fine-tuning (default 32)")
    parser.add_argument(
        "--exported",
        type=Path,
        metavar="FOLDER",
        help="that unmask export made of --model: nothing is fine-tuned or exported then",
    )
    parser.add_argument("--latency", action="store_true", help="one text at a time, beside the bare network")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="sides that have one of these in their names")


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """Texts, fine-tuned model, exports of both and the reference. Raises UserError where there are too few rows."""
    import unmask
    from unmask.data.public.models import download_model

    task = arguments.task
    held, measured, name = _rows(arguments)
    model = (arguments.model or download_model("minilm")).resolve()
    suffix = _suffix(task)
    files = {part: folder / f"{part}.{suffix}" for part in ("train", "dev")}
    files["train"].write_text("".join(held), encoding="utf-8")
    files["dev"].write_text("".join(held[:: commands.DEV]), encoding="utf-8")
    write_json(folder / "texts.json", [_text(row, task) for row in measured])
    words = words_of(conditions.ROOT)
    settings: dict[str, Any] = {
        **{each: getattr(arguments, each) for each in ("task", "max_length", "threads", "steps", "batch_size")},
        **{part: str(path) for part, path in files.items()},
        "model": str(model),
        "texts": str(folder / "texts.json"),
        "exported": str(arguments.exported or folder / "exported"),
        "peers": str(folder / "peers"),
        "reference": str(folder / "reference.json"),
        "checkout": str(conditions.ROOT),
        "commands": {"finetune": words.finetune, "float32": EXPORT, "int8": EXPORT_INT8},
        "calls": CALLS,
        "backend": "torch",  # of --against, which has one side of each checkout
        "precision": "float32",
    }
    if task != "embed" and not arguments.exported:
        commands.unmask("finetune", settings, folder / "run")
        settings["model"] = str(folder / "run" / "model")
    settings["max_length"] = unmask.load(settings["model"], backend="torch").task.settings.max_length
    for backend, precision in () if arguments.exported else EXPORTS:
        commands.unmask(precision, {**settings, "backend": backend}, folder / "exported")
    if not arguments.latency:
        if task != "tag":
            engine_peers.export(settings)
        write_json(Path(settings["reference"]), _plain(_reference(settings)(_texts(settings))))
    return settings, [
        {"name": name, "rows": len(measured), "sha256": sha256(Path(settings["texts"]))},
        {"name": model.name, "sha256": sha256(model / "config.json")},
    ]


def sides(arguments: argparse.Namespace, settings: Settings) -> tuple[int, tuple[Side, ...]]:
    """How many are ours, and all of them, those of ours first; each has settings of its own."""
    networks: Sequence[tuple[str, str]] = EXPORTS
    if arguments.exported:
        networks = [(one.backend, one.precision) for one in read_manifest(arguments.exported).networks]
    variants = [("torch", "float32"), *networks]
    units = has_bfloat16_units()
    if units:
        wide = [one for one, precision in variants if precision == "float32" and one in RUNS_BFLOAT16]
        variants += [(one, "bfloat16") for one in wide]
    runs = {f"{one} {precision}": {"backend": one, "precision": precision} for one, precision in variants}
    measured = latency if arguments.latency else ours
    mine = [Side(f"ours, {name}", measured, {**settings, **more}) for name, more in runs.items()]
    if arguments.latency:
        beside = [Side(f"bare, {name}", bare, {**settings, **more}) for name, more in runs.items()]
    else:
        beside = [Side(name, peer, {**settings, **more}) for name, more in _peers(arguments.task, units).items()]
    chosen = [
        [side for side in group if not arguments.only or any(word in side.name for word in arguments.only)]
        for group in (mine, beside)
    ]
    if not all(chosen):
        raise UserError(
            "--only leaves nothing to compare", given=arguments.only, allowed=[each.name for each in mine + beside]
        )
    return len(chosen[0]), (*chosen[0], *chosen[1])


def _peers(task: str, units: bool) -> dict[str, dict[str, Any]]:
    """By name, what a peer has in its settings."""
    found: dict[str, dict[str, Any]] = {}
    if task == "embed":
        found["sentence-transformers"] = {"peer": "sentence_transformers", "precision": "float32"}
        if units:
            found["sentence-transformers bfloat16"] = {"peer": "sentence_transformers", "precision": "bfloat16"}
    else:
        found |= {f"pipeline, batches of {size}": {"peer": "pipeline", "batch": size} for size in (8, 32)}
    if task != "tag":
        for precision in ("float32", "int8"):
            found[f"onnxruntime {precision}"] = {"peer": "onnxruntime", "precision": precision}
        found["openvino float32"] = {"peer": "openvino", "precision": "float32"}
        if units:
            found["openvino, by default"] = {"peer": "openvino", "precision": "default"}
    return found


def ours(settings: Settings) -> Prepared:
    return _prepared(settings, _ours(settings))


def peer(settings: Settings) -> Prepared:
    return _prepared(settings, engine_peers.PEERS[settings.get("peer", "sentence_transformers")](settings))


def latency(settings: Settings) -> Prepared:
    """Ours, one text at a time."""
    predictor = _loaded(settings)
    return _calls(settings, lambda: predictor.predict([SHORT]))


def bare(settings: Settings) -> Prepared:
    """The network that ours runs, without what is around it: on arrays that are ready, as its engine takes them."""
    from unmask.data.rows.example import Example
    from unmask.runtime.backend import arrays_of
    from unmask.runtime.exported import pad_arrays

    predictor = _loaded(settings)
    rows, _ = predictor.task.encode([Example(SHORT)])
    arrays = arrays_of(rows)
    if settings["backend"] == "torch":
        backend = predictor.backend
        return _calls(settings, lambda: backend.run(arrays))
    inputs = pad_arrays(arrays)
    return _calls(settings, lambda: predictor.backend.compute(inputs))


def _loaded(settings: Settings) -> Any:
    import unmask

    # an exported folder has no weights of torch
    folder = settings["model"] if settings["backend"] == "torch" else settings["exported"]
    more = {name: settings[name] for name in ("backend", "precision", "threads")}
    return unmask.load(folder, device="cpu", **more)


def _ours(settings: Settings) -> Predict:
    predictor = _loaded(settings)
    if settings["task"] == "embed":
        return lambda texts: np.stack(predictor.predict(texts))
    if settings["task"] == "classify":
        return lambda texts: [labels[0].label for labels in predictor.predict(texts)]
    return lambda texts: [str(spans) for spans in predictor.predict(texts)]


def _reference(settings: Settings) -> Predict:
    """float32 torch: of another library, or to tag ours."""
    if settings["task"] == "tag":
        return _ours({**settings, "backend": "torch", "precision": "float32"})
    kind = "sentence_transformers" if settings["task"] == "embed" else "pipeline"
    return engine_peers.PEERS[kind]({**settings, "batch": 8, "precision": "float32"})


def _prepared(settings: Settings, predict: Predict) -> Prepared:
    given = _texts(settings)
    predict(commands.evenly(given, WARM))
    found: list[Any] = []

    def work() -> float:
        found[:] = [predict(given)]
        return float(len(given))

    def facts() -> dict[str, Any]:
        if settings["task"] == "tag" and "peer" in settings:
            return {}  # wordpieces have tags there
        reference = json.loads(Path(settings["reference"]).read_text(encoding="utf-8"))
        return {"agreement": agreement(_plain(found[0]), reference)}

    return Prepared(work, facts)


def agreement(found: list[Any], reference: list[Any]) -> float:
    """The mean cosine of vectors, or the share of labels that are equal."""
    assert len(found) == len(reference)
    if isinstance(reference[0], str):
        return sum(map(str.__eq__, found, reference)) / len(found)
    a, b = np.array(found), np.array(reference)
    return float(np.mean((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))


def _plain(found: Any) -> list[Any]:
    return found.tolist() if isinstance(found, np.ndarray) else list(found)


def _calls(settings: Settings, call: Callable[[], Any]) -> Prepared:
    """`calls` of it; the fact is the median of all that were timed."""
    for _ in range(settings["calls"]):
        call()
    seconds: list[float] = []

    def work() -> float:
        for _ in range(settings["calls"]):
            begun = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begun)
        return float(settings["calls"])

    return Prepared(work, lambda: {"p50_ms": 1000 * statistics.median(seconds)})


def _texts(settings: Settings) -> list[str]:
    return list(json.loads(Path(settings["texts"]).read_text(encoding="utf-8")))


def _suffix(task: str) -> str:
    return commands.SUFFIXES.get(task, "jsonl")


def _rows(arguments: argparse.Namespace) -> tuple[list[str], list[str], str]:
    """Rows that are held back, at most a half, rows that are measured, and the name of the data."""
    name = arguments.data or commands.PUBLIC.get(arguments.task, commands.PUBLIC["classify"])
    source = arguments.file or texts.fetched(name, "--file FILE").train
    if source is None or not source.is_file():
        raise UserError("there are no rows", given=source or name, hint="--file FILE")
    every = commands.records_of(source, _suffix(arguments.task))
    if len(every) < 2:
        raise UserError("there are too few rows", given=len(every), allowed="2 or more")
    count = min(HELD, len(every) // 2)
    chosen = commands.evenly(every, count + arguments.rows)
    places = {number * len(chosen) // count for number in range(count)}
    held = [chosen[place] for place in sorted(places)]
    measured = [row for place, row in enumerate(chosen) if place not in places]
    return held, measured, source.name if arguments.file else name


def _text(row: str, task: str) -> str:
    """The text of a row, of a tagged sentence its tokens with a blank between."""
    if task == "tag":
        return " ".join(line.split()[0] for line in row.strip().split("\n"))
    return str(json.loads(row)["text"])


BENCHMARK = Benchmark(
    name="engines",
    unit="texts",
    sides=(Side("ours", ours), Side("sentence-transformers", peer)),
    packages=("torch", "transformers", "sentence_transformers", "onnx", "onnxruntime", "openvino"),
    shown={"agreement": "agreement", "p50_ms": "p50 ms"},
    warmup=0,
    repeat=1,
)
