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
    corpus,
    data,
    evaluate,
    fill,
    finetune,
    predict,
    pretrain,
    quickstart,
    recipe,
    tokenizer,
)
from unmask.errors import UserError
from unmask.version import __version__


class _Stopped(Exception):
    """An interrupt on its way past typer, which would turn it into an exit of its own."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as interrupt:
            raise _Stopped(*interrupt.args) from interrupt
        except BrokenPipeError:  # the reader of our output has seen enough
            os._exit(0)


app = typer.Typer(
    name="unmask",
    cls=_Commands,
    help="A BERT of your own: from raw text to an evaluated model.",
    epilog="Anywhere on the line: --quiet (results only), --debug (tracebacks). NO_COLOR is respected.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# one line per command file
for _noun in (quickstart, tokenizer, corpus, pretrain, finetune, evaluate, predict, fill, recipe, data):
    _noun.register(app)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        console.say(f"unmask {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0 done, 1 the user's mistake, 2 wrong usage, 128 + the number of the signal that stopped it (130, 143).
    """
    debug = "--debug" in arguments
    console.set_quiet("--quiet" in arguments)
    arguments = [argument for argument in arguments if argument not in ("--debug", "--quiet")]
    try:
        app(args=arguments, prog_name="unmask")
    except SystemExit as stop:  # how typer ends, also after showing wrong usage
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except _Stopped as stop:
        number = signal.Signals(stop.args[0] if stop.args else signal.SIGINT)
        saved = "everything is saved, the same command goes on where it stopped"
        console.show_error(f"stopped by {number.name}: {saved if stop.args else 'no file is half written'}")
        return 128 + number
    except UserError as error:
        if debug:
            raise
        console.show_error(str(error))
        return 1
    return 0
