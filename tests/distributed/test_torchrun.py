"""torchrun itself: a worker that is lost is replaced, and the run ends with the bytes of one that nobody disturbed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from unmask import files
from unmask.config import to_yaml
from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.train.pretrain import pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe


def test_a_lost_worker_is_replaced(
    corpus: Shards, together: Callable[[int, Callable[[], object]], list[int]], tmp_path: Path
) -> None:
    values = {
        "data": {"corpus": str(corpus.folder), "max_length": 32, "tokens_per_step": 256, "heldout_share": 0.1},
        "model": {
            "num_hidden_layers": 1,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "dropout": 0.1,
        },
        "train": {"budget": "8 steps", "evaluations": 4, "optimizer": {"lr": 0.01}},
    }
    recipe = parse_recipe(PretrainRecipe, values, (), "the test")
    straight, out, file = tmp_path / "straight", tmp_path / "out", tmp_path / "recipe.yaml"
    assert together(2, lambda: pretrain(recipe, output=straight, progress=SILENT) and 0) == [0, 0]
    file.write_text(to_yaml(recipe), encoding="utf-8")
    script = str(Path(__file__).with_name("lost_worker.py"))
    # torchrun looks every two seconds, and stops process 0 when it sees the loss: until then that one can say so
    start = "torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 1 --monitor-interval 2"
    done = subprocess.run(
        [sys.executable, "-m", *start.split(), script, "pretrain", str(file), "--output", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "another process" in done.stderr  # what process 0 said
    assert "resuming after step 4" in done.stderr
    assert done.stdout.count("held-out loss") == 1  # one process speaks for all
    models = [files.sha256(each / "model" / "model.safetensors") for each in (out, straight)]
    assert models[0] == models[1]
    assert files.read_json(out / "run.json")["environment"]["processes"] == 2
