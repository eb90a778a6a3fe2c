"""A decision in a few lines of markdown, for a group robot that takes so many bytes and no more."""

from __future__ import annotations

from model_release.errors import InvalidInputError
from model_release.report.figures import NOTHING, SIGNS, named, or_nothing, remark, trial_of, worst_first
from model_release.report.neutral import cut, for_robot
from model_release.verdict import CheckResult, Decision, Verdict

SHORTEST = 64  # bytes: below it not even the verdict has room
_MOST_LINES = 8  # of results; the rest is counted
_REASON_BYTES = (600, 300, 150, 75)  # tried in this order before a line is left out
_NAME_BYTES = 200


def markdown(decision: Decision, *, max_bytes: int = 4096) -> str:
    """Return the decision in at most ``max_bytes`` UTF-8 bytes: what did not pass first, then how many passed.

    What has no room is left out from the least important on: reasons are shortened, then results are counted instead
    of told, dry runs and warnings first; then goes what the decision is about.  The verdict always stays.

    Raises:
        InvalidInputError: ``max_bytes`` is below 64.
    """
    if max_bytes < SHORTEST:
        raise InvalidInputError(f"{max_bytes} bytes have no room for a decision: at least {SHORTEST} are needed")
    loud = [result for result in worst_first(decision.results) if result.verdict is not Verdict.PASS]
    attempts = [(limit, _MOST_LINES) for limit in _REASON_BYTES]
    attempts += [(_REASON_BYTES[-1], lines) for lines in range(_MOST_LINES - 1, -1, -1)]
    for reason_bytes, lines in attempts:
        text = "\n".join([*_head(decision), *_body(decision, loud, reason_bytes, lines)]) + "\n"
        if len(text.encode()) <= max_bytes:
            return text
    return _head(decision)[0] + "\n"


def _head(decision: Decision) -> list[str]:
    stage = "" if decision.stage == "offline" else f", {decision.stage}"
    against = NOTHING if decision.against is None else _code(decision.against)
    about = (
        f"run {_code(decision.run_id)} against {'no_baseline' if decision.no_baseline else against}, "
        f"generation {or_nothing(decision.generation)}, policy {_name(decision.policy_name)} "
        f"`{decision.policy_sha256[:12]}`"
    )
    lines = [f"**Gate{stage}: {decision.verdict.upper()}** {SIGNS[decision.verdict]}", about]
    trial = trial_of(decision)
    return lines if trial is None else [*lines, f"trial: {_name(trial)}"]


def _body(decision: Decision, loud: list[CheckResult], reason_bytes: int, most: int) -> list[str]:
    lines = [_line(result, reason_bytes) for result in loud[:most]]
    untold = loud[most:]
    if untold:
        warnings = sum(result.severity == "warning" for result in untold)
        of_these = f", {warnings} of them warnings" if warnings else ""
        lines.append(f"- and {len(untold)} more that did not pass{of_these}")
    passed = len(decision.results) - len(loud)
    if passed:
        lines.append(f"- {SIGNS[Verdict.PASS]} {passed} of {len(decision.results)} results passed")
    return lines


def _line(result: CheckResult, reason_bytes: int) -> str:
    told = cut(for_robot(result.reason), reason_bytes)
    return f"- {SIGNS[result.verdict]} {_name(named(result))}: {told}{remark(result)}"


def _code(name: str) -> str:
    return f"`{_name(name) or NOTHING}`"


def _name(text: str) -> str:
    return cut(for_robot(text), _NAME_BYTES)
