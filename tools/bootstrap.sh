#!/bin/sh
# Make the environment in the folder $1: finds a Python from 3.11 on, checks that venv works, installs by hash.
set -eu
target=${1:?usage: bootstrap.sh FOLDER}
# A private TREASURYD_PYTHON wins, so that the pipeline can walk through the versions.
for candidate in ${TREASURYD_PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip, sqlite3; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "${python:-}" ]; then
    echo "treasuryd needs Python 3.11 or newer with its venv module." >&2
    echo "On Debian and Ubuntu:  apt-get install python3 python3-venv" >&2
    echo "On macOS:              brew install python@3.13" >&2
    exit 78
fi
echo "using $("$python" -V) for $target"
"$python" -m venv --clear "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
