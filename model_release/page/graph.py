"""The address of Prometheus' own graphs of the time of a release."""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlencode, urlsplit

from model_release.errors import ConfigurationError

_BEFORE, _AFTER = dt.timedelta(minutes=15), dt.timedelta(minutes=30)
# By variant, so that the run on trial stands beside the one that users get.
GRAPHS = (
    'sum by (variant) (rate(recommendation_answers_total{endpoint="recommend"}[1m]))',
    'histogram_quantile(0.95, sum by (variant, le) (rate(recommendation_latency_seconds_bucket{endpoint="recommend"}[1m])))',
    (
        'sum by (variant) (rate(recommendation_degraded_total{endpoint="recommend"}[1m]))'
        ' / sum by (variant) (rate(recommendation_answers_total{endpoint="recommend"}[1m]))'
    ),
)


def graph_link(base: str, began: dt.datetime, last: dt.datetime) -> str:
    """Return where Prometheus draws a release, from a quarter of an hour before it to half an hour after.

    Args:
        base: Prometheus as people reach it, ``https://host/path``.
        began: when the release began.
        last: when something of it happened last.

    Raises:
        ConfigurationError: ``base`` is no address that a browser can open, or holds credentials.
    """
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError("PROMETHEUS_EXTERNAL_URL is not an http or https address without credentials")
    start, end = began - _BEFORE, last + _AFTER
    seconds = max(60, int((end - start).total_seconds()))
    given: dict[str, str] = {}
    for place, query in enumerate(GRAPHS):
        given |= {
            f"g{place}.expr": query,
            f"g{place}.tab": "0",
            f"g{place}.range_input": f"{seconds}s",
            f"g{place}.end_input": end.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S"),
        }
    return f"{base.rstrip('/')}/graph?{urlencode(given)}"
