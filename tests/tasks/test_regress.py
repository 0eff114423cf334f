"""A number for a text: the standardised loss, the folded last layer, errors and correlations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from errors import refused
from reading import examples_of
from task_helpers import learner_of, rows_of
from unmask.console import SILENT
from unmask.data.rows.example import Example
from unmask.heads.text import RegressHead
from unmask.learner.batch import pack
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.runtime.predictor import load
from unmask.tasks import restore
from unmask.tasks.regress import NumberStatistics, Regress, RegressTask
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune

SETTINGS = Regress(max_length=32, classifier_dropout=0.0)


def examples(*numbers: float | None) -> list[Example]:
    return [Example("winter " * (n + 1), None, number, str(n), n + 2, "rows.csv") for n, number in enumerate(numbers)]


def test_the_numbers_of_the_training_rows_are_kept(tokenizer: Tokenizer) -> None:
    task = RegressTask.build(SETTINGS, tokenizer, examples(1.0, 3.0, 5.0))
    assert task.statistics == NumberStatistics(3.0, pytest.approx((8 / 3) ** 0.5), 1.0, 5.0)  # type: ignore[arg-type]
    again = restore(task.schema(), tokenizer)
    assert isinstance(again, RegressTask) and again.statistics == task.statistics
    with refused("rows.csv", "2 rows", "2.5", "--label-column"):
        RegressTask.build(SETTINGS, tokenizer, examples(2.5, 2.5))


def test_the_loss_is_in_deviations_and_outputs_in_the_unit_of_the_rows(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, tokenizer: Tokenizer
) -> None:
    given = examples(100.0, 300.0, 500.0)
    task, encoder = RegressTask.build(SETTINGS, tokenizer, given), make_encoder(tiny)
    rows = rows_of(task, given)
    learner = learner_of(task, encoder, rows)
    assert isinstance(learner.head, RegressHead)
    torch.nn.init.normal_(learner.head.classifier.weight)
    part = learner.train()(pack(rows)).terms["regress"]
    total, mean, deviation = 0.0, 300.0, np.std([100, 300, 500])
    for row, example in zip(rows, given, strict=True):
        alone = pack([row])
        hidden = encoder(alone.input_ids, alone.layout, alone.token_type_ids)
        pooled = torch.tanh(learner.head.pooler.transform.dense(hidden[0]))
        standard = learner.head.classifier(pooled).item()
        assert learner.head(hidden, alone).item() == pytest.approx(standard * deviation + mean, rel=1e-5)
        total += (standard - (example.number - mean) / deviation) ** 2  # type: ignore[operator]
    assert part.sum.item() == pytest.approx(total, rel=1e-4) and part.count == 3


def test_mean_and_deviation_become_weights_when_saved(tiny: EncoderConfig, tokenizer: Tokenizer) -> None:
    task = RegressTask(SETTINGS, tokenizer, NumberStatistics(-7.0, 2.5))
    head = RegressHead(task, tiny)
    torch.nn.init.normal_(head.classifier.bias)
    assert head.saved_modules()["classifier"] is head.classifier
    head.init_from_counts(task, [])
    folded, pooled = head.saved_modules()["classifier"], torch.randn(4, tiny.hidden_size)
    assert torch.allclose(folded(pooled), head.classifier(pooled) * 2.5 - 7, atol=1e-5)


def test_a_published_model_gives_the_number_itself(pretrained: Path, numbers: Path, tmp_path: Path) -> None:
    """What any library computes from the public layout: classifier(tanh(pooler([CLS]))), in the unit of the rows."""
    fast = ["task.max_length=32", "train.budget=40 steps", "train.optimizer.lr=0.01"]
    run = finetune(
        None, fast, model=pretrained, task="regress", train=numbers, output=tmp_path / "run", progress=SILENT
    )
    predictor = load(run.model)
    examples = examples_of(numbers, "number")
    predicted = predictor.predict(examples)
    assert np.std(predicted) > 3 and 10 < np.mean(predicted) < 40  # not in deviations
    tensors = load_file(run.model / "model.safetensors")
    batch = pack(rows_of(predictor.task, examples[:1]))
    with torch.no_grad():
        hidden = predictor.engine.encoder(batch.input_ids, batch.layout, batch.token_type_ids)[0]
        dense = tensors["bert.pooler.dense.weight"] @ hidden + tensors["bert.pooler.dense.bias"]
        value = tensors["classifier.weight"] @ torch.tanh(dense) + tensors["classifier.bias"]
    assert value.item() == pytest.approx(predicted[0], rel=1e-4)
    assert predictor("river", "stone") == predictor.predict([("river", "stone")])[0]
    scores = predictor.evaluate(numbers)
    truth = [example.number for example in examples]
    assert scores.figures["pearson"].value == pytest.approx(stats.pearsonr(truth, predicted)[0])
    assert run.dev["regress.pearson"] > 0.5 and run.metric == "regress.pearson"


def test_less_of_an_error_is_better(pretrained: Path, numbers: Path, tmp_path: Path) -> None:
    """The step that is kept is the one with the least error, not with the most."""
    import json

    fast = ["task.metric=mae", "task.max_length=32", "train.budget=24 steps"]
    fast += ["train.evaluations=4", "train.optimizer.lr=0.01"]
    run = finetune(
        None, fast, model=pretrained, task="regress", train=numbers, output=tmp_path / "run", progress=SILENT
    )
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    errors = [row["evaluation"]["regress.mae"] for row in rows if row.get("evaluation")]
    assert len(errors) >= 4 and run.dev["regress.mae"] == pytest.approx(min(errors))
