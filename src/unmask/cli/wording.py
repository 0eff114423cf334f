"""Help and wrong usage in the language of messages: the words of our commands and those of typer itself."""

import inspect
from typing import Any

import typer
from rich.markup import escape
from rich.text import Text
from typer import rich_utils

from unmask.language import ENGLISH, label, language, translate

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer's own or click's, as its version has it

# what typer puts around help and errors: constants of its module that draws them
_FURNITURE = {
    name: getattr(rich_utils, name)
    for name in (
        "ABORTED_TEXT",
        "ARGUMENTS_PANEL_TITLE",
        "COMMANDS_PANEL_TITLE",
        "DEFAULT_STRING",
        "ENVVAR_STRING",
        "ERRORS_PANEL_TITLE",
        "OPTIONS_PANEL_TITLE",
        "REQUIRED_LONG_STRING",
        "RICH_HELP",
    )
    if hasattr(rich_utils, name)
}


_make_text = getattr(rich_utils, "_make_rich_text", None)


def _folding(*arguments: Any, **named: Any) -> Any:
    """Help that breaks anywhere: Chinese has no blanks to break at, and would be cut off in a table."""
    assert _make_text is not None
    text = _make_text(*arguments, **named)
    if isinstance(text, Text):
        text.overflow = "fold"
    return text


def reword(command: Any) -> Any:
    """A command with all below it, its help in the language that is set."""
    for name, english in _FURNITURE.items():
        setattr(rich_utils, name, label(english))
    if _make_text is not None:
        rich_utils._make_rich_text = _make_text if language() == ENGLISH else _folding
    _reword(command)
    return command


def _reword(command: Any) -> None:
    for name in ("help", "short_help", "epilog"):
        text = getattr(command, name, None)
        if text:
            setattr(command, name, translate(inspect.cleandoc(text)))
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = escape(translate(parameter.help))  # "[default: ...]" is no markup
    usage, help_option = command.get_usage, command.get_help_option

    def get_usage(context: Any) -> str:
        return translate(usage(context))

    def get_help_option(context: Any) -> Any:
        option = help_option(context)
        if option is not None:
            option.help = translate(option.help)
        return option

    command.get_usage, command.get_help_option = get_usage, get_help_option
    for inner in getattr(command, "commands", {}).values():
        _reword(inner)


def reword_error(error: Exception) -> None:
    """Let an error of wrong usage speak the language that is set."""
    spoken: Any = error
    message = spoken.format_message
    spoken.format_message = lambda: translate(message())
