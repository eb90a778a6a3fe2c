"""Tables of ids and names as Arrow files, mapped into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from model_release import limits
from model_release.adapters.arrow_layout import check_layout
from model_release.adapters.files import write_file
from model_release.adapters.run_files import OpenFile
from model_release.errors import ArtifactInvalidError


def write_table(path: Path, columns: Mapping[str, Sequence[str | None]]) -> None:
    """Write columns of strings.

    Raises:
        OSError: they could not be written; ENOSPC says how many bytes were missing.
    """
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    write_file(path, sink.getvalue())


def read_table(file: OpenFile, columns: Sequence[str], *, rows: int) -> dict[str, Any]:
    """Map a table and check it.

    Args:
        file: the open file.
        columns: the names that it must have: the first holds ids, which are never null; others hold names.
        rows: how many it may have.

    Returns:
        One ``pyarrow.StringArray`` per column.

    Raises:
        ArtifactInvalidError: it is something else, or a value is too long.
    """
    mapped = memoryview(file.map())
    check_layout(mapped, file.path)
    try:
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped)))
        schema = reader.schema
        if schema.names != list(columns) or any(kind != pa.string() for kind in schema.types):
            raise ArtifactInvalidError(
                f"{file.path} has columns {schema.names} of {[str(kind) for kind in schema.types]}, expected strings "
                f"{list(columns)}"
            )
        table = reader.read_all()
        table.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactInvalidError(f"{file.path} is not a readable Arrow file: {error}") from error
    if table.num_rows > rows:
        raise ArtifactInvalidError(f"{file.path} has {table.num_rows} rows, allowed are {rows}")
    if table.column(columns[0]).null_count:
        raise ArtifactInvalidError(f"{file.path} has ids that are null")
    for name, longest in zip(columns, (limits.ID_BYTES, limits.NAME_BYTES), strict=False):
        length = pc.max(pc.binary_length(table.column(name))).as_py() or 0
        if length > longest:
            raise ArtifactInvalidError(f"{file.path} has a {name} of {length} bytes, allowed are {longest}")
    return {name: table.column(name).combine_chunks() for name in columns}
