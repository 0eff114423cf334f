"""Fine-tuning and prediction as a user of transformers writes them: `python -m benchmarks.peer COMMAND SETTINGS`.

COMMAND is finetune or predict, SETTINGS are those of commands.py with `out`, as JSON. Nothing of unmask is imported.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IGNORED = -100  # label of tokens that no loss is taken of


def finetune(settings: Mapping[str, Any]) -> None:
    """Train for a number of steps, evaluate on the dev rows, save the model."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["model"])
    train, dev = (rows_of(settings[part], settings["task"]) for part in ("train", "dev"))
    if settings["task"] == "classify":
        kind, collator = transformers.AutoModelForSequenceClassification, transformers.DataCollatorWithPadding
        labels, encode = sorted({label for _, label in train}), encode_texts
    else:
        kind = transformers.AutoModelForTokenClassification
        collator = transformers.DataCollatorForTokenClassification
        labels, encode = sorted({tag for _, tags in train for tag in tags}), encode_words
    numbers = {label: number for number, label in enumerate(labels)}
    model = kind.from_pretrained(
        settings["model"], num_labels=len(labels), id2label=dict(enumerate(labels)), label2id=numbers
    )
    arguments = transformers.TrainingArguments(
        output_dir=settings["out"],
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=settings["batch_size"],
        save_strategy="no",
        report_to=[],
        use_cpu=True,
    )
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=encode(tokenizer, train, numbers, settings["max_length"]),
        eval_dataset=encode(tokenizer, dev, numbers, settings["max_length"]),
        data_collator=collator(tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.evaluate()
    trainer.save_model(settings["out"])


def predict(settings: Mapping[str, Any]) -> None:
    """The label of each row, or the tagged wordpieces of each sentence, as jsonl."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["model"], model_max_length=settings["max_length"])
    classifies = settings["task"] == "classify"
    task = "text-classification" if classifies else "token-classification"
    pipeline = transformers.pipeline(task, model=settings["model"], tokenizer=tokenizer, device="cpu")
    texts = [text if classifies else " ".join(text) for text, _ in rows_of(settings["train"], settings["task"])]
    more = {"truncation": True} if classifies else {}
    with Path(settings["out"]).open("w", encoding="utf-8") as file:
        for prediction in pipeline(texts, batch_size=settings["batch_size"], **more):
            file.write(json.dumps(prediction, ensure_ascii=False, default=float) + "\n")


def rows_of(path: str, task: str) -> list[tuple[Any, Any]]:
    """Text and label of each row of a jsonl file, tokens and tags of each sentence of a CoNLL file."""
    text = Path(path).read_text(encoding="utf-8").strip()
    if task == "classify":
        rows = [json.loads(line) for line in text.split("\n")]
        return [(row["text"], row["label"]) for row in rows]
    sentences = [[line.split() for line in sentence.split("\n")] for sentence in text.split("\n\n") if sentence]
    return [([word[0] for word in words], [word[-1] for word in words]) for words in sentences]


def encode_texts(
    tokenizer: Any, rows: list[tuple[Any, Any]], numbers: Mapping[str, int], length: int
) -> list[dict[str, Any]]:
    encoded = tokenizer([text for text, _ in rows], truncation=True, max_length=length)
    return [
        {**{name: values[at] for name, values in encoded.items()}, "labels": numbers[label]}
        for at, (_, label) in enumerate(rows)
    ]


def encode_words(
    tokenizer: Any, rows: list[tuple[Any, Any]], numbers: Mapping[str, int], length: int
) -> list[dict[str, Any]]:
    """The first wordpiece of each token has its tag."""
    words = [tokens for tokens, _ in rows]
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=length)
    examples = []
    for at, (_, tags) in enumerate(rows):
        places = encoded.word_ids(at)
        labels = [
            IGNORED if place is None or place == before else numbers[tags[place]]
            for before, place in zip([None, *places], places, strict=False)
        ]
        examples.append({**{name: values[at] for name, values in encoded.items()}, "labels": labels})
    return examples


if __name__ == "__main__":
    {"finetune": finetune, "predict": predict}[sys.argv[1]](json.loads(sys.argv[2]))
