#!/bin/sh
# Called by `make page`, `make page-check`: builds the web page into the package, with Node from PyPI where none is on PATH; then checks it.
set -eu
cd "$(dirname "$0")/.."
export SERVICING_UI_DEV=1

if ! .venv/bin/python -c 'import hatch_build, sys; sys.exit(hatch_build.npm() is None)'; then
    uv=$(command -v uv || echo .venv/bin/uv)
    "$uv" pip install --quiet --python .venv/bin/python --require-hashes --requirements requirements/node.txt
fi
.venv/bin/python hatch_build.py
[ "${1:-}" = check ] || exit 0

.venv/bin/python scripts/openapi.py --check || { echo "page: the API changed; run: make page-api" >&2; exit 1; }
before=$(cksum <ui/src/api/schema.d.ts)
.venv/bin/python hatch_build.py generate
[ "$before" = "$(cksum <ui/src/api/schema.d.ts)" ] || { echo "page: ui/src/api/schema.d.ts was not generated from ui/openapi.json" >&2; exit 1; }
.venv/bin/python hatch_build.py lint types test
echo "page: built and checked"
