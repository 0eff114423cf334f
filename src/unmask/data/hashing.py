"""Randomness that is a pure function of its arguments: hashes, uniform numbers, permutations at random access.

Data order and masks use nothing else, so that they depend neither on workers nor on what was drawn before.
"""

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix_bits(value: U64) -> U64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 15): a bijection on 64 bits."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


def hash_integers(*parts: int | npt.NDArray[np.integer]) -> U64:
    """A 64-bit hash of integers and integer arrays, which broadcast against each other. Order matters."""
    with np.errstate(over="ignore"):
        state = np.zeros(1, dtype=np.uint64)
        for part in parts:
            state = mix_bits(state + _GOLDEN + np.asarray(part).astype(np.uint64) * _MIX_2)
        return state


def hash_uniform(*parts: int | npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) from a hash of the parts: 53 bits each."""
    return (hash_integers(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permute(index: npt.NDArray[np.int64], size: int, *key: int) -> npt.NDArray[np.int64]:
    """Places `index` of a pseudo-random permutation of range(size), without making the permutation.

    A balanced Feistel network over the next even power of two, walked in cycles until it falls below `size`
    (Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains, section 4). O(len(index)) time and memory.
    """
    assert size > 0
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    rounds = [int(hash_integers(*key, number)[0]) for number in range(4)]
    result = index.astype(np.uint64)
    outside = np.ones(result.shape, dtype=bool)
    while outside.any():
        value = result[outside]
        left, right = value >> half, value & low
        for secret in rounds:
            left, right = right, left ^ (hash_integers(secret, right.view(np.int64)) & low)
        result[outside] = (left << half) | right
        outside = result >= size
    return result.astype(np.int64)
