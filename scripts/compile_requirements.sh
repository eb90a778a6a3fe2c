#!/usr/bin/env bash
# Pin requirements.in and requirements-dev.in into requirements.txt and requirements-dev.txt, and what the peers of
# benchmarks/serving, scripts/automate_release.py and scripts/airflow2_check.sh need, with hashes, for Python 3.11 to 3.13; then
# what each image needs (docker/requirements-*.in), for Python 3.12. Pins that still fit are kept; `--upgrade` takes the newest of
# everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
names=(requirements requirements-dev scripts/requirements-automate tests/airflow2/requirements)
for file in benchmarks/requirements-*.in; do
    names+=("${file%.in}")
done
pin() {
    local python=$1 name=$2
    shift 2
    .venv/bin/uv pip compile --quiet --universal --python-version "$python" --generate-hashes \
        --no-emit-index-url --no-header "$@" "$name.in" -o "$name.txt"
}

for name in "${names[@]}"; do
    pin 3.11 "$name" "$@"
done
for file in docker/requirements-*.in; do # the images have one Python, and the pins of requirements.txt
    pin 3.12 "${file%.in}" "$@"
done
git --no-pager diff --stat -- '*requirements*.txt'
