"""A recurrent layer above the encoder."""

import torch
from torch import Tensor, nn

from unmask.model.layout import SequenceLayout

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


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
        """0 at padding."""
        if torch.compiler.is_exporting():
            return self._exported(hidden, attention_mask)
        order = attention_mask.sum(1).argsort(descending=True, stable=True)
        mask = attention_mask[order]
        packed = self(hidden[order][mask], SequenceLayout.packed(mask.sum(1).tolist()))
        padded: Tensor = packed.new_zeros(*mask.shape, packed.shape[-1])
        padded[mask] = packed
        return padded[order.argsort()]

    def _exported(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """The operator of ONNX, once for each direction, so that nothing but its rows is asked of an engine."""
        places = torch.arange(hidden.shape[1])
        backwards = attention_mask.sum(1, keepdim=True) - 1 - places
        backwards = torch.where(backwards < 0, places, backwards).unsqueeze(2)
        onward = self._operator(hidden, "_l0")
        back = self._operator(hidden.gather(1, backwards.expand_as(hidden)), "_l0_reverse")
        both = torch.cat([onward, back.gather(1, backwards.expand_as(back))], 2)
        return both.masked_fill(~attention_mask.unsqueeze(2), 0.0)

    def _operator(self, hidden: Tensor, side: str) -> Tensor:
        """LSTM, (length, batch, ...) -> (length, 1, batch, size), as (batch, length, ...) -> (batch, length, size).

        Its gates are input, output, forget, cell; torch's are input, forget, cell, output.
        """
        size, steps = self.lstm.hidden_size, hidden.transpose(0, 1)
        gates = torch.cat([torch.arange(size) + size * gate for gate in (0, 3, 1, 2)])
        weights = [getattr(self.lstm, name + side)[gates].unsqueeze(0) for name in _WEIGHTS]
        inputs = (steps, weights[0], weights[1], torch.cat(weights[2:], 1))
        shape = (steps.shape[0], 1, steps.shape[1], size)
        made = torch.onnx.ops.symbolic("LSTM", inputs, {"hidden_size": size}, dtype=hidden.dtype, shape=shape)
        return made.squeeze(1).transpose(0, 1)
