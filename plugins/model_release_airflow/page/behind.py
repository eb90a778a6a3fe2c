"""What stands behind a release: slices, ranking, the data's quality, promises and policy; asked for apart from its steps."""

from __future__ import annotations

from collections.abc import Mapping

from model_release.adapters.per_user_values import SUMMARY_NAME
from model_release.adapters.slice_means import read_slice_means
from model_release.artifact import Frozen
from model_release.errors import InvalidInputError, ModelReleaseError
from model_release.page.days import Days
from model_release.page.part import Part, attempt, lacking, there
from model_release.page.policy_used import PolicyUsed, policy_used
from model_release.page.quality_history import QualityHistory
from model_release.page.ranking import Ranking, shadow_checks
from model_release.page.releases import Release
from model_release.page.slices import SliceMeans, Slices, slices
from model_release.policy import Stage, default_policy_path, load_policy
from model_release.verdict import Decision
from model_release_airflow.page import runs
from model_release_airflow.page.desk import STAGES, Desk


class Behind(Frozen):
    """What stands behind a release; each part may be lacking alone.

    ``slices_note`` says why the means of both runs are not told, where the gate's differences are.
    """

    slices: Part[Slices]
    slices_note: str
    ranking: Ranking
    quality: Part[QualityHistory]
    days: Part[Days]
    policy: Mapping[str, Part[PolicyUsed]]


def behind(desk: Desk, release_id: str) -> Part[Behind]:
    """Return what stands behind a release."""
    history = attempt(desk.history)
    if history.data is None:
        return lacking("broken", history.why)
    found = history.data.release(release_id)
    if found is None:
        return lacking("missing", f"the ledger tells nothing of release {release_id!r}")
    decisions = {stage: _decision(desk, release_id, stage) for stage in STAGES}
    parts, note = _slices(desk, decisions["offline"])
    return there(
        Behind(
            slices=parts,
            slices_note=note,
            ranking=_ranking(desk, found, decisions["online"].data),
            quality=desk.quality_history(release_id),
            days=desk.days(found.run_id) if found.run_id is not None else lacking("missing", "it is about no run"),
            policy={stage: _policy(part) for stage, part in decisions.items()},
        )
    )


def _decision(desk: Desk, release_id: str, stage: Stage) -> Part[Decision]:
    try:
        found = desk.decision(release_id, stage)
    except InvalidInputError as error:  # a name in the ledger that is no file's
        return lacking("missing", error)
    except (ModelReleaseError, OSError) as error:
        return lacking("broken", error)
    return lacking("missing", "no decision is kept") if found is None else there(found)


def _slices(desk: Desk, part: Part[Decision]) -> tuple[Part[Slices], str]:
    if part.data is None:
        return Part(state=part.state, why=part.why), ""
    decision, means, note = part.data, dict[str, SliceMeans](), ""
    try:
        means = read_slice_means(
            desk.paths, decision.run_id, decision.evidence.get(f"{decision.run_id}/{SUMMARY_NAME}")
        )
    except ModelReleaseError as error:
        note = str(error)
    found = slices(decision, means)
    return (there(found), note) if found.rows else (lacking("missing", note or "nothing was compared"), "")


def _ranking(desk: Desk, release: Release, online: Decision | None) -> Ranking:
    shadow = shadow_checks(online)
    one, other = release.previous_run_id, release.run_id
    if one is None or other is None or one == other:
        why = "there is no run before it to compare with"
        return Ranking(shadow=shadow, lists=lacking("missing", why), movers=lacking("missing", why))
    models = desk.paths.models
    return Ranking(
        shadow=shadow,
        lists=attempt(lambda: runs.sample_lists(models, one, other)),
        movers=attempt(lambda: runs.run_movers(models, one, other)),
    )


def _policy(part: Part[Decision]) -> Part[PolicyUsed]:
    if part.data is None:
        return Part(state=part.state, why=part.why)
    decision = part.data
    return attempt(lambda: policy_used(decision, load_policy(default_policy_path())))
