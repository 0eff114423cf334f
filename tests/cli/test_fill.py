"""`unmask fill` as people and scripts call it."""

import json
from pathlib import Path

import pytest


def test_fill_shows_pieces_for_each_mask(command, pretrained: Path) -> None:
    text = "The [MASK] opened the [MASK]."
    done = command("fill", pretrained, text, "--top-k", 3)
    assert done.code == 0 and "[MASK] 1 of 2" in done.out and "[MASK] 2 of 2" in done.out
    told = json.loads(command("fill", pretrained, text, "--top-k", "3", "--json").out)
    assert [len(candidates) for candidates in told] == [3, 3]
    for candidates in told:
        scores = [one["score"] for one in candidates]
        assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] < 1
        assert not any(one["token"].startswith("[") for one in candidates)
    assert told[0][0]["text"].count("[MASK]") == 1
    assert told[1][0]["token"].removeprefix("##") in told[1][0]["text"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("No mask here.", "[MASK]"), ("river " * 40 + "[MASK]", "at most 32")],
)
def test_texts_that_cannot_be_filled(command, pretrained: Path, text: str, said: str) -> None:
    done = command("fill", pretrained, text)
    assert done.code == 1 and said in done.err and done.out == ""


def test_a_model_without_the_head(command, classifier: Path) -> None:
    done = command("fill", classifier, "A [MASK].")
    assert done.code == 1 and str(classifier) in done.err and "masked-language head" in done.err
