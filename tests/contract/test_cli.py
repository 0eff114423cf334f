"""The command line as others rely on it: which commands and options there are, help, exit codes, start-up."""

import subprocess
import sys

import pytest

from unmask.cli.app import FILES, command_line, run

COMMANDS = {
    "quickstart": "--task --lang --budget --output --text --train --test --text-column --pair-column "
    "--label-column --label-columns --missing-labels --token-column --tag-column --scheme "
    "--span-offsets --on-error --input-format --encoding --unknown-labels SETTINGS "
    "--next-sentence --whole-words --from --seed --allow-unused --json",
    "tokenizer train": "SOURCES --output --vocab-size --cased --min-frequency --fold-width --simplify --text-column "
    "--encoding --on-error --json",
    "tokenizer inspect": "FOLDER TEXT --pair --json",
    "corpus build": "SOURCES --tokenizer --output --text-column --split --words --keep --by --seed --encoding "
    "--on-error --restart --json",
    "corpus stats": "CORPUS --json",
    "pretrain": "RECIPE OVERRIDES --corpus --from --lr --epochs --max-length --seed --output --allow-unused --json",
    "finetune": "ARGUMENTS --model --task --train --dev --test --text-column --pair-column --label-column "
    "--label-separator --label-columns --missing-labels --token-column --tag-column --scheme "
    "--span-offsets --on-error --input-format --encoding --unknown-labels --lr --epochs "
    "--batch-size --max-length --seed --output --allow-unused --json",
    "evaluate": "MODEL FILE --text-column --pair-column --label-column --label-separator --label-columns "
    "--missing-labels --token-column --tag-column --scheme --span-offsets --on-error "
    "--input-format --encoding --unknown-labels SETTINGS --allow-unused --backend --precision "
    "--json",
    "predict": "MODEL FILE --format --output --all --top-k --text-column --pair-column --token-column "
    "--on-error --input-format --encoding SETTINGS --allow-unused --backend --precision --restart",
    "fill": "MODEL TEXT --top-k --allow-unused --backend --precision --json",
    "report": "RUN --output --lang",
    "runs": "FOLDER --json",
    "compare": "RUNS --test --text-column --pair-column --label-column --label-separator --label-columns "
    "--missing-labels --token-column --tag-column --scheme --span-offsets --on-error "
    "--input-format --encoding --unknown-labels --output --lang --json",
    "inspect": "MODEL --json",
    "export": "MODEL --output --format --precision --calibration --allow-unused --json",
    "verify": "FOLDER --dev --max-drop --json",
    "vocab audit": "MODEL SOURCES --text-column --split --encoding --on-error --json",
    "vocab grow": "MODEL SOURCES --output --add --min-frequency --text-column --split --encoding --on-error "
    "--seed --allow-unused --json",
    "recipe show": "RECIPE OVERRIDES --json",
    "recipe explain": "KEY --kind --json",
    "recipe check": "RECIPE OVERRIDES --json",
    "data list": "--json",
    "data get": "NAME --output --json",
    "data check": "--train --dev --test --task --text-column --pair-column --label-column --label-separator "
    "--label-columns --missing-labels --token-column --tag-column --scheme --span-offsets "
    "--on-error --input-format --encoding SETTINGS --json",
    "bench pretrain": "RECIPE OVERRIDES --corpus --seconds --json",
    "bench predict": "MODEL --data --rows --length --batch-size --seconds --threads --text-column --pair-column "
    "--token-column --on-error --input-format --encoding SETTINGS --allow-unused --backend --precision --output "
    "--json",
}


def commands(group=None, prefix: str = "") -> dict:
    """Every command by its full name."""
    group = group or command_line()
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = command
    return found


def arguments(command) -> set[str]:
    """Long options as written, arguments by their name in capitals."""
    names = {name for p in command.params for name in p.opts if name.startswith("--")} - {"--help"}
    return names | {p.name.upper() for p in command.params if not p.opts[0].startswith("-")}


def test_help_shows_what_is_done_without_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--help"]) == 0
    assert "default: as on_error" in " ".join(capsys.readouterr().out.replace("│", "").split())


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_and_no_option_is_lost(name: str) -> None:
    assert arguments(commands()[name]) == set(COMMANDS[name].split())


def test_no_command_is_added_unnoticed() -> None:
    assert set(commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_that_ends_with_an_example(name: str, capsys) -> None:
    assert run([*name.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"Usage: unmask {name}") and f"Example: unmask {name}" in shown


@pytest.mark.parametrize("name", commands())
def test_every_option_says_what_it_is_for(name: str) -> None:
    assert commands()[name].help
    assert all(param.help for param in commands()[name].params if param.name != "help")


def test_wrong_usage_ends_with_2_and_nothing_on_stdout(capsys) -> None:
    assert run(["nonsense"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "nonsense" in shown.err
    assert run(["fill"]) == 2 and run(["recipe", "explain", "--kind", "x"]) == 2


def test_debug_shows_the_traceback() -> None:
    from unmask.errors import UserError

    assert run(["recipe", "show", "tinny"]) == 1
    with pytest.raises(UserError):
        run(["recipe", "show", "tinny", "--debug"])


def test_quiet_leaves_only_results(capsys) -> None:
    assert run(["--quiet", "data", "list"]) == 0
    shown = capsys.readouterr()
    assert "reuters-r8" in shown.out and shown.err == ""


@pytest.mark.parametrize("file", FILES)
def test_a_file_holds_the_commands_that_are_looked_for_in_it(file: str) -> None:
    assert list(command_line(file).commands) == FILES[file]


def test_version(capsys) -> None:
    from unmask import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"unmask {__version__}\n"


def test_help_does_not_pay_for_torch() -> None:
    heavy = ("torch", "tokenizers", "numpy", "sklearn", "matplotlib", "unearth")
    listed = f"print(*(name for name in {heavy} if name in sys.modules))"
    code = f"import sys; from unmask.cli.app import command_line; command_line(); {listed}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
    asked = subprocess.run([sys.executable, "-m", "unmask", "--help"], capture_output=True, text=True, check=True)
    assert "pretrain" in asked.stdout and asked.stderr == ""
