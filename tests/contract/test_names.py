"""Nothing above tasks asks which task there is: variety is in the tables of tasks, heads, formats, baselines."""

import ast
from pathlib import Path

import unmask
from unmask import tasks

SOURCE = Path(unmask.__file__).parent
NAMES = set(tasks.TASKS)
CLASSES = {name for pair in tasks.TASKS.values() for name in pair}
BELOW = {"tasks", "data", "text", "metrics"}


def files() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in BELOW]


def is_task(node: ast.AST) -> bool:
    """Whether an expression is the name or the class of a task."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(is_task, node.elts))
    if isinstance(node, ast.BinOp):
        return is_task(node.left) or is_task(node.right)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
    return name in CLASSES or (isinstance(node, ast.Constant) and node.value in NAMES)


def branches(path: Path) -> list[str]:
    """The lines where the name or the class of a task is compared with something."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        compared = isinstance(node, ast.Compare) and any(map(is_task, [node.left, *node.comparators]))
        asked = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
            and is_task(node.args[1])
        )
        matched = isinstance(node, ast.MatchValue) and is_task(node.value)
        if compared or matched or (asked and path.parent.name != "heads"):
            found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    return found


def test_nothing_above_tasks_branches_on_their_names() -> None:
    assert [line for path in files() for line in branches(path)] == []
