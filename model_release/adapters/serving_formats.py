"""The serving formats by name."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from model_release.adapters.factors import Factors
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_files import RunFiles
from model_release.artifact import ExternalFormat, FactorsFormat, Manifest, ServedModel, ServingFormat
from model_release.errors import ArtifactInvalidError


def open_model(run: Path | RunFiles, manifest: Manifest) -> ServedModel:
    """Load the data files of a run, in whichever serving format its manifest names.

    Args:
        run: its folder; or its open files, as ``RunStore.opened`` gives them: then what was verified is what is mapped.
        manifest: its manifest.

    Raises:
        ArtifactInvalidError: a file is missing or malformed, or only another service can read the run.
    """
    match manifest.serving:
        case ServingFormat():
            return RankedLists(run)
        case FactorsFormat() as serving:
            return Factors(run, serving)
        case ExternalFormat():
            raise ArtifactInvalidError(f"run {manifest.run_id!r} is served by another service: it can't be loaded here")
        case unknown:
            assert_never(unknown)
