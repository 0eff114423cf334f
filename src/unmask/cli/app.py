"""The root of the command line: which commands there are, global options, how errors are shown."""

import os
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from unmask import __version__, console
from unmask.cli import (
    corpus,
    data,
    tokenizer,
)
from unmask.errors import UserError

app = typer.Typer(
    name="unmask",
    help="A BERT of your own: from raw text to an evaluated model.",
    epilog="Anywhere on the line: --quiet (results only), --debug (tracebacks). NO_COLOR is respected.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# one line per command file
for _noun in (tokenizer, corpus, data):
    _noun.register(app)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        console.say(f"unmask {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code: 0 done, 1 the user's mistake, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in arguments
    console.set_quiet("--quiet" in arguments)
    arguments = [argument for argument in arguments if argument not in ("--debug", "--quiet")]
    try:
        return app(args=arguments, prog_name="unmask", standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        console.show_error("interrupted: the same command goes on where it stopped")
        return 130
    except BrokenPipeError:
        os._exit(0)
    except UserError as error:
        if debug:
            raise
        console.show_error(str(error))
        return 1
