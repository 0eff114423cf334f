"""The model card: README.md of a model folder, with the front matter that the model hub reads.

It says what the folder itself knows, so the same model has the same card: no dates, and of paths the last name.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml

# what transformers' pipelines compute with a class, by the end of its name
_PIPELINES = {
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "Model": "feature-extraction",
}


def model_card(facts: Mapping[str, Any]) -> str:
    """The text of README.md; facts: as `describe` gives them."""
    architecture, million = facts["architecture"], facts["parameters"]["total"] / 1e6
    task = {name: value for name, value in (facts["task"] or {}).items() if name != "parameters"}
    lineage = [
        {**strip_paths(entry), **({"source": entry["source"]} if entry.get("hub") else {})}
        for entry in facts["lineage"]
    ]
    purpose, code = _purpose(facts)
    readers = f"Its layout is public: transformers reads it as `{architecture['class']}`."
    if architecture["class"] is None:
        lacking = ", ".join(architecture["not_in_layout"])
        readers = f"No public layout can express what it computes ({lacking}), so unmask alone reads it."
    parts = [
        f"---\n{_yaml(_front_matter(facts))}---",
        f"# {architecture['num_hidden_layers']} layers x {architecture['hidden_size']}, {million:.1f} M parameters",
        f"An encoder of the {architecture['family']} family, written by unmask. {purpose}",
        "It has the gaps and the bias of its data; nothing here has been checked for that.",
        f"## Use\n\n```python\n{code}\n```\n\n{readers}",
        f"## Facts\n\n```yaml\n{_yaml({**facts, 'task': task or None, 'lineage': lineage})}```",
    ]
    return "\n\n".join(parts) + "\n"


def _yaml(values: Any) -> str:
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _front_matter(facts: Mapping[str, Any]) -> dict[str, Any]:
    architecture, task = facts["architecture"], facts["task"]
    values: dict[str, Any] = {
        "library_name": "transformers" if architecture["class"] else "unmask",
        "tags": ["unmask", architecture["family"], *([task["name"]] if task else [])],
    }
    name = architecture["class"] or ""
    pipeline = next((pipeline for end, pipeline in _PIPELINES.items() if name.endswith(end)), None)
    if pipeline and not (task and pipeline == "feature-extraction"):  # there, only unmask computes the task
        values["pipeline_tag"] = pipeline
    for entry in facts["lineage"]:
        if entry.get("kind") == "public" and entry.get("hub"):
            values["base_model"] = entry["source"]
    return values


def _purpose(facts: Mapping[str, Any]) -> tuple[str, str]:
    """What the model is for, and code that does it."""
    load = 'from unmask import load\nmodel = load(".")  # this folder\n'
    if facts["task"]:
        task = f"It was fine-tuned for the task {facts['task']['name']}"
        return f"{task}: evaluate it on data of your own (`unmask evaluate`).", f'{load}print(model("A text."))'
    then = "It is there to be fine-tuned (`unmask finetune`)."
    if facts["lineage"] and facts["lineage"][-1].get("kind") == "grow":
        then = "Its newest tokens were never trained: pretrain it further before anything else."
    if "masked" in facts["heads"]:
        mask = next((token for token in facts["vocabulary"]["special_tokens"] if "mask" in token.lower()), "[MASK]")
        return f"It fills in masks. {then}", f'{load}print(model.fill("A text with a {mask} in it."))'
    encoder = 'from unmask import Encoder\nencoder = Encoder.from_pretrained(".")  # this folder'
    return f"It gives a hidden state for each token of a text. {then}", encoder


def strip_paths(value: Any) -> Any:
    """Plain values with nothing left of a path but its last name: the rest is of one machine."""
    if isinstance(value, Mapping):
        return {name: strip_paths(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strip_paths(inner) for inner in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PurePath(value.replace("\\", "/")).name
    return value
