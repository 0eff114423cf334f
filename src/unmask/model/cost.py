"""Cost of an encoder, by formula: products of matrices, and activations stored for the gradient."""

from unmask.model.config import EncoderConfig


def layer_windows(config: EncoderConfig) -> list[int | None]:
    """How many tokens each layer sees on each side; None: the whole sequence."""
    return [config.window if config.is_local(layer) else None for layer in range(config.num_hidden_layers)]


def attention_pairs(length: int, window: int | None) -> int:
    """Pairs of a token and one that it sees, itself included."""
    if window is None or window >= length - 1:
        return length**2
    return length * (2 * window + 1) - window * (window + 1)  # both ends see less


def forward_flops(config: EncoderConfig, length: int) -> dict[str, float]:
    """FLOPs of the hidden states of a sequence of `length` tokens, for each of its tokens, by part.

    A multiply-add is two: so 2 for each weight of the linear layers, and for each layer 4 x hidden_size for each token
    that is seen (Kaplan et al. 2020, section 2.1). "masked" is the masked-LM head, for each masked position, and no
    part of the others. What is no product of matrices (norms, activations, look-ups) is left out.
    """
    width, embedding, layers = config.hidden_size, config.resolved_embedding_size, config.num_hidden_layers
    matrices = (3 if config.gated else 2) * width * config.resolved_intermediate_size
    seen = sum(attention_pairs(length, window) for window in layer_windows(config)) / length
    return {
        "embeddings": 2.0 * width * embedding if config.embedding_size else 0.0,
        "attention": 8.0 * layers * width**2 + 4.0 * width * seen,
        "feed_forward": 2.0 * layers * matrices,
        "masked": 2.0 * embedding * (width + config.vocab_size),
    }


def activation_numbers(config: EncoderConfig) -> int:
    """Numbers that a forward pass stores for the gradient, for each token of a packed batch; without dropout.

    Of each layer, in multiples of hidden_size: what the linear layers read (query, key and value 1, the output of
    attention 1, the feed-forward 1), query, key and value as attention reads them (3), what the two norms read (2); 2
    more where queries and keys are rotated, 4 more where they are normalised; of intermediate_size what the activation
    reads and gives (2), or 4 where it is gated. Scores are not stored: attention computes them again. Once, what the
    norm of the embeddings reads. Dropout adds its masks.
    """
    each = 8 + (4 if config.qk_norm else 2 if config.position_embedding_type == "rotary" else 0)
    inner = (4 if config.gated else 2) * config.resolved_intermediate_size
    return config.num_hidden_layers * (each * config.hidden_size + inner) + config.resolved_embedding_size
