#!/usr/bin/env bash
# Get Chromium for the tests of the Releases page: what is on PATH, else Debian's package, if this is root on Debian or Ubuntu.
#
#   scripts/browser.sh              print its path; status 1 and the reason if there is no way
set -euo pipefail

find_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name"; then
            return 0
        fi
    done
    return 1
}

find_browser && exit 0
if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "browser: no Chromium found; install Debian's package chromium, or Chrome" >&2
    exit 1
fi
{
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk
} >&2
find_browser
