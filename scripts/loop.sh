#!/usr/bin/env bash
# The closed loop, on real processes: a release that goes wrong, the alert, the rollback, the messages, the latch that stops the
# next release, a person who clears it, and the release after that.
#
#   scripts/loop.sh                 print what happens, and when; status 1 if anything did not happen, or too late
#   scripts/loop.sh --write-docs    put the timeline into docs/closed-loop.md
#
# Airflow, two replicas of the recommendation API, Prometheus, Alertmanager, the exporters and the alert bridge are real; WeCom is
# played on loopback, and so is the fault: models that fail for some people, which the product has no switch for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
bash scripts/debian_tools.sh >/dev/null
exec .venv/bin/python -m tests.loop "$@"
