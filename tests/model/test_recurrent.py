"""The LSTM above packed sequences against each sequence alone, and against torch's own padding."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.layout import SequenceLayout
from unmask.model.recurrent import BiLSTM


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 3))
def test_packed_is_one_by_one(lengths: list[int], seed: int) -> None:
    lengths = sorted(lengths, reverse=True)
    torch.manual_seed(seed)
    module, hidden = BiLSTM(6, 4).double(), torch.randn(sum(lengths), 6, dtype=torch.float64)
    said = module(hidden, SequenceLayout.packed(lengths))
    alone = torch.cat([module.lstm(rows)[0] for rows in hidden.split(lengths)])
    torch.testing.assert_close(said, alone)
    padded = torch.nn.utils.rnn.pad_sequence(list(hidden.split(lengths)))
    rows = torch.nn.utils.rnn.pack_padded_sequence(padded, torch.tensor(lengths))
    spread, _ = torch.nn.utils.rnn.pad_packed_sequence(module.lstm(rows)[0])
    torch.testing.assert_close(said, torch.cat([spread[:n, k] for k, n in enumerate(lengths)]))


def test_it_keeps_its_own_precision() -> None:
    module = BiLSTM(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        said = module(torch.randn(5, 6, dtype=torch.bfloat16), SequenceLayout.packed([3, 2]))
    assert said.dtype == torch.float32 and said.shape == (5, 8)
