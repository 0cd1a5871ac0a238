#!/bin/sh
# Holds rules, alerts and dashboards of this folder against a running daemon: `treasuryd metrics check`, exit 1 with the list.
# Usage: verify_metrics_coverage.sh [URL]     TREASURYD names another program than the one in the path.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${TREASURYD:-}" ]; then
    TREASURYD=$here/../.venv/bin/treasuryd
    [ -x "$TREASURYD" ] || TREASURYD=treasuryd
fi
exec "$TREASURYD" --url "${1:-${TREASURYD_URL:-http://127.0.0.1:9477}}" \
    metrics check --monitoring "$here" --page "$here/../docs/metrics.md"
