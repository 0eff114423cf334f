"""A recurrent layer above the encoder."""

import torch
from torch import Tensor, nn

from unmask.model.layout import SequenceLayout


class BiLSTM(nn.Module):
    """An LSTM in each direction (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005), side by side.

    hidden (tokens, input_size) packed, longest sequence first -> (tokens, 2 x hidden_size), without padding: at each
    position the sequences that are still going on form a batch; or (batch, length, input_size) padded. Computed in the
    precision of its weights, since a sum over many steps loses more in bfloat16 than it gains.
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
        """Read rows of equal length, by tensors alone, so that the graph can be exported; 0 at padding."""
        places = torch.arange(hidden.shape[1], device=hidden.device)
        backwards = attention_mask.sum(1, keepdim=True) - 1 - places
        backwards = torch.where(backwards < 0, places, backwards).unsqueeze(2)
        reverse = backwards.expand_as(hidden)
        onward = self._one_direction(hidden, "")
        back = self._one_direction(hidden.gather(1, reverse), "_reverse")
        back = back.gather(1, backwards.expand_as(back))
        return torch.cat([onward, back], 2).masked_fill(~attention_mask.unsqueeze(2), 0.0)

    def _one_direction(self, hidden: Tensor, suffix: str) -> Tensor:
        weights = [
            getattr(self.lstm, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        zeros = hidden.new_zeros(1, len(hidden), self.lstm.hidden_size)
        made: Tensor = torch.lstm(hidden, (zeros, zeros), weights, True, 1, 0.0, False, False, True)[0]
        return made
