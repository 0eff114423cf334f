"""A recurrent layer above the encoder."""

import torch
from torch import Tensor, nn

from unmask.model.layout import SequenceLayout


class BiLSTM(nn.Module):
    """An LSTM in each direction (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005), side by side.

    hidden (tokens, input_size) packed, longest sequence first -> (tokens, 2 x hidden_size), without padding: at each
    position the sequences that are still going on form a batch. (batch, length, input_size)
    padded is packed first. Computed in the precision of its weights, since a sum over many steps loses more in bfloat16
    than it gains.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, bidirectional=True)

    def forward(self, hidden: Tensor, layout: SequenceLayout) -> Tensor:
        """Read each sequence in both directions."""
        if layout.attention_mask is not None:
            return self._padded(hidden, layout.attention_mask)
        lengths = torch.tensor(layout.lengths)
        going_on = (lengths.unsqueeze(0) > torch.arange(layout.max_seqlen).unsqueeze(1)).sum(1)
        by_place = layout.position_ids.argsort(stable=True)  # all first tokens, all second ones, ...
        precision = next(self.parameters()).dtype
        with torch.autocast(hidden.device.type, enabled=False):
            rows = nn.utils.rnn.PackedSequence(hidden[by_place].to(precision), going_on)
            said: Tensor = self.lstm(rows)[0].data
        return said[by_place.argsort()]

    def _padded(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """0 at padding."""
        order = attention_mask.sum(1).argsort(descending=True, stable=True)
        mask = attention_mask[order]
        packed = self(hidden[order][mask], SequenceLayout.packed(mask.sum(1).tolist()))
        padded: Tensor = packed.new_zeros(*mask.shape, packed.shape[-1])
        padded[mask] = packed
        return padded[order.argsort()]
