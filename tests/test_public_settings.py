"""Settings and heads of public checkpoints, against what transformers and sentence-transformers computed with the very
folders (tests/public_settings.json, recorded by parity/record_settings.py from tests/public_settings.py)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from public_kinds import made
from safetensors.torch import load_file, save_file
from torch import Tensor

from errors import refused
from public_settings import KINDS, NETWORK, POOLING, SETTINGS, TEXTS, publish
from unmask import bundle
from unmask.bundle import export
from unmask.data.rows.example import Example
from unmask.files import read_json, write_json
from unmask.runtime.backend import infer
from unmask.runtime.predictor import load
from unmask.tasks.tag import TagTask
from unmask.text.tokenizer import SPECIAL_TOKEN, Tokenizer

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "public_settings.json").read_text())
TAGGERS = [name for name, kind in KINDS.items() if "Token" in kind.model]
VECTORS = [name for name in KINDS if name.startswith("vectors")]
CLASSIFIERS = [name for name in KINDS if name not in TAGGERS + VECTORS]


def test_every_kind_is_recorded() -> None:
    assert set(KINDS) == set(RECORDED)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_ids_and_outputs_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    predictor = load(publish(name, tmp_path / "model"))
    assert [one.input_ids for one in predictor.tokenizer.encode_batch(TEXTS)] == RECORDED[name]["ids"]
    outputs = np.array(RECORDED[name]["outputs"])
    if outputs.shape[1] == 1:
        assert predictor(TEXTS) == pytest.approx(outputs[:, 0].tolist(), abs=1e-5)
        return
    probabilities = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    ours = np.stack([ranking.probabilities for ranking in predictor.predict(TEXTS)])
    np.testing.assert_allclose(ours, probabilities, atol=1e-5)


@pytest.mark.parametrize("name", ["markers", "markers with blanks", "markers named alone", "a token of the vocabulary"])
def test_markers_stay_when_the_model_is_saved_and_exported(name: str, tmp_path: Path) -> None:
    folder = publish(name, tmp_path / "model")
    load(folder).save_pretrained(tmp_path / "saved")
    export(bundle.read(folder), tmp_path / "exported")
    for again in (tmp_path / "saved", tmp_path / "exported"):
        assert [one.input_ids for one in load(again).tokenizer.encode_batch(TEXTS)] == RECORDED[name]["ids"]


def test_the_tokens_of_the_roles_stay_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(publish("markers", tmp_path / "model"))
    for text in ("fox [SEP] lazy [CLS] dog", "[MASK] [E1] [PAD]", "[UNK]"):
        ids = tokenizer.encode(text).input_ids[1:-1]
        spelled = [tokenizer.special_tokens[role] for role in ("pad", "cls", "sep", "mask")]
        assert not {tokenizer.token_to_id(token) for token in spelled} & set(ids)


@pytest.mark.parametrize("name", ["markers", "markers with blanks", "a token of the vocabulary", "another role"])
def test_pretraining_never_masks_a_marker(name: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(publish(name, tmp_path / "model"))
    markers = {"[E1]", "[/E1]"} if "markers" in name else {"fox"}
    numbers = {tokenizer.token_to_id(marker) for marker in markers}
    for ids, flags in tokenizer.encode_texts(TEXTS):
        special = [bool(flag & SPECIAL_TOKEN) for flag in flags.tolist()]
        assert special == [number in numbers for number in ids.tolist()]
    assert numbers.isdisjoint(tokenizer.text_token_ids.tolist())


@pytest.mark.parametrize("kind", ["RoBERTa", "XLM-R", "ModernBERT", "ALBERT", "odd WordPiece"])
@pytest.mark.parametrize("flags", [{}, {"lstrip": True}, {"rstrip": True, "single_word": True}])
def test_markers_of_every_kind_of_tokenizer(kind: str, flags: dict[str, bool]) -> None:
    """Beside the library's own encoding; the tokens of the roles stay text."""
    import tokenizers

    theirs = tokenizers.Tokenizer.from_str(made(kind)[0].to_str())
    theirs.add_special_tokens([tokenizers.AddedToken("<e1>", **flags), tokenizers.AddedToken("</e1>", **flags)])
    config = {"pad_token": "PAD", "mask_token": "MASK"} if kind == "odd WordPiece" else {}
    ours = Tokenizer(theirs.to_str(), kind, config)
    for text in ("The <e1>river</e1> flows", "<e1> old mill </e1>", "x<e1>y </e1>.", "<e1></e1>"):
        expected = theirs.encode(text)
        assert ours.encode(text).input_ids == expected.ids, text
    cls = ours.special_tokens["cls"]
    assert ours.encode(f"the {cls} mill").input_ids.count(ours.cls_token_id) == 1


@pytest.mark.parametrize("kind", ["RoBERTa", "XLM-R", "end of word", "words"])
def test_lower_case_before_any_tokenizer(kind: str) -> None:
    ours = made(kind)[1]
    lowered = ours.lowercased()
    for text in ("The River FLOWS", "Crème BRÛLÉE und Äpfel", "中国 X=3"):
        assert lowered.encode(text).input_ids == ours.encode(text.lower()).input_ids
    assert lowered.lowercase and lowered.lowercased() is lowered


def words_and_best(name: str, predictor: Any, text: str, recorded: Any) -> tuple[list[tuple[int, int]], list[str]]:
    task = predictor.task
    assert isinstance(task, TagTask)
    rows, _ = task.encode([Example(text, None, None, "0", 1, "here")])
    np.testing.assert_allclose(infer(predictor.backend, task, rows)[0], recorded, atol=1e-5)
    outputs = KINDS[name].outputs
    assert isinstance(outputs, list)
    return [tuple(bounds) for bounds in rows[0].words.offsets.tolist()], [outputs[n] for n in np.argmax(recorded, 1)]  # type: ignore[attr-defined]


ENDS, BEGINS, OUTSIDE = "ELSU", "BSU", ("O", "X", "[CLS]", "[SEP]")


def spans_of(name: str, bounds: list[tuple[int, int]], tags: list[str]) -> list[tuple[int, int, str]]:
    """What the scheme says of tags, straight from its rules."""
    if name == "parts of speech":
        return [(*where, tag) for where, tag in zip(bounds, tags, strict=True)]
    pieces: list[list[Any]] = []
    before = "O"
    for (start, stop), given in zip(bounds, tags, strict=True):
        tag = "O" if given in OUTSIDE else given if "-" in given else f"I-{given}"
        if tag != "O":
            fresh = before == "O" or tag[2:] != before[2:] or tag[0] in BEGINS or before[0] in ENDS
            if fresh:
                pieces.append([start, stop, tag[2:]])
            pieces[-1][1] = stop
        before = tag
    return [tuple(piece) for piece in pieces]  # type: ignore[misc]


@pytest.mark.parametrize("name", TAGGERS)
def test_taggers_of_every_scheme(name: str, tmp_path: Path) -> None:
    """The outputs at each word, and the spans that the scheme makes of the most probable; saved and exported, too."""
    folder = publish(name, tmp_path / "model")
    load(folder).save_pretrained(tmp_path / "saved")
    export(bundle.read(folder), tmp_path / "exported")
    seen = set()
    for again in (folder, tmp_path / "saved", tmp_path / "exported"):
        predictor = load(again)
        for text, recorded in zip(TEXTS, RECORDED[name]["outputs"], strict=True):
            bounds, tags = words_and_best(name, predictor, text, recorded)
            found = [(span.start, span.end, span.label) for span in predictor(text)]
            assert found == spans_of(name, bounds, tags)
            seen |= set(tags)
    assert len(seen) > 1, "tags that change"
    names = read_json(tmp_path / "exported" / "config.json")["id2label"]
    assert list(names.values()) == KINDS[name].outputs


def test_the_label_of_a_given_token_is_that_of_its_first_word(tmp_path: Path) -> None:
    predictor = load(publish("parts of speech", tmp_path / "model"))
    text = "the lazy-dog jumps"
    example = Example(text, None, None, "0", 1, "here", tokens=((0, 3), (4, 12), (13, 18)))
    (whole,) = predictor.predict([text])
    (found,) = predictor.predict([example])
    at = {span.start: span.label for span in whole}
    assert [(span.start, span.end, span.label) for span in found] == [(*b, at[b[0]]) for b in example.tokens or ()]


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_are_those_of_sentence_transformers(name: str, tmp_path: Path) -> None:
    folder, recorded = publish(name, tmp_path / "model"), RECORDED[name]
    load(folder).save_pretrained(tmp_path / "saved")
    export(bundle.read(folder), tmp_path / "exported", sentences=True)
    for again in (folder, tmp_path / "saved", tmp_path / "exported"):
        predictor = load(again)
        np.testing.assert_allclose(predictor.encode(TEXTS), recorded["outputs"], atol=1e-5)
        assert predictor(TEXTS[0], TEXTS[1]) == pytest.approx(recorded["similarity"], abs=1e-4)


def test_settings_of_vectors_are_written_back(tmp_path: Path) -> None:
    for name, file, key, value in (
        ("vectors, lower case", NETWORK, "do_lower_case", True),
        ("vectors, cased", NETWORK, "do_lower_case", False),
        ("vectors, dot", SETTINGS, "similarity_fn_name", "dot"),
        ("vectors, first numbers", SETTINGS, "truncate_dim", 5),
        ("vectors, prompt", SETTINGS, "prompts", {"default": "the quick: "}),
    ):
        export(bundle.read(publish(name, tmp_path / "model")), tmp_path / "exported", sentences=True)
        assert read_json(tmp_path / "exported" / file)[key] == value


@pytest.mark.parametrize(
    ("file", "values", "names"),
    [
        (POOLING, {"pooling_mode_cls_token": True}, ("pooling_mode_cls_token, pooling_mode_mean_tokens",)),
        (POOLING, {"pooling_mode": ["mean", "max"]}, ("pooling_mode_max_tokens, pooling_mode_mean_tokens",)),
        (POOLING, {"pooling_mode": "weightedmean"}, ("weightedmean",)),
        (SETTINGS, {"similarity_fn_name": "hamming"}, ("similarity_fn_name", "hamming", "dot")),
        (SETTINGS, {"truncate_dim": -2}, ("truncate_dim", "-2")),
        (
            SETTINGS,
            {"default_prompt_name": "gone", "prompts": {"query": "q "}},
            ("default_prompt_name", "gone", "query"),
        ),
        (NETWORK, {"processing_kwargs": {"text": {"max_length": 3}}}, ("processing_kwargs", "max_length")),
        (NETWORK, {"query_length": 32}, ("query_length", "32")),
    ],
)
def test_settings_that_make_other_vectors_are_refused(
    file: str, values: dict[str, Any], names: tuple[str, ...], tmp_path: Path
) -> None:
    folder = publish("vectors", tmp_path / "model")
    path = folder / file
    write_json(path, {**(read_json(path) if path.is_file() else {}), **values})
    with refused(path, *names):
        bundle.read(folder)


def test_a_prompt_that_pooling_leaves_out_is_refused(tmp_path: Path) -> None:
    folder = publish("vectors, prompt", tmp_path / "model")
    write_json(folder / POOLING, {**read_json(folder / POOLING), "include_prompt": False})
    with refused(folder / SETTINGS, "default_prompt_name query", "include_prompt"):
        bundle.read(folder)


@pytest.mark.parametrize("kinds", [("Transformer", "Normalize", "Pooling"), ("Router",), ("Pooling", "Transformer")])
def test_parts_in_another_order_are_refused(kinds: tuple[str, ...], tmp_path: Path) -> None:
    folder = publish("vectors", tmp_path / "model")
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "", "Router": ""}
    write_json(folder / "modules.json", [{"path": paths[kind], "type": f"x.{kind}"} for kind in kinds])
    with refused(folder / "modules.json", kinds[0]):
        bundle.read(folder)


@pytest.mark.parametrize("place", ["config_sentence_transformers.json", "sentence_transformers", "sbert_ce"])
def test_the_activation_of_a_cross_encoder_is_applied(place: str, tmp_path: Path) -> None:
    folder = publish("one output", tmp_path / "model")
    expected = [1 / (1 + np.exp(-one[0])) for one in RECORDED["one output"]["outputs"]]
    write_activation(folder, place, "torch.nn.modules.activation.Sigmoid")
    export(bundle.read(folder), tmp_path / "exported")
    load(folder).save_pretrained(tmp_path / "saved")
    for again in (folder, tmp_path / "exported", tmp_path / "saved"):
        assert load(again)(TEXTS) == pytest.approx(expected, abs=1e-5)
    write_activation(folder, place, "torch.nn.modules.linear.Identity")
    assert load(folder)(TEXTS) == pytest.approx([one[0] for one in RECORDED["one output"]["outputs"]], abs=1e-5)
    write_activation(folder, place, "mine.Cubed")
    with refused(folder, "mine.Cubed", "Sigmoid"):
        bundle.read(folder)


def write_activation(folder: Path, place: str, name: str) -> None:
    config = read_json(folder / "config.json")
    if place.endswith(".json"):
        write_json(folder / place, {"activation_fn": name, "model_type": "CrossEncoder"})
    elif place == "sbert_ce":
        write_json(folder / "config.json", {**config, "sbert_ce_default_activation_function": name})
    else:
        write_json(folder / "config.json", {**config, "sentence_transformers": {"activation_fn": name}})


def change(folder: Path, alter: Callable[[dict[str, Tensor]], Any]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    alter(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def without(part: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if part in name]


@pytest.mark.parametrize(
    ("changes", "alter", "said"),
    [
        ({"problem_type": "regression"}, lambda tensors: None, "problem_type regression with 3 outputs"),
        ({"problem_type": "ranking"}, lambda tensors: None, "problem_type ranking"),
        ({}, without("pooler"), "pooler.weight"),
        ({}, without("pooler.dense.bias"), "pooler.bias"),
    ],
)
def test_a_head_that_is_not_read_is_left_out_with_the_reason(
    changes: dict[str, Any], alter: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = change(publish("no class", tmp_path / "model"), alter)
    config = {**read_json(folder / "config.json"), "architectures": ["BertForSequenceClassification"], **changes}
    write_json(folder / "config.json", config)
    opened = bundle.read(folder)
    assert opened.task is None and opened.encoder() is not None
    assert said in capsys.readouterr().err


DECODERS = {
    "bert": "cls.predictions.decoder",
    "roberta": "lm_head.decoder",
    "albert": "predictions.decoder",
    "distilbert": "vocab_projector",
    "electra": "generator_lm_head",
    "modernbert": "decoder",
}


@pytest.mark.parametrize("family", DECODERS)
def test_a_masked_head_with_its_own_matrix_is_left_out(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from public_settings import MODELS, Kind

    KINDS["untied"] = Kind(f"{family} ForMaskedLM", None, {"tie_word_embeddings": False})
    folder = publish("untied", tmp_path / "model")
    del KINDS["untied"]
    tied = bundle.read(folder)
    shape = next(
        shape
        for name, shape in MODELS[f"{family} ForMaskedLM"]["shapes"].items()
        if "word_emb" in name or "tok_emb" in name
    )
    name = f"{DECODERS[family]}.weight"
    change(folder, lambda tensors: tensors.update({name: torch.ones(shape)}))
    opened = bundle.read(folder)
    assert name in capsys.readouterr().err
    assert tied.has_head("masked") and not opened.has_head("masked") and not opened.has_head("pooler")
    encoder = {key for key in tied.tensors if key.startswith("encoder.")}
    assert encoder <= opened.tensors.keys() and all(torch.equal(opened.tensors[k], tied.tensors[k]) for k in encoder)
    with refused(folder, "masked"):
        load(folder).fill("the [MASK] fox")


@pytest.mark.parametrize("part", ["transform.dense.weight", "transform.LayerNorm", "predictions.bias"])
def test_a_masked_head_with_a_part_missing_is_left_out(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = change(publish("vectors", tmp_path / "model"), without(part))
    assert not bundle.read(folder).has_head("masked") and "masked" in capsys.readouterr().err


def test_of_two_biases_of_a_masked_head_that_of_the_decoder_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bias = publish("vectors", tmp_path / "model"), torch.arange(64.0)
    change(folder, lambda tensors: tensors.update({"cls.predictions.decoder.bias": bias}))
    assert torch.equal(bundle.read(folder).tensors["masked.bias"], bias)
    assert "cls.predictions.decoder.bias" in capsys.readouterr().err


def test_layers_beside_a_head_are_left_out(tmp_path: Path) -> None:
    """RoBERTa's own pooler, which its classifier does not use; a masked-LM head of ModernBERT beside a classifier."""
    pooler = {
        f"roberta.pooler.dense.{kind}": torch.ones(shape) for kind, shape in (("weight", (32, 32)), ("bias", (32,)))
    }
    table = {"decoder.weight": torch.ones(64, 32), "decoder.bias": torch.ones(64)}
    for family, unused in (
        ("roberta", pooler),
        ("modernbert", table),
        ("modernbert", {"decoder.bias": torch.ones(64)}),
    ):
        from public_settings import Kind

        KINDS["beside"] = Kind(f"{family} ForSequenceClassification")
        folder = publish("beside", tmp_path / "model")
        del KINDS["beside"]
        expected = [ranking.probabilities for ranking in load(folder).predict(TEXTS)]
        change(folder, lambda tensors, unused=unused: tensors.update(unused))
        ours = [ranking.probabilities for ranking in load(folder).predict(TEXTS)]
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(("architectures", "rows"), [([], 2), (None, 2), (["BertForMyAnswers"], 2), ([], 3)])
def test_answers_are_known_by_their_layer(
    architectures: list[str] | None, rows: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publish("vectors", tmp_path / "model")
    (folder / "modules.json").unlink()
    head = {"qa_outputs.weight": torch.ones(rows, 32), "qa_outputs.bias": torch.ones(rows)}
    change(folder, lambda tensors: tensors.update(head))
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "architectures": architectures})
    task = bundle.read(folder).task
    if rows == 2:
        assert task is not None and task["name"] == "answer"
    else:
        assert task is None and "3 outputs" in capsys.readouterr().err


def test_words_do_not_hold_the_blanks_that_a_marker_takes(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(publish("markers with blanks", tmp_path / "model"))
    for text in TEXTS:
        assert all(text[start:stop] == text[start:stop].strip() for start, stop in tokenizer.encode(text).offsets)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"id2label": {"2": "c", "0": "a", "1": "b"}}, ["a", "b", "c"]),
        ({"id2label": None, "label2id": {"x": 0, "z": 2, "y": 1}}, ["x", "y", "z"]),
        ({"id2label": None, "label2id": None, "num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ],
)
def test_labels_under_older_keys(changes: dict[str, Any], labels: list[str], tmp_path: Path) -> None:
    folder = publish("no class", tmp_path / "model")
    write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})
    assert load(folder).task.labels == labels


def test_a_text_is_as_long_as_the_tokenizer_allows(tmp_path: Path) -> None:
    folder = publish("one output", tmp_path / "model")
    write_json(
        folder / "tokenizer_config.json", {**read_json(folder / "tokenizer_config.json"), "model_max_length": 12}
    )
    assert load(folder).task.settings.max_length == 12
