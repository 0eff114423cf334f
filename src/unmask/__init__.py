"""unmask: a BERT of your own, from raw text to an evaluated model.

The public names are imported on first use, so that `import unmask` stays fast (torch takes seconds).
"""

import importlib
from typing import TYPE_CHECKING, Any

from unmask.version import __version__

_PUBLIC = {
    "Encoder": "unmask.model.encoder",
    "EncoderConfig": "unmask.model.config",
    "Predictor": "unmask.runtime.predictor",
    "Tokenizer": "unmask.text.tokenizer",
    "UserError": "unmask.errors",
    "build_corpus": "unmask.data.corpus.shards:build",
    "finetune": "unmask.train.finetune",
    "load": "unmask.runtime.predictor",
    "pretrain": "unmask.train.pretrain",
    "quickstart": "unmask.quickstart",
    "read_documents": "unmask.data.corpus.documents",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from unmask.data.corpus.documents import read_documents as read_documents
    from unmask.data.corpus.shards import build as build_corpus  # noqa: F401
    from unmask.errors import UserError as UserError
    from unmask.model.config import EncoderConfig as EncoderConfig
    from unmask.model.encoder import Encoder as Encoder
    from unmask.quickstart import quickstart as quickstart
    from unmask.runtime.predictor import Predictor as Predictor
    from unmask.runtime.predictor import load as load
    from unmask.text.tokenizer import Tokenizer as Tokenizer
    from unmask.train.finetune import finetune as finetune
    from unmask.train.pretrain import pretrain as pretrain


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'unmask' has no attribute {name!r}")
    from unmask.errors import missing_engine

    module, _, attribute = _PUBLIC[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute or name)
    except ModuleNotFoundError as error:
        raise missing_engine(error) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
