"""Checkpoints: exact, whole or not there, and what happens when one is damaged or the disk is full."""

import errno
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from errors import refused
from unmask import files
from unmask.bundle import weights
from unmask.train.checkpoint import Checkpoints


def trained(steps: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(2, 4)).square().sum().backward()
        optimizer.step()
    return module, optimizer


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    kept = Checkpoints(tmp_path / "run" / "checkpoints")
    yield kept
    kept.close()


def save(checkpoints: Checkpoints, step: int, best: int | None = None) -> None:
    checkpoints.save({"step": step, "best_step": best}, *trained(step))
    checkpoints.wait()


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def test_everything_comes_back_exactly(checkpoints: Checkpoints) -> None:
    module, optimizer = trained(5)
    checkpoints.save({"step": 5, "best_step": None, "tokens": 77, "best": 0.1}, module, optimizer)
    fresh, its_optimizer = trained(0)
    checkpoints.wait()
    state = checkpoints.restore(fresh, its_optimizer)
    assert state is not None
    assert {k: state[k] for k in ("step", "tokens", "best")} == {"step": 5, "tokens": 77, "best": 0.1}
    assert same(dict(fresh.state_dict()), dict(module.state_dict()))
    assert same(its_optimizer.state_dict()["state"], optimizer.state_dict()["state"])
    for each, its in ((module, optimizer), (fresh, its_optimizer)):  # and go on alike
        its.zero_grad()
        each(torch.ones(1, 4)).sum().backward()
        its.step()
    assert same(dict(fresh.state_dict()), dict(module.state_dict()))


def test_saving_copies_before_it_returns(checkpoints: Checkpoints) -> None:
    module, optimizer = trained(1)
    before = module.weight.detach().clone()  # type: ignore[operator]
    checkpoints.save({"step": 1, "best_step": None}, module, optimizer)
    with torch.no_grad():
        module.weight.add_(1)  # type: ignore[operator]
    checkpoints.wait()
    fresh, its_optimizer = trained(0)
    checkpoints.restore(fresh, its_optimizer)
    assert torch.equal(fresh.weight, before)  # type: ignore[arg-type]


def test_nothing_saved_is_nothing_restored(checkpoints: Checkpoints) -> None:
    assert checkpoints.restore(*trained(0)) is None


def test_two_are_kept_and_the_best(checkpoints: Checkpoints) -> None:
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        save(checkpoints, step, best)
    assert names(checkpoints) == ["step-00000002", "step-00000004", "step-00000005"]
    save(checkpoints, 6, 6)
    assert names(checkpoints) == [
        "step-00000002",
        "step-00000005",
        "step-00000006",
    ]  # 5 still calls 2 its best
    save(checkpoints, 7, 6)
    assert names(checkpoints) == ["step-00000006", "step-00000007"]
    best, _ = trained(0)
    checkpoints.load_weights(6, best)
    assert torch.equal(best.weight, trained(6)[0].weight)  # type: ignore[arg-type]


def damage(path: Path, how: str) -> None:
    if how == "cut short":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "one bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("part", "how"),
    [
        *product(("learner.safetensors", "optimizer.safetensors"), ("cut short", "one bit", "empty", "gone")),
        *product(("state.json",), ("cut short", "empty", "gone")),
    ],
)
def test_a_damaged_newest_one_is_passed_over_which_is_said(
    checkpoints: Checkpoints, capfd: pytest.CaptureFixture[str], part: str, how: str
) -> None:
    save(checkpoints, 3)
    save(checkpoints, 4)
    damage(checkpoints.folder / "step-00000004" / part, how)
    fresh, optimizer = trained(0)
    state = checkpoints.restore(fresh, optimizer)
    assert state is not None and state["step"] == 3
    assert torch.equal(fresh.weight, trained(3)[0].weight)  # type: ignore[arg-type]
    told = " ".join(capfd.readouterr().err.split())
    assert "step-00000004" in told and "going back" in told
    save(checkpoints, 4)  # the damaged one is out of the way
    again = checkpoints.restore(*trained(0))
    assert again is not None and again["step"] == 4


def test_when_none_can_be_read_the_user_is_told(checkpoints: Checkpoints) -> None:
    for step in (3, 4):
        save(checkpoints, step)
        damage(checkpoints.folder / f"step-{step:08d}" / "learner.safetensors", "cut short")
    with refused(checkpoints.folder, "step-00000003, step-00000004", f"remove {checkpoints.folder.parent}"):
        checkpoints.restore(*trained(0))


def test_a_best_one_that_is_gone_is_told(checkpoints: Checkpoints) -> None:
    save(checkpoints, 3)
    with refused(checkpoints.folder / "step-00000009"):
        checkpoints.load_weights(9, trained(0)[0])


@given(content=st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b'"x"', b"3", b'{"sha256": 5}']))
def test_whatever_stands_in_state_json_the_one_before_is_taken(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    checkpoints = Checkpoints(tmp_path_factory.mktemp("c") / "checkpoints")
    save(checkpoints, 1)
    save(checkpoints, 2)
    (checkpoints.folder / "step-00000002" / "state.json").write_bytes(content)
    state = checkpoints.restore(*trained(0))
    checkpoints.close()
    assert state is not None and state["step"] == 1


def full(*_: object, **__: object) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name", "broken"),
    [(weights, "save_file", full), (files, "_replace", no_space), (files, "_sync", no_space)],
)
def test_a_full_disk_is_told_and_leaves_the_one_before(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, module: object, name: str, broken: object
) -> None:
    save(checkpoints, 1)
    with monkeypatch.context() as patched:
        patched.setattr(module, name, broken)
        with refused("step-00000002", "space"):
            save(checkpoints, 2)
    assert names(checkpoints) == ["step-00000001"]
    fresh, optimizer = trained(0)
    state = checkpoints.restore(fresh, optimizer)
    assert state is not None and state["step"] == 1
    assert torch.equal(fresh.weight, trained(1)[0].weight)  # type: ignore[arg-type]
    save(checkpoints, 2)
    assert names(checkpoints) == ["step-00000001", "step-00000002"]


def test_an_error_of_the_writer_comes_out_at_the_next_save(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "save_file", full)
    checkpoints.save({"step": 1, "best_step": None}, *trained(1))
    with refused("step-00000001", "space"):
        checkpoints.save({"step": 2, "best_step": None}, *trained(1))


def test_what_a_kill_left_half_written_is_removed(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    left = checkpoints.folder / ".step-00000002.0123abcd.tmp"
    left.mkdir()
    (left / "learner.safetensors").write_bytes(b"half")
    state = checkpoints.restore(*trained(0))
    assert state is not None and state["step"] == 1
    assert names(checkpoints) == ["step-00000001"]


def test_the_state_is_plain_json(checkpoints: Checkpoints) -> None:
    save(checkpoints, 2, best=2)
    state = json.loads((checkpoints.folder / "step-00000002" / "state.json").read_text())
    folder = checkpoints.folder / "step-00000002"
    assert state["sha256"] == {p: files.sha256(folder / f"{p}.safetensors") for p in ("learner", "optimizer")}
