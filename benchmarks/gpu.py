"""Pretraining on a GPU: our learner and loop beside transformers' BertForMaskedLM with SDPA and torch.compile.

    python -m benchmarks.gpu CORPUS [--tiny] [--architecture house] > results.jsonl

CORPUS is a folder of `unmask corpus build`, with a vocabulary of about 30,000. BERT-base at sequences of 128 and 512
tokens, BERT-large at 128; products in bfloat16, AdamW with torch's fused kernel, gradients clipped, 15 % masked, no
dropout. Ours is the loop of a run, with compiled blocks: batches are packed and masked by its own thread. The peer
reads the same examples, padded to the full length, so that torch compiles one shape; its batches are masked and in
pinned memory before the timing starts, so that it never waits. Tokens that are not padding count. Each side is a
process of its own.

A line of JSON for each side and case: tokens and sequences a second; fill, the share of places that are tokens;
gemm_share and mfu (unmask.train.steps.speed), for both sides of the FLOPs that BERT needs for these tokens, with the
vocabulary at masked places; peak_memory in bytes. Cases that no longer fit into --limit seconds are left out, which
a line says. `--tiny` runs all of it in miniature, also on a CPU.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pretraining import ARCHITECTURES, SEED, bert_of, recipe_for

if TYPE_CHECKING:
    import torch

    from unmask.data.corpus.shards import Shards
    from unmask.learner.batch import Batch
    from unmask.learner.batches import Batches
    from unmask.train.pretrain import PretrainLearner

BASE = {"layers": 12, "width": 768, "heads": 12, "inner": 3072}
LARGE = {"layers": 24, "width": 1024, "heads": 16, "inner": 4096}
TINY = {"layers": 2, "width": 32, "heads": 2, "inner": 128}
CASES: dict[str, dict[str, int]] = {
    "base, 128": {**BASE, "length": 128, "batch_tokens": 131072},
    "base, 512": {**BASE, "length": 512, "batch_tokens": 131072},
    "large, 128": {**LARGE, "length": 128, "batch_tokens": 65536},
}
WARM = 4  # steps that do not count
TOGETHER = 5  # steps until the clock is read again: a GPU may run behind until then
READY = 8  # batches that the peer has in memory, and goes round in

Step = Callable[[], tuple[int, int]]  # a step of training -> tokens and sequences that it read


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tiny", action="store_true", help="small networks and steps, to see that it works")
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), default="bert", help="of ours")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--sides", nargs="+", choices=tuple(SIDES), default=list(SIDES))
    parser.add_argument("--seconds", type=float, default=8.0, help="of timed steps in each case (default 8)")
    parser.add_argument("--limit", type=float, default=230.0, help="seconds for all (default 230)")
    parser.add_argument("--ends", type=float, help=argparse.SUPPRESS)  # of a child: when, by time.time()
    options = parser.parse_args()
    if options.ends is None:
        ends = time.time() + options.limit
        for side in options.sides:
            command = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--ends", str(ends)]
            subprocess.run([*command, "--sides", side], check=False)
        return
    longest = 0.0  # seconds from the start of a case to its end, so far
    for name in options.cases:
        begun = time.time()
        told: dict[str, Any] = {"side": options.sides[0], "case": name, "architecture": options.architecture}
        if begun + max(options.seconds, longest) > options.ends:
            told["left_out"] = "no time is left"
        else:
            try:
                told |= measured(options.sides[0], settings_of(options, name), options.seconds)
            except Exception as error:  # the other cases are still worth their time
                told["error"] = f"{type(error).__name__}: {error}"[:500]
        longest = max(longest, time.time() - begun)
        print(json.dumps(told), flush=True)


def settings_of(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """A case as the settings that the recipe and the peer are made of."""
    case = CASES[name]
    if options.tiny:
        case = {**TINY, "length": case["length"] // 4, "batch_tokens": 512}
    return {**case, "corpus": str(options.corpus), "architecture": options.architecture, "dtype": "auto"}


def measured(side: str, settings: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """One side in one case."""
    import torch

    from unmask.data.corpus.shards import Shards
    from unmask.train.pretrain import build_batches, build_learner, fit_to_corpus
    from unmask.train.steps.device import resolve_precision
    from unmask.train.steps.parallel import World
    from unmask.train.steps.speed import measure_speed, synchronize

    device = torch.device(World().device)
    gc.collect()  # what is left of the case before
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    built = Shards.open(settings["corpus"])
    plain = fit_to_corpus(recipe_for({**settings, "architecture": "bert"}), built.tokenizer)
    batches = build_batches(plain, built)
    torch.manual_seed(SEED)
    begun = time.monotonic()
    step, close, facts = SIDES[side](settings, built, batches, device)
    for _ in range(WARM):
        step()
    synchronize(device)
    warm = time.monotonic() - begun
    begun, steps, tokens, sequences = time.monotonic(), 0, 0, 0
    while (took := time.monotonic() - begun) < seconds:
        for _ in range(TOGETHER):
            read, count = step()
            steps, tokens, sequences = steps + 1, tokens + read, sequences + count
        synchronize(device)
    close()
    with torch.device("meta"):
        learner = build_learner(plain, built.tokenizer)
    learner.encoder.embeddings.token.to_empty(device=device)  # it says where to measure
    precision = resolve_precision(settings["dtype"], str(device))
    speed = measure_speed(learner, batches, precision, tokens / took, 0.0)
    told = {**speed, "sequences_per_second": round(sequences / took, 1), "steps": steps}
    return {**told, "warm_seconds": round(warm, 1), **facts()}


def prepared(learner: "PretrainLearner", batches: "Batches", number: int) -> "list[Batch]":
    return [learner.prepare(batch, SEED) for batch in batches.step(number * batches.examples_per_step)]


def ours(
    settings: Mapping[str, Any], built: "Shards", batches: "Batches", device: "torch.device"
) -> tuple[Step, Callable[[], None], Callable[[], dict[str, Any]]]:
    """The loop of a run, as it is."""
    from unmask.train.pretrain import build_learner, fit_to_corpus
    from unmask.train.steps import optim
    from unmask.train.steps.choices import compile_block
    from unmask.train.steps.loop import LoopState, train_steps

    recipe = fit_to_corpus(recipe_for(settings), built.tokenizer)
    learner = build_learner(recipe, built.tokenizer).to(device).train()
    if device.type == "cuda":  # as a run of a quarter of an hour would find out for itself
        learner.encoder.compiled_block = compile_block()
    optimizer = optim.build_optimizer(recipe.train.optimizer, learner)
    state, last = LoopState(), {"loss": 0.0}
    loop = train_steps(learner, optimizer, batches, recipe.train, state, SEED)

    def step() -> tuple[int, int]:
        before = state.examples
        done = next(loop)
        last["loss"] = done.loss
        return done.tokens, state.examples - before

    return step, loop.close, lambda: {**last, "fill": 1.0, "parameters": count(learner)}


def peer(
    settings: Mapping[str, Any], built: "Shards", batches: "Batches", device: "torch.device"
) -> tuple[Step, Callable[[], None], Callable[[], dict[str, Any]]]:
    """transformers' network, compiled, over the same examples in padded batches that lie ready."""
    import torch

    from unmask.train.pretrain import build_learner, fit_to_corpus
    from unmask.train.steps import optim
    from unmask.train.steps.device import resolve_precision

    recipe = fit_to_corpus(recipe_for({**settings, "architecture": "bert"}), built.tokenizer)
    with torch.device("meta"):
        learner = build_learner(recipe, built.tokenizer)
    ready = [padded(batch, settings["length"]) for n in range(READY) for batch in prepared(learner, batches, n)]
    if device.type == "cuda":
        ready = [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in ready]
    stream = cycle(ready)
    network = bert_of(settings, built.vocab_size).to(device)
    model: Any = torch.compile(network)
    update = recipe.train.optimizer
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=update.peak_lr,
        betas=(optim.BETA1, update.beta2),
        eps=optim.EPS,
        weight_decay=update.weight_decay,
        fused=True,
    )
    precision = resolve_precision(settings["dtype"], str(device))
    last: dict[str, Any] = {}
    seen = {"tokens": 0, "places": 0}

    def step() -> tuple[int, int]:
        batch = next(stream)
        sent = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast(str(device)):
            loss = model(**sent).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.train.max_grad_norm)
        optimizer.step()
        last["loss"] = loss.detach()
        tokens = int(batch["attention_mask"].sum())
        seen["tokens"] += tokens
        seen["places"] += batch["input_ids"].numel()
        return tokens, len(batch["input_ids"])

    def facts() -> dict[str, Any]:
        fill = round(seen["tokens"] / seen["places"], 4)
        return {"loss": float(last["loss"]), "fill": fill, "parameters": count(network)}

    return step, torch.compiler.reset, facts


def padded(batch: "Batch", length: int) -> "dict[str, torch.Tensor]":
    """A prepared batch as the peer reads it; all batches have as many rows, so that one shape is compiled."""
    import torch

    from unmask.data.encoded import IGNORE_INDEX

    sizes = torch.tensor(batch.layout.lengths)
    mask = torch.arange(length) < sizes.unsqueeze(1)
    ids, labels = torch.zeros_like(mask, dtype=torch.int64), torch.full(mask.shape, IGNORE_INDEX)
    targets = torch.full_like(batch.input_ids, IGNORE_INDEX)
    targets[batch.output_layout.token_indices] = batch.targets["masked"]
    ids[mask], labels[mask] = batch.input_ids, targets
    return {"input_ids": ids, "labels": labels, "attention_mask": mask.to(torch.int64)}


def count(network: "torch.nn.Module") -> int:
    return sum(parameter.numel() for parameter in network.parameters())


SIDES = {"ours": ours, "transformers": peer}


if __name__ == "__main__":
    main()
