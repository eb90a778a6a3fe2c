"""Write what was learned as the files of a run: lists or factors, and the golden requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_release import golden
from model_release.adapters import factors, ranked_lists
from model_release.adapters.factors import Seen
from model_release.adapters.files import write_file
from model_release.adapters.serving_formats import open_model
from model_release.artifact import GOLDEN_NAME, FactorsFormat, Manifest, ServingFormat
from pipeline.config import PipelineConfig
from pipeline.progress import step

if TYPE_CHECKING:
    import polars as pl

    from pipeline.algorithms.protocol import TrainingData

_GOLDEN_USERS = 20
_GOLDEN_ITEMS = 10
_GOLDEN_K = 20
_POPULAR_WINDOW_DAYS = 28.0
_UNKNOWN_USER = "nobody-knows-this-user"


def write_run(
    config: PipelineConfig,
    folder: Path,
    serving: ServingFormat | FactorsFormat,
    data: TrainingData,
    items: pl.DataFrame,
    fitted: Any,
) -> None:
    """Write the data files of a run into ``folder``, in the format of ``serving``.

    Args:
        config: the pipeline's configuration.
        folder: an empty folder, from ``RunStore.staging``.
        serving: the format.
        data: what the run was trained on.
        items: columns ``item_id`` and ``name``.
        fitted: the trained model.
    """
    names = _names(data, items)
    match serving:
        case FactorsFormat():
            _write_factors(config, folder, serving, data, names, fitted)
        case ServingFormat():
            _write_lists(config, folder, data, names, fitted)


def _names(data: TrainingData, items: pl.DataFrame) -> list[str | None]:
    """Return the name of every item, in the order of their codes."""
    names = dict(zip(items["item_id"].to_list(), items["name"].to_list(), strict=True))
    return [names.get(item_id) for item_id in data.item_ids]


def _write_factors(
    config: PipelineConfig,
    folder: Path,
    serving: FactorsFormat,
    data: TrainingData,
    names: list[str | None],
    fitted: Any,
) -> None:
    from pipeline.algorithms.protocol import HasFactors
    from pipeline.ranking import popular_items

    if not isinstance(fitted, HasFactors):
        raise TypeError(f"{type(fitted).__name__} has no factors although FACTOR_ALGORITHMS names its algorithm")
    with step("write the factors") as doing:
        doing.rows = len(fitted.user_factors)
        factors.write(
            folder,
            serving,
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            user_factors=fitted.user_factors,
            item_factors=fitted.item_factors,
            popular=popular_items(data, window_days=_POPULAR_WINDOW_DAYS, depth=config.training.user_list_length),
            seen=Seen(data.known.indptr, data.known.indices) if serving.exclude_seen else None,
            item_names=names,
        )


def _write_lists(
    config: PipelineConfig, folder: Path, data: TrainingData, names: list[str | None], fitted: Any
) -> None:
    from pipeline.ranking import popular_items, rank_users, similar_items

    training = config.training
    with step("rank items for every user") as doing:
        lists = rank_users(fitted, data, depth=training.user_list_length, repeat_purchases=config.repeat_purchases)
        doing.rows = len(lists)
    with step("find similar items") as doing:
        similar = similar_items(data, depth=training.similar_list_length)
        doing.rows = len(similar)
    ranked_lists.write(
        folder,
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        user_lists=lists,
        similar_lists=similar,
        popular=popular_items(data, window_days=_POPULAR_WINDOW_DAYS, depth=training.user_list_length),
        item_names=names,
    )


def write_golden(folder: Path, manifest: Manifest, data: TrainingData) -> None:
    """Record what the files just written answer: for users and items spread over all, and for an unknown user."""
    model = open_model(folder, manifest)
    users = [("recommend", name, _GOLDEN_K) for name in _spread(data.user_ids, _GOLDEN_USERS)]
    items = [("similar", name, _GOLDEN_K) for name in _spread(data.item_ids, _GOLDEN_ITEMS)]
    unknown = _UNKNOWN_USER
    while unknown in set(data.user_ids):
        unknown += "-"
    requests = golden.record(model, [*users, *items, ("recommend", unknown, _GOLDEN_K)])
    lines = "".join(request.model_dump_json() + "\n" for request in requests)
    write_file(folder / GOLDEN_NAME, lines.encode())


def _spread(names: Sequence[str], count: int) -> list[str]:
    return [names[len(names) * number // count] for number in range(count)] if len(names) > count else list(names)
