"""The evaluation of a made-up run: ``summary.json`` with its slices, as ``python -m pipeline.evaluate`` writes it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

from model_release.paths import ReleasePaths

METRICS = {"ndcg_at_10": 0.231, "recall_at_20": 0.184, "map_at_10": 0.121, "hit_rate_at_10": 0.452}
SLICES = {
    "low users": (612, 0.62),
    "medium users": (604, 1.0),
    "high users": (584, 1.35),
    "new items": (1490, 0.44),
    "known items": (71, 1.8),
}
DAY = dt.timedelta(days=1)


def write_evaluation(paths: ReleasePaths, run_id: str, against: str | None, at: dt.datetime, delta: float) -> str:
    """Write the evaluation of ``run_id``, which is better than ``against`` by ``delta``; return the SHA-256 of the file."""

    def sides(scale: float) -> dict[str, object]:
        current = {name: round(value * scale, 6) for name, value in METRICS.items()}
        candidate = {name: round(value + delta * scale, 6) for name, value in current.items()}
        return {"candidate": candidate, "current": current if against else None}

    summary = {
        "schema_version": 1, "run_id": run_id, "against": against, "against_reason": "" if against else "no current run",
        "comparable": against is not None, "as_of": _text(at - 7 * DAY), "window_start": _text(at - 7 * DAY),
        "window_end": _text(at), "evaluated_at": _text(at), "algorithm": "als", "users": 1800,
        "metrics": sides(1.0), "catalogue": {"candidate": {"coverage": 0.31}, "current": {"coverage": 0.3} if against else None},
        "slices": {label: {"users": users, **sides(scale)} for label, (users, scale) in SLICES.items()},
        "candidate_manifest_sha256": "0" * 64, "current_manifest_sha256": "0" * 64 if against else None,
    }  # fmt: skip
    folder = paths.evaluation_of(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    data = json.dumps(summary, indent=2).encode()
    (folder / "summary.json").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _text(at: dt.datetime) -> str:
    return at.isoformat(timespec="seconds")
