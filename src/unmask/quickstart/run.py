"""The seven steps of the quick start over one run folder.

Each step leaves its result in the run folder, so that the same command goes on where it was interrupted.
The choices below (recipes, shares of the budget) were measured: docs/studies.md.
"""

import importlib.util
import json
import math
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch

from unmask import console, files
from unmask.config import changed, dump
from unmask.console import Progress
from unmask.data.corpus import shards
from unmask.data.corpus.wholewords import load_words
from unmask.data.rows.example import Example
from unmask.data.rows.read import read_rows
from unmask.errors import UserError
from unmask.evaluate import baselines
from unmask.evaluate.samples import predictions, sample_fills
from unmask.evaluate.saved import compare_predictions
from unmask.evaluate.simplest import simplest_baseline
from unmask.evaluate.tested import to_saved_predictions
from unmask.messages import join, message, to_json
from unmask.metrics import Contestant, figure_of
from unmask.objectives import Masked
from unmask.quickstart.jobs import Material, Request, gather_data
from unmask.quickstart.start import StartingModel
from unmask.report import write_report
from unmask.report.folder import pretraining_entry
from unmask.report.formats import format_points
from unmask.runtime.predictor import load
from unmask.tasks import Task, task_of
from unmask.text.tokenizer import Tokenizer, TokenizerConfig
from unmask.train.budget import Budget
from unmask.train.choices import choose_threads
from unmask.train.finetune import FinetuneResult, finetune
from unmask.train.pretrain import PretrainResult, build_batches, build_learner, fit_to_corpus, pretrain
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe, parse_recipe, read_recipe
from unmask.train.rows import PreparedRows, RowReader, prepare_rows
from unmask.train.run import environment
from unmask.version import __version__

# of the budget; fine-tuning with and without pretraining share the rest. Tags of single words want many rows.
PRETRAIN_SHARE = {"classify": 0.5, "tag": 0.3}
FINETUNE_SPEED = 1.2  # tokens read in fine-tuning for one in pretraining, which has a vocabulary to predict
PUBLIC_SHARE = 0.35  # of the budget, beside it: a public checkpoint, which takes longer over a text
MEASURING = 0.01  # of the budget, beside it: how many threads are fastest
OVERHEAD = 1.15  # time of a fine-tuning run over its training steps alone: evaluations, checkpoints
NEEDED = {"jinja2": "jinja2", "sklearn": "scikit-learn", "unearth": "unearth"}  # the extra `quickstart`
LENGTHS = (128, 64)  # tokens read of each text: the longest that can be read ENOUGH_EPOCHS times, else the last
RECIPES = {"classify": "quickstart-finetune", "tag": "quickstart-tag"}
ENOUGH_EPOCHS = 2
MOST_EPOCHS = {"classify": 3, "tag": 4}  # more learn the training rows by heart (docs/studies.md)


def quickstart(request: Request | None = None) -> Path:
    """Run the seven steps; returns the run folder with results.json, report.html and the models.

    Raises UserError for what cannot be used; an interrupted run goes on with the same request.
    """
    return Quickstart(request or Request()).run()


class Quickstart:
    """The seven steps over one run folder. `results` is what results.json will hold."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.folder = request.folder
        self.seconds = request.seconds
        self.results: dict[str, Any] = {}
        self.start: StartingModel | None = None
        self.reader: RowReader = cache(read_rows)  # a file is read once
        self.prepare: Callable[[], PreparedRows] | None = None

    def run(self) -> Path:
        if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
            raise UserError(
                "the quick start runs in one process",
                given=f"WORLD_SIZE={processes}",
                hint="start it without torchrun, or use torchrun with unmask pretrain and unmask finetune",
            )
        self._open()
        _require(NEEDED)
        with files.hold(self.folder):
            self._environment()
            rows = self._data()
            built = self._tokenizer(rows)
            recipe = self._objectives(built)
            pretrained = self._pretraining(recipe, built, rows)
            tuned = self._finetuning(pretrained, rows)
            self._evaluation(rows, pretrained, tuned)
            write_report(self.folder)
        return self.folder

    def _open(self) -> None:
        """Take up the results of an interrupted run, refuse those of another one.

        A run in which nothing was made yet, because something was wrong, takes corrected options.
        """
        path = self.folder / "results.json"
        asked = self.request.command
        known = files.read_json(path) if path.is_file() else {}
        if known.get("kind") == "quickstart" and (self.folder / "tokenizer").exists():
            self.results = known
            if self.results.get("command") != asked:
                raise UserError(
                    "{folder} belongs to another quick start",
                    self.folder,
                    given=[asked, f"there: {self.results.get('command')}"],
                    hint="give the same options, or another --output folder",
                )
            return
        ours = (".lock", "results.json") if known.get("kind") == "quickstart" else (".lock",)
        if self.folder.is_dir() and any(path.name not in ours for path in self.folder.iterdir()):
            raise UserError(
                "{folder} is not empty and holds no quick start", self.folder, hint="choose another --output"
            )
        self.results = {
            "format": 1,
            "kind": "quickstart",
            "title": self.request.title,
            "language": self.request.language,
            "command": asked,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "steps": [],
        }

    @contextmanager
    def _step(self, number: int, title: str) -> Iterator[console.StepProgress]:
        """One numbered step; what it did and how long it took at first stands in results.json."""
        with console.start_step(title, number) as work:
            yield work
            if number not in [step["number"] for step in self.results["steps"]]:
                summary = {"summary": work.summary, "message": to_json(work.summary)}
                step = {"number": number, "title": title, **summary, "seconds": round(work.elapsed, 2)}
                self.results["steps"].append(step)
        files.write_json(self.folder / "results.json", self.results)

    def _environment(self) -> None:
        with self._step(1, "Environment") as work:
            facts = self.results.setdefault("environment", environment())
            work.result(
                f"unmask {__version__} · Python {platform.python_version()} · torch {torch.__version__} · "
                f"{facts['device']}, {os.cpu_count()} cores"
            )

    def _data(self) -> Material:
        with self._step(2, "Data") as work:
            material = gather_data(self.request, work, self.reader)
            self.results["data"] = {"corpora": material.corpora, "task": material.rows}
            documents = sum(row["documents"] for row in material.corpora)
            names = join((message(row["name"]) for row in material.corpora), " + ")
            parts = [names, console.size(material.bytes), message("{count:,} documents", documents)]
            if material.cached:
                parts.append(message("cached"))
            if self.request.start is not None:
                self.start = StartingModel.from_name(self.request.start, work)
                self.results["public_model"] = self.start.to_dict
                parts.append(message("checkpoint {title}", self.start.title))
            work.result(join(parts))
        return material

    def _tokenizer(self, rows: Material) -> shards.Shards:
        with self._step(3, "Tokenizer") as work:
            folder = self.folder / "tokenizer"
            if folder.is_dir():
                tokenizer = Tokenizer.from_pretrained(folder)
            else:
                texts = (document.text for document in rows.documents())
                chinese = self.request.language == "zh"  # where full-width forms are common
                settings = TokenizerConfig(vocab_size=rows.vocabulary, allow_fewer=True, fold_width=chinese)
                tokenizer = Tokenizer.train(texts, settings, progress=work)
                tokenizer.save_pretrained(folder)
            try:
                built = shards.build(
                    rows.documents(),
                    tokenizer,
                    self.folder / "corpus",
                    progress=work,
                    total_bytes=rows.bytes,
                    words=load_words("auto", rows.documents, restart=True, progress=work),
                )
            except UserError as error:
                if "--restart" in error.facts.get("hint", ""):  # an option of `corpus build`
                    error.facts["hint"] = "choose another --output folder"
                raise
            figures = built.statistics(0)
            per_piece = figures["characters"] / built.tokens
            self.results["tokenizer"] = {
                "vocab_size": tokenizer.vocab_size,
                "characters_per_token": round(per_piece, 3),
                "unknown_rate": figures["unknown_rate"],
                "corpus_tokens": built.tokens,
                "sha256": tokenizer.sha256,
            }
            work.result(
                "{tokens:,} tokens · {ratio:.1f} characters per token · {share:.2%} unknown",
                tokenizer.vocab_size,
                per_piece,
                figures["unknown_rate"],
            )
        return built

    def _objectives(self, built: shards.Shards) -> PretrainRecipe:
        with self._step(4, "Objectives") as work:
            overrides = [f"data.corpus={json.dumps(str(built.folder))}", f"seed={self.request.seed}"]
            if self.request.whole_words:
                overrides.append("objectives.0.unit=word")
            recipe = read_recipe(PretrainRecipe, "quickstart", overrides)
            if self.request.next_sentence:
                values = dump(recipe)
                values["objectives"].append({"name": "next_sentence"})
                recipe = parse_recipe(PretrainRecipe, values, [], where="the quick start")
            self.results["objectives"] = [dump(objective) for objective in recipe.objectives]
            masked = recipe.objectives[0]
            assert isinstance(masked, Masked)
            end = masked.final_mask_prob
            share = f"{masked.mask_prob:.0%}" + (f" → {end:.0%}" if end else "")
            unit = message("whole words" if masked.unit == "word" else "tokens")
            masks = message("masked {unit}, {share}, 80/10/10, drawn anew in each epoch", unit, share)
            work.result(join([masks, message("next sentence") if self.request.next_sentence else None]))
        return recipe

    def _pretraining(self, recipe: PretrainRecipe, built: shards.Shards, rows: Material) -> PretrainResult:
        with self._step(5, "Pretraining") as work:
            facts = self.results["environment"]
            if "tokens_per_second" not in facts:
                work.show("measuring threads")
                threads, speed = self._fastest(recipe, built)
                facts |= {"threads": threads, "tokens_per_second": speed}
                files.write_json(self.folder / "results.json", self.results)
            seconds = self._pretraining_seconds(rows, facts["tokens_per_second"])
            train = changed(recipe.train, budget=f"{seconds:.0f}s", threads=facts["threads"])
            done = pretrain(changed(recipe, train=train), output=self.folder / "pretrain", progress=work)
            heldout = done.heldout_figures["masked.loss"]
            self.results["pretraining"] = pretraining_entry(_facts(done), "pretrain/metrics.jsonl")
            work.result(
                "{tokens:.2f} M tokens · {speed:,.0f} tokens/s, {threads} threads · held-out loss {loss:.2f} "
                "(uniform {uniform:.2f}, unigram {unigram:.2f})",
                done.tokens / 1e6,
                done.tokens_per_second,
                facts["threads"],
                heldout,
                done.uniform_loss,
                done.unigram_loss,
            )
        return done

    def _fastest(self, recipe: PretrainRecipe, built: shards.Shards) -> tuple[int, float | None]:
        recipe = fit_to_corpus(recipe, built.tokenizer)
        learner, batches = build_learner(recipe, built.tokenizer), build_batches(recipe, built)
        return choose_threads(learner, batches, recipe.train, recipe.seed, max(1.0, MEASURING * self.seconds))

    def _pretraining_seconds(self, rows: Material, speed: float | None) -> float:
        """Its share of the budget, and what the epochs of fine-tuning will not need of theirs."""
        rest = self.seconds * (1 - PRETRAIN_SHARE[self.request.learns])
        if speed is not None:
            base = self._finetune_recipe()
            examples = self._train_rows(rows)
            epochs = MOST_EPOCHS[self.request.learns]
            tokens = epochs * len(examples) * self._tokens_per_row(base, examples, LENGTHS[0])
            rest = min(rest, 2 * OVERHEAD * tokens / (FINETUNE_SPEED * speed))
        return max(1.0, self.seconds - rest)

    def _finetuning(self, pretrained: PretrainResult, rows: Material) -> dict[str, FinetuneResult]:
        """The runs by their names: pretrained, from scratch, and that of a public checkpoint."""
        with self._step(6, "Fine-tuning") as work:
            recipe = self._plan(pretrained, rows)
            planned = {
                "pretrained": ("finetune", recipe),
                "from scratch": ("finetune-scratch", changed(recipe, pretrained=False)),
            }
            if self.start is not None:
                public = self._public_plan(self.start, recipe, pretrained, rows)
                planned[self.start.title] = ("finetune-public", public)
            prepared = self._prepared(recipe)
            runs = {
                name: finetune(chosen, output=self.folder / folder, progress=_Named(work, name), rows=prepared)
                for name, (folder, chosen) in planned.items()
            }
            tuned, scratch = runs["pretrained"], runs["from scratch"]
            self.results["finetuning"] = [
                {"name": name, **_facts(run), "log": f"{run.folder.name}/metrics.jsonl"} for name, run in runs.items()
            ]
            used = tuned.train_rows
            available = len(self._train_rows(rows)) - (tuned.dev_rows if not rows.dev else 0)
            self.results["data"]["task"] |= {
                "train_rows": available,
                "train_rows_used": used,
                "dev_rows": tuned.dev_rows,
            }
            parts = [message("{count:,} rows", used)]
            if used < available:
                parts = [message("{used:,} of {rows:,} rows (capped to keep the budget)", used, available)]
            title, value = tuned.best_score
            figures: list[str] = [message("dev {metric} {value:.1%}", message(title), value)]
            figures.append(message("without pretraining {value:.1%}", scratch.best_score[1]))
            if self.start:
                figures.append(f"{self.start.title} {runs[self.start.title].best_score[1]:.1%}")
            work.result(join([*parts, message("{steps:,} steps", tuned.steps), join(figures, ", ")]))
        return runs

    def _train_rows(self, rows: Material) -> list[Example]:
        return self.reader(rows.train, rows.read_options, self.request.reads, "train").examples

    def _prepared(self, recipe: FinetuneRecipe) -> Callable[[], PreparedRows]:
        """The rows of a fine-tuning recipe, prepared when they are called for; each file is read once."""
        if self.prepare is None:
            self.prepare = cache(partial(prepare_rows, recipe.data, recipe.seed, self.request.reads, self.reader))
        return self.prepare

    def _plan(self, pretrained: PretrainResult, rows: Material) -> FinetuneRecipe:
        """Length, rows and epochs that fit the rest of the budget; kept for a resume."""
        path = self.folder / "finetune.json"
        if not path.is_file():
            base = self._finetune_recipe()
            examples = self._train_rows(rows)
            available = len(examples) * (1 if rows.dev else 1 - base.data.dev_share)
            least = Budget.parse(base.train.budget).amount  # epochs
            for length in LENGTHS:
                affordable = self._affordable(base, examples, length, pretrained.tokens_per_second)
                if affordable >= ENOUGH_EPOCHS * available:
                    break
            kept = min(len(examples), max(200, math.ceil(affordable / least)))
            epochs = min(MOST_EPOCHS[self.request.learns], max(least, affordable / available))
            values = dump(base)
            values["init_from"] = str(pretrained.model)
            values["task"]["max_length"] = length
            paths = {"train": str(rows.train), "dev": rows.dev, "test": str(rows.test)}
            values["data"] |= {**paths, **rows.read_options.changed}
            values["data"]["max_train_rows"] = None if kept >= available else kept
            values["train"] |= {
                "budget": f"{epochs:.2f} epochs",
                "threads": self.results["environment"]["threads"],
            }
            files.write_json(path, values)
        return parse_recipe(FinetuneRecipe, files.read_json(path), [], where=str(path))

    def _public_plan(
        self, start: StartingModel, ours: FinetuneRecipe, pretrained: PretrainResult, rows: Material
    ) -> FinetuneRecipe:
        """As many epochs of the same rows as ours where the time is enough for them, or else what the time allows, of
        the beginnings of the texts; kept for a resume."""
        path = self.folder / "finetune-public.json"
        if not path.is_file():
            examples = self._train_rows(rows)
            epochs = Budget.parse(ours.train.budget).amount
            tokens = epochs * len(examples) * self._tokens_per_row(ours, examples, ours.task.max_length)
            network = read_recipe(PretrainRecipe, "quickstart", ["data.corpus=none"]).model
            cost = start.cost(network, ours.task.max_length)
            seconds = max(1.0, PUBLIC_SHARE * self.seconds)
            if OVERHEAD * cost * tokens / (FINETUNE_SPEED * pretrained.tokens_per_second) > seconds:
                task = changed(ours.task, max_length=LENGTHS[-1])
                ours = changed(ours, task=task, train=changed(ours.train, budget=f"{seconds:.0f}s"))
            files.write_json(path, dump(start.recipe(ours)))
        return parse_recipe(FinetuneRecipe, files.read_json(path), [], where=str(path))

    def _affordable(self, base: FinetuneRecipe, examples: list[Example], length: int, speed: float) -> float:
        """How many rows, repeated ones counted, one fine-tuning run can read. speed: of pretraining, tokens a
        second."""
        share = 1 - PRETRAIN_SHARE[self.request.learns]
        seconds = max(1.0, self.seconds * share / 2 / OVERHEAD)
        return FINETUNE_SPEED * speed * seconds / self._tokens_per_row(base, examples, length)

    def _finetune_recipe(self) -> FinetuneRecipe:
        return read_recipe(FinetuneRecipe, RECIPES[self.request.learns], [f"seed={self.request.seed}"])

    def _tokens_per_row(self, base: FinetuneRecipe, examples: list[Example], length: int) -> float:
        """Of a sample of the rows, when at most `length` tokens of each text are read."""
        sample = examples[:: max(1, len(examples) // 500)]
        settings = changed(base.task, max_length=length)
        task = task_of(settings).build(settings, Tokenizer.from_pretrained(self.folder / "tokenizer"), sample)
        bare = [example.without_targets for example in sample]
        return sum(len(row.input_ids) for row in task.encode(bare)[0]) / len(sample)

    def _evaluation(self, rows: Material, pretrained: PretrainResult, runs: dict[str, FinetuneResult]) -> None:
        with self._step(7, "Evaluation") as work:
            model = load(runs["pretrained"].model)
            task = model.task
            train = self._train_rows(rows)
            tested = self._prepared(self._plan(pretrained, rows))().test_rows(Path(rows.test))
            test = tested.examples
            found = model.predict(test, work)
            ours = to_saved_predictions(model, tested, found)
            ours.save(runs["pretrained"].folder)
            named = [("unmask, pretrained", "pretrained", ours)]
            for name, run in list(runs.items())[1:]:
                other = load(run.model)
                kept = to_saved_predictions(other, tested, other.predict(test, work))
                kept.save(run.folder)
                shown = "unmask, without pretraining" if name == "from scratch" else f"{name}, fine-tuned"
                named.append((shown, "scratch" if name == "from scratch" else "public", kept))
            work.start(None, "")
            work.show("baselines")
            plain = list(self._baselines(task, train, test))
            comparison = compare_predictions(named, plain, self.request.seed)
            self.results["evaluation"] = {"split": "test", **comparison.to_dict()}
            self.results["samples"] = {
                "fills": sample_fills(load(pretrained.model), [example.text for example in train], self.request.seed),
                "predictions": predictions(task, test, found),
            }
            self.results["repeat"] = self._repeat(rows)
            metric = comparison.scores.metric
            score, gain = comparison.scores[metric], comparison.differences[0][metric]
            work.result(
                "{metric} {value:.1%} on {rows:,} test rows · pretraining brought {points} points [{low}, {high}]",
                message(figure_of(metric).title),
                score.value,
                len(test),
                *(format_points(gain[key]) for key in ("value", "low", "high")),
            )

    def _baselines(self, task: Task[Any], train: list[Example], test: list[Example]) -> Iterator[Contestant]:
        """What the networks are to be compared with, from all training rows."""
        if task.kind == "label":
            texts, unseen = (
                [e.text if e.pair is None else f"{e.text}\n{e.pair}" for e in some] for some in (train, test)
            )
            labels = [e.label or "" for e in train]
            analyzer: Literal["word", "char"] = "char" if self.request.language == "zh" else "word"
            found = baselines.tfidf(texts, labels, unseen, self.request.seed, analyzer=analyzer)
            yield Contestant("TF-IDF + logistic regression", "tfidf", found.predicted)
        yield simplest_baseline(task, train, test)

    def _repeat(self, rows: Material) -> dict[str, Any]:
        hashes = {"tokenizer": self.results["tokenizer"]["sha256"]}
        for name in (*rows.text, rows.train, *([rows.dev] if rows.dev else []), rows.test):
            hashes[Path(name).name if self.request.own_files else "/".join(Path(name).parts[-2:])] = files.sha256(name)
        return {"commands": [self.request.command], "seed": self.request.seed, "hashes": hashes}


def _facts(done: PretrainResult | FinetuneResult) -> dict[str, Any]:
    """The outcome of a run as plain values, as run.json has it."""
    return {name: value for name, value in asdict(done).items() if name != "folder" and value is not None}


def _require(packages: dict[str, str]) -> None:
    """Raises UserError naming all packages that are missing, before any work is done."""
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            "the quick start needs {missing}, not installed here",
            ", ".join(missing),
            hint="pip install 'unmask[quickstart]' (in a checkout: make quickstart)",
        )


class _Named:
    """A Progress that puts a name before what it shows."""

    def __init__(self, inner: Progress, name: str) -> None:
        self.inner, self.name = inner, name

    def start(self, total: float | None, unit: str) -> None:
        self.inner.start(total, unit)

    def advance(self, amount: float) -> None:
        self.inner.advance(amount)

    def show(self, text: str) -> None:
        self.inner.show(message("{run}  {text}", message(self.name), text))
