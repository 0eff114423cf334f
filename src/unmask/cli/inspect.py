"""`unmask inspect`: what a model is, without computing with it."""

import textwrap
from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.shared import AsJson

SHOWN = 12  # labels
WIDTH = 96  # characters of a line of settings


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: unmask inspect runs/tiny")(inspect)


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
    """Say what a model is: architecture, parameters, memory, FLOPs, vocabulary, task and where it comes from."""
    from unmask import bundle
    from unmask.bundle.facts import bundle_facts

    opened = bundle.read(model, allow_unused=True, weights=False)
    facts = bundle_facts(opened)
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
        "10 x width with rotary positions or normalised scores; dropout adds its masks"
    )


def _architecture(said: dict[str, Any]) -> list[tuple[str, str]]:
    skipped = ("family", "layout", "not_in_layout", "class")
    named = [f"{name}={_plain(value)}" for name, value in said.items() if name not in skipped]
    if said["layout"] is None:
        layout = f"own: that of {said['family']} cannot say {', '.join(said['not_in_layout'])}"
    else:
        layout = f"{said['layout']}, as {said['class'] or '-'}"
    lines = textwrap.wrap("  ".join(named), WIDTH, break_on_hyphens=False)
    settings = [("settings" if number == 0 else "", console.Verbatim(line)) for number, line in enumerate(lines)]
    return [("family", console.Verbatim(said["family"])), ("layout", layout), *settings]


def _size(facts: dict[str, Any]) -> list[tuple[str, str]]:
    parameters, memory = facts["parameters"], facts["memory"]
    rows = [("parameters", f"{parameters['total']:,}")]
    for name, count in parameters["encoder"].items():
        rows.append(("", f"{count:>14,}  {console.label(name.replace('_', ' '))}"))
    for name, count in parameters["heads"].items():
        rows.append(("", f"{count:>14,}  {console.label('head')} {name}"))
    kept = memory["activations_per_token"]
    rows += [
        (
            "memory",
            f"{console.size(memory['float32'])} in float32 · {console.size(memory['bfloat16'])} in bfloat16",
        ),
        (
            "training",
            f"{console.size(memory['training'])} for weights, gradients and Adam · "
            f"{console.size(kept['float32'])} for each token of a step ({console.size(kept['bfloat16'])} in bfloat16)",
        ),
    ]
    for number, (length, parts) in enumerate(facts["flops_per_token"].items()):
        attention = (parts["attention"]) / (sum(parts.values()) - parts["masked"])
        rows.append(
            (
                "FLOPs of a token" if number == 0 else "",
                f"{(sum(parts.values()) - parts['masked']) / 1e6:,.1f} M at {int(length):,} tokens, "
                f"{attention:.0%} of them attention",
            )
        )
    return rows


def _vocabulary(said: dict[str, Any]) -> list[tuple[str, str]]:
    case = "cased" if said["cased"] else "lower case"
    special = [f"{piece} {number}" for piece, number in said["special_tokens"].items()]
    more = "" if said["embeddings"] == said["size"] else f" · {said['embeddings']:,} embeddings"
    return [
        (
            "vocabulary",
            f"{said['size']:,} pieces · {said['kind']} · {case} · {said['reserved']:,} reserved{more}",
        ),
        ("special", _list(special)),
        ("longest pieces", _list(said["longest"])),
    ]


def _learnt(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("heads", _list(facts["heads"]) if facts["heads"] else "none")]
    if task := facts["task"]:
        settings = [f"{name}={_plain(value)}" for name, value in task.items() if name not in ("name", "labels")]
        rows += [("task", console.Verbatim(task["name"])), ("", _list(settings))]
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


def _list(values: list[str]) -> console.Verbatim:
    return console.Verbatim("  ".join(values))


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
