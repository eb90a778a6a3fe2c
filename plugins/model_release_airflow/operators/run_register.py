"""Pin a run in the registry, so that what is released is what was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator

from model_release import registry as transitions
from model_release.announcement import of_run
from model_release.contract import utc_now
from model_release.fencing import asked_details, check_not_overtaken
from model_release.ledger import Event, LedgerEntry
from model_release.phases import record
from model_release_airflow import assets
from model_release_airflow.context import Stores, actor, asked_at, decisions_fail, optional_text, release_id_of
from model_release_airflow.failures import record_failure


class RunRegisterOperator(BaseOperator):
    """Read every byte of a run, compare it with its manifest, and pin the manifest in the registry.

    Changes nothing that is served.  Refuses a release that was carried out and superseded since, or that was asked for
    before the one whose run is current.  Returns ``{run_id, manifest_sha256, generation}``.  With
    ``**assets.announcing(assets.RUN)`` other DAGs hear of a run that is new.

    :param run_id: The run. (templated)
    :param release_id: Which release this is part of; default: derived from the DAG run. (templated)
    """

    template_fields: Sequence[str] = ("run_id", "release_id")
    ui_color = "#e8e4f3"

    def __init__(self, *, run_id: str, release_id: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(**kwargs)
        self.run_id = run_id
        self.release_id = release_id

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Verify, register, and say so in the ledger."""
        stores = Stores.from_environment()
        release_id = release_id_of(context, optional_text(self.release_id))
        at = utc_now()
        with decisions_fail():
            before = stores.registry.read()
            # said at once: the commit would say it after all the work
            check_not_overtaken(before, stores.ledger.read(), release_id=release_id, asked_at=asked_at(context))
            known = before.registered(self.run_id)
            manifest = stores.runs.verify(self.run_id, manifest_sha256=known.manifest_sha256 if known else None)
            sha256 = stores.runs.manifest_sha256(self.run_id)
            registry = stores.registry.update(
                lambda state: transitions.register(
                    state, run_id=self.run_id, manifest_sha256=sha256, release_id=release_id, at=at
                )
            )
            entry = LedgerEntry(
                at=at,
                event=Event.REGISTERED,
                release_id=release_id,
                by=actor(context),
                run_id=self.run_id,
                details={
                    "manifest_sha256": sha256,
                    "algorithm": manifest.algorithm.name,
                    **asked_details(asked_at(context)),
                },
            )
            record(stores.ledger, entry)
        self.log.info("run %s: %d files are what their manifest %s says", self.run_id, len(manifest.files), sha256[:12])
        new = of_run(registry, run_id=self.run_id, release_id=release_id, algorithm=manifest.algorithm.name)
        assets.announce(context, self.outlets, assets.RUN, new)
        return {"run_id": self.run_id, "manifest_sha256": sha256, "generation": registry.generation}
