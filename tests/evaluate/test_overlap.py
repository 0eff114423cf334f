"""Baselines that read texts: an answer near the words of the question, vectors of words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.evaluate import overlap
from unmask.evaluate.overlap import nearest_span, word_vectors
from unmask.metrics.retrieval import cosines


@given(st.text(alphabet="ab c.?!。中文，\n", max_size=40), st.text(alphabet="ab 中。", max_size=8))
def test_the_nearest_span_is_one_of_the_context(context: str, question: str) -> None:
    start, end = nearest_span(question, context)
    words = overlap.WORD.findall(context)
    assert (0 <= start < end <= len(context)) if words else (start, end) == (0, 0)
    assert len(overlap.WORD.findall(context[start:end])) <= overlap.LONGEST


def test_the_nearest_span_is_near_the_words_of_the_question() -> None:
    context = "A lantern. The stone of the bridge is old granite. Winter."
    start, end = nearest_span("what is the stone of the bridge", context)
    assert context[start:end] == "old granite"


def test_words_in_common_bring_texts_together() -> None:
    texts = ["The river, winter!", "the RIVER winter", "a stone bridge", "江河水", "水很深", "一座桥"]
    vectors = word_vectors(texts)
    near = cosines(vectors[:, None].repeat(6, 1), vectors[None].repeat(6, 0))
    assert near[0, 1] == pytest.approx(1) and near[3, 4] > 0.1
    assert abs(near[0, 2]) < 1e-6 and abs(near[3, 5]) < 1e-6
    assert np.array_equal(word_vectors([""]), np.zeros((1, overlap.BUCKETS)))
