"""The report of a run as one html file: results (report/results.py) in, sections and their blocks, html out.

All text is escaped by the template. The page needs nothing from outside and runs no script: the switch between
light and dark is a style rule.
"""

import base64
import hashlib
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from unmask import files, messages
from unmask.errors import UserError, missing_extra
from unmask.messages import message
from unmask.report import summary
from unmask.report.blocks import Page, in_language
from unmask.report.results import results_of
from unmask.report.sections import all_sections

KINDS = {"quickstart": "Quick start report", "pretrain": "Pretraining report", "finetune": "Fine-tuning report"}


def write_report(run: Path | str, output: Path | str | None = None, language: str | None = None) -> Path:
    """Write the report of a run folder of any kind, and return its path (default: report.html in the folder).

    language: `en` or `zh`; otherwise the one that results.json names, else that of messages. Raises UserError
    where the folder holds no run that can be read, the language is unknown, or jinja2 is not installed.
    """
    run = Path(run)
    results = results_of(run)
    path = Path(output) if output is not None else run / "report.html"
    files.write_text(path, render(page_of(results, run), language or results.get("language")))
    return path


def page_of(results: dict[str, Any], run: Path) -> Page:
    """The page about one run."""
    created = str(results.get("created") or "").replace("T", " ")[:16]
    return Page(
        kind=message(KINDS[results["kind"]]),
        title=message(results.get("title") or "A BERT of your own"),
        command=results.get("command"),
        created=f"{created} UTC" if created else None,
        summary=summary.paragraphs(results),
        figures=list(summary.key_figures(results)),
        sections=all_sections(results, run),
    )


def render(page: Page, language: str | None = None) -> str:
    """The html of a page in a language (that of messages, if None); the same page gives the same text.

    Raises UserError for a language without messages.
    """
    try:
        import jinja2
    except ImportError:
        raise missing_extra("jinja2", "report", "the report page") from None
    language = language or messages.language()
    if language not in messages.LANGUAGES:
        raise UserError("no messages in the language {language!r}", language, allowed=", ".join(messages.LANGUAGES))
    templates = resources.files("unmask.report") / "templates"
    style = (templates / "style.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((templates / "page.html.jinja").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    html = template.render(
        page=in_language(page, language),
        language=language,
        _=partial(messages.translate, into=language),
        style=style,
        style_hash=digest,
    )
    return f"{html}\n"
