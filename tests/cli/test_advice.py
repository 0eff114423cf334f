"""What messages advise: every option and setting that one names is accepted by the command that prints it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import unmask
from advice_checks import accepts, commands, named_in, refused_advice
from conftest import WORDS
from unmask.advice import advise, flag, option, setting, to_change
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import read_rows
from unmask.errors import UserError

SOURCE = Path(unmask.__file__).parent

# statically: texts in the source

PROGRAMS = {"ignore", "uses", "supports", "alone", "does", "shares", "would", "can", "has", "is"}  # unmask as a subject
READ_ROWS = ["finetune", "quickstart", "evaluate", "predict", "compare", "data check"]
OPEN_MODELS = [*"finetune pretrain predict evaluate fill export quickstart".split(), "vocab grow", "bench pretrain"]
SAID_BY = {  # what names options as they are, and the commands that can say it; a file of the command line: its own
    "bundle/public.py": OPEN_MODELS,
    "config.py": READ_ROWS,
    "quickstart/": ["quickstart"],
    "report/compare.py": ["compare"],
    "runtime/formats.py": ["predict"],
}
BUILT = {"report/results.py", "report/runs.py", "quickstart/plan.py", "train/track.py"}  # command lines, not messages
RESOLVED = {"setting", "option", "flag"}  # functions of unmask.advice
FILLED = "\N{HORIZONTAL ELLIPSIS}"
FACTS = re.compile(r"\b(given|overrides)\b")  # what the user wrote, what a program passes on


def texts() -> Iterator[tuple[str, str, int]]:
    """(file, text, line) of every string of the source that is no docstring; what is filled in is an ellipsis."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        left_out = set(left_out_of(tree))
        for node in ast.walk(tree):
            if id(node) in left_out:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "\N{HORIZONTAL ELLIPSIS}" for part in node.values
                ]
                yield str(path.relative_to(SOURCE)), "".join(map(str, parts)), node.lineno
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield str(path.relative_to(SOURCE)), node.value, node.lineno


def left_out_of(tree: ast.Module) -> Iterator[int]:
    """Docstrings, parts of f-strings, what `unmask.advice` resolves, and facts that repeat what was given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from map(id, node.values)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)
        elif (isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in RESOLVED) or (
            isinstance(node, ast.keyword) and node.arg == "given"
        ):
            yield from map(id, ast.walk(node))
        elif isinstance(node, ast.Assign):
            names = [ast.unparse(target) for target in node.targets]
            if any(FACTS.search(name) for name in names) and not any("hint" in name for name in names):
                yield from map(id, ast.walk(node))
        elif isinstance(node, ast.AugAssign | ast.Expr) and "overrides" in ast.unparse(node):
            yield from map(id, ast.walk(node))


def sayers(file: str) -> list[str]:
    """The commands that print the texts of a file."""
    module = "unmask." + file.removesuffix(".py").replace("/", ".")
    own = [name for name, command in commands().items() if _module(command.callback) == module]
    return own or next((names for start, names in SAID_BY.items() if file.startswith(start)), [])


def _module(function) -> str:
    return getattr(function, "__wrapped__", function).__module__


ADVICE = [
    (file, text, line)
    for file, text, line in texts()
    if file not in BUILT and not file.startswith(("cli/common", "cli/app.py")) and any(named_in(text))
    if not text.startswith("$ ")  # the command line of another program
]
DECLARED = re.compile(r"--[a-z-]+( FOLDER| FILE)?")  # where a command declares an option, or names one that is missing


@pytest.mark.parametrize(("file", "text", "line"), ADVICE, ids=[f"{file}:{line}" for file, _, line in ADVICE])
def test_texts_name_what_every_command_that_can_say_them_has(file: str, text: str, line: int) -> None:
    place, names = f"{file}, line {line}: {text}", sayers(file)
    for named in named_in(text):
        if named.command is not None:
            assert accepts(named.command, named.what), place
        elif file.startswith("cli/"):  # a file has several commands: one of them says it
            assert DECLARED.fullmatch(text) or any(accepts(name, named.what) for name in names), place
        else:
            assert names, f"{place}: name options by unmask.advice"
            lacking = [name for name in names if not accepts(name, named.what)]
            assert not lacking, f"{place}: {lacking} lack it; name options by unmask.advice"


def test_the_commands_that_texts_name_are_there() -> None:
    groups = {name.split()[0] for name in commands()}
    for file, text, line in texts():
        for first, second in re.findall(r"(?:`|: |^|\()unmask ([a-z]+)(?: ([a-z]+)\b)?", text):
            if first not in groups:
                assert first in PROGRAMS, f"{file}, line {line}: unmask {first}"
            elif first not in commands() and second:
                assert f"{first} {second}" in commands(), f"{file}, line {line}: unmask {first} {second}"


def test_the_checks_see_what_is_wrong() -> None:
    assert refused_advice("predict", "x (to change: --label-column)") and refused_advice(None, "hint --scheme plain")
    assert refused_advice("quickstart", "data.leaks=drop") and not refused_advice("finetune", "data.leaks=drop")
    assert refused_advice("fill", "next: unmask evaluate M FILE --model x") and refused_advice("fill", "task.loss=x")
    assert not refused_advice("fill", "next: unmask finetune --model ... --train FILE task.loss=cosine")
    assert not refused_advice("data check", "data.answer_starts=first", ()) and refused_advice("finetune", "data.x=1")
    assert not refused_advice("predict", "has no --nix", ["--nix"]) and not refused_advice("fill", "pip install --x y")
    assert not refused_advice("pretrain", "objectives.0.mask_prob=0.1")


# from Python


def test_python_is_told_the_keyword(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / "a.csv", ReadOptions(), "label")
    assert "text_column=NAME" in str(caught.value) and "--" not in str(caught.value)
    (tmp_path / "b.csv").write_text("review,stars\na,2\n")
    notes = read_rows(tmp_path / "b.csv", ReadOptions(), "label").notes
    assert any("(to change: text_column, label_column)" in note for note in notes)
    assert flag("restart") == "restart=True" and option("words", "none") == "words='none'"
    assert setting("task.loss=cosine") == "task.loss=cosine" and advise("{option} x", option("a")) == "a x"
    assert to_change("n", by=[None]) == "n" and advise("{option} x", None) is None


def test_fine_tuning_from_python_takes_settings(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        unmask.finetune(
            model=pretrained, train=[{"a": "x", "b": "y"}], overrides=["task.max_length=16"], output=tmp_path / "run"
        )
    assert "data.text_column=NAME" in str(caught.value)


# by running it: commands x faulty inputs

SQUAD = {"question": "who?", "context": "Ada met Ada", "answers": [{"text": "Ada", "answer_start": 1}]}
FILES = {
    "header.csv": "a,b\n1,2\n",
    "lists.jsonl": '{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": ["x"]}\n',
    "latin.csv": "text,label\ncaf\u00e9 river,water\n".encode("latin-1"),
    "empty.csv": "text,label\n ,water\nriver,water\n",
    "named.csv": "review,stars\nthe river,water\na mountain,stone\n",
    "named.txt": "text\tlabel\nthe river\twater\na mountain\tstone\n",
    "leaks.csv": "text,label\nthe river,water\nthe river,stone\na mountain,stone\n",
    "one.csv": "text,label\nthe river,water\na mountain,water\n",
    "own.csv": "text,label\n" + "".join(f"{word},{word}\n" for word in WORDS[:12]),
    "many.csv": "text,label\nthe river,a|b\na mountain,a\n",
    "words.csv": "text,label\nthe river,wet\na mountain,high\n",
    "new.csv": "text,label\nthe river,water\na mountain,ston\n",
    "outside.conll": "Ada B-PER\nlives X-LOC\n\nBob B-PER\n",
    "untagged.conll": "Ada\nlives\n",
    "tags.conll": "Ada B-PER\nlives O\n\nriver B-LOC\n",
    "none.conll": "Ada O\nlives O\n\nriver O\n",
    "nested.jsonl": '{"text": "Ada lives", "spans": [[0, 3, "PER"], [0, 9, "X"]]}\n',
    "answers.jsonl": json.dumps(SQUAD) + "\n",
    "pairs.csv": "text_a,text_b,label\nriver,stone,good\nwinter,letter,bad\n",
    "single.csv": "text,label\nriver,1\nstone,2\n",
}
TASKS = {
    ".conll": ["tag", "classify"],
    "nested.jsonl": ["tag"],
    "answers.jsonl": ["answer"],
    "many.csv": ["multilabel"],
}
TASKS |= {"pairs.csv": ["embed"], "single.csv": ["embed", "classify"], "words.csv": ["regress"]}
VALUES = {"--scheme": "plain", "--input-format": "csv", "--label-separator": ";", "--unknown-labels": "skip"}
ADVISED = re.compile(r"(?<![\w/-])(--[a-z][a-z-]*)(?: ([A-Za-z_.][\w.]*))?|(?<![\w./-])([a-z_]+(?:\.\w+)+)=([\w.]*)")
NOT_THERE = ("is not an option", "is not a setting", "is not a command")


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
    return tmp_path


def tasks_of(name: str) -> list[str]:
    return next((tasks for end, tasks in TASKS.items() if name.endswith(end)), ["classify"])


def applied(text: str, given: list[str]) -> Iterator[list[str]]:
    """The arguments for each option and setting of the command itself that a text names."""
    own = {named.what for named in named_in(text) if named.command is None} - set(given)
    for name, value, key, setting_value in ADVISED.findall(text):
        if name in own:
            switches = [p for p in ("--restart", "--allow-unused", "--all", "--json") if p == name]
            value = VALUES.get(name, value if value and value not in ("NAME", "FILE", "if", "reads") else "text")
            yield [name] if switches else [name, value]
        elif key in own:
            flag_name = f"--{key.removeprefix('data.').replace('_', '-')}"
            yield [f"{key}={setting_value.strip('.') or VALUES.get(flag_name, 'text')}"]


def try_advice(command, arguments: list[str], stop: list[str]) -> int:
    """Run a command, then again with each of its advices; returns how many these were. stop: ends it early."""
    done = command(*arguments)
    tried = 0
    for more in applied(done.out + done.err, arguments):
        again = command(*arguments, *more, *stop)
        name = more[0].partition("=")[0]
        lacking = [line for line in again.err.splitlines() if name in line and any(text in line for text in NOT_THERE)]
        assert again.code != 2 and not lacking, (arguments, more, again.err)
        tried += 1
    for key in re.findall(r"unmask recipe explain ([\w.]*)", done.err):
        assert command("recipe", "explain", *key.split()).code == 0, (arguments, key)
        tried += 1
    return tried


@pytest.mark.parametrize("name", FILES)
def test_advice_of_commands_that_read_rows_works(
    command, faulty: Path, name: str, classifier: Path, pretrained: Path
) -> None:
    tried = 0
    model = ["--model", str(pretrained)]
    stop = ["train.budget=nonsense"]
    for task in tasks_of(name):
        tried += try_advice(command, ["data", "check", "--task", task, "--train", name], [])
        recipe = (
            f"init_from: {pretrained}\nkind: finetune\ntask: {{name: {task}}}\ndata: {{train: {name}, test: {name}}}\n"
        )
        (faulty / "recipe.yaml").write_text(recipe)
        tried += try_advice(command, ["recipe", "check", "recipe.yaml"], stop)
        start = ["finetune", *model, "--task", task, "--train", name, "--output", "run", "train.budget=1 steps"]
        tried += try_advice(command, [*start, "task.max_length=16"], stop)
    own = ["quickstart", "--text", "named.csv", "--train", name, "--test", name]
    if name not in ("named.csv", "named.txt", "one.csv"):  # these would train
        tried += try_advice(command, own, ["--budget", "nonsense"])
    tried += try_advice(command, ["evaluate", str(classifier), name], [])
    tried += try_advice(command, ["predict", str(classifier), name], [])
    assert tried or name in ("own.csv",)


def test_advice_of_commands_that_read_text_works(command, faulty: Path, pretrained: Path) -> None:
    (faulty / "line.txt").write_text("".join(f"{word} river stone\n" for word in WORDS * 30))
    (faulty / "other").mkdir()
    (faulty / "other" / "thesis.txt").write_text("x")
    build = ["corpus", "build", "--tokenizer", str(pretrained), "--output"]
    runs = [
        *([*build, f"out{n}", name] for n, name in enumerate(["header.csv", "latin.csv", "line.txt"])),
        [*build, "other", "line.txt"],
        [*build, "out2", "named.txt"],
        [*build, "words", "line.txt", "--words", "learn"],
        *(["vocab", "audit", str(pretrained), name] for name in ("header.csv", "latin.csv", "line.txt")),
        *(["vocab", "grow", str(pretrained), name, "--output", "g"] for name in ("header.csv", "line.txt")),
        *(["tokenizer", "train", name, "--output", "t"] for name in ("header.csv", "latin.csv", "line.txt")),
    ]
    assert sum(try_advice(command, run, []) for run in runs) >= 10


def test_advice_of_commands_on_models_works(command, faulty: Path, pretrained: Path, classifier: Path) -> None:
    (faulty / "full").mkdir()
    (faulty / "full" / "a.txt").write_text("x")
    train = ["finetune", "--model", str(pretrained), "--train", "one.csv", "--output", "full"]
    runs = [
        train,
        ["pretrain", "tiny", "--corpus", "nowhere", "--output", "full"],
        ["evaluate", str(pretrained), "one.csv"],
        ["predict", str(pretrained), "one.csv"],
        ["predict", str(classifier), "one.csv", "--format", "npy"],
        ["fill", str(classifier), "a [MASK]"],
        ["export", str(classifier), "--output", "full"],
        ["evaluate", str(classifier), "one.csv", "data.x=1"],
        ["evaluate", str(classifier), "one.csv", "nonsense"],
        ["finetune", "--train", "one.csv", "tag.x"],
        ["compare", str(classifier.parent), str(classifier.parent)],
        ["data", "get", "nonsense"],
        ["runs", "nowhere"],
        ["quickstart", "--text", "line.txt"],
    ]
    for run in runs:
        try_advice(command, run, [])
