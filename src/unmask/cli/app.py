"""The root of the command line: which commands there are, global options, how errors are shown."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from unmask import console
from unmask.cli.common.help import App, Group, Misused, UsageError, misused
from unmask.errors import UserError, did_you_mean, missing_engine, suggest
from unmask.messages import ENGLISH, LANGUAGES, language, language_of, message, set_language
from unmask.version import __version__

FILES = {
    "quickstart": ["quickstart"],
    "tokenizer": ["tokenizer"],
    "corpus": ["corpus"],
    "pretrain": ["pretrain"],
    "finetune": ["finetune"],
    "evaluate": ["evaluate"],
    "predict": ["predict", "fill"],
    "runs": ["report", "runs", "compare"],
    "model": ["inspect", "export", "verify"],
    "vocab": ["vocab"],
    "recipe": ["recipe"],
    "data": ["data"],
    "bench": ["bench"],
}
"""By file, its commands; in the order of the help."""
VARIABLE = "UNMASK_LANG"  # LANG has no say: output in scripts stays as it is
OWN_LANGUAGE = ("quickstart", "report", "compare")  # commands whose --lang is also that of their data or page
RESTART = 75  # EX_TEMPFAIL of sysexits.h: whoever started this may start it again, as a cluster's queue does


class _Stopped(Exception):
    """An interrupt on its way past typer, which would turn it into an exit of its own."""


class _Root(Group):
    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as interrupt:
            raise _Stopped(*interrupt.args) from interrupt
        except ModuleNotFoundError as error:
            raise missing_engine(error) from error
        except BrokenPipeError:  # the reader of our output has seen enough
            os._exit(0)


_anywhere = argparse.ArgumentParser(prog="unmask", add_help=False, allow_abbrev=False)
_anywhere.add_argument("--quiet", action="store_true")
_anywhere.add_argument("--debug", action="store_true")
_anywhere.add_argument("--lang", nargs="?", const="")


def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        console.print_text(f"unmask {__version__}")
        raise typer.Exit


@cache
def command_line(*files: str) -> Any:
    """The command line, as typer makes it: all of it, or the commands of some files, which is there sooner."""
    app = App(
        name="unmask",
        cls=_Root,
        help="A BERT of your own: from raw text to an evaluated model.",
        epilog="Anywhere on the line: --quiet (results only), --debug (tracebacks), --lang zh (messages in Chinese; "
        "or UNMASK_LANG=zh). NO_COLOR is respected.",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(root)
    for name in files or FILES:
        app.add_typer(import_module(f"unmask.cli.{name}").commands)
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0 done, 1 the user's mistake, 2 wrong usage, 75 stopped by a signal with everything saved (RESTART), 130 stopped
    by Ctrl-C.
    """
    options, rest = _anywhere.parse_known_args(arguments)
    console.set_quiet(options.quiet)
    before = language()
    try:
        rest = _choose_language(options.lang, rest)
        with console.command():
            files = [name for name, of_file in FILES.items() if rest and rest[0] in of_file]
            return command_line(*files).main(args=rest, prog_name="unmask", standalone_mode=False) or 0
    except UsageError as error:
        console.show_error(misused(error))
        return 2
    except (_Stopped, KeyboardInterrupt) as stop:  # the latter while the command is loaded
        number = signal.Signals(stop.args[0] if stop.args else signal.SIGINT)
        hint = message("everything is saved: the same command continues") if stop.args else None
        if console.is_main():
            console.show_error(UserError("stopped by {signal}", number.name, hint=hint))
        return RESTART if stop.args and number != signal.SIGINT else 128 + number
    except UserError as error:
        if options.debug:
            raise
        console.show_error(error)
        return 2 if isinstance(error, Misused) else 1
    finally:
        set_language(before)


def _choose_language(option: str | None, arguments: list[str]) -> list[str]:
    """Set the language of messages by --lang, else by UNMASK_LANG; returns the arguments of the command.

    Raises UserError for a language without messages, but leaves that to a command with its own --lang.
    """
    set_language(ENGLISH)
    own = option is not None and arguments[:1] != [] and arguments[0] in OWN_LANGUAGE
    name = os.environ.get(VARIABLE) or ENGLISH if option is None else option
    if chosen := language_of(name):
        set_language(chosen)
    elif not own:
        raise UserError(
            "no messages in the language {language!r}",
            name,
            given=f"{VARIABLE if option is None else '--lang'}={name}",
            allowed=", ".join(LANGUAGES),
            hint=did_you_mean(suggest(name, LANGUAGES)),
        )
    return [arguments[0], f"--lang={option}", *arguments[1:]] if own else arguments
