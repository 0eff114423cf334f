"""A small tokenizer of each kind that public checkpoints carry, made by the tokenizers library itself."""

import json
from functools import cache
from typing import Any

import pytest
import tokenizers
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from unmask.text.public.specials import RESERVED
from unmask.text.tokenizer import Tokenizer

TEXTS = [
    "The river flows north, past the old mill; nobody knows why. The river rose again in spring!",
    "Crème brûlée und Äpfel: 12.5 % (ungefähr) don't cost €30 anymore. Ein Fluß fließt.",
    "中国人民在河边看书。今天天气很好，我们去北京大学！ 河流向北。",
    "日本語のテスト、ですね。 한국어 문장 하나 😀 👩‍👩‍👧 e\u0301 x=3 <b>bold</b>",
] * 4
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def trained(model: Any, trainer: Any, **parts: Any) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(made, name, part)
    made.train_from_iterator(TEXTS, trainer)
    return made


def bpe(specials: list[str], **settings: Any) -> Any:
    size = settings.pop("vocab_size", 420)
    return trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False, **settings)


def unigram(specials: list[str], unknown: str) -> Any:
    return trainers.UnigramTrainer(vocab_size=160, special_tokens=specials, unk_token=unknown, show_progress=False)


def roberta(prefix: bool = False) -> tokenizers.Tokenizer:
    """RoBERTa: the mask takes the blank before it."""
    made = trained(
        models.BPE(),
        bpe(ROBERTA[:4], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=prefix),
        decoder=decoders.ByteLevel(),
    )
    made.add_special_tokens([AddedToken("<mask>", lstrip=True)])  # its id is the last
    ends = ("</s>", 2), ("<s>", 0)
    made.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=prefix)
    return made


def modern() -> tokenizers.Tokenizer:
    """ModernBERT: specials beyond the vocabulary of the model, runs of blanks as added pieces, [unused0]."""
    made = trained(
        models.BPE(),
        bpe([], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        normalizer=normalizers.NFC(),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
    )
    made.add_tokens([AddedToken("    ", normalized=True), AddedToken("  ", normalized=True)])
    made.add_special_tokens([*BERT[1:4], BERT[0], AddedToken("[MASK]", lstrip=True)])
    made.add_tokens(["[unused0]", "[unused1]"])
    ends = [(piece, made.token_to_id(piece)) for piece in ("[CLS]", "[SEP]")]
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return made


def sentencepiece(split: bool = True) -> tokenizers.Tokenizer:
    """XLM-R: the vocabulary of the model holds the specials, so that text could become them."""
    metaspace = pre_tokenizers.Metaspace()
    made = trained(
        models.Unigram(),
        unigram(ROBERTA, "<unk>"),
        normalizer=normalizers.Sequence(
            [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
        ),
        pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
        if split
        else pre_tokenizers.Metaspace(split=False),
        decoder=decoders.Metaspace(),
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return made


def albert() -> tokenizers.Tokenizer:
    made = trained(
        models.Unigram(),
        unigram(BERT, "[UNK]"),
        normalizer=normalizers.Sequence(
            [
                normalizers.Replace("``", '"'),
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
            ]
        ),
        pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
        decoder=decoders.Metaspace(),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def fallback() -> tokenizers.Tokenizer:
    """BPE over text with ▁ for blanks; what is unknown is spelled in bytes."""
    every = [f"<0x{byte:02X}>" for byte in range(256)]
    made = trained(
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        bpe([*ROBERTA, *every], vocab_size=500),
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
    )
    made.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    # the bytes are ordinary pieces
    description = json.loads(made.to_str())
    description["added_tokens"] = description["added_tokens"][:5]
    return tokenizers.Tokenizer.from_str(json.dumps(description))


def suffixed() -> tokenizers.Tokenizer:
    """BPE whose pieces say where a word ends (XLM, HerBERT)."""
    made = trained(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
        bpe(ROBERTA, vocab_size=300, end_of_word_suffix="</w>"),
        normalizer=normalizers.BertNormalizer(lowercase=False),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.BPEDecoder(suffix="</w>"),
    )
    made.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    return made


def odd_wordpiece() -> tokenizers.Tokenizer:
    """WordPiece with specials that are words, so that text could become them, and another way to cut words."""
    names = ["PAD", "UNK", "CLS", "SEP", "MASK"]
    made = trained(
        models.WordPiece(unk_token="UNK"),
        trainers.WordPieceTrainer(vocab_size=250, special_tokens=names, show_progress=False),
        normalizer=normalizers.Strip(),
        pre_tokenizer=pre_tokenizers.WhitespaceSplit(),
        decoder=decoders.WordPiece(),
    )
    made.post_processor = processors.TemplateProcessing(
        single="CLS $A SEP", pair="CLS $A SEP $B:1 SEP:1", special_tokens=[("CLS", 2), ("SEP", 3)]
    )
    return made


def words_only() -> tokenizers.Tokenizer:
    made = trained(
        models.WordLevel(unk_token="[UNK]"),
        trainers.WordLevelTrainer(vocab_size=60, special_tokens=BERT, show_progress=False),
        pre_tokenizer=pre_tokenizers.Whitespace(),
    )
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


MAKERS = {
    "RoBERTa": roberta,
    "RoBERTa with a blank before": lambda: roberta(True),
    "ModernBERT": modern,
    "XLM-R": sentencepiece,
    "SentencePiece, not split": lambda: sentencepiece(False),
    "ALBERT": albert,
    "bytes for what is unknown": fallback,
    "end of word": suffixed,
    "odd WordPiece": odd_wordpiece,
    "words": words_only,
}
NAMES = {"odd WordPiece": {"pad_token": "PAD", "mask_token": {"content": "MASK", "lstrip": False}}}


@cache
def made(kind: str) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    theirs = MAKERS[kind]()
    ours = Tokenizer(theirs.to_str(), kind, NAMES.get(kind))
    theirs.encode_special_tokens = True
    return theirs, ours


every = pytest.mark.parametrize("kind", MAKERS)

LETTERS = "aeiouhrtnTdlBEéüßÄç中国人河北京日本語の한국😀👩‍👧𠀀\u0301\u0308\u200d\u200b\ufeff\ufe0f\x00\x07\x85ﬁ①Ⅳ½ｱ０"
BREAKS = " \u00a0\t\n\r\u3000.,!?。！“”'\"-()=+|_%"
TEXT = st.text(
    st.sampled_from(LETTERS + BREAKS * 2) | st.characters(exclude_categories=["Cs"], exclude_characters=RESERVED),
    max_size=20,
)
LONG = st.builds(lambda word, times: word * times, TEXT.filter(bool), st.integers(1, 30))


@cache
def trained_here() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=200, allow_fewer=True, min_frequency=1)
