"""A folder with exported networks described, without opening any of them: for `unmask inspect`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unmask.config import dump
from unmask.errors import UserError
from unmask.runtime.choice import PACKAGES, find_choices, stored_choice, trial_key
from unmask.runtime.manifest import WEIGHTS, check_sums, read_facts, read_manifest


def describe_networks(folder: Path) -> dict[str, Any]:
    """Networks with their size in bytes, whether their engine is installed, and the record of their verification;
    `automatic`: what would run them here, where that needs no trial or there was one, and of what it is the choice.

    Raises UserError for a folder that is damaged.
    """
    manifest, facts = read_manifest(folder), read_facts(folder)
    for one in manifest.networks:
        check_sums(folder, one.sha256)
    networks = [
        {
            **dump(one),
            "bytes": sum((folder / name).stat().st_size for name in one.sha256),
            "installed": find_spec(PACKAGES[one.backend][0]) is not None,
            "verified": one.verified,
        }
        for one in manifest.networks
    ]
    try:
        choices = find_choices(manifest.networks, (folder / WEIGHTS).is_file(), "auto", "auto")
        best, reason = stored_choice(choices, trial_key(manifest.networks, None)), None
    except UserError as error:
        choices, best, reason = [], None, error.message
    return {
        "networks": networks,
        "automatic": {"choice": str(best) if best else None, "of": [str(one) for one in choices], "error": reason},
        "architecture": facts["encoder"],
        "vocabulary": {"size": manifest.tokenizer.vocab_size, "kind": manifest.tokenizer.kind},
        "task": None if manifest.task is None else dict(manifest.task),
        "lineage": facts.get("lineage") or [],
    }
