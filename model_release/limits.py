"""How large a run may be.  What is larger is refused before it is read, parsed or mapped.

A run comes from a folder that other processes write to.  These bounds keep a damaged or hostile one from taking the
memory or the time of a replica that serves; they are far above what an honest run needs.
"""

from __future__ import annotations

MANIFEST_BYTES = 1 << 20  # a manifest has a few kilobytes
GOLDEN_BYTES = 16 << 20
GOLDEN_LINES = 1_000  # each is answered once per load: 10 s at the slowest
GOLDEN_K = 1_000
FILES = 64  # in one run, manifest.json not counted
RUN_BYTES = 64 << 30  # all files of one run
REGISTRY_BYTES = 64 << 20

ARRAY_HEADER_BYTES = 4_096  # of a .npy file; numpy writes 118
ARROW_METADATA_BYTES = 1 << 20  # footer, and header of the batch
USERS = 200_000_000
ITEMS = 50_000_000
LIST_LENGTH = 10_000  # of precomputed and of popular lists
FACTORS = 1_024  # length of a vector
FACTOR_SIZE = 1e12  # of one number: products of two, summed, stay far inside float32
ID_BYTES = 1_024  # UTF-8; the API takes 256 characters
NAME_BYTES = 65_536
