"""A day of the log against what the demo serves: people ask, say what they took, and the day so far is reconciled.

So the exposure log, the metrics, and a reconciliation that the next gate may read hold real numbers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import secrets
import time
from collections.abc import Mapping

from rich.console import Console

from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.tokens import token_of
from model_release.contract import utc_now
from model_release.paths import ReleasePaths
from model_release.policy import default_policy_path, load_policy
from model_release.reconciling.document import Document
from model_release.reconciling.words import describe
from pipeline.config import PipelineConfig
from pipeline.reconcile import reconcile
from scripts.replay import Pace, Replay, plan
from scripts.replay_traffic import TOKEN

_LOGGED_SECONDS = 10.0


def events_token(environment: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return the token for events, and what the recommendation API has to be told so that it takes them.

    Raises:
        ConfigurationError: the environment names two tokens, or a file that can't be read.
    """
    given = token_of(environment, TOKEN)
    token = given or secrets.token_urlsafe(32)
    return token, {"RECOMMENDATION_API_EVENTS": "true", **({} if given else {TOKEN: token})}


def show(
    console: Console, url: str, paths: ReleasePaths, config: PipelineConfig, as_of: dt.datetime, token: str
) -> Document:
    """Replay the first day that the newest run did not see, as fast as it is answered; print and return what came of it.

    Raises:
        InvalidInputError: the log has nothing of that day.
    """
    console.rule("A day of the log, asked for and reconciled")
    date = as_of.astimezone(config.source.zone).date()
    visits = plan(config, date, None)
    replay, before = Replay([url], Pace(speed=math.inf), token=token), _lines(paths)
    with console.status(f"replaying {date}"):
        asyncio.run(replay.run(visits))
        deadline = time.monotonic() + _LOGGED_SECONDS
        while _lines(paths) < before + replay.tally.answered + replay.tally.taken and time.monotonic() < deadline:
            time.sleep(0.1)
    console.print(f"{len(visits):,} visits of {date:%Y-%m-%d}\n{replay.tally}", highlight=False, markup=False)
    now = utc_now()
    with RecommendationApiClient(url) as api:
        document = reconcile(
            config, paths, load_policy(default_policy_path()).tolerance, now.astimezone(config.source.zone).date(),
            now=now, replicas=[api], so_far=True,
        )  # fmt: skip
    console.print(describe(document), highlight=False, markup=False)
    return document


def _lines(paths: ReleasePaths) -> int:
    """Return how many lines the exposure log has."""
    return sum(path.read_bytes().count(b"\n") for path in paths.exposures.glob("*.jsonl"))
