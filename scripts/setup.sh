#!/usr/bin/env bash
# Make .venv with everything that requirements.txt and requirements-dev.txt pin, and this project in it.
# Quick when nothing changed. Set PYTHON to choose an interpreter (3.11, 3.12 or 3.13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly UV_VERSION=0.13.9
readonly STAMP=.venv/.installed

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        if [[ -z $candidate ]] || ! command -v "$candidate" >/dev/null; then
            continue
        fi
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
        if [[ $candidate == "${PYTHON:-}" ]]; then
            echo "PYTHON=$PYTHON is $("$candidate" --version 2>&1): Python 3.11, 3.12 or 3.13 is needed" >&2
            return 1
        fi
    done
    echo "no Python 3.11, 3.12 or 3.13 found: install one, or name it: PYTHON=/path/to/python3.12 $0" >&2
    return 1
}

fingerprint() {
    cat requirements.txt requirements-dev.txt pyproject.toml scripts/setup.sh | cksum
    pwd
    .venv/bin/python --version
}

if [[ -x .venv/bin/python && -f $STAMP ]] && [[ "$(fingerprint)" == "$(<"$STAMP")" ]]; then
    exit 0
fi

python=$(find_python)
started=$SECONDS
echo "Setting up .venv with $("$python" --version) (about a minute the first time)"
if [[ -x .venv/bin/python ]] && [[ "$(.venv/bin/python --version)" != "$("$python" --version)" ]]; then
    rm -rf .venv
fi
if [[ ! -x .venv/bin/pip ]]; then
    "$python" -m venv .venv || {
        echo "$python can't make virtual environments: on Debian and Ubuntu install the package python3-venv" >&2
        exit 1
    }
fi
rm -f "$STAMP"
.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.txt -r requirements-dev.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true # start-up is quicker; not needed for anything
fingerprint >"$STAMP"
echo "Ready after $((SECONDS - started)) s"
