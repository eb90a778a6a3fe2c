#!/usr/bin/env bash
# Make the secrets of docker-compose.yaml that are not there yet, each a file in ./secrets; those that are there stay.
#
#   scripts/make_secrets.sh [FOLDER]
#
# The folder is its owner's alone; the files in it can be read by everybody who gets there, which are the containers'
# users: Compose mounts a file as it is, and no container runs as its owner.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:-secrets}
install -d -m 700 "$folder"

made=()
# make NAME COMMAND...: write what a command prints, unless the file is there and holds something
make() {
    local file=$folder/$1
    shift
    if [[ ! -s $file ]]; then
        (umask 022 && "$@" >"$file.new")
        mv "$file.new" "$file"
        made+=("${file##*/}")
    fi
    chmod 644 "$file"
}

random() { head -c "$1" /dev/urandom | base64 | tr -d '=\n' | tr '+/' '-_'; }
fernet_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

for name in postgres_password redis_password airflow_admin_password airflow_viewer_password model_reload_token \
    recommendation_events_token alert_bridge_token grafana_admin_password; do
    make "$name" random 24
done
make airflow_jwt_secret random 64
make airflow_api_secret random 32
make airflow_fernet_key fernet_key
[[ -e $folder/wecom_robots ]] || install -m 644 /dev/null "$folder/wecom_robots" # name=key, one per line; nobody has to have one

echo "$folder: ${#made[@]} made${made[*]:+: ${made[*]}}"
