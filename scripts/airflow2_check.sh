#!/usr/bin/env bash
# Try scripts/automate_release.py against a real Airflow 2.11, in an environment of its own (about 200 MB in .airflow2/).
# Needs Python 3.11 or 3.12; about three minutes, the first time four.  Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly HOME2=.airflow2 PINS=tests/airflow2/requirements.txt
bash scripts/setup.sh
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then
    echo "Airflow 2.11 does not go with $(.venv/bin/python --version): set PYTHON to a 3.11 or 3.12" >&2
    exit 2
fi
if [[ ! -f $HOME2/.installed ]] || [[ "$(cksum <"$PINS")" != "$(<"$HOME2/.installed")" ]]; then
    echo "Setting up an Airflow 2 in $HOME2"
    rm -rf "$HOME2"
    .venv/bin/uv venv --quiet --python .venv/bin/python "$HOME2"
    .venv/bin/uv pip install --quiet --python "$HOME2/bin/python" --require-hashes -r "$PINS"
    cksum <"$PINS" >"$HOME2/.installed"
fi
AIRFLOW2="$PWD/$HOME2/bin/airflow" exec .venv/bin/python -m pytest tests/airflow2 "$@"
