"""`unmask inspect`: what a model is, without computing with it."""

import textwrap
from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.help import App
from unmask.cli.shared import AsJson
from unmask.console import size
from unmask.messages import join, message, translate

SHOWN = 12  # labels
WIDTH = 96  # characters of a line of settings


def register(app: App) -> None:
    app.command(example="unmask inspect runs/tiny")(inspect)


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run, a model folder, a public checkpoint, or OWNER/NAME on the model hub.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Describe a model: architecture, parameters, memory, FLOPs, vocabulary, task and lineage."""
    from unmask import bundle
    from unmask.bundle.description import describe

    opened = bundle.read(model, allow_unused=True, weights=False)
    facts = describe(opened)
    if as_json:
        console.print_json({"model": model, "folder": str(opened.folder), **facts})
        return
    console.facts(
        [
            *_architecture(facts["architecture"]),
            *_size(facts),
            *_vocabulary(facts["vocabulary"]),
            *_learnt(facts),
            *_origin(facts),
        ]
    )
    console.note(
        "for each token of a step: layers x (8 x width + 2 x feed-forward) numbers, with 4 x feed-forward where gated, "
        "10 x width with rotary positions; dropout adds its masks"
    )


def _architecture(said: dict[str, Any]) -> list[tuple[str, str]]:
    skipped = ("family", "layout", "not_in_layout", "class")
    named = [f"{name}={_plain(value)}" for name, value in said.items() if name not in skipped]
    if said["layout"] is None:
        not_in_layout = ", ".join(said["not_in_layout"])
        layout = message("own: that of {family} cannot express {settings}", said["family"], not_in_layout)
    else:
        layout = message("{layout}, as {name}", said["layout"], said["class"] or "-")
    lines = textwrap.wrap("  ".join(named), WIDTH, break_on_hyphens=False)
    settings = [("settings" if number == 0 else "", line) for number, line in enumerate(lines)]
    return [("family", said["family"]), ("layout", layout), *settings]


def _size(facts: dict[str, Any]) -> list[tuple[str, str]]:
    parameters, memory = facts["parameters"], facts["memory"]
    rows = [("parameters", f"{parameters['total']:,}")]
    for name, count in parameters["encoder"].items():
        rows.append(("", f"{count:>14,}  {translate(name.replace('_', ' '))}"))
    for name, count in parameters["heads"].items():
        rows.append(("", f"{count:>14,}  {translate('head')} {name}"))
    kept = memory["activations_per_token"]
    rows += [
        (
            "memory",
            message("{size} in float32 · {half} in bfloat16", size(memory["float32"]), size(memory["bfloat16"])),
        ),
        (
            "training",
            message(
                "{size} for weights, gradients and Adam · {token} for each token of a step ({half} in bfloat16)",
                *map(size, (memory["training"], kept["float32"], kept["bfloat16"])),
            ),
        ),
    ]
    for number, (length, parts) in enumerate(facts["flops_per_token"].items()):
        attention = (parts["attention"]) / (sum(parts.values()) - parts["masked"])
        rows.append(
            (
                "FLOPs of a token" if number == 0 else "",
                message(
                    "{flops:,.1f} M at {tokens:,} tokens, {share:.0%} of them attention",
                    (sum(parts.values()) - parts["masked"]) / 1e6,
                    int(length),
                    attention,
                ),
            )
        )
    return rows


def _vocabulary(said: dict[str, Any]) -> list[tuple[str, str]]:
    case = message("cased" if said["cased"] else "lower case")
    special = [f"{piece} {number}" for piece, number in said["special_tokens"].items()]
    more = said["embeddings"] != said["size"] and message("{count:,} embeddings", said["embeddings"])
    counts = message(
        "{vocabulary[size]:,} tokens · {vocabulary[kind]} · {case} · {vocabulary[reserved]:,} reserved", said, case
    )
    return [
        ("vocabulary", join([counts, more or None])),
        ("special", _list(special)),
        ("longest tokens", _list(said["longest"])),
    ]


def _learnt(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("heads", _list(facts["heads"]) if facts["heads"] else message("none"))]
    if task := facts["task"]:
        settings = [f"{name}={_plain(value)}" for name, value in task.items() if name not in ("name", "labels")]
        rows += [("task", task["name"]), ("", _list(settings))]
        if labels := task.get("labels"):
            rows.append(("labels", f"{len(labels):,}: {', '.join(labels[:SHOWN])}{' ...' * (len(labels) > SHOWN)}"))
    return rows


def _origin(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for number, entry in enumerate(facts["lineage"]):
        values = {name: value for name, value in entry.items() if name not in ("kind", "recipe") and value is not None}
        told = [f"{name}={_plain(value)}" for name, value in values.items() if not isinstance(value, dict)]
        rows.append(("lineage" if number == 0 else "", _list([str(entry.get("kind")), *told])))
    rows += [
        ("checksum" if number == 0 else "", _list([name, digest]))
        for number, (name, digest) in enumerate(facts["sha256"].items())
    ]
    return rows


def _list(values: list[str]) -> str:
    return "  ".join(values)


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
