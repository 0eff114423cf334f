"""`python -m parity.record` writes tests/public_outputs.json: what the peer computes with small networks of every
family, so that the tests need no peer. The weights are drawn from the names of the tensors (tests/test_public.py)."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from parity.conftest import AUTO, LABELS, configurations
from tests.public_weights import drawn

IDS = [2, 17, 9, 44, 8, 61, 30, 12, 25, 7, 3]
PIECES = 64
HEADS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")


def recorded(config: Any, head: str) -> dict[str, Any]:
    if head in LABELS:
        config.id2label = dict(enumerate(LABELS[head]))
        config.label2id = {label: number for number, label in enumerate(LABELS[head])}
    model = AUTO[head].from_config(config).eval()
    state = {name: tensor for name, tensor in model.state_dict().items() if "decoder.weight" not in name}
    tied = [name for name in state if name.endswith(("vocab_projector.weight", "generator_lm_head.weight"))]
    shapes = {name: list(tensor.shape) for name, tensor in state.items() if name not in tied}
    shapes = {
        name: shape
        for name, shape in shapes.items()
        if not name.endswith("decoder.bias") or "modern" in config.model_type
    }
    if config.model_type == "roberta":
        shapes.pop("lm_head.decoder.bias", None)
    model.load_state_dict(drawn(shapes), strict=False)
    model.tie_weights()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([IDS])).logits[0]
    written = {
        **config.to_diff_dict(),
        "architectures": [type(model).__name__],
        "model_type": config.model_type,
    }
    return {
        "config": json.loads(json.dumps(written, default=str)),
        "shapes": shapes,
        "outputs": [[round(x, 6) for x in row[:6]] for row in logits.reshape(-1, logits.shape[-1]).tolist()],
    }


def main() -> None:
    hf.logging.set_verbosity_error()
    found = {
        f"{name} {head}": recorded(configurations(PIECES)[name], head)
        for name in configurations(PIECES)
        for head in HEADS
    }
    path = Path(__file__).parent.parent / "tests" / "public_outputs.json"
    said = {"transformers": hf.__version__, "ids": IDS, "pieces": PIECES, "models": found}
    path.write_text(json.dumps(said, indent=None, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
