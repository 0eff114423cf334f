"""The run folder: whose it is, what is written into it, and how it is held."""

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from errors import refused
from unmask import files
from unmask.errors import UserError
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.run import Run, interruptible


def recipe(**train: object) -> PretrainRecipe:
    return parse_recipe(PretrainRecipe, {"data": {"corpus": "c"}, "train": train}, (), "the test")


def open_run(folder: Path, **train: object) -> Run:
    return Run(folder, recipe(**train), "pretrain")


def test_a_new_run_writes_down_what_it_is(tmp_path: Path) -> None:
    with open_run(tmp_path / "a" / "run", budget="7 steps") as run:
        facts = files.read_json(run.folder / "run.json")
        assert facts["kind"] == "pretrain" and facts["environment"]["torch"] and not run.outcome()
        assert "budget: 7 steps" in (run.folder / "recipe.yaml").read_text()
        run.write_facts(finished={"steps": 7})
        assert run.outcome() and run.facts()["kind"] == "pretrain"


def test_the_same_recipe_is_the_same_run_and_another_is_refused_with_the_difference(tmp_path: Path) -> None:
    for _ in range(2):
        with open_run(tmp_path, budget="7 steps"):
            (tmp_path / "checkpoints").mkdir(exist_ok=True)  # something is saved
    with (
        refused(tmp_path, "train.budget: 7 steps -> 8 steps", "train.optimizer.lr: None -> 0.5") as caught,
        open_run(tmp_path, budget="8 steps", optimizer={"lr": 0.5}),
    ):
        pass
    with open_run(tmp_path, budget="7 steps"):  # the refused one lets go of the folder, though its error lives on
        assert caught.value.facts["hint"]


def test_a_run_of_the_first_version_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        (tmp_path / "checkpoints").mkdir()
        run.write_facts(environment={"unmask": "0.1.0"})
    with refused(tmp_path, "0.1.0"), open_run(tmp_path):
        pass


def test_a_foreign_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with refused(tmp_path, "thesis.tex"), open_run(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_and_hidden_files_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    with open_run(tmp_path) as run:
        assert (run.folder / "recipe.yaml").is_file()


def test_a_recipe_of_the_user_s_own_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("# mine\n")
    with refused(tmp_path) as caught, open_run(tmp_path):
        pass
    assert caught.value.facts["given"] == "recipe.yaml"
    assert (tmp_path / "recipe.yaml").read_text() == "# mine\n"


def test_a_run_without_anything_saved_takes_another_recipe(tmp_path: Path) -> None:
    with open_run(tmp_path, budget="7 steps"):
        pass
    with open_run(tmp_path, budget="8 steps"):
        assert "budget: 8 steps" in (tmp_path / "recipe.yaml").read_text()


def test_a_recipe_that_was_damaged_is_told(tmp_path: Path) -> None:
    with open_run(tmp_path):
        (tmp_path / "checkpoints").mkdir()
    (tmp_path / "recipe.yaml").write_text("a: [1\n")
    with refused(f"{tmp_path / 'recipe.yaml'}, line 2"), open_run(tmp_path):
        pass


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with open_run(tmp_path) as first:
        child = os.fork()
        if child == 0:
            try:
                with open_run(tmp_path):
                    os._exit(0)
            except UserError as error:
                os._exit(7 if f"{tmp_path} is in use" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert first.facts()["kind"] == "pretrain"
    with open_run(tmp_path):
        pass


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says it; chmod would not stop root."""

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with refused(tmp_path / "run", os.strerror(errno.EACCES)), open_run(tmp_path / "run"):
        pass


def test_left_overs_of_a_kill_go_when_the_folder_is_taken_again(tmp_path: Path) -> None:
    with open_run(tmp_path):
        pass
    (tmp_path / ".run.json.0123abcd.tmp").write_text("{")
    with open_run(tmp_path):
        assert not list(tmp_path.glob(".*.tmp"))


def test_the_log_forgets_what_is_done_again_and_survives_a_half_line(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        for step in range(1, 6):
            run.append(step=step, loss=1 / step)
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 6, "lo')
        assert [row["step"] for row in files.read_jsonl(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
        run.truncate_log(3)
        run.append(step=4, loss=9.0)
        assert [(row["step"], row["loss"]) for row in files.read_jsonl(tmp_path / "metrics.jsonl")][2:] == [
            (3, 1 / 3),
            (4, 9.0),
        ]


def test_a_signal_is_a_request_and_a_second_one_an_end() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for number in (signal.SIGTERM, signal.SIGINT):
        with interruptible() as stop:
            assert stop.signal is None
            os.kill(os.getpid(), number)
            assert stop.signal == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with interruptible() as stop:
            seen.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_a_run_goes_on_with_the_data_that_it_began_with_alone(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.check_inputs(corpus="a")
        run.check_inputs(corpus="b")  # nothing is saved yet: nothing is lost
        run.checkpoints.folder.mkdir()
        run.check_inputs(corpus="b")
        with refused(tmp_path) as caught:
            run.check_inputs(corpus="c")
    assert caught.value.facts["given"] == "corpus"
