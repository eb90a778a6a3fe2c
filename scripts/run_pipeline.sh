#!/usr/bin/env bash
# The stages without Airflow: measure the data, train, evaluate, ask the gate.  Nothing that is served changes.
#
#   scripts/run_pipeline.sh                      all stages
#   scripts/run_pipeline.sh --as-of 2017-12-10   train on what is before that day
#   scripts/run_pipeline.sh --from evaluate      from a stage on: data_quality, train, evaluate, gate
#   scripts/run_pipeline.sh --from gate --run RUN_ID
#   scripts/run_pipeline.sh --dry-run            would it run? Checks everything, the options too; makes nothing
#
# Other options: --algorithm NAME, for training.  Results go to models/ and data/evaluation/ below MODEL_RELEASE_HOME,
# else below the current folder.
# Exit status: 0 PASS, 1 failed or could not measure, 2 wrong usage, 3 rejected (data or model), 4 inconclusive.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export MODEL_RELEASE_HOME=${MODEL_RELEASE_HOME:-$PWD}
cd "$project"

readonly STAGES=(data_quality train evaluate gate)
dry_run='' as_of='' from=data_quality run_id='' algorithm=''

help() { sed -n '2,13s/^# \{0,1\}//p' "$project/scripts/run_pipeline.sh"; }

usage() {
    printf '%s\n\n' "$1" >&2
    help >&2
    exit 2
}

value() { # OPTION VALUE...: the value of an option, which must be there
    [[ $# -ge 2 && $2 != --* ]] || usage "$1 needs a value"
    printf '%s' "$2"
}

while (($#)); do
    case $1 in
        --dry-run) dry_run=yes ;;
        --as-of) as_of=$(value "$@") || exit 2; shift ;;
        --from) from=$(value "$@") || exit 2; shift ;;
        --run) run_id=$(value "$@") || exit 2; shift ;;
        --algorithm) algorithm=$(value "$@") || exit 2; shift ;;
        -h | --help)
            help
            exit 0
            ;;
        *) usage "unknown option $1" ;;
    esac
    shift
done
[[ " ${STAGES[*]} " == *" $from "* ]] || usage "--from $from: the stages are ${STAGES[*]}"
[[ -z $run_id || $from == evaluate || $from == gate ]] || usage "--run $run_id: --from $from trains a run of its own"

python=python
[[ -x .venv/bin/python ]] && python=.venv/bin/python

newest_run() {
    "$python" - <<'PYTHON'
from model_release.adapters.run_store import RunStore
from model_release.paths import ReleasePaths

runs = RunStore(ReleasePaths.from_environment()).run_ids()
if not runs:
    raise SystemExit("no run in models/: train one first")
print(runs[0])
PYTHON
}

show() { printf '+ %s\n' "$*"; }

command_of() { # STAGE: fills the array `command`
    command=("$python" -m)
    case $1 in
        data_quality) command+=(pipeline.data_quality_v2 ${as_of:+--as-of "$as_of"}) ;;
        train) command+=(pipeline.train_models ${as_of:+--as-of "$as_of"} ${algorithm:+--algorithm "$algorithm"}) ;;
        evaluate) command+=(pipeline.evaluate --run "${run_id:-RUN_ID}") ;;
        gate) command+=(model_release.gate check --run-id "${run_id:-RUN_ID}") ;;
    esac
}

planned() { # STAGE: whether it comes at or after --from
    local stage begun=''
    for stage in "${STAGES[@]}"; do
        [[ $stage == "$from" ]] && begun=yes
        [[ $stage == "$1" ]] && break
    done
    [[ -n $begun ]]
}

if [[ -n $dry_run ]]; then
    failed=0
    "$python" -m pipeline.validate ${as_of:+--as-of "$as_of"} ${algorithm:+--algorithm "$algorithm"} \
        ${run_id:+--run "$run_id"} || failed=$?
    "$python" -m scripts.check_dags || ((failed)) || failed=1
    for stage in "${STAGES[@]}"; do
        if planned "$stage"; then
            command_of "$stage"
            show "${command[@]}"
        fi
    done
    ((failed == 0)) && echo "No problem found; nothing was made."
    exit "$failed"
fi

for stage in "${STAGES[@]}"; do
    planned "$stage" || continue
    if [[ $stage != data_quality && $stage != train && -z $run_id ]]; then
        run_id=$(newest_run)
    fi
    command_of "$stage"
    show "${command[@]}"
    if [[ $stage == train ]]; then
        trained=$("${command[@]}")
        echo "$trained"
        run_id=$("$python" -c 'import json, sys; print(json.load(sys.stdin)["run_id"])' <<<"$trained")
    else
        "${command[@]}"
    fi
done
