"""What every task in `AnyTask` keeps to: trained, saved, loaded, predicted, evaluated, compared."""

import dataclasses
import json
import os
import random
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorded_outputs
from contract_kinds import KINDS
from recorded_outputs import record
from safetensors.torch import load_file

from unmask.bundle import read
from unmask.config import dump, from_mapping
from unmask.console import SILENT
from unmask.evaluate.baselines import simplest_baseline
from unmask.evaluate.predictions import compare_predictions, to_saved_predictions
from unmask.evaluate.samples import predictions
from unmask.files import read_json
from unmask.heads import head_class
from unmask.runtime import backend
from unmask.runtime.formats import format_of
from unmask.runtime.predictor import Predictor, load
from unmask.tasks import TASKS, restore, task_of
from unmask.train.finetune import finetune
from unmask.train.recipe import AnyTask

SETTINGS = typing.get_args(typing.get_args(AnyTask)[0])
HERE = Path(__file__).parent
PUBLIC = {  # what others call the model, and its last layer
    "classify": ("BertForSequenceClassification", "classifier"),
    "multilabel": ("BertForSequenceClassification", "classifier"),
    "regress": ("BertForSequenceClassification", "classifier"),
    "nested": ("BertModel", "pointer"),
    "tag": ("BertForTokenClassification", "classifier"),
    "answer": ("BertForQuestionAnswering", "qa_outputs"),
    "embed": ("BertModel", None),
}
# what makes a head our own, which nobody else computes
OWN = {"nested", "crf", "lstm", "wide", "mean", "attention", "adaptive"}
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


def test_a_recipe_takes_the_settings_of_every_task() -> None:
    assert {cls().name: (cls.__name__, task_of(cls.name).__name__) for cls in SETTINGS} == TASKS


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    task, fixture, settings = KINDS[request.param]
    file = request.getfixturevalue(fixture)
    fast = ["task.max_length=16", "train.budget=30 steps", "train.evaluations=2", "train.optimizer.lr=0.01"]
    out = tmp_path_factory.mktemp("runs") / "run"
    run = finetune(None, fast + settings, model=pretrained, task=task, train=file, output=out, progress=SILENT)
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
    examples = predictor.read(trained.file).examples[:40]
    raw = [e.text if e.pair is None else (e.text, e.pair) for e in examples]
    for given in (examples, raw):
        together = [plain(one) for one in predictor.predict(given)]
        order = random.Random(1).sample(range(len(given)), len(given))
        mixed = predictor.predict([given[number] for number in order])
        monkeypatch.setattr(backend, "TOKENS_PER_BATCH", 40)
        small = predictor.predict(given)
        monkeypatch.undo()
        for place, number in enumerate(order):
            assert plain(mixed[place])[0] == together[number][0]
        for number, (rows, scores) in enumerate(together):
            for other in (small[number], *([predictor.predict([given[number]])[0]] if number < 8 else [])):
                assert plain(other)[0] == rows and plain(other)[1] == pytest.approx(scores, abs=1e-4)


def test_the_labels_of_an_example_do_not_reach_its_prediction(trained: Trained) -> None:
    predictor = trained.predictor
    examples = predictor.read(trained.file).examples
    bare = [example.without_targets for example in examples]
    if predictor.task.kind != "vectors":  # which pairs teach without any label
        assert any(example.target or example.spans or example.answers for example in examples)
    assert not any(example.target or example.spans or example.answers for example in bare)
    for one, other in zip(predictor.predict(examples), predictor.predict(bare), strict=True):
        (rows, scores), (same, near) = plain(one), plain(other)
        assert rows == same and scores == pytest.approx(near, abs=1e-6)  # a GPU adds in any order


def test_what_was_saved_is_what_was_judged(trained: Trained) -> None:
    """The model of the best step, loaded again, gives the figure that was noted for it on the dev rows."""
    from unmask.train.recipe import FinetuneRecipe, read_recipe
    from unmask.train.rows import prepare_rows

    task, run = trained.predictor.task, trained.predictor.manifest.folder.parent
    recipe = read_recipe(FinetuneRecipe, run / "recipe.yaml")
    dev = prepare_rows(recipe.data, recipe.seed, task_of(recipe.task).reads).dev
    evaluation, predicted = trained.predictor.score(dev)
    assert evaluation.figures[task.metric].value == pytest.approx(trained.dev[f"{task.name}.{task.metric}"])
    assert next(iter(evaluation.figures)) == task.metric and evaluation.rows == len(dev) == len(predicted)
    json.dumps(evaluation.to_dict())


def test_the_schema_makes_the_same_task(trained: Trained) -> None:
    task = trained.predictor.task
    again = restore(json.loads(json.dumps(task.schema())), task.tokenizer)
    assert (again.schema(), again.labels, again.metric) == (task.schema(), task.labels, task.metric)
    assert type(again) is type(task)


def test_the_public_layout_says_what_others_can_compute(trained: Trained) -> None:
    folder, task = trained.predictor.manifest.folder, trained.predictor.task
    config = json.loads((folder / "config.json").read_text())
    kinds = set(trained.kind.split(", "))
    own = bool(kinds & OWN)
    architecture, layer = PUBLIC[trained.predictor.task.name]
    assert config["architectures"] == ["BertModel" if own else architecture]
    tensors = load_file(folder / "model.safetensors")
    names = config.get("id2label", {})
    outputs = [names[str(number)] for number in range(len(names))]
    if "nested" in kinds:
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
    assert outputs == head_class(task).public_architecture(task, "bert")[1]
    assert any(name.startswith("crf.") for name in tensors) is ("crf" in trained.kind)
    schema = dict(read(folder).task or {})
    schema.pop("parameters", None)
    assert schema == task.schema()


def test_predictions_are_written_and_kept_and_compared(trained: Trained, tmp_path: Path) -> None:
    predictor, task = trained.predictor, trained.predictor.task
    rows = predictor.read(trained.file)
    examples = rows.examples
    predicted, written = predictor.predict(examples), format_of(task)
    for example, prediction in zip(examples, predicted, strict=True):
        json.dumps(written.to_record(example, prediction, False))
        lines = written.to_rows(example, prediction, False)
        assert all(len(line) == len(written.columns(False)) for line in lines)
    ours = to_saved_predictions(predictor, rows, predicted)
    ours.save(tmp_path)
    least = simplest_baseline(task, examples, examples)
    found = compare_predictions([("ours", "pretrained", ours)], [least])
    assert found.scores[task.metric].value == pytest.approx(predictor.score(examples)[0][task.metric].value)
    assert [model["name"] for model in found.models] == ["ours", least.name] and len(found.differences) == 1
    samples = predictions(task, examples, predicted)
    assert samples and all("text" in row and "predicted" in row for row in samples)


def test_one_text_gives_what_one_wants_to_see(trained: Trained) -> None:
    text, pair = "river stone captain winter", None
    if trained.predictor.manifest.reading["pairs"] and trained.predictor.task.reads != "pairs":
        pair = "lantern river stone"
    given = text if pair is None else (text, pair)
    predictor = trained.predictor
    wanted = predictor.task.top_prediction(predictor.predict([given])[0])
    said = [predictor(text, pair), predictor([given])[0], load(predictor.manifest.folder)(text, pair)]
    if isinstance(wanted, np.ndarray):
        assert all(np.array_equal(one, wanted) for one in said)
    else:
        assert all(one == wanted for one in said)
    assert predictor([]) == []


def test_trained_again_it_begins_with_its_own_head(trained: Trained, tmp_path: Path) -> None:
    """For the same labels, and read in the same way: without learning anything it judges as before."""
    run = trained.predictor.manifest.folder.parent
    still = [
        "train.optimizer.lr=1e-30",
        "train.optimizer.weight_decay=0",
        "train.budget=1 step",
        "data.batch_size=4",
    ]
    recipe = [f"init_from={run}", *still]
    again = finetune(run / "recipe.yaml", recipe, output=tmp_path / "again", progress=SILENT)
    (head,) = read_json(again.folder / "run.json")["init"]["heads"].values()
    assert head == "kept" and again.dev == pytest.approx(trained.dev, abs=1e-4)


def test_the_backend_computes_what_was_recorded(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and shapes of what the lower half decodes without torch (test_without_torch.py)."""
    if not os.environ.get("UNMASK_RECORD"):
        monkeypatch.setattr(recorded_outputs, "FOLDER", tmp_path)
    record(trained.kind, trained.predictor)
    name = recorded_outputs.file_of(trained.kind).name
    made, recorded = (dict(np.load(folder / name)) for folder in (recorded_outputs.FOLDER, HERE / "recorded"))
    shapes = [{name: x.shape[1:] for name, x in arrays.items()} for arrays in (made, recorded)]
    assert shapes[0] == shapes[1]


def test_threads_predict_what_one_thread_predicts(trained: Trained) -> None:
    predictor = load(trained.predictor.manifest.folder)
    examples = predictor.read(trained.file).examples[:24]
    expected = [plain(one) for one in trained.predictor.predict(examples)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: predictor.predict(examples), range(8)))
    assert all([plain(one) for one in predictions] == expected for predictions in made)
    assert all(predictions.notes == made[0].notes for predictions in made)
