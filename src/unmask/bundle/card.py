"""The model card: README.md of a model folder, with the front matter that the model hub reads.

It says what the folder itself knows, so the same model has the same card: no dates, and of paths the last name.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml

from unmask.console import size
from unmask.text.tokenizer import Tokenizer

# what transformers' pipelines compute with a class, by what follows the name of the family in its name
_PIPELINES = {
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "Model": "feature-extraction",
}
LABELS = 24  # shown
_HAN = range(0x4E00, 0xA000)
_KANA = range(0x3041, 0x30FF)


def model_card(facts: Mapping[str, Any], tokenizer: Tokenizer) -> str:
    """The text of README.md; facts: as facts_of gives them."""
    sections = (_first_lines, _usage, _architecture, _provenance, _limits)
    front = yaml.safe_dump(_front_matter(facts, tokenizer), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(section(facts) for section in sections) + "\n"


def _front_matter(facts: Mapping[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    architecture, task = facts["architecture"], facts["task"]
    of_others = architecture["class"] is not None
    found: dict[str, Any] = {}
    if language := _language(tokenizer):
        found["language"] = language
    found["library_name"] = "transformers" if of_others else "unmask"
    found["tags"] = ["unmask", architecture["family"], *([task["name"]] if task else [])]
    pipeline = _PIPELINES.get(_kind(facts)) if of_others else None
    if pipeline and not (task and pipeline == "feature-extraction"):  # there, only unmask computes the task
        found["pipeline_tag"] = pipeline
    base = [entry["source"] for entry in facts["lineage"] if entry.get("kind") == "public" and entry.get("hub")]
    if base:
        found["base_model"] = base[-1]
    return found


def _language(tokenizer: Tokenizer) -> str | None:
    """zh where most pieces are of Chinese characters and few of kana; letters are shared by too many languages."""
    spelled = [tokenizer.token_text(number).strip() for number in tokenizer.text_token_ids.tolist()]
    han, kana = (sum(ord(piece[:1] or " ") in block for piece in spelled) for block in (_HAN, _KANA))
    return "zh" if 2 * han > len(spelled) and 50 * kana < han else None


def _kind(facts: Mapping[str, Any]) -> str:
    """What the class is for: ForMaskedLM of BertForMaskedLM, Model of BertModel."""
    name = str(facts["architecture"]["class"] or "")
    return "For" + name.partition("For")[2] if "For" in name else "Model"


def _first_lines(facts: Mapping[str, Any]) -> str:
    said, task = facts["architecture"], facts["task"]
    if task:
        labels = [f"`{label}`" for label in task.get("labels", [])]
        more = f" and {len(labels) - LABELS:,} more" if len(labels) > LABELS else ""
        does = f"was fine-tuned for the task {task['name']}"
        does += f" with the labels {', '.join(labels[:LABELS])}{more}" if labels else ""
    elif "masked" in facts["heads"]:
        does = "was pretrained by masked language modelling: it fills in masks, and is there to be fine-tuned"
    else:
        does = "gives a hidden state for each token of a text, and is there to be fine-tuned"
    parameters = f"{facts['parameters']['total'] / 1e6:.1f} M parameters"
    return (
        f"# {said['num_hidden_layers']} layers x {said['hidden_size']}, {parameters}\n\n"
        f"An encoder of the {said['family']} family that {does}. "
        "Written by unmask."
    )


def _usage(facts: Mapping[str, Any]) -> str:
    code = ["from unmask import load", 'model = load(".")  # this folder']
    if facts["task"]:
        code.append('print(model("A text."))')
    elif "masked" in facts["heads"]:
        mask = next((token for token in facts["vocabulary"]["special_tokens"] if "mask" in token.lower()), "[MASK]")
        code.append(f'print(model.fill("A text with a {mask} in it."))')
    else:
        code = ["from unmask import Encoder", 'encoder = Encoder.from_pretrained(".")  # this folder']
    parts = ["## Use", _python(*code)]
    if facts["architecture"]["class"] is not None:
        kind = f"AutoModel{'' if _kind(facts) == 'Model' else _kind(facts)}"
        calls = ['tokenizer = AutoTokenizer.from_pretrained(".")', f'model = {kind}.from_pretrained(".")']
        parts += ["Its layout is public:", _python(f"from transformers import {kind}, AutoTokenizer", *calls)]
    else:
        lacking = ", ".join(facts["architecture"]["not_in_layout"])
        parts.append(f"No public layout can express what it computes ({lacking}), so unmask alone reads it.")
    return "\n\n".join(parts)


def _python(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _architecture(facts: Mapping[str, Any]) -> str:
    vocabulary, parameters, memory = facts["vocabulary"], facts["parameters"], facts["memory"]
    skipped = ("family", "layout", "not_in_layout", "class")
    settings = [f"{name} {_plain(value)}" for name, value in facts["architecture"].items() if name not in skipped]
    parts = [f"{name.replace('_', ' ')} {count:,}" for name, count in parameters["encoder"].items()]
    heads = [f"{name} {count:,}" for name, count in parameters["heads"].items()]
    case = "cased" if vocabulary["cased"] else "lower case"
    cost = [
        f"{sum(parts.values()) - parts['masked']:.3g} at {int(length):,} tokens"
        for length, parts in facts["flops_per_token"].items()
    ]
    rows = {
        "settings": ", ".join(settings),
        "parameters": f"{parameters['total']:,}: {', '.join(parts)}",
        "heads": ", ".join(heads) or "none",
        "vocabulary": f"{vocabulary['size']:,} tokens, {vocabulary['kind']}, {case}",
        "memory": f"{size(memory['float32'])} in float32, {size(memory['bfloat16'])} in bfloat16",
        "FLOPs of a token": ", ".join(cost),
        **{f"sha256 of {name}": f"`{digest}`" for name, digest in facts["sha256"].items()},
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["## Architecture", "", "| | |", "|---|---|", *lines])


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _provenance(facts: Mapping[str, Any]) -> str:
    parts = ["## How it came about"]
    for number, entry in enumerate(facts["lineage"], start=1):
        values = {name: value for name, value in entry.items() if name != "kind" and value is not None}
        recipe = values.pop("recipe", None)
        items = [f"`{values.pop('source')}`"] if values.pop("hub", False) else []
        items += [f"{name.replace('_', ' ')} {_format_value(value)}" for name, value in _flat(values)]
        parts.append(f"{number}. {entry.get('kind', 'unknown')}: {', '.join(items)}".rstrip(": "))
        if recipe:
            text = yaml.safe_dump(strip_paths(recipe), sort_keys=False, allow_unicode=True)
            parts.append(f"<details><summary>recipe</summary>\n\n```yaml\n{text}```\n\n</details>")
    if len(parts) == 1:
        parts.append("The folder does not say.")
    return "\n\n".join(parts)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Values inside values under the names of both."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        else:
            yield f"{before}{name}", value


def _format_value(value: Any) -> str:
    if isinstance(value, int):
        return _plain(value) if isinstance(value, bool) else f"{value:,}"
    return f"`{strip_paths(value)}`"


def strip_paths(value: Any) -> Any:
    """Plain values with nothing left of a path but its last name: the rest is of one machine."""
    if isinstance(value, Mapping):
        return {name: strip_paths(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strip_paths(inner) for inner in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PurePath(value.replace("\\", "/")).name
    return value


def _limits(facts: Mapping[str, Any]) -> str:
    length = facts["architecture"]["max_position_embeddings"]
    lines = [
        f"- It reads at most {length:,} tokens at a time, special tokens included.",
        "- It has the gaps and the bias of its data; nothing here has been checked for that.",
    ]
    if facts["task"]:
        lines.append("- Evaluate it on data of your own: `unmask evaluate`.")
    elif any(entry.get("kind") == "grow" for entry in facts["lineage"][-1:]):
        lines.append("- Its newest tokens were never trained: pretrain it further before anything else.")
    else:
        lines.append("- It was not trained for a task: fine-tune it first, `unmask finetune`.")
    return "\n".join(["## Limits", "", *lines])
