"""The two arms of a canary: each has its denominator, its times, its users and its outcomes, and none of the other's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily

from model_release.contract import utc_now
from model_release.ranking import DistinctCount
from model_release.registry import Registry, promote, register, start_trial
from recommendation_api import request_ids
from recommendation_api.arms import ARMS, Arms, TrialUsers, trial_users
from recommendation_api.model_store import LoadedRun
from recommendation_api.serving import Serving, share_of
from tests.api.conftest import StartReplica
from tests.api.exposures import request_ids as logged_ids
from tests.api.home import Home
from tests.api.in_process import Faults, serve
from tests.api.replica import Replica, sample_of, wait_until
from tests.api.workers import complete
from tests.runs import USERS

MANY = [f"visitor-{number}" for number in range(200)]
EVENTS = {
    "RECOMMENDATION_API_EVENTS": "true",
    "RECOMMENDATION_API_DEVELOPMENT": "true",
    "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS": "0.05",
}
NOW = 1_700_000_000.0  # long past


def canary(*, release_id: str = "try-1", generation: int = 2, lease_until: float = float("inf")) -> Serving:
    """Return what a worker serves while ``run-b`` is in a canary that began in ``generation``."""
    state, at = Registry(generation=generation - 2), utc_now()
    for name in ("run-a", "run-b"):
        state = register(state, run_id=name, manifest_sha256="0" * 64, release_id="setup", at=at)
    state = promote(state.model_copy(update={"generation": generation - 2}), run_id="run-a", release_id="setup", at=at)
    state = start_trial(state, run_id="run-b", mode="canary", rollout=0.5, release_id=release_id, at=at)
    assert state.candidate is not None
    assert state.candidate.generation == generation
    run = LoadedRun("run-b", "0" * 64, (), None, (), at)  # type: ignore[arg-type]  # nobody asks it
    return Serving(state, run, run, lease_until=lease_until)


class World:
    """One worker's arms, and what it serves."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.arms = Arms(lambda: self.serving)

    def note(self, user_id: str, arm: str, now: float = NOW) -> str:
        return self.arms.note(self.serving, user_id, arm, now)


def shown(*states: TrialUsers | None) -> dict[str, float]:
    """Return the gauge by arm."""
    family = trial_users(state for state in states if state is not None)
    assert isinstance(family, GaugeMetricFamily)
    return {sample.labels["variant"]: sample.value for sample in family.samples}


def test_a_name_made_in_a_canary_leads_back_to_its_arm() -> None:
    """In any process that follows the same canary; the trial before it, a damaged name or none leads nowhere."""
    here, elsewhere = World(canary(generation=26)), World(canary(generation=26))
    made = {arm: request_ids.RequestIds().new(here.note("u1", arm)) for arm in ARMS}
    assert {arm: elsewhere.arms.arm_of(name) for arm, name in made.items()} == {arm: arm for arm in ARMS}
    name = made["candidate"]
    assert name.endswith(".can1a")
    for strange in (None, "", "r-1", name[:-1], f"{name}0", name.replace(".can", "."), f"x{name}", f"{name}\n"):
        assert here.arms.arm_of(strange) == "unknown"
    elsewhere.serving = canary(release_id="try-2", generation=27)
    assert elsewhere.arms.arm_of(name) == "unknown"
    elsewhere.serving = Serving()
    assert elsewhere.arms.arm_of(name) == "unknown"


def test_names_are_marked_while_the_lease_holds() -> None:
    """Then everybody gets the current run, and belongs to no arm."""
    world = World(canary(lease_until=NOW))
    assert world.note("u1", "current", NOW - 0.001) == ".cur2"
    assert world.note("u2", "current", NOW) == ""
    assert world.arms.users() is None


def test_users_are_counted_once_and_from_zero_in_every_trial() -> None:
    """A renewed lease goes on counting, another rollout or release begins anew; both arms are there from the start."""
    world = World(canary())
    assert shown(world.arms.users()) == {"current": 0, "candidate": 0}
    for user in ("a", "b", "a", "c"):
        world.note(user, "current")
    world.note("d", "candidate")
    assert shown(world.arms.users()) == {"current": 3, "candidate": 1}
    world.serving = canary(lease_until=float(1 << 40))
    world.note("e", "candidate")
    assert shown(world.arms.users()) == {"current": 3, "candidate": 2}
    world.serving = canary(generation=3)
    assert shown(world.arms.users()) == {"current": 0, "candidate": 0}
    world.note("e", "candidate")
    assert shown(world.arms.users()) == {"current": 0, "candidate": 1}


def test_a_slow_answer_from_before_a_switch_disturbs_no_trial() -> None:
    """It belongs to no arm, and those who were counted since stay counted; so they do when it outlives its lease."""
    world = World(canary(generation=3))
    world.note("a", "current")
    for old in (canary(generation=2), Serving()):
        assert world.arms.note(old, "slow", "candidate", NOW) == ""
    assert shown(world.arms.users()) == {"current": 1, "candidate": 0}
    assert world.arms.note(canary(generation=3, lease_until=NOW), "slow", "candidate", NOW) == ""
    assert world.note("b", "current") == ".cur3"
    assert shown(world.arms.users()) == {"current": 2, "candidate": 0}


def test_users_of_all_processes_are_counted_once() -> None:
    """What travels is JSON; a process that still serves the trial before is left out, one that knows nobody is no harm."""
    one, other, fresh = World(canary()), World(canary()), World(canary())
    for number in range(1000):
        one.note(f"u{number}", "current")
        other.note(f"u{number + 500}", "current")
    states = [world.arms.users() for world in (one, other, fresh)]
    sent = [TrialUsers.model_validate_json(state.model_dump_json()) for state in states if state is not None]
    found = shown(*sent)
    assert found["candidate"] == 0
    assert found["current"] == pytest.approx(1500, abs=5 * 1500 / (2 * (1 << 20)) ** 0.5 + 1)
    old = TrialUsers(release_id="try-0", generation=1, distinct={"current": one_user("somebody-else")})
    assert shown(old, *sent) == found
    assert shown() == {}


def one_user(user_id: str) -> str:
    sketch = DistinctCount()
    sketch.add((user_id,))
    return sketch.dump()


def arms_of(release_id: str, rollout: float) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"current": set(), "candidate": set()}
    for user in MANY:
        found["candidate" if share_of(user, release_id) < rollout else "current"].add(user)
    return found


def test_answers_and_users_of_each_arm_are_counted_over_all_workers(start: StartReplica) -> None:
    """Two workers count as one; similar items show the current run to everybody; the gauge ends with the trial."""
    replica = start(settings={"RECOMMENDATION_API_WORKERS": "2"})
    wait_until("both serve", lambda: complete(replica))
    zero = {"current": 0.0, "candidate": 0.0}
    for endpoint in ("recommend", "similar"):
        assert {
            arm: replica.metric("recommendation_answers_total", endpoint=endpoint, variant=arm) for arm in ARMS
        } == zero
    assert "recommendation_trial_users{" not in replica.http.get("/metrics").text
    replica.reload(run_id="run-b", mode="canary", rollout=0.3, release_id="try-1")
    text = replica.http.get("/metrics").text
    assert 'recommendation_trial_users{variant="candidate"} 0.0' in text
    for user in (*MANY, *MANY):
        replica.recommend(user)
    replica.http.get("/similar/i1")
    arms = arms_of("try-1", 0.3)
    text = replica.http.get("/metrics").text
    for arm, users in arms.items():
        assert sample_of(text, "recommendation_trial_users", {"variant": arm}) == len(users)
        labels = {"endpoint": "recommend", "variant": arm}
        assert sample_of(text, "recommendation_answers_total", labels) == 2 * len(users)
        assert sample_of(text, "recommendation_latency_seconds_count", labels) == 2 * len(users)
    assert sample_of(text, "recommendation_answers_total", {"endpoint": "similar", "variant": "current"}) == 1
    replica.reload(run_id="run-a")
    assert "recommendation_trial_users{" not in replica.http.get("/metrics").text


def test_a_candidate_that_fails_or_takes_too_long_is_charged_with_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its degraded answers are answers of its arm, and the time users waited for them is its time."""
    faults = Faults(slow={"run-b"})
    with serve(home, monkeypatch, faults, scoring_seconds=0.3) as client:
        reload(client, run_id="run-b", mode="canary", rollout=1.0)
        faults.hang.add("run-b")
        assert client.get("/recommend/u1").json()["degraded"] == "timeout"
        faults.release.set()
        faults.hang.clear()
        faults.fail.add("run-b")
        assert client.get("/recommend/u1").json()["degraded"] == "model_error"
        text = client.get("/metrics").text

    def value(name: str, **labels: str) -> float:
        return sample_of(text, f"recommendation_{name}", {"endpoint": "recommend", **labels})

    assert value("answers_total", variant="candidate") == 2
    assert value("requests_total", variant="degraded", status="200") == 2
    assert value("latency_seconds_count", variant="candidate") == 2
    assert value("latency_seconds_bucket", variant="candidate", le="0.2") <= 1
    assert value("latency_seconds_count", variant="current") == 0
    assert 'recommendation_latency_seconds_count{endpoint="recommend",variant="degraded"}' not in text


def test_a_candidate_whose_items_are_no_text_is_charged_with_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user gets popular items of the current run; an answer of status 500 would belong to no arm."""
    with serve(home, monkeypatch, Faults()) as client:
        reload(client, run_id="run-b", mode="canary", rollout=1.0)
        monkeypatch.setattr("tests.api.in_process.FaultyModel.recommend", lambda *_: ("i1", "\ud800"))
        answer = client.get("/recommend/u1")
        assert (answer.status_code, answer.json()["degraded"]) == (200, "model_error")
        assert answer.json()["items"]
        text = client.get("/metrics").text
    labels = {"endpoint": "recommend", "variant": "candidate"}
    assert sample_of(text, "recommendation_degraded_total", {**labels, "reason": "model_error"}) == 1
    assert sample_of(text, "recommendation_answers_total", labels) == 1


def reload(client: httpx.Client, **body: object) -> None:
    assert client.post("/models/reload", json=body).status_code == 200


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas of one installation, with a canary of half of the users."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.commit("run-b", mode="canary", rollout_share=0.5, release_id="try-1")
    replicas = [Replica(home, name=name, token=None, settings=EVENTS) for name in ("replica-1", "replica-2")]
    try:
        one, two = (replica.start_ready() for replica in replicas)
        yield one, two
    finally:
        for replica in replicas:
            replica.close()


def send(replica: Replica, *events: tuple[str | None, str]) -> None:
    """Send outcomes: request id and type of each."""
    body = [
        {
            "at": "2026-01-12T09:30:00Z",
            "user": "u1",
            "item": "i3",
            "type": kind,
            **({"request_id": name} if name else {}),
        }
        for name, kind in events
    ]
    answer = replica.http.post("/events", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 202, answer.text


def outcomes(replica: Replica) -> dict[tuple[str, str], int]:
    """Return what was counted, zeros left out."""
    pattern = re.compile(r'^recommendation_outcomes_total\{type="(\w+)",variant="(\w+)"\} (\S+)$', re.MULTILINE)
    found = {(arm, kind): int(float(value)) for kind, arm, value in pattern.findall(replica.http.get("/metrics").text)}
    assert len(found) == 15
    return {key: value for key, value in found.items() if value}


def gained(replica: Replica, before: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    after = outcomes(replica)
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


def test_outcomes_are_counted_by_the_arm_that_showed_the_answer(pair: tuple[Replica, Replica]) -> None:
    """Also at another replica than the one that answered; the log has the same name, so whoever joins it agrees."""
    one, two = pair
    before, events = outcomes(two), []
    for user in MANY[:20]:
        answer = one.http.get(f"/recommend/{user}")
        events.append((answer.headers["x-request-id"], "click" if answer.json()["variant"] == "current" else "cart"))
    assert {kind for _, kind in events} == {"click", "cart"}
    send(two, *events)
    clicks = sum(kind == "click" for _, kind in events)
    assert gained(two, before) == {("current", "click"): clicks, ("candidate", "cart"): 20 - clicks}
    root = one.home.paths.root
    wait_until("both are in the log", lambda: logged_ids(root).count(events[0][0]) == 2)


def test_what_names_no_answer_of_this_canary_is_unknown(pair: tuple[Replica, Replica]) -> None:
    """The caller's own names, similar items, no name at all, a name of another trial; a strange type is ``other``."""
    one, _ = pair
    before = outcomes(one)
    similar = one.http.get("/similar/i1").headers["x-request-id"]
    own = one.http.get("/recommend/u1", headers={"X-Request-Id": "mine"}).headers["x-request-id"]
    assert own == "mine"
    made = one.http.get("/recommend/u1").headers["x-request-id"]
    other_trial = re.sub(r"\.(cur|can)\w+$", r".\g<1>ff", made)
    send(one, (similar, "click"), (own, "click"), (None, "click"), (other_trial, "click"), (None, "wished_for"))
    assert gained(one, before) == {("unknown", "click"): 4, ("unknown", "other"): 1}
    for number in range(50):
        send(one, (None, f"kind_{number}"))
    assert gained(one, before) == {("unknown", "click"): 4, ("unknown", "other"): 51}


def test_outcomes_that_are_not_taken_are_not_counted(pair: tuple[Replica, Replica]) -> None:
    one, _ = pair
    before = outcomes(one)
    counts = {kind: one.metric("recommendation_events_total", outcome=kind) for kind in ("accepted", "invalid")}
    headers = {"Content-Type": "application/json"}
    event = {"at": "2026-01-12T09:30:00Z", "user": "u1", "item": "i3", "type": "click"}
    assert one.http.post("/events", content=json.dumps([event, {}]), headers=headers).status_code == 422
    assert gained(one, before) == {}
    assert one.metric("recommendation_events_total", outcome="accepted") == counts["accepted"]
    assert one.metric("recommendation_events_total", outcome="invalid") == counts["invalid"] + 1
    send(one, (None, "click"), (None, "view"))
    assert one.metric("recommendation_events_total", outcome="accepted") == counts["accepted"] + 2


def test_types_that_are_counted_by_name_are_a_setting(start: StartReplica) -> None:
    replica = start(token=None, settings={**EVENTS, "RECOMMENDATION_API_OUTCOME_TYPES": "played,skipped"})
    send(replica, (None, "played"), (None, "click"))
    text = replica.http.get("/metrics").text
    for kind, count in (("played", 1), ("skipped", 0), ("other", 1)):
        assert f'recommendation_outcomes_total{{type="{kind}",variant="unknown"}} {count}.0' in text
    assert 'type="click"' not in text


def test_an_answer_outside_a_canary_has_a_plain_name(replica: Replica) -> None:
    """In a shadow trial all users get the current run: there are no two arms."""
    plain = re.compile(r"[0-9a-f]+-[0-9a-f]{12}-[0-9a-f]+")
    assert plain.fullmatch(replica.http.get(f"/recommend/{USERS[0]}").headers["x-request-id"])
    replica.reload(run_id="run-b", mode="shadow", rollout=1.0)
    assert plain.fullmatch(replica.http.get(f"/recommend/{USERS[0]}").headers["x-request-id"])
    assert "recommendation_trial_users{" not in replica.http.get("/metrics").text
