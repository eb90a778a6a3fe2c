#!/usr/bin/env bash
# From a tag to a release, on a server of your own: get the images, update the stack without losing a request, release a
# model by it.  What fails takes the stack back to the tag from before.
#
#   scripts/release.sh --tag TAG [--build] [--deploy-only] [--if-new] [-- OPTIONS OF automate_release.py]
#
#   --build         build the images from this checkout instead of pulling them
#   --deploy-only   update the stack, release nothing
#   --if-new        do nothing if this tag, this commit and these options were the last that were released or rejected
#
# Exit status: 0 released (or deployed, or nothing new), 1 failed and back on the tag from before, 2 wrong usage or settings: nothing was
# changed, 3 rejected by the gate, 4 the release goes on in Airflow (3 and 4: the stack stays on the new tag), 6 failed, and
# the way back failed too: somebody has to look, 7 another one runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly API=recommendation-api
readonly SETTINGS=.env LOCK=.release.lock LAST=.release.last
readonly FAILED=1 USAGE=2 REJECTED=3 UNFINISHED=4 STUCK=6 BUSY=7

say() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }
refuse() { echo "release: $*" >&2 && exit "$USAGE"; }

tag='' build=false deploy_only=false if_new=false
while (($#)); do
    case $1 in
    --tag) (($# > 1)) || refuse "--tag needs a value"; tag=$2 && shift 2 ;;
    --build) build=true && shift ;;
    --deploy-only) deploy_only=true && shift ;;
    --if-new) if_new=true && shift ;;
    --help | -h) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
    --) shift && break ;;
    *) refuse "unknown option $1; --help says which there are" ;;
    esac
done
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || refuse "--tag '$tag': give the tag of an image"
[[ -f $SETTINGS ]] || refuse "$SETTINGS is not there: docs/production.md says how to set the stack up"
command -v docker >/dev/null || refuse "docker is not installed"

exec 9>"$LOCK"
flock --nonblock 9 || { echo "release: another one runs" >&2 && exit "$BUSY"; }

asked="$tag $(git rev-parse HEAD 2>/dev/null || true) $*"
if $if_new && [[ $asked == "$(cat "$LAST" 2>/dev/null)" ]]; then
    say "nothing new: $tag was released with this commit"
    exit
fi
previous=$(sed -n 's/^TAG=//p' "$SETTINGS" | tail -1)

# compose TAG ARGUMENTS...: the variable goes before .env
compose() {
    local with=$1
    shift
    TAG=$with docker compose "$@" 9>&-
}

images() {
    if $build; then
        GIT_COMMIT=$(git rev-parse HEAD) compose "$tag" build
    else
        compose "$tag" pull
    fi
}

# Every new replica answers, and is ready if those from before were: then users may be sent there.
ready() {
    local replica
    for replica in "$@"; do
        docker exec "$replica" python -I /opt/health/answers.py http://127.0.0.1:8000/health/ready 9>&- || return
    done
}

# roll TAG: new replicas beside the old ones; these go only when those are ready
roll() {
    local old new wrong='' was_ready=false
    mapfile -t old < <(compose "$1" ps --quiet "$API")
    ((${#old[@]})) || return 0 # the first time: everything starts together
    if ready "${old[@]}" 2>/dev/null; then was_ready=true; fi
    compose "$1" up --detach --wait --no-deps --no-recreate --scale "$API=$((2 * ${#old[@]}))" "$API" ||
        wrong="new replicas do not come up"
    mapfile -t new < <(compose "$1" ps --all --quiet "$API" |
        grep --invert-match --line-regexp --fixed-strings "$(printf '%s\n' "${old[@]}")")
    if [[ -z $wrong ]] && ((${#new[@]} != ${#old[@]})); then
        wrong="there are ${#new[@]} new replicas instead of ${#old[@]}"
    elif [[ -z $wrong ]] && $was_ready && ! ready "${new[@]}"; then
        wrong="a new replica is not ready"
    fi
    if [[ -n $wrong ]]; then
        say "$wrong: the old ones stay"
        ((${#new[@]} == 0)) || docker rm --force "${new[@]}" >/dev/null 9>&-
        return 1
    fi
    docker stop "${old[@]}" >/dev/null 9>&- && docker rm "${old[@]}" >/dev/null 9>&-
}

# deploy TAG: replicas first, since what is new of the API understands what is old of Airflow, and not the reverse
deploy() {
    say "replicas of the recommendation API: $1"
    roll "$1" || return
    say "everything else: $1"
    compose "$1" up --detach --wait --remove-orphans
}

# Ask Airflow for a release from within the stack, where every replica can be reached.
release() {
    local replicas url=''
    mapfile -t replicas < <(compose "$tag" ps --quiet "$API")
    for replica in "${replicas[@]}"; do
        url+="http://${replica:0:12}:8000 "
    done
    compose "$tag" exec --no-TTY \
        --env AIRFLOW_BASE_URL=http://airflow-apiserver:8080 --env AIRFLOW_USERNAME=admin \
        --env AIRFLOW_PASSWORD_FILE=/run/secrets/airflow_admin_password \
        --env MODEL_RELOAD_TOKEN_FILE=/run/secrets/model_reload_token --env "MODEL_RELOAD_URL=${url% }" \
        airflow-scheduler python -c \
        'import sys; from model_release.automation.command import main; sys.exit(main(sys.argv[1:], commit=lambda: None))' \
        --commit "$(git rev-parse HEAD)" "$@"
}

# The tag that runs stands in .env, so that whoever calls docker compose by hand gets the same.
remember() {
    sed "/^TAG=/d" "$SETTINGS" >"$SETTINGS.new"
    printf 'TAG=%s\n' "$1" >>"$SETTINGS.new"
    chmod --reference="$SETTINGS" "$SETTINGS.new"
    mv "$SETTINGS.new" "$SETTINGS"
}

# What was decided by the gate is not asked for again by --if-new.
decided() {
    remember "$tag"
    printf '%s\n' "$asked" >"$LAST"
}

go_back() {
    if [[ -z $previous || $previous == "$tag" ]]; then
        say "FAILED: $1; there is no other tag to go back to"
        exit "$FAILED"
    fi
    say "FAILED: $1; back to $previous"
    if deploy "$previous"; then
        exit "$FAILED"
    fi
    say "the way back to $previous FAILED too: look at 'docker compose ps' and its logs"
    exit "$STUCK"
}

compose "$tag" config --quiet || refuse "docker-compose.yaml and $SETTINGS do not go together"
say "images: $tag"
images || { say "FAILED: no images; nothing was changed" && exit "$FAILED"; }
deploy "$tag" || go_back "$tag does not come up"
if $deploy_only; then
    remember "$tag"
    say "deployed: $tag"
    exit
fi
say "release"
status=0
release "$@" || status=$?
case $status in
0) decided && say "released with $tag" ;;
"$REJECTED") decided && say "rejected by the gate: users keep their run; the stack stays on $tag" ;;
"$UNFINISHED") remember "$tag" && say "not ended in time: it goes on in Airflow; the stack stays on $tag" ;;
*) go_back "the release ended with status $status" ;;
esac
exit "$status"
