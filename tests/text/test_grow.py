"""Which pieces are chosen: against choosing by recounting everything, and against the tokenizer that then has them."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from errors import refused
from unmask.text.grow import MAX_TOKENS_PER_WORD, choose_tokens, join_tokens, split_word
from unmask.text.tokenizer import Tokenizer

LETTERS = "abc"
words_of = st.lists(st.text(alphabet=LETTERS, min_size=1, max_size=7), min_size=1, max_size=12)
pieces_of = st.sets(
    st.tuples(st.booleans(), st.text(alphabet=LETTERS, min_size=2, max_size=3)).map(
        lambda one: ("##" if one[0] else "") + one[1]
    ),
    max_size=6,
)
SINGLE = {*LETTERS, *(f"##{letter}" for letter in LETTERS)}


def longest_match(word: str, pieces: set[str]) -> list[str] | None:
    found: list[str] = []
    while word:
        mark = "##" if found else ""
        fitting = [word[:end] for end in range(1, len(word) + 1) if mark + word[:end] in pieces]
        if not fitting:
            return None
        found.append(mark + fitting[-1])
        word = word[len(fitting[-1]) :]
    return found


def by_recounting(pieces: set[str], texts: Mapping[str, int], add: int) -> list[str]:
    """Every candidate of every word counted anew before each choice."""
    pieces, chosen = set(pieces), []
    while len(chosen) < add:
        saved: Counter[str] = Counter()
        for word, count in texts.items():
            parts = longest_match(word, pieces)
            assert parts is not None
            for start in range(len(parts)):
                for end in range(start + 2, min(len(parts), start + MAX_TOKENS_PER_WORD) + 1):
                    saved[join_tokens(parts[start:end])] += count * (end - start - 1)
        done = False
        for piece in sorted(saved, key=lambda one: (-saved[one], one)):
            before = sum(n * len(longest_match(word, pieces) or ()) for word, n in texts.items())
            after = sum(n * len(longest_match(word, pieces | {piece}) or ()) for word, n in texts.items())
            if after < before:
                pieces.add(piece)
                chosen.append(piece)
                done = True
                break
        if not done:
            break
    return chosen


@settings(max_examples=100)
@given(words_of, pieces_of)
def test_the_choice_is_that_of_recounting(words: list[str], extra: set[str]) -> None:
    """All single letters are pieces, so every word can be cut, whatever is added."""
    pieces, counts = SINGLE | extra, Counter(words)
    start = {tuple(longest_match(word, pieces) or ()): count for word, count in counts.items()}
    several = {parts: count for parts, count in start.items() if len(parts) > 1}
    found = choose_tokens(pieces, several, {}, 4, min_frequency=1)
    wanted = by_recounting(pieces, counts, 4)
    assert [one.token for one in found] == wanted


@given(words_of, pieces_of)
def test_the_grown_tokenizer_cuts_as_was_foreseen(words: list[str], extra: set[str]) -> None:
    tokenizer = Tokenizer.train(["a b c aa bb cc ab ba"] * 2, vocab_size=20, allow_fewer=True)
    have = set(tokenizer.tokens) | SINGLE | extra
    tokenizer = tokenizer.with_added_tokens(sorted((SINGLE | extra) - set(tokenizer.tokens)))
    cuts = {word: tuple(longest_match(word, have) or ()) for word in words}
    for word, parts in cuts.items():
        assert (
            parts == split_word(word, have) == tuple(map(tokenizer.id_to_token, tokenizer.encode(word).input_ids[1:-1]))
        )
    found = choose_tokens(have, {p: n for p, n in Counter(cuts[w] for w in words).items() if len(p) > 1}, {}, 5)
    grown = tokenizer.with_added_tokens([one.token for one in found])
    assert grown.tokens == [*tokenizer.tokens, *(one.token for one in found)]
    saved = sum(len(tokenizer.encode(word).input_ids) - len(grown.encode(word).input_ids) for word in words)
    assert all(one.count >= 2 and one.tokens_saved > 0 for one in found)
    assert saved >= 0 and (saved > 0) == bool(found)
    for one in found:
        if not one.token.startswith("##"):
            assert grown.encode(one.token).input_ids[1:-1] == [grown.token_to_id(one.token)]


def test_a_family_of_words_shares_its_stem() -> None:
    pieces = {"trans", "##act", "##ion", "##s", "##al", "a", "##b"}
    words = {
        ("trans", "##act", "##ion"): 10,
        ("trans", "##act", "##ion", "##s"): 9,
        ("trans", "##act", "##ion", "##al"): 3,
        ("a", "##b"): 1,
    }
    found = choose_tokens(pieces, words, {}, 9, min_frequency=2)
    assert [(one.token, one.count, one.tokens_saved) for one in found] == [
        ("transaction", 22, 44),
        ("transactions", 9, 9),
        ("transactional", 3, 3),
    ]


def test_unknown_words_count_as_their_characters() -> None:
    found = choose_tokens({"a", "##b"}, {("a", "##b"): 5}, {"国": 6, "xy": 2, "z": 1}, 9, min_frequency=2)
    assert [(one.token, one.count, one.tokens_saved) for one in found] == [
        ("国", 6, 6),
        ("ab", 5, 5),
        ("xy", 2, 4),
    ]


def test_no_word_becomes_unknown() -> None:
    """With "ab" as a piece, "abc" would be cut into "ab" and "##c", which is none: "abc" must come before it."""
    found = choose_tokens({"a", "##bc", "##b"}, {("a", "##bc"): 2, ("a", "##b"): 9}, {}, 9)
    assert [one.token for one in found] == ["abc", "ab"]
    found = choose_tokens({"a", "##bc", "##b"}, {("a", "##bc"): 1, ("a", "##b"): 9}, {}, 9)
    assert found == [], "where it is too rare, neither"


def test_equal_savings_are_told_apart_by_the_text() -> None:
    words = {("b", "##x"): 3, ("a", "##x"): 3, ("c", "##x"): 3}
    for order in (words, dict(reversed(words.items()))):
        assert [one.token for one in choose_tokens({"a", "b", "c", "##x"}, order, {}, 2)] == ["ax", "bx"]


def test_a_vocabulary_of_merges_does_not_grow(tmp_path) -> None:
    import tokenizers as library
    from tokenizers import models, pre_tokenizers, trainers

    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = library.Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=names, show_progress=False)
    made.train_from_iterator(["the river and the stone"] * 3, trainer)
    ends = ("</s>", 2), ("<s>", 0)
    made.post_processor = library.processors.RobertaProcessing(*ends)
    made.save(str(tmp_path / "tokenizer.json"))
    with refused("byte-level BPE", "WordPiece", "unmask tokenizer train"):
        Tokenizer.from_pretrained(tmp_path).with_added_tokens(["riverstone"])
