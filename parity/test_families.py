"""Every family: written by the peer, read here, compared; written here, read there, compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from parity.conftest import AUTO, HEADS, LABELS, NAMES, configurations, publish
from unmask import bundle
from unmask.bundle import export
from unmask.model.encoder import Encoder
from unmask.model.layout import SequenceLayout
from unmask.model.mlm_head import MLMHead
from unmask.model.pooler import HeadTransform
from unmask.runtime.predictor import load
from unmask.text.tokenizer import Tokenizer

LENGTHS = [20, 17, 9, 2]  # local layers of ModernBERT see 4 tokens on each side


def peer_inputs(vocabulary: int, segments: int) -> dict[str, torch.Tensor]:
    """ids without the first pieces: the peer takes the id of padding where it counts positions."""
    torch.manual_seed(1)
    longest = max(LENGTHS)
    mask = torch.arange(longest) < torch.tensor(LENGTHS).unsqueeze(1)
    ids = torch.randint(5, vocabulary, mask.shape).masked_fill(~mask, 0)
    given = {"input_ids": ids, "attention_mask": mask.long()}
    if segments == 2:
        given["token_type_ids"] = (torch.arange(longest) > 5).long().expand(mask.shape) * mask
    return given


def states(encoder: Encoder, given: dict[str, torch.Tensor], packed: bool) -> torch.Tensor:
    """Ours at the tokens, (tokens, width)."""
    mask = given["attention_mask"].bool()
    segments = given.get("token_type_ids")
    with torch.inference_mode():
        if packed:
            return encoder(
                given["input_ids"][mask],
                SequenceLayout.packed(LENGTHS),
                None if segments is None else segments[mask],
            )
        return encoder(given["input_ids"], SequenceLayout.padded(mask), segments)[mask]


def outputs(opened: bundle.Bundle, head: str, hidden: torch.Tensor, encoder: Encoder) -> torch.Tensor:
    """What the head of this kind makes of hidden states at the tokens, by our modules."""
    config = opened.config
    with torch.inference_mode():
        if head == "Model":
            return hidden
        if head == "ForMaskedLM":
            masked = MLMHead(config)
            opened.load_into(masked, "masked")
            return masked(hidden, encoder)
        if head == "ForSequenceClassification":
            raise AssertionError("compared through the predictor")
        name = "classifier" if head == "ForTokenClassification" else "qa_outputs"
        if opened.has_head("pooler"):
            transform = HeadTransform(config)
            for prefix, module in transform.saved_modules().items():
                opened.load_into(module, prefix)
            hidden = transform(hidden)
        weight, bias = (opened.tensors[f"{name}.{kind}"] for kind in ("weight", "bias"))
        return torch.nn.functional.linear(hidden, weight, bias)


def peer_outputs(model: Any, head: str, given: dict[str, torch.Tensor]) -> torch.Tensor:
    mask = given["attention_mask"].bool()
    with torch.inference_mode():
        said = model(**given)
    if head == "Model":
        return said.last_hidden_state[mask]
    if head == "ForQuestionAnswering":
        return torch.stack([said.start_logits, said.end_logits], -1)[mask]
    return said.logits if head == "ForSequenceClassification" else said.logits[mask]


def segments_of(config: Any) -> int:
    return 2 if getattr(config, "type_vocab_size", 0) == 2 and config.model_type != "modernbert" else 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", [head for head in HEADS if head != "ForSequenceClassification"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_written_there_read_here(name: str, head: str, packed: bool, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = configurations(tokenizer.vocab_size)[name]
    model = publish(config, head, tokenizer, tmp_path)
    opened = bundle.read(tmp_path)
    encoder = opened.encoder().eval()
    given = peer_inputs(tokenizer.vocab_size, segments_of(config))
    ours = outputs(opened, head, states(encoder, given, packed), encoder)
    theirs = peer_outputs(model, head, given)
    if head == "ForTokenClassification":  # in our order of the tags
        theirs = theirs[:, [LABELS[head].index(tag) for tag in ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")]]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", HEADS)
def test_written_here_read_there_with_the_same_bytes(
    name: str, head: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """What the peer loads of our export computes the same, and holds the tensors that it wrote."""
    config = configurations(tokenizer.vocab_size)[name]
    model = publish(config, head, tokenizer, tmp_path / "theirs")
    opened = bundle.read(tmp_path / "theirs")
    said = export(opened, tmp_path / "ours")
    again = AUTO[head].from_pretrained(tmp_path / "ours").eval()
    assert type(again).__name__.endswith(head)
    if head != "Model":
        assert said.endswith(head)
    given = peer_inputs(tokenizer.vocab_size, segments_of(config))
    theirs, back = (peer_outputs(m, head, given) for m in (model, again))
    if head in LABELS:
        assert sorted(again.config.id2label.values()) == sorted(LABELS[head])
        theirs = theirs[..., [model.config.label2id[again.config.id2label[n]] for n in range(len(LABELS[head]))]]
    torch.testing.assert_close(back, theirs, atol=1e-5, rtol=1e-5)
    before, after = (
        {
            n.removeprefix("bert.")
            .removeprefix("roberta.")
            .removeprefix("albert.")
            .removeprefix("distilbert.")
            .removeprefix("electra.")
            .removeprefix("model."): t
            for n, t in load_file(tmp_path / side / "model.safetensors").items()
        }
        for side in ("theirs", "ours")
    )
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        if head == "ForTokenClassification" and key.startswith("classifier"):
            continue  # its rows stand in our order
        assert tensor.numpy().tobytes() == after[key].numpy().tobytes(), key


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_predicts_what_the_peer_predicts(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = configurations(tokenizer.vocab_size)[name]
    head = "ForSequenceClassification"
    model = publish(config, head, tokenizer, tmp_path)
    predictor = load(tmp_path)
    texts = ["the quick dog", "今天天气很好 over the lazy dog then it sleeps", "fox"]
    for text, found in zip(texts, predictor.predict(texts), strict=True):
        ids = torch.tensor([tokenizer.encode(text).input_ids])
        with torch.inference_mode():
            wanted = model(input_ids=ids).logits.softmax(-1)[0]
        ours = torch.tensor([next(one.score for one in found if one.label == label) for label in LABELS[head]])
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_tagger_says_what_the_peer_says(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Its emissions at the first pieces of words, through our own head."""
    config = configurations(tokenizer.vocab_size)[name]
    model = publish(config, "ForTokenClassification", tokenizer, tmp_path)
    predictor = load(tmp_path)
    from unmask.data.rows.example import Example
    from unmask.runtime.backend import infer

    text = "the quick brown fox jumps"
    rows, _ = predictor.task.encode([Example(text, None, None, "0", 1, "here")])
    evidence = infer(predictor.backend, predictor.task, rows)[0]
    with torch.inference_mode():
        wanted = model(input_ids=torch.tensor([rows[0].input_ids.tolist()])).logits[0].log_softmax(-1)
    order = [LABELS["ForTokenClassification"].index(tag) for tag in predictor.task.tags.tags]  # type: ignore[attr-defined]
    torch.testing.assert_close(
        torch.from_numpy(evidence).log_softmax(-1), wanted[rows[0].positions][:, order], atol=1e-5, rtol=1e-5
    )  # type: ignore[attr-defined]


# the epsilon of DistilBERT is none of its settings
ALTERED = [
    (name, altered)
    for name in NAMES
    for altered in ("hidden_act", "epsilon", "bias")
    if (name, altered) != ("distilbert", "epsilon")
]


@pytest.mark.parametrize(("name", "altered"), ALTERED)
def test_the_comparison_notices(name: str, altered: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """One other activation, epsilon or bias in the file, and the comparison above fails."""
    config = configurations(tokenizer.vocab_size)[name]
    model = publish(config, "ForMaskedLM", tokenizer, tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    if altered == "bias":
        tensors = load_file(tmp_path / "model.safetensors")
        names = [
            n
            for n in tensors
            if n.endswith("bias") and "k_lin" not in n and ("layer.1" in n or "layers.1" in n or "layer_groups.0" in n)
        ]
        if not names:
            names = [n for n in tensors if n.endswith("attn_norm.weight")][:1]  # there are no biases
        tensors[names[0]][0] += 0.05
        from safetensors.torch import save_file

        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    else:
        keys = {
            "hidden_act": ("hidden_act", "hidden_activation", "activation"),
            "epsilon": ("layer_norm_eps", "norm_eps"),
        }[altered]
        key = next(key for key in keys if key in said)
        said[key] = {"hidden_act": "silu", "epsilon": 0.03}[altered]
        (tmp_path / "config.json").write_text(json.dumps(said))
    opened = bundle.read(tmp_path)
    encoder = opened.encoder().eval()
    given = peer_inputs(tokenizer.vocab_size, segments_of(config))
    ours = outputs(opened, "ForMaskedLM", states(encoder, given, True), encoder)
    assert not torch.allclose(ours, peer_outputs(model, "ForMaskedLM", given), atol=1e-5, rtol=1e-5)
