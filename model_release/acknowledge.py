"""Acknowledge an alert: a short silence with an owner and a reason, for exactly what fires now.

Without arguments: what fires.  While an alert is acknowledged it sends no message and starts no rollback; what it
started before goes on.  Said again by the same person, the silence is extended.  ALERTMANAGER_URL says where.

Exit status: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from model_release.acknowledging import MOST_MINUTES, acknowledgement, owner_of, reason_of
from model_release.adapters.alertmanager_silences import alerts_and_silences, set_silence
from model_release.adapters.http_source import opened
from model_release.adapters.sources import ALERTMANAGER_URL, Sources
from model_release.command import DONE, attempt, checked, parser_of, usage
from model_release.contract import utc_now, utc_text
from model_release.errors import ConfigurationError, InvalidInputError, NotFiringError
from model_release.evidence import Alert
from model_release.gate.options import console
from model_release.silences import Silence, Wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """List what fires, or acknowledge it; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with usage(parser):
        sources = Sources.from_environment()
        if sources.alertmanager_url is None:
            raise ConfigurationError(f"{ALERTMANAGER_URL} is not set: say where Alertmanager is, http://host:9093")
        given = [option for option in ("by", "reason") if getattr(options, option) is not None]
        if options.alert is None and given:
            raise InvalidInputError(f"--{given[0]} without an alert: name one, or its fingerprint")
        if options.alert is not None and len(given) < 2:  # noqa: PLR2004
            raise InvalidInputError(
                "--by and --reason are needed: whoever finds it silent will want to know who and why"
            )
    if options.alert is None:
        return attempt(lambda: _list(sources))
    return attempt(lambda: _acknowledge(sources, options))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("model_release.acknowledge", __doc__)
    parser.add_argument(
        "alert", nargs="?", help="name or fingerprint; all that fire under a name; none: list what fires"
    )
    parser.add_argument("--by", type=checked(owner_of), help="who looks after it")
    parser.add_argument("--reason", type=checked(reason_of), help="what is known, or being done")
    parser.add_argument(
        "--minutes", type=_minutes, default=60, help=f"how long, 1 to {MOST_MINUTES} (default %(default)s)"
    )
    return parser


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes from 1 to {MOST_MINUTES}")
    return int(text)


def _list(sources: Sources) -> int:
    alerts, silences = asyncio.run(alerts_and_silences(sources))
    if not alerts:
        sys.stdout.write("no alert fires\n")
        return DONE
    by_id = {silence.id: silence for silence in silences}
    table = Table("alert", "fingerprint", "since", "state", "labels")
    for alert in sorted(alerts, key=lambda one: (one.labels.get("alertname", ""), one.starts_at)):
        labels = ", ".join(f"{name}={text}" for name, text in sorted(alert.labels.items()) if name != "alertname")
        name, since = alert.labels.get("alertname", ""), utc_text(alert.starts_at)
        row = (name, alert.fingerprint, since, _state(alert, by_id), labels)
        table.add_row(*map(Text, row))  # a label is no markup
    console().print(table)
    return DONE


def _state(alert: Alert, by_id: dict[str, Silence]) -> str:
    known = [by_id[name] for name in alert.silenced_by if name in by_id]
    if known:
        last = max(known, key=lambda silence: silence.ends_at)
        return f"silenced by {last.created_by} until {utc_text(last.ends_at)}: {last.comment}"
    if alert.silenced:
        return "silenced"
    return "inhibited" if alert.inhibited else "firing"


def _acknowledge(sources: Sources, options: argparse.Namespace) -> int:
    alerts, silences = asyncio.run(alerts_and_silences(sources))
    now = utc_now()
    for alert in _named(alerts, options.alert):
        wanted = acknowledgement(
            alert, silences, by=options.by, reason=options.reason, minutes=options.minutes, now=now
        )
        told = f"{alert.labels.get('alertname', '')} {alert.fingerprint}"
        if wanted is None:
            sys.stdout.write(f"{told}: acknowledged already, for longer or as long as 24 hours allow\n")
            continue
        silence_id = asyncio.run(_told(sources, wanted))
        again = "extended" if wanted.id is not None else "acknowledged"
        sys.stdout.write(f"{told}: {again} until {utc_text(wanted.ends_at)} by {options.by}, silence {silence_id}\n")
    sys.stdout.write("until then it sends no message and starts no rollback\n")
    return DONE


async def _told(sources: Sources, wanted: Wanted) -> str:
    async with opened("Alertmanager", sources) as source:
        return await set_silence(source, wanted)


def _named(alerts: Sequence[Alert], named: str) -> list[Alert]:
    """Return what fires under a name, or a fingerprint.

    Raises:
        NotFiringError: nothing does; says what does.
    """
    found = [alert for alert in alerts if named in {alert.labels.get("alertname"), alert.fingerprint}]
    if found:
        return found
    firing = sorted({alert.labels.get("alertname", "") for alert in alerts})
    close = difflib.get_close_matches(named, firing, n=1)
    hint = f", did you mean {close[0]!r}?" if close else f"; firing are {', '.join(firing) or 'none'}"
    raise NotFiringError(f"no alert {named!r} fires{hint}")


if __name__ == "__main__":
    sys.exit(main())
