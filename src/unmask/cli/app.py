"""The root of the command line: which commands there are, global options, how errors are shown."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

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
from unmask.cli.help import App, Group, Misused, UsageError, misused
from unmask.errors import UserError, did_you_mean, missing_engine, suggest
from unmask.messages import ENGLISH, LANGUAGES, language, language_of, message, set_language
from unmask.version import __version__

VARIABLE = "UNMASK_LANG"  # LANG has no say: output in scripts stays as it is
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


app = App(
    name="unmask",
    cls=_Root,
    help="A BERT of your own: from raw text to an evaluated model.",
    epilog="Anywhere on the line: --quiet (results only), --debug (tracebacks), --lang zh (messages in Chinese; "
    "or UNMASK_LANG=zh). NO_COLOR is respected.",
    add_completion=False,
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
            command = typer.main.get_command(app)
            return command.main(args=arguments, prog_name="unmask", standalone_mode=False) or 0
    except UsageError as error:
        console.show_error(misused(error))
        return 2
    except _Stopped as stop:
        number = signal.Signals(stop.args[0] if stop.args else signal.SIGINT)
        if console.is_main():
            console.show_error(
                UserError(
                    "stopped by {signal}",
                    number.name,
                    hint=message("everything is saved: the same command continues") if stop.args else None,
                )
            )
        return RESTART if stop.args and number != signal.SIGINT else 128 + number
    except UserError as error:
        if debug:
            raise
        console.show_error(error)
        return 2 if isinstance(error, Misused) else 1
    finally:
        set_language(before)


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
    own, option = asked is not None and _has_own_language(rest), "--lang"
    if asked is None:
        asked, option = os.environ.get(VARIABLE) or None, VARIABLE
    if asked is None:
        return arguments
    chosen = language_of(asked)
    if chosen is not None:
        set_language(chosen)
    elif not own:
        raise UserError(
            "no messages in the language {language!r}",
            asked,
            given=f"{option}={asked}",
            allowed=", ".join(LANGUAGES),
            hint=did_you_mean(suggest(asked, LANGUAGES)),
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
