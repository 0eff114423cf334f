"""What every task in `AnyTask` keeps to: trained, saved, loaded, predicted, evaluated, compared."""

import dataclasses
import json
import random
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from unmask import predict as module
from unmask.bundle import read
from unmask.config import dump, from_mapping
from unmask.console import SILENT
from unmask.evaluate.samples import predictions
from unmask.evaluate.saved import compare_predictions
from unmask.evaluate.simplest import simplest_baseline
from unmask.evaluate.tested import to_saved_predictions
from unmask.files import read_json
from unmask.predict import Predictor, load
from unmask.tasks import AnyTask, ReadOptions, restore
from unmask.tasks.scoring import score_predictions
from unmask.train.finetune import finetune

SETTINGS = typing.get_args(typing.get_args(AnyTask)[0])
KINDS = {  # a member of each kind that a task has: the file it is learnt from, and settings
    "classify": ("classify", "table", []),
    "classify, mean": ("classify", "table", ["task.pooling=mean"]),
    "classify, attention": ("classify", "table", ["task.pooling=attention"]),
    "classify, adaptive": ("classify", "table", ["task.head=adaptive"]),
    "classify, auc": ("classify", "table", ["task.metric=auc"]),
    "classify, labels": ("classify", "many_labels", ["task.target=labels"]),
    "classify, labels, tuned": (
        "classify",
        "many_labels",
        ["task.target=labels", "task.tune_thresholds=true", "task.metric=macro_f1"],
    ),
    "classify, number": ("classify", "numbers", ["task.target=number"]),
    "classify, number, error": ("classify", "numbers", ["task.target=number", "task.metric=rmse"]),
    "tag": ("tag", "tagged", []),
    "tag, crf": ("tag", "tagged", ["task.decoder=crf"]),
    "tag, lstm_hidden_size": ("tag", "tagged", ["task.lstm_hidden_size=8"]),
    "tag, spans": ("tag", "tagged", ["task.decoder=spans"]),
    "tag, spans, nested": ("tag", "nested", ["task.decoder=spans"]),
    "tag, plain": ("tag", "plain_tags", []),
    "tag, plain, crf": ("tag", "plain_tags", ["task.decoder=crf"]),
    "classify, windows": ("classify", "table", ["task.max_length=8", "task.long_texts=windows"]),
    "answer": ("answer", "questions", []),
    "answer, or none": ("answer", "doubtful_questions", []),
    "embed": ("embed", "pairs", []),
    "embed, symmetric": ("embed", "pairs", ["task.loss={name: contrastive, symmetric: true}"]),
    "embed, attention": ("embed", "pairs", ["task.pooling=attention", "task.normalize_embeddings=false"]),
    "embed, cls": ("embed", "pairs", ["task.pooling=cls", "task.metric=recall_10"]),
    "embed, scores": ("embed", "numbers", ["task.loss=cosine", "task.pooling=max"]),
    "embed, unsupervised": ("embed", "pairs", ["task.loss=unsupervised"]),
}
PUBLIC = {  # what others call the model, and its last layer
    "classify": ("BertForSequenceClassification", "classifier"),
    "tag": ("BertForTokenClassification", "classifier"),
    "answer": ("BertForQuestionAnswering", "qa_outputs"),
    "embed": ("BertModel", None),
}
# what makes a head our own, which nobody else computes
OWN = {"spans", "crf", "lstm", "mean", "attention", "adaptive"}
PROBLEMS = {
    "label": "single_label_classification",
    "labels": "multi_label_classification",
    "number": "regression",
    "tags": None,
    "answers": None,
    "vectors": None,
}


@dataclasses.dataclass(frozen=True)
class Trained:
    kind: str
    file: Path
    predictor: Predictor
    dev: dict[str, float]


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    task, fixture, settings = KINDS[request.param]
    file = request.getfixturevalue(fixture)
    fast = ["task.max_length=16", "train.budget=30 steps", "train.evaluations=2", "train.optimizer.lr=0.01"]
    out = tmp_path_factory.mktemp("runs") / "run"
    run = finetune(None, fast + settings, model=pretrained, task=task, train=file, out=out, progress=SILENT)
    return Trained(request.param, file, run.predictor(), run.dev)


def test_every_task_is_tried() -> None:
    assert {task for task, *_ in KINDS.values()} == {cls().name for cls in SETTINGS}


@pytest.mark.parametrize("cls", SETTINGS, ids=lambda cls: cls.__name__)
def test_settings_have_a_name_and_are_read_back(cls: Any) -> None:
    settings = cls()
    assert settings.name == typing.get_type_hints(cls)["name"].__args__[0]
    assert from_mapping(cls, dump(settings), "x") == settings


def plain(prediction: Any) -> Any:
    """A prediction without its probabilities, and these; numbers and vectors are like probabilities, which rounding
    may touch."""
    if isinstance(prediction, float | np.ndarray):
        return [], np.ravel(prediction).tolist()
    rows = [dataclasses.asdict(one) for one in prediction]
    scores = [row.pop("score") for row in rows]
    return rows, scores


def test_neighbours_order_and_batches_change_nothing(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = trained.predictor
    examples = predictor.task.read_test(trained.file, ReadOptions())[:40]
    raw = [e.text if e.pair is None else (e.text, e.pair) for e in examples]
    for given in (examples, raw):
        together = [plain(one) for one in predictor.predict(given)]
        order = random.Random(1).sample(range(len(given)), len(given))
        mixed = predictor.predict([given[number] for number in order])
        monkeypatch.setattr(module, "TOKENS_PER_BATCH", 40)
        small = predictor.predict(given)
        monkeypatch.undo()
        for place, number in enumerate(order):
            assert plain(mixed[place])[0] == together[number][0]
        for number, (rows, scores) in enumerate(together):
            for other in (small[number], *([predictor.predict([given[number]])[0]] if number < 8 else [])):
                assert plain(other)[0] == rows and plain(other)[1] == pytest.approx(scores, abs=1e-4)


def test_the_labels_of_an_example_do_not_reach_its_prediction(trained: Trained) -> None:
    predictor = trained.predictor
    examples = predictor.task.read_test(trained.file, ReadOptions())
    bare = [example.without_targets for example in examples]
    if predictor.task.kind != "vectors":  # which pairs teach without any label
        assert any(example.target or example.spans or example.answers for example in examples)
    assert not any(example.target or example.spans or example.answers for example in bare)
    for one, other in zip(predictor.predict(examples), predictor.predict(bare), strict=True):
        (rows, scores), (same, near) = plain(one), plain(other)
        assert rows == same and scores == pytest.approx(near, abs=1e-6)  # a GPU adds in any order


def test_what_was_saved_is_what_was_judged(trained: Trained) -> None:
    """The model of the best step, loaded again, gives the figure that was noted for it on the dev rows."""
    from unmask.train.finetune import load_rows
    from unmask.train.recipe import FinetuneRecipe, read_recipe

    task, run = trained.predictor.task, trained.predictor.bundle.folder.parent
    recipe = read_recipe(FinetuneRecipe, run / "recipe.yaml")
    _, dev = load_rows(recipe.data, recipe.seed, recipe.task)
    evaluation, predicted = trained.predictor.score(dev)
    assert evaluation.figures[task.metric].value == pytest.approx(trained.dev[task.metric_key])
    assert next(iter(evaluation.figures)) == task.metric and evaluation.rows == len(dev) == len(predicted)
    json.dumps(evaluation.to_dict())


def test_the_schema_makes_the_same_task(trained: Trained) -> None:
    task = trained.predictor.task
    again = restore(json.loads(json.dumps(task.schema())), task.tokenizer)
    assert (again.schema(), again.labels, again.metric) == (task.schema(), task.labels, task.metric)
    assert type(again) is type(task)


def test_the_public_layout_says_what_others_can_compute(trained: Trained) -> None:
    folder = trained.predictor.bundle.folder
    config = json.loads((folder / "config.json").read_text())
    kinds = set(trained.kind.split(", "))
    own = bool(kinds & OWN)
    architecture, layer = PUBLIC[trained.predictor.task.name]
    assert config["architectures"] == ["BertModel" if own else architecture]
    tensors = load_file(folder / "model.safetensors")
    names = config.get("id2label", {})
    outputs = [names[str(number)] for number in range(len(names))]
    if "spans" in kinds:
        assert tensors["pointer.ends.bias"].shape == (2 * len(outputs),)
    elif layer is None:
        assert all(name.startswith("bert.") or name == "pooling.query.weight" for name in tensors)
        assert (folder / "modules.json").is_file() is not own
    elif "adaptive" in kinds:
        assert tensors["adaptive.head.weight"].shape[1] == config["hidden_size"]
    else:
        width = 2 * 8 if "lstm" in kinds else config["hidden_size"]
        assert tensors[f"{layer}.weight"].shape == (len(outputs), width)
    assert config.get("problem_type") == (None if own else PROBLEMS[trained.predictor.task.kind])
    assert outputs == trained.predictor.task.public_architecture[1]
    assert any(name.startswith("crf.") for name in tensors) is ("crf" in trained.kind)
    assert read(folder).task == trained.predictor.task.schema()


def test_predictions_are_written_and_kept_and_compared(trained: Trained, tmp_path: Path) -> None:
    predictor, task = trained.predictor, trained.predictor.task
    examples = task.read_test(trained.file, ReadOptions())
    predicted = predictor.predict(examples)
    for example, prediction in zip(examples, predicted, strict=True):
        json.dumps(task.to_record(example, prediction, False))
        assert all(len(line) == len(task.columns(False)) for line in task.to_rows(example, prediction, False))
    ours = to_saved_predictions(predictor, examples, predicted, trained.file, ReadOptions())
    ours.save(tmp_path)
    least = simplest_baseline(task, examples, examples)
    found = compare_predictions([("ours", "pretrained", ours)], [least])
    assert found.scores[task.metric].value == pytest.approx(
        score_predictions(task, examples, predicted)[task.metric].value
    )
    assert [model["name"] for model in found.models] == ["ours", least.name] and len(found.differences) == 1
    samples = predictions(task, examples, predicted)
    assert samples and all("text" in row and "predicted" in row for row in samples)


def test_one_text_gives_what_one_wants_to_see(trained: Trained) -> None:
    text, pair = "river stone captain winter", None
    if trained.predictor.task.name == "answer":
        pair = "lantern river stone"
    given = text if pair is None else (text, pair)
    predictor = trained.predictor
    wanted = predictor.task.top_prediction(predictor.predict([given])[0])
    said = [predictor(text, pair), predictor([given])[0], load(predictor.bundle.folder)(text, pair)]
    if isinstance(wanted, np.ndarray):
        assert all(np.array_equal(one, wanted) for one in said)
    else:
        assert all(one == wanted for one in said)
    assert predictor([]) == []


def test_trained_again_it_begins_with_its_own_head(trained: Trained, tmp_path: Path) -> None:
    """For the same labels, and read in the same way: without learning anything it judges as before."""
    run = trained.predictor.bundle.folder.parent
    still = [
        "train.optimizer.lr=1e-30",
        "train.optimizer.weight_decay=0",
        "train.budget=1 step",
        "data.batch_size=4",
    ]
    recipe = [f"init_from={run}", *still]
    again = finetune(run / "recipe.yaml", recipe, out=tmp_path / "again", progress=SILENT)
    (head,) = read_json(again.folder / "run.json")["start"]["heads"].values()
    assert head == "kept" and again.dev == pytest.approx(trained.dev, abs=1e-4)
