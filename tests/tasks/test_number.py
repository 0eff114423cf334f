"""A number for a text: the standardised loss, the folded last layer, errors and correlations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from unmask.console import SILENT
from unmask.data.batch import pack
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.predict import load
from unmask.tasks import Classify, NumberTask, restore
from unmask.tasks.classifyhead import NumberHead, NumberLearner
from unmask.tasks.number import NumberStatistics
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune

SETTINGS = Classify(target="number", max_length=32, classifier_dropout=0.0)


def examples(*numbers: float | None) -> list[Example]:
    return [
        Example(str(n), "winter " * (n + 1), None, None, n + 2, "rows.csv", number=number)
        for n, number in enumerate(numbers)
    ]


def test_the_numbers_of_the_training_rows_are_kept(tokenizer: Tokenizer) -> None:
    task = NumberTask.build(SETTINGS, tokenizer, examples(1.0, 3.0, 5.0))
    assert task.statistics == NumberStatistics(3.0, pytest.approx((8 / 3) ** 0.5), 1.0, 5.0)  # type: ignore[arg-type]
    again = restore(task.schema(), tokenizer)
    assert isinstance(again, NumberTask) and again.statistics == task.statistics
    with pytest.raises(UserError, match="nothing to learn") as caught:
        NumberTask.build(SETTINGS, tokenizer, examples(2.5, 2.5))
    assert "2 rows, all with the number 2.5" in str(caught.value)


def test_the_loss_is_in_deviations_and_outputs_in_the_unit_of_the_rows(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, tokenizer: Tokenizer
) -> None:
    given = examples(100.0, 300.0, 500.0)
    task, encoder = NumberTask.build(SETTINGS, tokenizer, given), make_encoder(tiny)
    rows = task.encode(given)
    learner = task.learner(encoder, given, rows)
    assert isinstance(learner, NumberLearner)
    torch.nn.init.normal_(learner.head.classifier.weight)
    part = learner.train()(pack(rows)).terms["classify"]
    total, mean, deviation = 0.0, 300.0, np.std([100, 300, 500])
    for row, example in zip(rows, given, strict=True):
        alone = pack([row])
        hidden = encoder(alone.input_ids, alone.layout, alone.token_type_ids)
        pooled = torch.tanh(learner.head.pooler.transform.dense(hidden[0]))
        standard = learner.head.classifier(pooled).item()
        assert learner.head(hidden, alone).item() == pytest.approx(standard * deviation + mean, rel=1e-5)
        total += (standard - (example.number - mean) / deviation) ** 2  # type: ignore[operator]
    assert part.sum.item() == pytest.approx(total, rel=1e-4) and part.count == 3


def test_mean_and_deviation_become_weights_when_published(tiny: EncoderConfig) -> None:
    head = NumberHead(SETTINGS, tiny)
    torch.nn.init.normal_(head.classifier.bias)
    assert head.saved_modules()["classifier"] is head.classifier
    head.init_from_statistics(-7.0, 2.5)
    folded, pooled = head.saved_modules()["classifier"], torch.randn(4, tiny.hidden_size)
    assert torch.allclose(folded(pooled), head.classifier(pooled) * 2.5 - 7, atol=1e-5)


def test_a_published_model_gives_the_number_itself(pretrained: Path, numbers: Path, tmp_path: Path) -> None:
    """What any library computes from the public layout: classifier(tanh(pooler([CLS]))), in the unit of the rows."""
    fast = ["task.target=number", "task.max_length=32", "train.budget=40 steps", "train.optimizer.lr=0.01"]
    run = finetune(None, fast, model=pretrained, train=numbers, out=tmp_path / "run", progress=SILENT)
    predictor = load(run.model)
    examples = predictor.task.read(numbers, run_reading())
    predicted = predictor.predict(examples)
    assert np.std(predicted) > 3 and 10 < np.mean(predicted) < 40  # not in deviations
    tensors = load_file(run.model / "model.safetensors")
    batch = pack(predictor.task.encode(examples[:1]))
    with torch.no_grad():
        hidden = predictor.encoder(batch.input_ids, batch.layout, batch.token_type_ids)[0]
        dense = tensors["bert.pooler.dense.weight"] @ hidden + tensors["bert.pooler.dense.bias"]
        value = tensors["classifier.weight"] @ torch.tanh(dense) + tensors["classifier.bias"]
    assert value.item() == pytest.approx(predicted[0], rel=1e-4)
    assert predictor("river river stone") == predictor.predict(["river river stone"])[0]
    scores = predictor.evaluate(numbers)
    truth = [example.number for example in examples]
    assert scores.figures["pearson"].value == pytest.approx(stats.pearsonr(truth, predicted)[0])
    assert run.dev["classify.pearson"] > 0.5 and run.metric == "classify.pearson"


def run_reading():  # type: ignore[no-untyped-def]
    from unmask.tasks import ReadOptions

    return ReadOptions()


def test_less_of_an_error_is_better(pretrained: Path, numbers: Path, tmp_path: Path) -> None:
    """The step that is kept is the one with the least error, not with the most."""
    import json

    fast = ["task.target=number", "task.metric=mae", "task.max_length=32", "train.budget=24 steps"]
    fast += ["train.evaluations=4", "train.optimizer.lr=0.01"]
    run = finetune(None, fast, model=pretrained, train=numbers, out=tmp_path / "run", progress=SILENT)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    errors = [row["evaluation"]["classify.mae"] for row in rows if row.get("evaluation")]
    assert len(errors) >= 4 and run.dev["classify.mae"] == pytest.approx(min(errors))


def test_scores_and_the_rows_that_err_most(tokenizer: Tokenizer) -> None:
    task = NumberTask(SETTINGS, tokenizer, NumberStatistics(0, 1, 0, 1))
    scores = task.score(examples(1.0, 2.0, 3.0), [1.5, 2.0, 1.0])
    assert scores.figures["mae"].value == pytest.approx(2.5 / 3)
    assert scores.figures["rmse"].value == pytest.approx((4.25 / 3) ** 0.5)
    assert [row["line"] for row in scores.farthest] == [4, 2, 3]
    assert repr(scores).startswith("NumberEvaluation(3 rows, Pearson -0.5000")
    assert task.constant_baseline(examples(1.0, 2.0, 6.0)) == 3.0


def test_what_is_written(tokenizer: Tokenizer) -> None:
    task = NumberTask(SETTINGS, tokenizer, NumberStatistics(0, 1, 0, 1))
    (example,) = examples(None)
    assert task.to_record(example, 2.51234567, True) == {"id": "0", "line": 2, "number": 2.512346}
    assert task.to_rows(example, 2.5, True) == [["0", 2, 2.5]] and task.columns(True) == [
        "id",
        "line",
        "number",
    ]
    assert task.public_architecture == ("BertForSequenceClassification", ["number"])
