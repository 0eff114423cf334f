"""Folders as other libraries write them, of settings that change what a model computes: `publish` makes them, for the
tests and for parity/record_settings.py alike. Weights are drawn from the names of the tensors."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from unmask.text.public import layout
from unmask.text.tokenizer import Tokenizer

try:
    from public_weights import drawn
except ImportError:  # from parity, which the root of the repository is on the path of
    from tests.public_weights import drawn

MODELS: dict[str, Any] = json.loads((Path(__file__).parent / "public_outputs.json").read_text())["models"]
TEXTS = [
    "the quick [E1] fox [/E1] jumps over the lazy dog.",
    "The QUICK  [E1]dog[/E1] 今天天气很好 Naïve 1999, the brown fox jumps over the lazy dog and the fox",
    "fox lazy, [e1]brown[/e1]dog Dog x[E1]jumps: over",
]
WORDS = (
    *(
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "lazy",
        "dog",
        "and",
        "naive",
        "naïve",
        "1999",
        ".",
        ",",
        "[",
        "]",
    ),
    *("The", "QUICK", "##ICK", "QU", "Naïve", "Naive", "##x", "e", "##1", "E", "e1", "E1", "/", "sep", "SEP", "F"),
    *("今", "天", "气", "很", "好", "今天", "##天", "##气", "##很", "##好", "jump", "##s", ":"),
)
MARKERS = ["[E1]", "[/E1]"]
POOLING, SETTINGS, NETWORK = "1_Pooling/config.json", "config_sentence_transformers.json", "sentence_bert_config.json"
PARTS = {"base.modules.transformer.Transformer": "", "sentence_transformer.modules.pooling.Pooling": "1_Pooling"}
SENTENCE = {
    "modules.json": [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (kind, path) in enumerate(PARTS.items())
    ],
    POOLING: {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
}


@dataclass(frozen=True)
class Kind:
    """model: of public_outputs.json; outputs: of its last layer, if not as there; config: of config.json; tokenizer: of
    tokenizer_config.json; added: changes of the tokens that tokenizer.json adds; files: others, by name."""

    model: str = "bert ForSequenceClassification"
    outputs: list[str] | int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Any] | None = None
    cased: bool = False
    files: dict[str, Any] = field(default_factory=dict)


def sentence(cased: bool = False, tokenizer: dict[str, Any] | None = None, **files: dict[str, Any]) -> Kind:
    names = {"pooling": POOLING, "settings": SETTINGS, "network": NETWORK}
    merged = {**SENTENCE, **{names[key]: {**SENTENCE.get(names[key], {}), **value} for key, value in files.items()}}
    return Kind("bert ForMaskedLM", None, {"architectures": ["BertModel"]}, tokenizer or {}, cased=cased, files=merged)


def tagger(*names: str, model: str = "bert", **config: Any) -> Kind:
    return Kind(f"{model} ForTokenClassification", list(names), config)


FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
DECODER = {
    str(50 + n): {**FLAGS, "content": marker, "lstrip": True, "rstrip": True} for n, marker in enumerate(MARKERS)
}
QUERY = {"prompts": {"query": "the quick: ", "passage": "fox "}, "default_prompt_name": "query"}
KINDS: dict[str, Kind] = {
    "markers": Kind(added={}),
    "markers with blanks": Kind(added={"lstrip": True, "rstrip": True}),
    "markers, single words": Kind(added={"single_word": True}),
    "markers, normalised": Kind(added={"normalized": True}),
    "markers, cut all the same": Kind(added={}, tokenizer={"split_special_tokens": True}),
    "markers named alone": Kind(tokenizer={"additional_special_tokens": MARKERS}),
    "markers, newer key": Kind(tokenizer={"extra_special_tokens": MARKERS}),
    "a token of the vocabulary": Kind(tokenizer={"additional_special_tokens": ["fox"]}),
    "another role": Kind(tokenizer={"entity_token": "fox"}),
    "flags in the other file": Kind(added={}, tokenizer={"added_tokens_decoder": DECODER}),
    "cased in the other file": Kind(tokenizer={"do_lower_case": False}),
    "Chinese in the other file": Kind(tokenizer={"tokenize_chinese_chars": False}),
    "cased, accents dropped": Kind(tokenizer={"do_lower_case": False, "strip_accents": True}),
    "one output": Kind(outputs=1),
    **{f"one output, {name}": Kind(f"{name} ForSequenceClassification", 1) for name in ("distilbert", "modernbert")},
    "no class": Kind(config={"architectures": None}),
    "unknown class": Kind(config={"architectures": ["MyBertForX"]}),
    "unknown class, electra": Kind("electra ForSequenceClassification", config={"architectures": ["MineForX"]}),
    "IO": tagger("I-PER", "O", "I-LOC"),
    "bare": tagger("PER", "LOC", "O", architectures=[]),
    "IOB1": tagger("B-LOC", "I-LOC", "I-PER", "O"),
    "BIOES": tagger("S-A", "B-A", "O", "E-A", "I-A", "B-B", "I-B", "E-B", "S-B", architectures=None),
    "BILOU": tagger("O", "B-A", "I-A", "L-A", "U-A", model="distilbert"),
    "parts of speech": tagger("NOUN", "VERB", "DET", "PUNCT"),
    "others beside": tagger("O", "B-PER", "I-PER", "X", "[CLS]", "[SEP]"),
    "vectors": sentence(),
    "vectors, lower case": sentence(cased=True, network={"do_lower_case": True}),
    "vectors, cased": sentence(cased=True, network={"do_lower_case": False}),
    "vectors, prompt": sentence(settings=QUERY),
    "vectors, dot": sentence(settings={"similarity_fn_name": "dot"}),
    "vectors, manhattan": sentence(settings={"similarity_fn_name": "manhattan"}),
    "vectors, first numbers": sentence(settings={"truncate_dim": 5}),
    "vectors, short": sentence(network={"max_seq_length": 12}),
    "vectors, short, newer": sentence(tokenizer={"model_max_length": 11}),
    "vectors, the end": sentence(tokenizer={"truncation_side": "left"}, network={"max_seq_length": 12}),
    "vectors, newer pooling": sentence(pooling={"pooling_mode": "cls"}),
}


def publish(name: str, folder: Path) -> Path:
    """Write the folder of a kind."""
    kind = KINDS[name]
    model = MODELS[kind.model]
    config, shapes = {**model["config"], **kind.config}, dict(model["shapes"])
    if kind.outputs is not None:
        names = kind.outputs if isinstance(kind.outputs, list) else [f"LABEL_{n}" for n in range(kind.outputs)]
        config |= {"id2label": dict(enumerate(names)), "label2id": {label: n for n, label in enumerate(names)}}
        shapes |= {"classifier.weight": [len(names), 32], "classifier.bias": [len(names)]}
    tensors = drawn(shapes)
    if isinstance(kind.outputs, list):  # so that tags change from word to word
        for part, tensor in tensors.items():
            if "norm" in part.lower():
                tensor.fill_(part.endswith("weight"))
            if part.endswith("word_embeddings.weight"):
                tensor *= 10
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    settings = layout.TokenizerConfig(lowercase=not kind.cased)
    Tokenizer(layout.tokenizer_json([*layout.SPECIALS, *WORDS], settings)).save_pretrained(folder)
    beside = folder / "tokenizer_config.json"
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **kind.tokenizer}))
    if kind.added is not None:
        content = json.loads((folder / "tokenizer.json").read_text())
        size = len(content["model"]["vocab"])
        content["added_tokens"] += [
            {"id": size + n, "content": token, **FLAGS, **kind.added} for n, token in enumerate(MARKERS)
        ]
        (folder / "tokenizer.json").write_text(json.dumps(content))
    for file, values in kind.files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(values))
    return folder
