"""What any trained model is to be compared with: counts of labels and tags, words in common, TF-IDF.

All learn from the same training rows as the model, if at all, and never see the labels of the test rows.
"""

import math
import re
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from unmask.data.rows.example import Example, keep_outermost
from unmask.errors import UserError, missing_extra
from unmask.messages import message
from unmask.metrics import Contestant
from unmask.metrics.retrieval import Vectors
from unmask.tasks import Task
from unmask.tasks.labelled_spans import spans_of, tags_of, word_bounds
from unmask.tasks.task import TargetKind
from unmask.text.chinese import IDEOGRAPHS

STRENGTHS = (3.0, 20.0, 100.0)  # inverse regularisation C, from strong to weak
COMMON_ROWS = 1000  # with at least so many training rows, n-grams of a single row are left out
WORD = re.compile(f"[{IDEOGRAPHS}]|[^\\W{IDEOGRAPHS}]+")
SENTENCE_END = re.compile(r"[.!?]+\s|[。！？；]|\n")
LONGEST = 6  # words of an answer
BUCKETS = 2048  # numbers that words are hashed into

Examples = Sequence[Example]


def simplest_baseline(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    """Predict for the test examples from counts of the training examples, or from the words of their texts."""
    return BASELINES[task.kind](task, train, test)


def _most_frequent_label(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    label = most_frequent(Counter(example.label or "" for example in train))
    return Contestant(message("always {label!r}", label), "majority", [label] * len(test))


def most_frequent(counts: Counter[str]) -> str:
    """Of equally frequent ones the first by name."""
    return min(counts, key=lambda name: (-counts[name], name))


def _frequent_labels(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    """The labels that at least half of the rows have; the most frequent one where there are none such."""
    counts = Counter(label for example in train for label in example.label_set or ())
    labels = sorted(label for label, count in counts.items() if 2 * count >= len(train)) or [most_frequent(counts)]
    return Contestant(message("always {label!r}", labels), "majority", [labels] * len(test))


def _mean(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    mean = float(np.mean([example.number for example in train]))
    return Contestant(message("always {number:.3f}", mean), "mean", [mean] * len(test))


def _frequent_tags(task: Any, train: Examples, test: Examples) -> Contestant:
    """Each word has one tag: that of the outermost span."""

    def words(example: Example) -> tuple[list[str], list[str]]:
        tokens = word_bounds(task, example)
        tags = tags_of(task, tokens, keep_outermost(example.spans or ()))
        return [example.text[start:end] for start, end in tokens], tags

    tags = most_frequent_tags([words(one) for one in train], [words(one)[0] for one in test])
    spans = [spans_of(task, word_bounds(task, one), own) for one, own in zip(test, tags, strict=True)]
    return Contestant("most frequent tag of each word", "frequent", task.comparable(test, spans))


def most_frequent_tags(
    train: Sequence[tuple[Sequence[str], Sequence[str]]], test: Sequence[Sequence[str]]
) -> list[list[str]]:
    """The most frequent training tag of each word; for a word never seen, that of the words seen once.

    train: the words and the tags of each sentence, at least one; test: the words of each sentence.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in train:
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += 1
    once, every = Counter[str](), Counter[str]()
    for tags_of_word in counts.values():
        every.update(tags_of_word)
        if tags_of_word.total() == 1:
            once.update(tags_of_word)
    unseen = most_frequent(once or every)
    best = {word: most_frequent(tags_of_word) for word, tags_of_word in counts.items()}
    return [[best.get(word, unseen) for word in words] for words in test]


def _nearest_words(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    spans = [nearest_span(example.text, example.pair or "") for example in test]
    answers = [(example.pair or "")[start:end] for example, (start, end) in zip(test, spans, strict=True)]
    return Contestant("the words beside those of the question", "overlap", answers)


def nearest_span(question: str, context: str) -> tuple[int, int]:
    """Find an answer by the sliding window of Richardson et al. 2013 (MCTest, Algorithm 1), for free answers: the
    characters (start, end), (0, 0) where the context has no words.

    In the sentence that shares most with the question, where a rare word counts more, it is the longest run of words
    that the question does not hold.
    """
    asked = {word[0].lower() for word in WORD.finditer(question)}
    words = [(found.start(), found.end(), found[0].lower()) for found in WORD.finditer(context)]
    if not words:
        return 0, 0
    count = Counter(word for _, _, word in words)
    ends = [found.end() for found in SENTENCE_END.finditer(context)]
    sentences = [list(some) for _, some in groupby(words, key=lambda word: bisect_right(ends, word[0]))]

    def shared(sentence: list[tuple[int, int, str]]) -> float:
        return sum(math.log(1 + 1 / count[word]) for word in {word for *_, word in sentence} & asked)

    best = max(sentences, key=shared)  # of equal ones the first
    runs = [list(some) for new, some in groupby(best, key=lambda word: word[2] not in asked) if new]
    run = max(runs, key=len, default=best)[:LONGEST]
    return run[0][0], run[-1][1]


def _words_in_common(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    texts = [text for example in test for text in (example.text, example.pair or "")]
    pairs = list(word_vectors(texts).reshape(len(test), 2, -1))
    return Contestant("the words in common", "words", task.comparable(test, pairs))


def word_vectors(texts: Sequence[str]) -> Vectors:
    """(texts, BUCKETS): the words that a text holds as a vector; in Chinese each character is one.

    A word counts for log(1 + n / the number of these texts that have it); words share buckets, as their hashes do,
    with signs that let them cancel (Weinberger et al. 2009).
    """
    vectors = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in {found[0] for found in WORD.finditer(text.lower())}:
            hashed = zlib.crc32(word.encode())
            vectors[row, hashed % BUCKETS] += 1 if hashed & (1 << 31) else -1
    frequency = (vectors != 0).sum(0)
    weights: Vectors = np.log1p(len(texts) / np.maximum(frequency, 1)).astype(np.float32)
    return vectors * weights


BASELINES: dict[TargetKind, Callable[[Task[Any], Examples, Examples], Contestant]] = {
    "label": _most_frequent_label,
    "labels": _frequent_labels,
    "number": _mean,
    "tags": _frequent_tags,
    "answers": _nearest_words,
    "vectors": _words_in_common,
}


def tfidf(
    train: Sequence[str], labels: Sequence[str], test: Sequence[str], seed: int = 0, *, analyzer: str = "word"
) -> list[str]:
    """Predict labels by TF-IDF (sublinear) of word or character uni- and bigrams and a logistic regression for each.

    The strength C is the one of `STRENGTHS` with the best accuracy on a tenth of the training rows, drawn
    with `seed`; the model is then fitted on all of them. "char" is for writing without spaces, as in Chinese.
    Raises UserError where the training texts hold no words, or scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.multiclass import OneVsRestClassifier
    except ImportError:
        raise missing_extra("scikit-learn", "eval", "the TF-IDF baseline") from None
    if len(set(labels)) == 1 or not test:
        return list(labels[:1]) * len(test)
    vectorizer = TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b\w+\b" if analyzer == "word" else None,
        min_df=2 if len(train) >= COMMON_ROWS else 1,
        sublinear_tf=True,
    )
    try:
        features = vectorizer.fit_transform(train)
    except ValueError as error:
        raise UserError("TF-IDF: the training texts contain no words to count", given=error) from None
    truth = np.asarray(labels, dtype=str)
    order = np.random.default_rng(seed).permutation(len(truth))
    held, rest = (np.sort(part) for part in np.split(order, [len(truth) // 10]))
    # liblinear on one label at a time measured 4 to 10 times faster than the joint fit, and no worse
    model = OneVsRestClassifier(LogisticRegression(C=STRENGTHS[1], solver="liblinear", random_state=seed))
    if len(held) and len(set(truth[rest])) > 1:
        model = GridSearchCV(model, {"estimator__C": STRENGTHS}, scoring="accuracy", cv=[(rest, held)])
    predicted: list[str] = model.fit(features, truth).predict(vectorizer.transform(test)).tolist()
    return predicted
