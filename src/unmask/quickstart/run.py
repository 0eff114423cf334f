"""The seven steps of the quick start over one run folder.

Each step leaves its result in the run folder, so that the same command goes on where it was interrupted.
"""

import importlib.util
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from unmask import console, files
from unmask.advice import advise, option
from unmask.config import changed, dump
from unmask.data.corpus import shards
from unmask.data.corpus.wholewords import load_words
from unmask.data.rows.example import Example
from unmask.data.rows.read import read_rows
from unmask.errors import UserError
from unmask.evaluate.baselines import simplest_baseline, tfidf
from unmask.evaluate.predictions import compare_predictions, to_saved_predictions
from unmask.evaluate.samples import predictions, sample_fills
from unmask.messages import join, message, to_json
from unmask.metrics import Contestant, figure_of
from unmask.objectives import Masked
from unmask.quickstart.jobs import Material, Request, gather_data
from unmask.quickstart.plan import Checkpoint, Plan, load_checkpoint
from unmask.report import write_report
from unmask.report.formats import format_difference
from unmask.report.results import pretraining_entry
from unmask.runtime.predictor import load
from unmask.tasks import Task
from unmask.text.tokenizer import Tokenizer, TokenizerConfig
from unmask.train.finetune import FinetuneResult, finetune
from unmask.train.pretrain import PretrainResult, build_batches, build_learner, fit_to_corpus, pretrain
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe, parse_recipe, read_recipe
from unmask.train.rows import PreparedRows, RowReader, prepare_rows
from unmask.train.run import environment
from unmask.train.steps.choices import choose_threads
from unmask.version import __version__

MEASURING = 0.01  # of the budget, beside it: how many threads are fastest
NEEDED = {"jinja2": "jinja2", "sklearn": "scikit-learn", "unearth": "unearth"}  # the extra `quickstart`


def quickstart(request: Request | None = None) -> Path:
    """Run the seven steps; returns the run folder with results.json, report.html and the models.

    Raises UserError for what cannot be used; an interrupted run goes on with the same request.
    """
    run = Quickstart(request or Request())
    _check_environment()
    run.open()
    with files.hold(run.folder):
        run.environment()
        material = run.data()
        corpus = run.tokenizer(material)
        recipe = run.objectives(corpus)
        pretrained = run.pretraining(recipe, corpus)
        tuned = run.finetuning(pretrained, recipe, material)
        run.evaluation(material, pretrained, tuned)
        write_report(run.folder)
    return run.folder


class Quickstart:
    """One run folder. `results` is what results.json holds; each method is a step."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.folder = request.folder
        self.results: dict[str, Any] = {}
        self.checkpoint: Checkpoint | None = None
        self.reader: RowReader = cache(read_rows)  # a file is read once

    def open(self) -> None:
        """Read the results of an interrupted run, refuse those of another one.

        A run that was stopped by an error before its tokenizer was made accepts corrected options.
        """
        path = self.folder / "results.json"
        earlier = files.read_object(path) if path.is_file() else {}
        ours = earlier.get("kind") == "quickstart"
        if ours and (self.folder / "tokenizer").exists():
            self.results = earlier
            if earlier.get("command") != self.request.command:
                raise UserError(
                    "{folder} belongs to another quick start",
                    self.folder,
                    given=[self.request.command, f"there: {earlier.get('command')}"],
                    hint=["use the same options", advise("choose another {option} folder", option("output"))],
                )
            return
        allowed = (".lock", "results.json") if ours else (".lock",)
        if self.folder.is_dir() and any(path.name not in allowed for path in self.folder.iterdir()):
            raise UserError(
                "{folder} is not empty and contains no quick start",
                self.folder,
                hint=advise("choose another {option} folder", option("output")),
            )
        self.results = {
            "format": 1,
            "kind": "quickstart",
            "title": self.request.title,
            "language": self.request.language,
            "command": self.request.command,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "steps": [],
        }

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[console.StepProgress]:
        """One numbered step; its summary and the seconds of its first run are written into results.json."""
        with console.start_step(title, number) as work:
            yield work
            if number not in [step["number"] for step in self.results["steps"]]:
                summary = {"summary": work.summary, "message": to_json(work.summary)}
                step = {"number": number, "title": title, **summary, "seconds": round(work.elapsed, 2)}
                self.results["steps"].append(step)
        files.write_json(self.folder / "results.json", self.results)

    def environment(self) -> None:
        with self.step(1, "Environment") as work:
            facts = self.results.setdefault("environment", environment())
            work.result(
                f"unmask {__version__} · Python {platform.python_version()} · torch {torch.__version__} · "
                f"{facts['device']}, {os.cpu_count()} cores"
            )

    def data(self) -> Material:
        with self.step(2, "Data") as work:
            material = gather_data(self.request, work, self.reader)
            self.results["data"] = {"corpora": material.corpora, "task": material.rows}
            documents = sum(row["documents"] for row in material.corpora)
            names = join((message(row["name"]) for row in material.corpora), " + ")
            parts = [names, console.size(material.bytes), message("{count:,} documents", documents)]
            if material.cached:
                parts.append(message("cached"))
            if self.request.start is not None:
                self.checkpoint = found = load_checkpoint(self.request.start, work, self.request.allow_unused)
                about = {"name": found.title, "source": found.source or found.folder, "licence": found.licence}
                self.results["public_model"] = about
                parts.append(message("checkpoint {title}", found.title))
            work.result(join(parts))
        self.train = self.reader(
            material.train, material.read_options, self.request.reads, "train", frozenset()
        ).examples
        return material

    def tokenizer(self, material: Material) -> shards.Shards:
        with self.step(3, "Tokenizer") as work:
            folder = self.folder / "tokenizer"
            if folder.is_dir():
                tokenizer = Tokenizer.from_pretrained(folder)
            else:
                texts = (document.text for document in material.documents())
                chinese = self.request.language == "zh"  # where full-width forms are common
                settings = TokenizerConfig(vocab_size=material.vocab_size, allow_fewer=True, fold_width=chinese)
                tokenizer = Tokenizer.train(texts, settings, progress=work)
                tokenizer.save_pretrained(folder)
            corpus = shards.build(
                material.documents(),
                tokenizer,
                self.folder / "corpus",
                progress=work,
                total_bytes=material.bytes,
                words=load_words("auto", material.documents, restart=True, progress=work),
            )
            figures = corpus.statistics(0)
            characters, unknown = figures["characters"] / corpus.tokens, figures["unknown_rate"]
            self.results["tokenizer"] = {
                "vocab_size": tokenizer.vocab_size,
                "characters_per_token": round(characters, 3),
                "unknown_rate": unknown,
                "corpus_tokens": corpus.tokens,
                "sha256": tokenizer.sha256,
            }
            text = "{tokens:,} tokens · {ratio:.1f} characters per token · {share:.2%} unknown"
            work.result(text, tokenizer.vocab_size, characters, unknown)
        self.plan = Plan(self.request, self.train, tokenizer)
        return corpus

    def objectives(self, corpus: shards.Shards) -> PretrainRecipe:
        with self.step(4, "Objectives") as work:
            overrides = [f"data.corpus={json.dumps(str(corpus.folder))}", f"seed={self.request.seed}"]
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

    def pretraining(self, recipe: PretrainRecipe, corpus: shards.Shards) -> PretrainResult:
        with self.step(5, "Pretraining") as work:
            facts = self.results["environment"]
            if "tokens_per_second" not in facts:
                work.show("measuring threads")
                threads, speed = self._fastest_threads(recipe, corpus)
                facts |= {"threads": threads, "tokens_per_second": speed}
                files.write_json(self.folder / "results.json", self.results)
            seconds = self.plan.pretraining_seconds(facts["tokens_per_second"])
            train = changed(recipe.train, budget=f"{seconds:.0f}s", threads=facts["threads"])
            done = pretrain(changed(recipe, train=train), output=self.folder / "pretrain", progress=work)
            self.results["pretraining"] = pretraining_entry(_facts(done), "pretrain/metrics.jsonl")
            work.result(
                "{tokens:.2f} M tokens · {speed:,.0f} tokens/s, {threads} threads · held-out loss {loss:.2f} "
                "(uniform {uniform:.2f}, unigram {unigram:.2f})",
                done.tokens / 1e6,
                done.tokens_per_second,
                facts["threads"],
                done.heldout_figures["masked.loss"],
                done.uniform_loss,
                done.unigram_loss,
            )
        return done

    def _fastest_threads(self, recipe: PretrainRecipe, corpus: shards.Shards) -> tuple[int, float | None]:
        recipe = fit_to_corpus(recipe, corpus.tokenizer)
        learner, batches = build_learner(recipe, corpus.tokenizer), build_batches(recipe, corpus)
        seconds = max(1.0, MEASURING * self.request.seconds)
        return choose_threads(learner, batches, recipe.train, recipe.seed, seconds)

    def finetuning(
        self, pretrained: PretrainResult, pretraining: PretrainRecipe, material: Material
    ) -> dict[str, FinetuneResult]:
        """The runs by their names: pretrained, from scratch, and that of a public checkpoint."""
        with self.step(6, "Fine-tuning") as work:
            recipes = self._finetune_recipes(pretrained, pretraining, material)
            self.prepared = cache(partial(self._prepare_rows, recipes["finetune"]))
            runs = {}
            for folder, recipe in recipes.items():
                name = self._run_name(folder)
                work.prefix = message(name)
                runs[name] = finetune(recipe, output=self.folder / folder, progress=work, rows=self.prepared)
            self.results["finetuning"] = [
                {"name": name, **_facts(run), "log": f"{run.folder.name}/metrics.jsonl"} for name, run in runs.items()
            ]
            tuned = runs["pretrained"]
            used, available = tuned.train_rows, len(self.train) - (0 if material.dev else tuned.dev_rows)
            counts = {"train_rows": available, "train_rows_used": used, "dev_rows": tuned.dev_rows}
            self.results["data"]["task"] |= counts
            rows = message("{count:,} rows", used)
            if used < available:
                rows = message("{used:,} of {rows:,} rows (capped to keep the budget)", used, available)
            title, value = tuned.best_score
            figures: list[str] = [message("dev {metric} {value:.1%}", message(title), value)]
            figures.append(message("without pretraining {value:.1%}", runs["from scratch"].best_score[1]))
            figures += [f"{name} {run.best_score[1]:.1%}" for name, run in list(runs.items())[2:]]
            work.result(join([rows, message("{steps:,} steps", tuned.steps), join(figures, ", ")]))
        return runs

    def _prepare_rows(self, recipe: FinetuneRecipe) -> PreparedRows:
        prepared = prepare_rows(recipe.data, recipe.seed, self.request.reads, self.reader)
        # duplicates and leaks of public data are described in the report
        return prepared if self.request.own_files else replace(prepared, notes=())

    def _run_name(self, folder: str) -> str:
        names = {"finetune": "pretrained", "finetune-scratch": "from scratch"}
        return names[folder] if self.checkpoint is None else names.get(folder, self.checkpoint.title)

    def _finetune_recipes(
        self, pretrained: PretrainResult, pretraining: PretrainRecipe, material: Material
    ) -> dict[str, FinetuneRecipe]:
        """By the folder of the run. What depends on measured time is written down, so that a resume has it again."""

        def planned(name: str, plan: Callable[[], FinetuneRecipe]) -> FinetuneRecipe:
            path = self.folder / f"{name}.json"
            if not path.is_file():
                files.write_json(path, dump(plan()))
            return parse_recipe(FinetuneRecipe, files.read_json(path), [], where=str(path))

        speed, threads = pretrained.tokens_per_second, self.results["environment"]["threads"]
        tuned = planned("finetune", lambda: self.plan.finetuning(pretrained.model, material, speed, threads))
        recipes = {"finetune": tuned, "finetune-scratch": changed(tuned, pretrained=False)}
        if (checkpoint := self.checkpoint) is not None:
            recipes["finetune-public"] = planned(
                "finetune-public", lambda: self.plan.public_finetuning(checkpoint, pretraining.model, tuned, speed)
            )
        return recipes

    def evaluation(self, material: Material, pretrained: PretrainResult, runs: dict[str, FinetuneResult]) -> None:
        with self.step(7, "Evaluation") as work:
            rows = self.prepared().test_rows(Path(material.test))
            test = rows.examples
            named = []
            for name, run in runs.items():
                model = load(run.model)
                predicted = model.predict(test, work)
                saved = to_saved_predictions(model, rows, predicted)
                saved.save(run.folder)
                title, kind = {
                    "pretrained": ("unmask, pretrained", "pretrained"),
                    "from scratch": ("unmask, without pretraining", "scratch"),
                }.get(name, (f"{name}, fine-tuned", "public"))
                named.append((title, kind, saved))
                if kind == "pretrained":
                    task, found = model.task, predicted
            work.start(None, "")
            work.show("baselines")
            plain = list(self._baselines(task, test))
            comparison = compare_predictions(named, plain, self.request.seed)
            self.results["evaluation"] = {"split": "test", **comparison.to_dict()}
            texts = [example.text for example in self.train]
            self.results["samples"] = {
                "fills": sample_fills(load(pretrained.model), texts, self.request.seed),
                "predictions": predictions(task, test, found),
            }
            hashes = {"tokenizer": self.results["tokenizer"]["sha256"]}
            for path in map(Path, filter(None, (*material.text, material.train, material.dev, material.test))):
                hashes[path.name if self.request.own_files else "/".join(path.parts[-2:])] = files.sha256(path)
            repeat = {"commands": [self.request.command], "seed": self.request.seed, "hashes": hashes}
            self.results["repeat"] = repeat
            metric = comparison.scores.metric
            score, gain = comparison.scores[metric], comparison.differences[0][metric]
            work.result(
                "{metric} {value:.1%} on {rows:,} test rows · pretraining brought {points} points [{low}, {high}]",
                message(figure_of(metric).title),
                score.value,
                len(test),
                *(format_difference(metric, gain[key]) for key in ("value", "low", "high")),
            )

    def _baselines(self, task: Task[Any], test: list[Example]) -> Iterator[Contestant]:
        """Predictions of simple methods that learn from all training rows."""
        if task.kind == "label":
            texts, unseen = (
                [e.text if e.pair is None else f"{e.text}\n{e.pair}" for e in some] for some in (self.train, test)
            )
            labels = [e.label or "" for e in self.train]
            analyzer = "char" if self.request.language == "zh" else "word"
            predicted = tfidf(texts, labels, unseen, self.request.seed, analyzer=analyzer)
            yield Contestant("TF-IDF + logistic regression", "tfidf", predicted)
        yield simplest_baseline(task, self.train, test)


def _facts(done: PretrainResult | FinetuneResult) -> dict[str, Any]:
    """The outcome of a run as plain values, as run.json has it."""
    return {name: value for name, value in asdict(done).items() if name != "folder" and value is not None}


def _check_environment() -> None:
    """Raises UserError for several processes and for missing packages (all are named), before any work is done."""
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        raise UserError(
            "the quick start runs in one process",
            given=f"WORLD_SIZE={processes}",
            hint="start it without torchrun, or use torchrun with unmask pretrain and unmask finetune",
        )
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            "the quick start needs {missing}, not installed here",
            ", ".join(missing),
            hint="pip install 'unmask[quickstart]' (in a checkout: make quickstart)",
        )
