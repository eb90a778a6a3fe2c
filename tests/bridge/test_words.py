"""What people read: everything that the webhook says, and nothing that WeCom could take for markdown."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from alert_bridge.compose import Form, parts_of
from alert_bridge.webhook import Webhook, parse
from alert_bridge.words import Links, Text, firing, headline, in_doubt, resolved, silence_link
from model_release.adapters.wecom_parts import MOST_PARTS
from tests.bridge.webhooks import alert, over, webhook

LINKS = Links("https://git.example/docs/", "https://alerts.example", "https://airflow.example")


def group(*alerts: dict[str, Any], **about: Any) -> Webhook:
    return parse(json.dumps(webhook(*alerts, **about)))


def test_a_firing_alert() -> None:
    """Title, summary, where, since when, what to look at, links, and the command."""
    one = alert(
        run_id="r1",
        slot="candidate",
        instance="api-1:8000",
        annotations={"description": "Look at the log.\n\n# Then act", "runbook": "docs/runbooks/errors.md"},
    )
    text = firing(group(one), LINKS)
    assert text.title == "🚨 RecommendationErrors"
    assert text.urgent
    lines = text.markdown.splitlines()
    assert lines[:6] == [
        "**🚨 RecommendationErrors**",
        "run r1 answers 12 % of requests with errors",
        "run_id `r1` · slot `candidate` · instance `api-1:8000`",
        "since 2026-11-25 09:17:03 UTC",
        "Look at the log.",
        "＃ Then act",
    ]
    silence, runbook, rollback = lines[6].split(" · ")
    assert silence.startswith("[Silence](https://alerts.example/#/silences/new?filter=%7B")
    assert runbook == "[Runbook](https://git.example/docs/docs/runbooks/errors.md)"
    assert rollback == "[Rollback in Airflow](https://airflow.example/dags/recommendation_act_on_alerts)"
    acknowledge = "python -m model_release.acknowledge 00000000000000a1 --by NAME --minutes 60 --reason TEXT"
    assert lines[7] == f"acknowledge: `{acknowledge}`"


def test_without_public_addresses() -> None:
    """Alertmanager's own address serves; a runbook without one is a path; a strange address is no link."""
    one = alert(annotations={"runbook": "docs/runbooks/errors.md"})
    markdown = firing(group(one), Links()).markdown
    assert "[Silence](http://alertmanager.example:9093/#/silences/new?filter=" in markdown
    assert "runbook: docs/runbooks/errors.md" in markdown
    assert "Airflow" not in markdown
    assert "[Silence]" not in firing(group(one, externalURL="javascript:alert(1)"), Links()).markdown


def test_an_alert_that_starts_no_rollback_has_no_link_to_it() -> None:
    """Only a critical one that names a run does."""
    for one in (alert(severity="warning", run_id="r1"), alert(table="users")):
        assert "Rollback in Airflow" not in firing(group(one), LINKS).markdown


def test_signs_say_how_bad_it_is() -> None:
    """Of several alerts, the worst one."""
    assert firing(group(alert(severity="warning")), LINKS).title.startswith("⚠️")
    assert firing(group(alert(severity="none")), LINKS).title.startswith("ℹ️")
    several = group(alert("B", severity="warning"), alert("A", fingerprint="b2"))
    assert firing(several, LINKS).title == "🚨 2 alerts: B, A"
    assert not firing(group(alert(severity="warning")), LINKS).urgent


def test_several_alerts_are_told_apart() -> None:
    """Each has its own lines; what Alertmanager left out is counted."""
    text = firing(group(alert(run_id="r1"), alert("Other", fingerprint="b2", table="users"), truncatedAlerts=3), LINKS)
    assert text.markdown.count("acknowledge: `") == 2
    assert "**🚨 Other**" in text.markdown
    assert text.markdown.splitlines()[-1] == "and 3 more alerts of this group, see Alertmanager"


def test_a_resolved_alert() -> None:
    """From when to when, and how long."""
    text = resolved(group(over(alert(run_id="r1"))), LINKS)
    assert text.markdown.splitlines() == [
        "**✅ Resolved: RecommendationErrors**",
        "run r1 answers 12 % of requests with errors",
        "run_id `r1`",
        "from 2026-11-25 09:17:03 UTC to 2026-11-25 09:29:33 UTC, 0:12:30",
    ]
    assert not text.urgent
    assert headline(group(over(alert(run_id="r1"))).alerts[0]).startswith("✅ RecommendationErrors: run r1")


def test_the_silence_names_exactly_this_alert() -> None:
    """All its labels, quoted as Alertmanager reads them."""
    link = silence_link("http://am/", {"b": 'say "hi"\\', "alertname": "A"})
    assert unquote(link) == 'http://am/#/silences/new?filter={alertname="A",b="say \\"hi\\"\\\\"}'
    assert "(" not in link
    assert '"' not in link


HOSTILE = '**bold** [x](http://evil) <@all> <font color="warning">`c`\n# head\n> quote\u202e'


def test_nothing_from_outside_is_markdown() -> None:
    """Names, summaries, labels and descriptions call nobody, link nowhere and end no code."""
    one = alert(HOSTILE, summary=HOSTILE, table=HOSTILE, annotations={"description": HOSTILE, "runbook": HOSTILE})
    for text in (
        firing(group(one), LINKS),
        resolved(group(over(one)), LINKS),
        in_doubt(7, [headline(group(one).alerts[0])]),
    ):
        assert "<" not in text.markdown
        assert "](http://evil)" not in text.markdown
        assert "[x]" not in text.markdown
        assert "\u202e" not in text.markdown
        assert not any(line.startswith(("#", ">")) for line in text.markdown.splitlines())
        assert all(line.count("`") % 2 == 0 and line.count("**") in {0, 2} for line in text.markdown.splitlines())


def test_links_and_labels_stay_whole_in_an_app_too() -> None:
    """In 2,048 bytes there is not always room for all of them in one line; then each has its own."""
    labels = {f"label_{number:02}": f"值 {number} " * 40 for number in range(12)}
    markdown = firing(group(alert(run_id="r1", **labels, annotations={"runbook": "r" * 900})), LINKS).markdown
    parts = [part.content for part in parts_of(Text("t", markdown, urgent=False), 1, Form(2048, 20))]
    assert len(parts) > 1
    lines = [line for part in parts for line in part.splitlines()[1:]]
    assert lines == markdown.splitlines()
    assert all(line.count("`") % 2 == 0 and line.count("[") == line.count(")") for line in lines)


@given(st.text(max_size=4000), st.integers(200, 600), st.integers(2, 12))
def test_parts_fit_and_are_labelled(content: str, limit: int, most: int) -> None:
    """Each part fits in bytes; the labels count to the number of parts; without a cut, nothing is lost."""
    parts = parts_of(Text("title", content, urgent=False), 1234567890, Form(limit, most))
    assert 1 <= len(parts) <= most
    assert all(len(part.content.encode()) <= limit for part in parts)
    if len(parts) == 1:
        return
    labels = [part.content.partition("\n")[0] for part in parts]
    assert labels == [f"({place}/{len(parts)} of message 1234567890)" for place in range(1, len(parts) + 1)]
    kept = "".join(part.content.partition("\n")[2] for part in parts)
    if len(parts) < most:
        assert [c for c in kept if c != "\n"] == [c for c in content if c != "\n"]


def test_more_parts_than_the_notifier_sends() -> None:
    """An alert of 80,000 bytes is complete; beyond that the last part ends with an ellipsis."""
    parts = parts_of(Text("t", "字" * 26_000, urgent=True), 1, Form(4096, 20, mentioned=("@all",)))
    assert len(parts) - 1 > MOST_PARTS
    assert sum(part.content.count("字") for part in parts) == 26_000
    assert (parts[-1].kind, parts[-1].mentioned) == ("text", ("@all",))
    cut = parts_of(Text("t", "字" * 40_000, urgent=False), 1, Form(4096, 20))
    assert len(cut) == 20
    assert cut[-1].content.endswith("…")
