#!/usr/bin/env bash
# Set everything up, start Airflow and the recommendation API, and release a freshly trained model into it.
#
#   scripts/demo.sh            then look around; ctrl-C stops everything it started
#   scripts/demo.sh --once     exit with the release's result: 0 released, 3 rejected by the gate, 1 failed
#   scripts/demo.sh --help     all options
#
# Run it again: the next week's model is trained and judged against the current one.
# Everything it makes is in .demo/; delete that folder to start over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
exec .venv/bin/python -m scripts.demo "$@"
