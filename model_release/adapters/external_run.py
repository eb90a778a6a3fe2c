"""Publish a run that somebody else's service serves: its files are pinned, not read."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path

from model_release.adapters.run_store import RunStore
from model_release.artifact import GOLDEN_NAME, Algorithm, DataSnapshot, ExternalFormat, GoldenRequest, Manifest


def publish_external(
    store: RunStore,
    run_id: str,
    files: Sequence[Path],
    *,
    as_of: dt.datetime,
    algorithm: Algorithm,
    data: DataSnapshot,
    created_at: dt.datetime,
    golden: Sequence[GoldenRequest] = (),
) -> Manifest:
    """Copy ``files`` into ``models/<run_id>/`` with their hashes and a manifest, all at once.

    Args:
        store: where runs are.
        run_id: a new name for every model; what the service calls it.
        files: the model, or a small file that says where it is; with names of their own.
        as_of: it learned from what lies before.
        algorithm: how it was made.
        data: what it was made from.
        created_at: when.
        golden: recorded answers for ``verify``; needed only if the service's mapping has a ``probe``.

    Raises:
        RunExistsError: a run with this id is published already.
        ArtifactInvalidError: a file changed while it was copied.
        ValidationError: a file name is not usable, or there are no files at all.
    """
    with store.staging(run_id) as folder:
        for file in files:
            shutil.copyfile(file, folder / file.name)
        lines = [request.model_dump_json() + "\n" for request in golden]
        (folder / GOLDEN_NAME).write_text("".join(lines), encoding="utf-8")
        manifest = Manifest(
            run_id=run_id,
            created_at=created_at,
            git_commit=None,
            as_of=as_of,
            algorithm=algorithm,
            data=data,
            serving=ExternalFormat(),
            files=store.entries(folder),
        )
        store.publish(manifest)
    return manifest
