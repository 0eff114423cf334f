"""Where a model is: a folder of ours, a folder in a public layout, or a name on the model hub."""

import re
from pathlib import Path

from unmask.bundle.own import Bundle, read_own
from unmask.bundle.public import is_public, read_public
from unmask.errors import UserError
from unmask.messages import message

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?")
# what is read of a repository, the weights in the best form that it has
_DESCRIPTIONS = ["*.json", "*.txt", "*.model", "1_Pooling/*.json"]
_WEIGHTS = (["*.safetensors"], ["pytorch_model*.bin"])


def read(
    source: Path | str, *, revision: str | None = None, allow_unused: bool = False, weights: bool = True
) -> Bundle:
    """Open a model: a folder that unmask wrote, or the run that it is of; a folder in the public layout of a family
    that is known (config.json, weights, tokenizer; also of sentence-transformers); or the id of a repository on the
    model hub, also OWNER/NAME@REVISION, as it is in its cache or fetched there.

    revision: of a repository on the hub; allow_unused: leave weights out that are not known here; weights: False for
    their shapes alone, which takes no memory.
    Raises UserError for anything that is no model, or that is damaged.
    """
    folder = Path(source)
    named = _HUB_ID.fullmatch(str(source))
    # where the first part is a folder here, the second is one that is not there
    device = "cpu" if weights else "meta"
    if named and not folder.exists() and not folder.parent.exists():
        name, revision = named[1], revision or named[2]
        fetched = _fetched(name, revision)
        return read_public(fetched, name, revision, allow_unused, hub=True, device=device)
    if (folder / "model" / "unmask.json").is_file():  # a run folder: its model is meant
        folder = folder / "model"
    if (folder / "unmask.json").is_file():
        return read_own(folder, device)
    if is_public(folder):
        return read_public(folder, str(source), None, allow_unused, device=device)
    if (folder / "run.json").is_file():
        raise UserError(
            "{folder} is a run that is not finished: it has no model yet",
            folder,
            hint="give the command that began it again; it goes on where it stopped",
        )
    raise UserError(
        "{folder} is not a model",
        folder,
        given=message("no such folder") if not folder.exists() else message("no unmask.json and no config.json in it"),
        allowed="a folder that `unmask pretrain` or `unmask finetune` wrote, a public checkpoint, or OWNER/NAME of one",
    )


def _fetched(name: str, revision: str | None) -> Path:
    """The folder of a repository in the cache of the hub, whose environment variables are respected (HF_HOME,
    HF_HUB_OFFLINE, HF_ENDPOINT)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_DESCRIPTIONS))
        for pattern in _WEIGHTS:
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=pattern))
            if any(folder.glob(pattern[0])):
                break
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{name} is no folder here, and it cannot be fetched from the model hub",
            given=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            if str(error)
            else type(error).__name__,
            hint="check the name and the network, or download its files and give the folder",
        ) from None
    return folder
