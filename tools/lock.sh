#!/bin/sh
# Writes the lock files anew from pyproject.toml: versions and hashes, no download addresses.
# Needs uv on PATH (or in $UV). Run it by hand when a dependency changes; commit the result.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-uv}
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
# 1.3 declares Python < 3.11, which pip obeys and uv's universal resolution does not.
echo 'backports-strenum<1.3' > "$constraints"
lock() {
    out=$1
    shift
    "$uv" pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --constraint "$constraints" "$@" pyproject.toml -o "$out" > /dev/null
}
lock requirements.lock --python-version 3.11 --extra agent --extra host --extra parquet --extra dev
# tflite-runtime has no wheel past Python 3.11 and needs numpy 1.
lock requirements-tflite-runtime.lock --python-version 3.11 --extra agent-tflite-runtime
