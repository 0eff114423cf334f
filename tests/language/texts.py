"""Every English text of the source that people read, found in its syntax tree, as the catalogues write them.

`python tests/language/texts.py` prints what is not translated yet, ready to be filled in.

An f-string becomes a template: its holes are numbered, those with a format for numbers are `{0:n}`. Conditional
parts, sums and local names that hold texts are spelt out, each way a template; ` · `, line ends and gaps part them.
"""

import ast
import inspect
import itertools
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import unmask
from unmask.language import HOLE

SOURCE = Path(unmask.__file__).parent
APART = re.compile(r"\n| · | {2,}")
NUMERIC = re.compile(r"[-+ ]?[<>^]?\d*,?(?:\.\d+)?[dfge%,]$")
PLAIN = re.compile(r"--[a-z-]+|[\w.]+=\S*|\.[a-z.]+|[A-Z_]+(?![a-z])|sha256")  # options, keys, endings, NAMES
WORDS = re.compile(r"[A-Za-z]{2,}")
OPEN, NUMBER = "\x00", "\x01"  # holes while a template is put together
MOST_WAYS = 48

ERRORS = {"UserError"}
INTERNAL = {"ValueError", "IndexError", "TypeError", "AttributeError", "KeyError", "RuntimeError"}
CHECKS = {"__post_init__", "parse"}  # of settings
INNER_CALLS = {"setting", "removeprefix", "compile", "search", "fullmatch", "split", "Option", "Argument"}
MESSAGES = {"remark", "say", "result", "show", "ValueError", "show_error", "translate"}
VERBATIM = set(json.loads((Path(__file__).parent / "verbatim.json").read_text(encoding="utf-8")))


def numbered(text: str) -> str:
    """The template of a text with open holes."""
    numbers = itertools.count()
    return re.sub(f"[{OPEN}{NUMBER}]", lambda hole: f"{{{next(numbers)}{':n' if hole[0] == NUMBER else ''}}}", text)


def parted(text: str) -> Iterator[str]:
    """The templates of the parts of a text that are translated one by one; parts without a word are none."""
    for part in APART.split(text):
        template = numbered(part.strip(" "))
        if WORDS.search(PLAIN.sub("", HOLE.sub("", template))):
            yield template


@dataclass
class Found:
    """Templates and labels with the place where each stands."""

    messages: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class Module:
    """One file: what its names hold, and which texts it shows."""

    def __init__(self, path: Path, found: Found, constants: dict[tuple[str, str], ast.expr]) -> None:
        self.path = path
        self.name = "unmask." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.found = found
        self.constants = constants
        self.seen: set[int] = set()
        self.taken: dict[ast.AST, dict[str, list[ast.expr | None]]] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                constants[self.name, node.targets[0].id] = node.value
        self.imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    # what a name holds

    def held(self, name: str, function: ast.AST | None) -> list[ast.expr] | None:
        """The expressions that a name may hold; None where that cannot be told."""
        if function is not None:
            assert isinstance(function, ast.FunctionDef)
            arguments = [*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs]
            if any(argument.arg == name for argument in arguments):
                return None
            values = self._taken(function).get(name, [])
            if None in values:
                return None
            if values:
                return [value for value in values if value is not None]
        origin = self.imported.get(name, (self.name, name))
        value = self.constants.get(origin)
        return None if value is None else [value]

    def _taken(self, function: ast.AST) -> dict[str, list[ast.expr | None]]:
        """What each name of a function takes in it."""
        if function not in self.taken:
            taken: dict[str, list[ast.expr | None]] = {}
            for node in ast.walk(function):
                for target, value in _assignments(node):
                    if isinstance(target, ast.Name):
                        taken.setdefault(target.id, []).append(value)
            self.taken[function] = taken
        return self.taken[function]

    # the ways in which an expression may read

    def ways(self, node: ast.expr, function: ast.AST | None, depth: int = 0) -> list[str] | None:
        """Every text that an expression may give, with open holes; None for one that is no text of ours."""
        if depth > 6:
            return None
        if isinstance(node, ast.Constant):
            if not isinstance(node.value, str):
                return None
            self.seen.add(id(node))
            return [node.value]
        if isinstance(node, ast.JoinedStr):
            self.seen.add(id(node))
            return self._joined(node, function, depth)
        if isinstance(node, ast.IfExp):
            both = [self.ways(one, function, depth + 1) for one in (node.body, node.orelse)]
            if both == [None, None]:
                return None
            return [way for one in both for way in (one if one is not None else [OPEN])]
        if isinstance(node, ast.BoolOp):
            every = [self.ways(one, function, depth + 1) for one in node.values]
            if all(one is None for one in every):
                return None
            return [way for one in every for way in (one if one is not None else [OPEN])]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (self.ways(one, function, depth + 1) for one in (node.left, node.right))
            if left is None and right is None:
                return None
            pairs = itertools.product(left or [OPEN], right or [OPEN])
            return [a + b for a, b in pairs]
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("rstrip", "strip", "removeprefix")
        ):
            return self.ways(node.func.value, function, depth + 1)
        if isinstance(node, ast.Name):
            held = self.held(node.id, function)
            texts = [self.ways(value, function, depth + 1) for value in held or []]
            if not texts or any(text is None for text in texts):
                return None
            return [way for text in texts for way in text or []]
        return None

    def _joined(self, node: ast.JoinedStr, function: ast.AST | None, depth: int) -> list[str]:
        pieces: list[list[str]] = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                pieces.append([str(value.value)])
                self.seen.add(id(value))
                continue
            assert isinstance(value, ast.FormattedValue)
            spec = ast.unparse(value.format_spec)[2:-1] if value.format_spec else ""
            if spec:
                pieces.append([NUMBER if NUMERIC.match(spec) else OPEN])
                continue
            inner = None if value.conversion != -1 else self.ways(value.value, function, depth + 1)
            pieces.append(inner if inner is not None else [OPEN])
        ways = ["".join(way) for way in itertools.islice(itertools.product(*pieces), MOST_WAYS + 1)]
        if len(ways) > MOST_WAYS:
            raise AssertionError(f"{self.path}:{node.lineno}: too many ways to read this text")
        return ways

    # the texts that are shown

    def collect(self, strays: bool) -> None:
        nodes = list(self._nodes())
        for function, node in nodes:
            if isinstance(node, ast.Call):
                self._call(node, function)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                self._assigned(node, function)
            elif isinstance(node, ast.Return) and getattr(function, "label", "") == "columns":
                for column in getattr(node.value, "elts", []):
                    self._label(column, function)
        if not strays:
            return
        named = {
            id(inner)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Attribute | ast.Subscript)
            for inner in ast.walk(node.value)
        }
        for held_by_a_name in (False, True):  # what a name holds may turn out to be part of another text
            for function, node in nodes:
                if (
                    isinstance(node, ast.IfExp | ast.BinOp | ast.Constant | ast.JoinedStr)
                    and id(node) not in self.seen
                    and (id(node) in named) is held_by_a_name
                ):
                    self._stray(node, function)

    def _nodes(self) -> Iterator[tuple[ast.AST | None, ast.AST]]:
        """Every node with the innermost function around it, but for docstrings, types and what no user sees."""

        def walk(node: ast.AST, function: ast.AST | None) -> Iterator[tuple[ast.AST | None, ast.AST]]:
            if _is_inner(node, function):
                return
            yield function, node
            if isinstance(node, ast.FunctionDef):
                function = node
            for name, value in ast.iter_fields(node):
                if name in ("annotation", "returns", "format_spec"):
                    continue
                children = value if isinstance(value, list) else [value]
                for child in children:
                    if isinstance(child, ast.AST) and not _is_docstring(child):
                        yield from walk(child, function)

        yield from walk(self.tree, None)

    def _message(self, node: ast.expr, function: ast.AST | None) -> None:
        for way in self.ways(node, function) or []:
            for template in parted(way):
                self.found.messages.setdefault(template, f"{self.path.name}:{node.lineno}")

    def _label(self, node: ast.expr, function: ast.AST | None) -> None:
        """A label without holes is looked up among labels, one with holes is a message."""
        for way in self.ways(node, function) or []:
            if OPEN in way or NUMBER in way:
                self._message(node, function)
            elif re.search("[A-Za-z]", way):
                self.found.labels.setdefault(way, f"{self.path.name}:{node.lineno}")

    def _call(self, node: ast.Call, function: ast.AST | None) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        arguments = node.args
        if called in ERRORS and arguments:
            self._message(arguments[0], function)
            for keyword in node.keywords:
                if keyword.arg:
                    self.found.labels.setdefault(keyword.arg.replace("_", " "), self.path.name)
                    self._message(keyword.value, function)
        elif called in MESSAGES and arguments:
            self._message(arguments[0], function)
        elif called in ("work", "label") and arguments:
            self._label(arguments[0], function)
        elif called in ("_step", "start") and len(arguments) == 2:
            self._label(arguments[1], function)
        elif (called == "table" and len(arguments) > 1) or (called == "Shown" and arguments):
            self._table(node, function)
        elif called == "facts" and arguments:
            self._rows(arguments[0], function)
        elif called == "Contestant":
            self._message(arguments[0], function)

    def _assigned(self, node: ast.Assign | ast.AnnAssign, function: ast.AST | None) -> None:
        """Names and values of `facts` of an error that are put together first; what figures are called."""
        for target, value in _assignments(node):
            if getattr(target, "id", "") == "TITLES" and isinstance(value, ast.Dict):
                for title in value.values:
                    self._label(title, function)
            elif not _passes_facts(function):
                continue
            elif getattr(target, "id", "") == "facts" and isinstance(value, ast.Dict):
                for name, fact in zip(value.keys, value.values, strict=True):
                    self._fact(name, fact, function)
            elif isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == "facts" and value:
                self._fact(target.slice, value, function)

    def _fact(self, name: ast.expr | None, value: ast.expr, function: ast.AST | None) -> None:
        if isinstance(name, ast.Constant):
            self.found.labels.setdefault(str(name.value).replace("_", " "), self.path.name)
            self._message(value, function)

    def _table(self, node: ast.Call, function: ast.AST | None) -> None:
        columns = node.args[0]
        if isinstance(columns, ast.Name):
            columns = self.constants.get((self.name, columns.id), columns)
        for column in getattr(columns, "elts", []):
            self._label(column, function)
        for keyword in node.keywords:
            if keyword.arg == "title":
                self._message(keyword.value, function)
            elif keyword.arg == "prose":
                self._rows(node.args[1], function)

    def _rows(self, rows: ast.expr, function: ast.AST | None) -> None:
        """Pairs of a label and a message, wherever the rows were put together."""
        tuples = [node for node in ast.walk(rows) if isinstance(node, ast.Tuple)]
        for name in [node.id for node in ast.walk(rows) if isinstance(node, ast.Name)]:
            for node in ast.walk(function or self.tree):
                if any(isinstance(target, ast.Name) and target.id == name for target, _ in _assignments(node)):
                    tuples += [one for one in ast.walk(node) if isinstance(one, ast.Tuple)]
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("append", "insert")
                    and getattr(node.func.value, "id", None) == name
                ):
                    tuples += [one for one in ast.walk(node) if isinstance(one, ast.Tuple)]
        for pair in tuples:
            if len(pair.elts) == 2 and isinstance(pair.ctx, ast.Load):
                self._label(pair.elts[0], function)
                self._message(pair.elts[1], function)

    def _stray(self, node: ast.expr, function: ast.AST | None) -> None:
        """A text of several words in no place known to show texts: it may get there by other ways."""
        for way in self.ways(node, function) or []:
            for template in parted(way):
                if re.search(r"[A-Za-z]{2,}[,;:]? [a-z]{2,}|^[A-Za-z]{2,} \{|\} [a-z]{2,}", template):
                    self.found.messages.setdefault(template, f"{self.path.name}:{node.lineno} (stray)")


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Targets with the values that they take; None for one that cannot be told."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
                yield from zip(target.elts, values, strict=True)
            else:
                yield target, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        yield node.target, node.value
    elif isinstance(node, ast.AugAssign):
        yield node.target, None
    elif isinstance(node, ast.For | ast.comprehension):
        for one in ast.walk(node.target):
            if isinstance(one, ast.Name):
                yield one, None


def _is_inner(node: ast.AST, function: ast.AST | None) -> bool:
    """Whether a node holds texts for programmers only: errors of the code itself, patterns, settings' descriptions.

    What settings say is taken from `recipe explain`; a ValueError of `__post_init__` becomes a user's error.
    """
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__repr__", "__str__", "__getattr__")
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        raised = getattr(node.exc.func, "id", "")
        return raised in INTERNAL and getattr(function, "label", "") not in CHECKS
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return called in INNER_CALLS
    return False


@cache
def _passes_facts(function: ast.AST | None) -> bool:
    """Whether a function makes an error of facts put together before: UserError(..., **facts)."""
    return function is not None and any(
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ERRORS
        and any(keyword.arg is None for keyword in node.keywords)
        for node in ast.walk(function)
    )


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def shown_by_source(exempt: Collection[str] = VERBATIM) -> Found:
    """What the source shows, but for help, recipes and what is exempt. The report has words of its own."""
    found = _everything()
    exempt = {*exempt, *shown_by_help(), *shown_by_recipes()}
    messages = {text: place for text, place in found.messages.items() if text not in exempt}
    return Found(messages, found.labels)


@cache
def _everything() -> Found:
    found, constants = Found(), {}
    modules = [Module(path, found, constants) for path in sorted(SOURCE.rglob("*.py"))]
    for module in modules:
        if module.path.name != "language.py":
            # the report has words of its own, and the model card is English
            module.collect(strays="report" not in module.path.parts and module.path.name != "card.py")
    for text in found.labels:
        if found.messages.get(text, "").endswith("(stray)"):
            del found.messages[text]
    commands = [text for text in found.messages if text.startswith(("unmask ", "pip install ", "Example: "))]
    for text in commands:
        del found.messages[text]
    return found


@cache
def shown_by_help() -> dict[str, str]:
    """The help of every command and option, with where it stands."""
    import typer.main

    from unmask.cli.app import app

    texts: dict[str, str] = {}

    def visit(command: Any, path: str) -> None:
        for text in (command.help, command.epilog):
            if text and not text.startswith("Example: "):
                texts.setdefault(inspect.cleandoc(text), path)
        for parameter in command.params:
            if getattr(parameter, "help", None) and parameter.name != "help":
                texts.setdefault(parameter.help, f"{path} {parameter.name}")
        for name, inner in getattr(command, "commands", {}).items():
            visit(inner, f"{path} {name}")

    visit(typer.main.get_command(app), "unmask")
    return texts


@cache
def shown_by_recipes() -> dict[str, str]:
    """What `unmask recipe explain` says of groups and settings."""
    from unmask.train.explain import explain

    texts: dict[str, str] = {}
    for group in explain():
        for text, place in (
            (group.purpose, group.title),
            *((one.description, f"{group.key}.{one.name}") for one in group.settings),
        ):
            if text:
                texts.setdefault(text, place)
    return texts


def catalogue(language: str) -> dict[str, dict[str, str]]:
    folder = SOURCE / "locale" / language
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def untranslated(language: str) -> dict[str, dict[str, str]]:
    """By section of the catalogue, the texts without an entry and where they stand."""
    texts = catalogue(language)
    source = shown_by_source()
    whole = {text for section, entries in texts.items() if section != "labels" for text in entries}
    return {
        "labels": {t: w for t, w in source.labels.items() if t not in texts.get("labels", {})},
        "messages": {t: w for t, w in source.messages.items() if t not in whole},
        "help": {t: w for t, w in shown_by_help().items() if t not in whole},
        "recipes": {t: w for t, w in shown_by_recipes().items() if t not in whole},
    }


if __name__ == "__main__":
    print(json.dumps(untranslated("zh"), ensure_ascii=False, indent=1))
