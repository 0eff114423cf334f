"""Fine-tuning with further terms and passes: the same network, whatever the number of processes and their ways."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from task_helpers import learner_of, rows_of
from unmask.config import from_mapping
from unmask.data.rows.example import Example, Span, Spans
from unmask.data.sequences import RowSequences
from unmask.learner.batches import Batches
from unmask.learner.regularise import Regularisation
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.classify import Classify, ClassifyTask
from unmask.tasks.tag import Tag, TagTask
from unmask.text.tokenizer import Tokenizer
from unmask.train.budget import TrainConfig
from unmask.train.steps import optim
from unmask.train.steps.loop import LoopState, train_steps
from unmask.train.steps.parallel import World, join_world

TEXTS = [(n, f"river {'stone ' * (n % 5)}") for n in range(24)]
ROWS = {
    "classify": [Example(text, None, "abc"[n % 3], str(n), n, "f") for n, text in TEXTS],
    "tag": [Example(text, None, Spans((Span(0, 5, "PLACE"),)), str(n), n, "f") for n, text in TEXTS],
}
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "classify": (Classify, ClassifyTask, {"pooling": "attention", "loss": "focal"}),
    "tag": (Tag, TagTask, {"decoder": "crf", "lstm_hidden_size": 3}),
}
RUNS = [("classify", "ddp", 2), ("classify", "fsdp", 1), ("tag", "ddp", 1), ("tag", "fsdp", 2)]


def trained(tokenizer: Tokenizer, world: World, kind: str, how: Any = "ddp", parts: int = 1) -> dict[str, torch.Tensor]:
    """The weights after a few steps without dropout, and the losses of all terms on the way."""
    settings, task_cls, values = KINDS[kind]
    task = task_cls.build(
        from_mapping(settings, {**values, "max_length": 32, "classifier_dropout": 0}, "x"), tokenizer, ROWS[kind]
    )
    rows = rows_of(task, ROWS[kind])
    torch.manual_seed(world.rank)  # the weights of the main process count
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        num_hidden_layers=1,
        hidden_size=8,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    learner = learner_of(task, Encoder(config), rows, Regularisation(rdrop=2.0, fgm=1.0)).double()
    wrapped = world.wrap(learner, how).train()
    train = TrainConfig(budget="4 steps", precision="float64", optimizer=optim.OptimizerConfig(lr=0.02))
    rule = optim.build_optimizer(train.optimizer, world.unwrap(wrapped))
    batches = Batches(RowSequences(rows), 12, 0, parts, world.rank, world.size)
    told = list(train_steps(wrapped, rule, batches, train, LoopState(), 0, world))
    world.gather(wrapped, learner)
    assert set(told[0].losses) == {kind, "rdrop", "adversarial"}
    losses = [[step.loss, *step.losses.values(), step.grad_norm] for step in told]
    return {**learner.state_dict(), "losses": torch.tensor(losses, dtype=torch.float64)}


def test_one_process_or_two(tokenizer: Tokenizer, together: Callable[..., list[int]], tmp_path: Path) -> None:
    def work() -> None:
        with join_world() as world:
            for run in RUNS:
                weights = trained(tokenizer, world, *run)
                if world.is_main:
                    save_file(weights, tmp_path / ("-".join(map(str, run)) + ".safetensors"))

    assert together(2, work) == [0, 0], (tmp_path / "err-0").read_text()
    alone = {kind: trained(tokenizer, World("cpu"), kind) for kind in KINDS}
    assert all(told["losses"][:, 0].std() > 1e-3 for told in alone.values()), "it must learn"
    for run in RUNS:
        found = load_file(tmp_path / ("-".join(map(str, run)) + ".safetensors"))
        for name, wanted in alone[run[0]].items():
            torch.testing.assert_close(
                found[name], wanted, rtol=1e-4, atol=1e-5, msg=lambda m, n=name, r=run: f"{r}, {n}: {m}"
            )
