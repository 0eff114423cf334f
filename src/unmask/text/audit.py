"""How well a vocabulary suits a text: figures of a Usage for people, and what would be worth having in it."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from unmask.text.usage import SCRIPTS, ScriptCounts, Usage

WORDS = CHARACTERS = EXAMPLES = 20  # shown


def audit(found: Usage) -> dict[str, Any]:
    """Characters per piece, pieces per word and unknown pieces, in all and by script; unused pieces; the words that
    would save the most pieces if they were one, and the most frequent unknown characters.
    """
    whole, tokenizer = found.total, found.tokenizer
    ordinary = tokenizer.text_token_ids
    unused = ordinary[found.token_counts[ordinary] == 0].tolist()
    characters, others = unknown_characters(found)
    return {
        "documents": found.documents,
        "characters": found.characters,
        **_figures(whole),
        "characters_per_token": found.characters / whole.tokens if whole.tokens else 0.0,
        "scripts": {
            script: {**asdict(found.scripts[script]), **_figures(found.scripts[script])}
            for script in SCRIPTS
            if found.scripts[script].characters
        },
        "unused": {
            "count": len(unused),
            "share": len(unused) / max(1, len(ordinary)),
            "examples": [tokenizer.display_token(number) for number in unused[:EXAMPLES]],
        },
        "fragmented": [
            {
                "word": _word(found, ids),
                "tokens": [tokenizer.display_token(number) for number in ids],
                "count": count,
            }
            for ids, count in sorted(found.split_words.items(), key=_tokens_saved)[:WORDS]
        ],
        "unknown_characters": [
            {"character": character, "count": count}
            for character, count in sorted(characters.items(), key=lambda item: (-item[1], item[0]))[:CHARACTERS]
        ],
        "unknown_otherwise": others,
        "forgotten": found.forgotten,
    }


def _figures(counts: ScriptCounts) -> dict[str, Any]:
    return {
        "words": counts.words,
        "tokens": counts.tokens,
        "characters_per_token": counts.characters_per_token,
        "tokens_per_word": counts.tokens_per_word,
        "unknown": counts.unknown,
        "unknown_rate": counts.unknown_rate,
    }


def _tokens_saved(item: tuple[tuple[int, ...], int]) -> tuple[int, tuple[int, ...]]:
    """The more pieces a word would save if it were one, the earlier."""
    ids, count = item
    return -count * (len(ids) - 1), ids


def _word(found: Usage, ids: tuple[int, ...]) -> str:
    return "".join(found.tokenizer.token_text(number) for number in ids).strip()


def unknown_characters(found: Usage) -> tuple[Counter[str], int]:
    """The characters that are unknown by themselves, with how often they stand in what is unknown; and how many
    unknown pieces hold none of them: words too long, or with a character that the vocabulary has only elsewhere in
    words."""
    tokenizer = found.tokenizer
    distinct = sorted({character for text in found.unknown_characters for character in text})
    encoded = tokenizer.encode_batch(distinct)
    alone = {
        character
        for character, one in zip(distinct, encoded, strict=True)
        if tokenizer.unk_token_id in np.array(one.input_ids)[~np.array(one.special_tokens_mask, bool)]
    }
    counts: Counter[str] = Counter()
    others = 0
    for text, count in found.unknown_characters.items():
        wanted = [character for character in text if character in alone]
        for character in wanted:
            counts[character] += count
        others += 0 if wanted else count
    return counts, others
