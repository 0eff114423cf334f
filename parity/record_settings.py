"""`python -m parity.record_settings` writes tests/public_settings.json: what transformers and sentence-transformers
make of the folders of tests/public_settings.py, so that the tests need neither."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers as hf

from tests.public_settings import KINDS, TEXTS, publish


def recorded(name: str, folder: Path) -> dict[str, Any]:
    """ids, and vectors with the similarity of the first two, or logits, at the first tokens of words for a tagger."""
    publish(name, folder)
    if (folder / "modules.json").is_file():
        from sentence_transformers import SentenceTransformer

        model: Any = SentenceTransformer(str(folder), device="cpu")
        vectors = model.encode(TEXTS)
        return {"outputs": rounded(vectors), "similarity": float(model.similarity(vectors[:1], vectors[1:2])[0, 0])}
    tokenizer: Any = hf.AutoTokenizer.from_pretrained(folder)
    tags = "TokenClassification" in KINDS[name].model
    auto: Any = hf.AutoModelForTokenClassification if tags else hf.AutoModelForSequenceClassification
    network = auto.from_pretrained(folder).eval()
    ids, outputs = [], []
    for text in TEXTS:
        encoded = tokenizer(text)
        ids.append(encoded["input_ids"])
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([ids[-1]])).logits[0]
        words = encoded.word_ids()
        firsts = [n for n, word in enumerate(words) if word is not None and word != words[n - 1]]
        outputs.append(rounded(logits[firsts] if tags else logits))
    return {"ids": ids, "outputs": outputs}


def rounded(values: Any) -> Any:
    return json.loads(json.dumps(values.tolist()), parse_float=lambda number: round(float(number), 6))


def main() -> None:
    hf.logging.set_verbosity_error()
    with TemporaryDirectory() as folder:
        found = {name: recorded(name, Path(folder) / "model") for name in KINDS}
    path = Path(__file__).parent.parent / "tests" / "public_settings.json"
    path.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
