"""Lines of code of a package, and the share of its public names that have a docstring.

  python -m benchmarks.lines [FOLDER]     default: src/unmask

A line counts if a token of the program stands on it: blank lines, comments and docstrings do not. Public names are
modules, and classes, functions and methods whose names, and those of all that hold them, begin without an underscore.
"""

import argparse
import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_LAYOUT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def code_lines(source: str) -> int:
    """The number of lines of code of one file."""
    with_tokens = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | Definition) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            with_tokens -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(with_tokens)


def public_names(node: ast.AST) -> Iterator[Definition | ast.Module]:
    """A module or class and the public definitions in it, at any depth of classes."""
    if isinstance(node, ast.Module):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public_names(child)


def main() -> None:
    """Print lines of code by folder, and the share of documented public names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("src/unmask"))
    folder = parser.parse_args().folder
    lines, names, documented = Counter[str](), 0, 0
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines[str(path.parent.relative_to(folder))] += code_lines(source)
        found = list(public_names(ast.parse(source)))
        names += len(found)
        documented += sum(ast.get_docstring(node) is not None for node in found)
    for name, count in sorted(lines.items()):
        print(f"{count:>7,}  {name}")
    print(f"{lines.total():>7,}  lines of code")
    print(f"{documented / names:>7.1%}  of {names:,} public names have a docstring")


if __name__ == "__main__":
    main()
