#!/usr/bin/env bash
# Break everything, at every step of releases, and see that each ends fully on the new run or fully on the old one.
#
#   scripts/chaos.sh                      each fault twice at every step: about 40 minutes
#   scripts/chaos.sh --rounds 1 --fault "replica killed"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
bash scripts/debian_tools.sh >/dev/null
exec .venv/bin/python -m tests.chaos "$@"
