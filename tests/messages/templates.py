"""The texts that the catalogues translate, found in the source, the help and the recipes.

`python tests/messages/templates.py` prints those without a translation.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import unmask
from unmask.cli.app import command_line
from unmask.cli.common.help import paragraphs
from unmask.config import ALLOWED
from unmask.metrics import FIGURES
from unmask.report.tables import heading
from unmask.train.explain import explain

PLACEHOLDER = re.compile(r"\{[^{}]*\}")
Texts = Callable[[], set[str]]
SOURCE = Path(unmask.__file__).parent
CALLS = {"message", "note", "result", "print_text", "show", "start_step", "translate", "advise", "to_change"}
ERRORS = {"UserError", "Misused"}  # only with values: the text of a rare error may stay English
JOINED = {"{a}, {b}", "{a} and {b}", "{a}; {b}", "{a}: {b}", "{a} or {b}"}
PRINTED = {
    "error:",
    "given",
    "allowed",
    "hint",
    "see",
    "s",
    "{a}, {b}",
    "{a} and {b}",
    "{a} or {b}",
}  # by console and errors


def constants(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be, one for each branch."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from constants(element)


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls() -> Iterator[tuple[str, ast.Call]]:
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                yield (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""),
                    node,
                )


def templates() -> set[str]:
    """The texts of messages, titles and headings in the source."""
    found = {*PRINTED, *ALLOWED.values()}
    for name, call in calls():
        if name in CALLS or name == "table" or (name in ERRORS and len(call.args) > 1):
            found.update(constants(call.args[0]))
        if name == "_step":
            found.update(constants(call.args[1]))
    return JOINED | {text for text in found if re.search("[A-Za-z]", PLACEHOLDER.sub("", text))}


def helps() -> set[str]:
    """The help of every command and option."""
    texts: set[str] = set()

    def visit(command: Any) -> None:
        texts.update(paragraphs(command.help), [getattr(command.epilog, "template", command.epilog)])
        texts.update(parameter.help for parameter in command.params if parameter.help)
        for inner in getattr(command, "commands", {}).values():
            visit(inner)

    visit(command_line())
    return {text for text in texts if text} | {"Show this message and exit."}


def recipes() -> set[str]:
    """What `unmask recipe explain` says of groups and settings."""
    groups = explain()
    return {text for g in groups for text in (g.description, *(one.description for one in g.settings)) if text}


def catalogue(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((SOURCE / "messages" / f"{language}.json").read_text(encoding="utf-8"))
    return texts


def strings() -> set[str]:
    """Every string and name of a field in the source, strings in the template of the report, titles of figures and
    names of values as headings have them."""
    page = (SOURCE / "report" / "templates" / "page.html.jinja").read_text(encoding="utf-8")
    constants = {
        node.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    nodes = [node for _, tree in trees() for node in ast.walk(tree)]
    constants |= {
        node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    constants |= {text.replace("_", " ") for text in constants}  # names of JSON, as people read them
    titles = {figure.title.capitalize() for figure in FIGURES.values()}
    headings = {str(heading(name)) for name in constants if name.isidentifier()}
    return constants | set(re.findall(r'"(\w+)"', page)) | titles | headings


if __name__ == "__main__":
    missing = sorted((templates() | helps() | recipes()) - catalogue("zh").keys())
    print(json.dumps(dict.fromkeys(missing, ""), indent=1))
