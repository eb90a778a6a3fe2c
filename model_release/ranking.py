"""How much two ranked lists differ, and how many items many lists name: what a shadow trial measures.

References:
    Overlap at k: R. Fagin, R. Kumar, D. Sivakumar, "Comparing top k lists", SIAM J. Discrete Math. 17 (2003).
    Rank-biased overlap: W. Webber, A. Moffat, J. Zobel, "A similarity measure for indefinite rankings",
        ACM Trans. Inf. Syst. 28:4 (2010), equation 32 for lists that end, at different depths.
    Linear counting: K.-Y. Whang, B. Vander-Zanden, H. Taylor, "A linear-time probabilistic counting algorithm for
        database applications", ACM Trans. Database Syst. 15 (1990).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import zlib
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Self

PERSISTENCE = 0.9  # with p = 0.9 the first ten ranks have 86 % of the weight (Webber et al., equation 21)
SKETCH_BITS = 1 << 20
_SKETCH_BYTES = SKETCH_BITS // 8


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Return |one and other| / length of the longer list: overlap@k for two lists cut at k.

    Two lists that end before k can still agree in full; a list that ends earlier than the other can't.

    Raises:
        ValueError: both lists are empty, so there is nothing to compare.
    """
    longer = _longer(one, other)
    return len(set(one) & set(other)) / longer


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], p: float = PERSISTENCE) -> float:
    """Return RBO_ext, 0 to 1: the expected agreement for a reader who goes on to the next rank with probability ``p``.

    With X_d the items that both lists name in their first d ranks, s and l the lengths of the shorter and the longer one:

        (1-p)/p * (sum_{d=1..l} X_d/d p^d + sum_{d=s+1..l} X_s (d-s)/(s d) p^d) + ((X_l - X_s)/l + X_s/s) p^l

    An item that a list names twice counts at its first rank.  With an empty list the agreement is 0 at every depth.

    Raises:
        ValueError: both lists are empty, or ``p`` is not between 0 and 1.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"p={p} is not between 0 and 1")
    longer, shorter = _longer(one, other), min(len(one), len(other))
    if shorter == 0:
        return 0.0
    seen_in_one: set[str] = set()
    seen_in_other: set[str] = set()
    common = common_at_shorter = 0
    total, weight = 0.0, 1.0
    for depth in range(1, longer + 1):
        if depth <= len(one):
            common += _meets(one[depth - 1], seen_in_one, seen_in_other)
        if depth <= len(other):
            common += _meets(other[depth - 1], seen_in_other, seen_in_one)
        if depth == shorter:
            common_at_shorter = common
        weight *= p
        beyond = max(0, depth - shorter) * common_at_shorter / shorter
        total += (common + beyond) / depth * weight
    end = (common - common_at_shorter) / longer + common_at_shorter / shorter
    return min(1.0, (1.0 - p) / p * total + end * weight)


def head_count(items: Iterable[str], head: Collection[str]) -> int:
    """Return how many of ``items`` are in ``head``, for example the most popular ones."""
    return sum(1 for item in items if item in head)


class DistinctCount:
    """How many different items were named, in 128 KiB for any number of them; sketches of processes add up by OR.

    Linear counting in m = 2^20 bits: each item sets one bit, and n = -m ln(share of bits that are 0).  The standard error is
    sqrt(m (e^t - t - 1)) / n with t = n/m: 0.07 % up to 100,000 items, 0.08 % at a million, 0.2 % at five million.
    """

    def __init__(self, bits: bytes = b"") -> None:
        """Start empty, or from the ``bits`` of another sketch."""
        if len(bits) not in {0, _SKETCH_BYTES}:
            raise ValueError(f"a sketch has {_SKETCH_BYTES} bytes, not {len(bits)}")
        self._bits = bytearray(bits or _SKETCH_BYTES)

    def add(self, items: Iterable[str]) -> None:
        """Note that ``items`` were named."""
        bits = self._bits
        for item in items:
            place = _place(item)
            bits[place >> 3] |= 1 << (place & 7)

    def estimate(self) -> float:
        """Return the estimated number of different items; m ln m, about 14.5 million, when every bit is set."""
        zeros = SKETCH_BITS - int.from_bytes(self._bits, "little").bit_count()
        return SKETCH_BITS * math.log(SKETCH_BITS / max(1, zeros)) if zeros < SKETCH_BITS else 0.0

    def dump(self) -> str:
        """Return the sketch as text that fits into JSON: compressed, so that a small catalogue takes little."""
        return base64.b64encode(zlib.compress(bytes(self._bits), level=1)).decode("ascii")

    @classmethod
    def load(cls, text: str) -> Self:
        """Read what :meth:`dump` returned.

        Raises:
            ValueError: it is something else.
        """
        reader = zlib.decompressobj()
        try:
            bits = reader.decompress(base64.b64decode(text, validate=True), _SKETCH_BYTES + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"not a sketch: {error}") from error
        if not reader.eof or len(bits) != _SKETCH_BYTES:
            raise ValueError(f"not a sketch: {len(bits)} bytes of {_SKETCH_BYTES}, complete: {reader.eof}")
        return cls(bits)

    @classmethod
    def merge(cls, sketches: Iterable[DistinctCount]) -> Self:
        """Return the sketch of all items that any of ``sketches`` was told of."""
        together = 0
        for sketch in sketches:
            together |= int.from_bytes(sketch._bits, "little")
        return cls(together.to_bytes(_SKETCH_BYTES, "little"))


def _longer(one: Sequence[str], other: Sequence[str]) -> int:
    longer = max(len(one), len(other))
    if longer == 0:
        raise ValueError("both lists are empty: there is nothing to compare")
    return longer


def _meets(item: str, own: set[str], others: set[str]) -> int:
    """Add an item to the ones that its list has named; return 1 if the other list has named it already."""
    if item in own:
        return 0
    own.add(item)
    return item in others


@lru_cache(maxsize=1 << 15)
def _place(item: str) -> int:
    """Return the bit of an item, the same in every process; a cryptographic hash, for ids often differ in one digit only."""
    digest = hashlib.blake2b(item.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") % SKETCH_BITS
