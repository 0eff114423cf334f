"""The root of the command line: which commands there are, global options, how errors are shown."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from unmask import console
from unmask.cli import (
    bench,
    compare,
    corpus,
    data,
    evaluate,
    export,
    fill,
    finetune,
    inspect,
    predict,
    pretrain,
    quickstart,
    recipe,
    report,
    runs,
    tokenizer,
    vocab,
)
from unmask.cli.wording import UsageError, reword, reword_error
from unmask.errors import UserError, missing_engine, suggest
from unmask.language import (
    ENGLISH,
    LANGUAGES,
    VARIABLE,
    from_environment,
    known,
    language,
    set_language,
)
from unmask.version import __version__

RESTART = 75  # EX_TEMPFAIL of sysexits.h: whoever started this may start it again, as a cluster's queue does


class _Stopped(Exception):
    """An interrupt on its way past typer, which would turn it into an exit of its own."""


class _Commands(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            reword_error(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as interrupt:
            raise _Stopped(*interrupt.args) from interrupt
        except UsageError as error:
            reword_error(error)
            raise
        except ModuleNotFoundError as error:
            raise missing_engine(error) from error
        except BrokenPipeError:  # the reader of our output has seen enough
            os._exit(0)


app = typer.Typer(
    name="unmask",
    cls=_Commands,
    help="A BERT of your own: from raw text to an evaluated model.",
    epilog="Anywhere on the line: --quiet (results only), --debug (tracebacks), --lang zh (messages in Chinese; "
    "or UNMASK_LANG=zh). NO_COLOR is respected.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# one line per command file
for _noun in (
    quickstart, tokenizer, corpus, pretrain, finetune, evaluate, predict, fill, report, runs, compare, inspect,
    vocab, recipe, data, bench, export,
):  # fmt: skip
    _noun.register(app)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        console.print_text(f"unmask {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0 done, 1 the user's mistake, 2 wrong usage, 75 stopped by a signal with everything saved (RESTART), 130 stopped
    by Ctrl-C.
    """
    debug = "--debug" in arguments
    console.set_quiet("--quiet" in arguments)
    arguments = [argument for argument in arguments if argument not in ("--debug", "--quiet")]
    before = language()
    set_language(ENGLISH)
    try:
        arguments = _choose_language(arguments)
        with console.command():
            reword(typer.main.get_command(app))(args=arguments, prog_name="unmask")
    except SystemExit as stop:  # how typer ends, also after showing wrong usage
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except _Stopped as stop:
        number = signal.Signals(stop.args[0] if stop.args else signal.SIGINT)
        saved = "everything is saved, the same command goes on where it stopped"
        if console.is_main():
            console.show_error(f"stopped by {number.name}: {saved if stop.args else 'no file is half written'}")
        return RESTART if stop.args and number != signal.SIGINT else 128 + number
    except UserError as error:
        if debug:
            raise
        console.show_error(error)
        return 1
    finally:
        set_language(before)
    return 0


def _choose_language(arguments: list[str]) -> list[str]:
    """Set the language of messages by --lang, else by UNMASK_LANG; returns the arguments without --lang.

    It stays for commands that have such an option themselves: there it also says which data, which report.
    Raises UserError for a language without messages, but leaves that to a command with its own --lang.
    """
    asked, rest = None, []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument == "--lang":
            asked = next(remaining, "")
        elif argument.startswith("--lang="):
            asked = argument.removeprefix("--lang=")
        else:
            rest.append(argument)
    if asked is None:
        asked, own = from_environment(), False
        option = VARIABLE
    else:
        own, option = _has_own_language(rest), "--lang"
    if asked is None:
        return arguments
    chosen = known(asked)
    if chosen is not None:
        set_language(chosen)
    elif not own:
        raise UserError(
            f"there are no messages in the language {asked!r}",
            given=f"{option}={asked}",
            did_you_mean=suggest(asked, LANGUAGES),
            allowed=", ".join(LANGUAGES),
        )
    return arguments if own else rest


def _has_own_language(arguments: list[str]) -> bool:
    """Whether the command that the arguments call has an option --lang."""
    command: Any = typer.main.get_command(app)
    for argument in arguments:
        inner = getattr(command, "commands", {}).get(argument)
        if inner is None:
            break
        command = inner
    return any("--lang" in parameter.opts for parameter in command.params)
