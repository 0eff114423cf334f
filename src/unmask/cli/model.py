"""`unmask inspect`, `export` and `verify`: what a model is, and the same for other libraries and engines."""

import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unmask import console
from unmask.cli.common.help import App
from unmask.cli.common.options import AllowUnused, AnyModel, AsJson
from unmask.cli.common.output import print_result
from unmask.config import dump
from unmask.console import size
from unmask.errors import UserError
from unmask.messages import join, message, translate, verbatim

SHOWN = 12  # labels
DIFFERENCES = ("outputs", "alone", "order", "padding")  # that verification measures
WIDTH = 96  # characters of a line of settings
ENGINES = ("onnx", "openvino")
FORMATS = ("hf", "sentence-transformers", *ENGINES)
INT8 = "int8"

commands = App()


@commands.command(example="unmask inspect runs/tiny")
def inspect(model: AnyModel, as_json: AsJson = False) -> None:
    """Describe a model: architecture, parameters, memory, FLOPs, vocabulary, task and lineage.

    Of exported networks: backends, precisions, how they were verified, and what runs them here by default.
    """
    from unmask.runtime.manifest import WEIGHTS, has_networks, model_folder

    folder = model_folder(model)
    if has_networks(folder):
        from unmask.runtime.description import describe_networks

        exported = {"model": model, "folder": str(folder), **describe_networks(folder)}
        if not (folder / WEIGHTS).is_file() or not find_spec("torch"):
            print_result(as_json, exported, _show_exported)
            return
        networks = {name: exported[name] for name in ("networks", "automatic")}
    else:
        networks = {}
    from unmask import bundle
    from unmask.bundle.description import describe

    opened = bundle.read(model, allow_unused=True, weights=False)
    print_result(as_json, {"model": model, "folder": str(opened.folder), **describe(opened), **networks}, _show)


def _show(facts: dict[str, Any]) -> None:
    memory = facts["memory"]
    console.facts(
        {
            **_architecture(facts["architecture"]),
            "parameters": _parameters(facts["parameters"]),
            "memory": message(
                "{size} in float32 · {half} in bfloat16", size(memory["float32"]), size(memory["bfloat16"])
            ),
            "training": message(
                "{size} for weights, gradients and Adam · {token} for each token of a step ({half} in bfloat16)",
                size(memory["training"]),
                *map(size, memory["activations_per_token"].values()),
            ),
            "FLOPs of a token": join((_flops(int(n), parts) for n, parts in facts["flops_per_token"].items()), "\n"),
            **_vocabulary(facts["vocabulary"]),
            "heads": "  ".join(facts["heads"]) or message("none"),
            **_task(facts),
            "checksum": "\n".join("  ".join(file) for file in facts["sha256"].items()),
        }
    )


def _task(facts: dict[str, Any]) -> dict[str, object]:
    task = facts["task"] or {}
    labels = task.get("labels", [])
    return {
        "task": _settings(task, "labels"),
        "labels": join([f"{len(labels):,}", ", ".join(labels[:SHOWN])], ": ") if labels else None,
        "lineage": join((_settings(entry, "recipe") for entry in facts["lineage"]), "\n"),
        **(_networks(facts) if "networks" in facts else {}),
    }


def _networks(facts: dict[str, Any]) -> dict[str, object]:
    """What was exported, with whatever its verification has recorded, and what is chosen here."""
    networks: dict[str, object] = {}
    for one in facts["networks"]:
        installed = None if one["installed"] else message("engine not installed")
        first = join([message("{head} head", one["head"]), size(one["bytes"]), installed])
        record = one["verified"]
        verified = message("not verified") if record is None else message("verified: {record}", console.plain(record))
        networks[verbatim(f"{one['backend']} {one['precision']}")] = join([first, verified], "\n")
    chosen = facts["automatic"]
    choice = chosen["choice"] or chosen["error"]
    if choice is None:
        choice = message("not tried yet: the fastest of {choices}", ", ".join(chosen["of"]))
    return {**networks, "by default": choice}


def _show_exported(facts: dict[str, Any]) -> None:
    """A folder of networks alone, which no torch is needed for."""
    vocabulary, settings = facts["vocabulary"], _settings(facts["architecture"]) or ""
    console.facts(
        {
            "settings": textwrap.fill(settings, WIDTH, break_on_hyphens=False),
            "vocabulary": message("{vocabulary[size]:,} tokens · {vocabulary[kind]}", vocabulary),
            **_task(facts),
        }
    )


def _settings(values: dict[str, Any], *left_out: str) -> str | None:
    """Settings on a line, without those left out and groups of them."""
    shown = {name: value for name, value in values.items() if name not in left_out and value is not None}
    return "  ".join(f"{name}={value}" for name, value in shown.items() if not isinstance(value, dict)) or None


def _architecture(facts: dict[str, Any]) -> dict[str, object]:
    if facts["layout"] is None:
        lacking = ", ".join(facts["not_in_layout"])
        layout = message("own: that of {family} cannot express {settings}", facts["family"], lacking)
    else:
        layout = message("{layout}, as {name}", facts["layout"], facts["class"] or "-")
    settings = _settings(facts, "family", "layout", "not_in_layout", "class") or ""
    lines = textwrap.fill(settings, WIDTH, break_on_hyphens=False)
    return {"family": facts["family"], "layout": layout, "settings": lines}


def _parameters(counts: dict[str, Any]) -> str:
    parts = {translate(name.replace("_", " ")): count for name, count in counts["encoder"].items()}
    parts |= {f"{translate('head')} {name}": count for name, count in counts["heads"].items()}
    return "\n".join([f"{counts['total']:,}", *(f"{count:>14,}  {name}" for name, count in parts.items())])


def _flops(length: int, parts: dict[str, float]) -> str:
    flops = sum(parts.values()) - parts["masked"]
    share = parts["attention"] / flops
    return message("{flops:,.1f} M at {tokens:,} tokens, {share:.0%} of them attention", flops / 1e6, length, share)


def _vocabulary(facts: dict[str, Any]) -> dict[str, object]:
    case = message("cased" if facts["cased"] else "lower case")
    counts = message(
        "{vocabulary[size]:,} tokens · {vocabulary[kind]} · {case} · {vocabulary[reserved]:,} reserved", facts, case
    )
    more = None if facts["embeddings"] == facts["size"] else message("{count:,} embeddings", facts["embeddings"])
    return {
        "vocabulary": join([counts, more]),
        "special": facts["special_tokens"],
        "longest tokens": facts["longest"],
    }


@commands.command(example="unmask export runs/classify --output exported")
def export(
    model: AnyModel,
    output: Annotated[Path, typer.Option(help="The output folder.")],
    format: Annotated[
        str, typer.Option(help="hf (transformers), sentence-transformers (text vectors), onnx or openvino.")
    ] = "hf",
    precision: Annotated[
        Literal["float32", "int8"],
        typer.Option(help="Precision of the weights, of onnx and openvino.", rich_help_panel=INT8),
    ] = "float32",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Rows from which int8 takes the ranges of activations. [default: the training file, if unchanged]",
            rich_help_panel=INT8,
        ),
    ] = None,
    allow_unused: AllowUnused = False,
    as_json: AsJson = False,
) -> None:
    """Write a model for another library: transformers, sentence-transformers, onnxruntime or OpenVINO.

    onnx and openvino: a folder that unmask itself reads without torch; repeated with the same --output, it holds all of
    them. int8 is chosen by itself only after unmask verify --dev.
    """
    from unmask import bundle
    from unmask.bundle.sentence_transformers import MODULES

    if format not in FORMATS:
        raise UserError("unknown format", given=f"--format {format}", allowed=", ".join(FORMATS))
    if precision == "int8" and format not in ENGINES:
        raise UserError("int8 is for onnx and openvino", given=f"--format {format} --precision int8")
    if calibration is not None and precision != "int8":
        raise UserError("--calibration is for int8", given=f"--precision {precision}", hint="--precision int8")
    if format in ENGINES:
        from unmask.engine.export import export as export_network

        with console.start_step("Export") as work:
            int8: Any = {"precision": precision, "calibration": calibration}
            network = export_network(model, format, output, **int8, allow_unused=allow_unused)
            work.result("{format} · {size}", format, size(sum((output / one).stat().st_size for one in network.sha256)))
        if network.quantised is not None:
            _note_calibration(network.quantised)
        print_result(as_json, {"folder": str(output), **dump(network)}, lambda facts: console.facts({"folder": output}))
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError("{out} already exists", output, hint="remove it, or choose another --output")
    opened = bundle.read(model, allow_unused=allow_unused)
    architecture = bundle.export(opened, output, sentences=format == FORMATS[1])
    print_result(as_json, {"folder": str(output), "architecture": architecture}, console.facts)
    if opened.task is not None and architecture.endswith("Model") and not (output / MODULES).is_file():
        console.note("other libraries do not support the head of this task: only the encoder was written")


def _note_calibration(quantised: dict[str, Any]) -> None:
    if rows := quantised.get("calibration"):
        console.note("int8 was calibrated on {rows:,} rows of {file}", rows["rows"], rows["file"])
    else:
        console.note("int8 was not calibrated: each batch gives its own ranges (--calibration FILE)")


@commands.command(example="unmask verify exported --dev dev.csv")
def verify(
    folder: Annotated[Path, typer.Argument(help="A folder with exported networks (unmask export --format onnx).")],
    dev: Annotated[
        Path | None,
        typer.Option(help="Rows on which int8 is compared with float32: labelled, but of vectors and masked tokens."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="How much of the metric int8 may lose. [default: 0.01]", min=0)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare every exported network with what torch computed, and with itself in other batches.

    int8 is also compared with float32 on the rows of --dev, by the metric of the task, of vectors by their cosines (at
    least 0.998). The result is written into the folder; a network that does not pass, or int8 without --dev, is used
    only where it is named.
    """
    from unmask.runtime.verify import verify as verify_networks

    with console.start_step("Verification") as work:
        networks = verify_networks(folder, dev=dev, max_drop=max_drop)
        work.result("{count:,} networks", len(networks))
    print_result(as_json, [dump(one) for one in networks], _show_verified)
    if any(one.verified and not one.verified["passed"] for one in networks):
        raise typer.Exit(1)


def _show_verified(networks: list[dict[str, Any]]) -> None:
    rows = []
    for one in networks:
        record = one["verified"] or {}
        passed = {True: "passed", False: "failed", None: "engine not installed"}[record.get("passed")]
        values = [
            f"{value:.1e}" for value in record.get("differences", dict.fromkeys(DIFFERENCES, float("nan"))).values()
        ]
        rows.append((one["backend"], one["precision"], translate(passed), *values, record.get("tolerance")))
    console.table(("backend", "runs in", "result", *DIFFERENCES, "tolerance"), rows)
    quantised = [one for one in networks if one["precision"] == "int8" and one["verified"]]
    if measured := [one for one in quantised if one["verified"]["dev"]]:
        heads = ("int8", "metric", "float32", "int8", "drop [95 %]", "at most", "rows")
        console.table(heads, [(one["backend"], *_dropped(one["verified"]["dev"])) for one in measured])
    if len(measured) < len(quantised):
        console.note("int8 runs only where it is named: what it loses was not measured (--dev FILE)")


def _dropped(record: dict[str, Any]) -> tuple[object, ...]:
    """The cells of what int8 loses on dev rows."""
    from unmask.metrics import Interval, figure_of, format_score

    metric, rows = record["metric"], f"{record['rows']:,}"
    if "cosine" in record:
        less = f"{1 - record['cosine']:.5f}"
        return "cosine", None, f"{record['cosine']:.5f}", less, f"{1 - record['min_cosine']:.3f}", rows
    drop, title = Interval(**record["drop"]), translate(figure_of(metric).title)
    one, other = (format_score(metric, record[name]) for name in ("float32", "int8"))
    return title, one, other, drop.format(metric), format_score(metric, record["max_drop"]), rows
