"""The day that the demo replays: real numbers in the exposure log, and in a reconciliation that the gate can read."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from model_release.adapters.reconciliation_files import newest_reconciliation, read_reconciliation
from model_release.contract import utc_now
from model_release.errors import ConfigurationError
from model_release.evidence import Reconciliation
from model_release.paths import ReleasePaths
from scripts.demo_traffic import events_token, show
from scripts.replay import plan
from scripts.replay_traffic import TOKEN
from tests.api.home import Home
from tests.api.replica import Replica
from tests.pipeline import logs
from tests.pipeline.logs import AS_OF
from tests.pipeline.served import Served


def test_a_day_is_asked_for_taken_and_reconciled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the day arrives, and what was taken is compared with what the run promised."""
    monkeypatch.delenv("RELEASE_POLICY", raising=False)
    source = logs.groceries(tmp_path / "data")
    source.rows = logs.grocery_rows(users=300)
    served = Served(source.config(), ReleasePaths(tmp_path / "home"))
    token, told = events_token({})
    replica = Replica(cast("Home", served), settings={**told, "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS": "0.5"})
    console = Console(record=True, width=140)
    try:
        replica.start_ready()
        for _ in range(2):  # started again, the demo's day has what was there before
            document = show(console, replica.url, served.paths, served.config, AS_OF, token)
    finally:
        replica.close()
    visits = plan(served.config, AS_OF.date(), None)
    assert document.log.answers == 2 * len(visits)
    assert document.log.outcomes == 2 * sum(len(visit.items) for visit in visits)
    assert (document.taken.used, document.complete) == (("events",), False)
    (run,) = document.runs
    assert (run.run_id, run.variant) == (served.current, "current")
    assert run.metrics["hit_rate_at_10"].result in {"kept", "unclear"}
    assert (document.serving.status, document.registry.status) == ("agrees", "agrees")
    assert f"{utc_now():%Y-%m-%d} (UTC): {document.status}, so far" in console.export_text()
    newest = newest_reconciliation(served.paths)
    found = read_reconciliation(served.paths, newest)  # type: ignore[arg-type]  # there is one
    assert isinstance(found, Reconciliation)
    assert found.status == document.status


def test_a_token_of_ones_own_is_used(tmp_path: Path) -> None:
    """Else each demo makes one, for its API and itself."""
    token, told = events_token({})
    assert (told["RECOMMENDATION_API_EVENTS"], told[TOKEN]) == ("true", token)
    assert len(token) >= 32
    assert token != events_token({})[0]
    assert events_token({TOKEN: "mine"}) == ("mine", {"RECOMMENDATION_API_EVENTS": "true"})
    file = tmp_path / "token"
    file.write_text("of-a-file\n")
    assert events_token({f"{TOKEN}_FILE": str(file)}) == ("of-a-file", {"RECOMMENDATION_API_EVENTS": "true"})
    with pytest.raises(ConfigurationError):
        events_token({f"{TOKEN}_FILE": str(file), TOKEN: "mine"})
