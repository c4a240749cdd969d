#!/bin/sh
# Called by `make wheel` and CI: builds the wheel and tries it where nothing of the checkout is visible.
set -eu
cd "$(dirname "$0")/.."
checkout=$(pwd)
trial=build/wheel-trial
rm -rf dist "$trial"
.venv/bin/python -m hatchling build --target wheel --directory dist
.venv/bin/uv venv --quiet --python .venv/bin/python "$trial"
.venv/bin/uv pip install --quiet --python "$trial/bin/python" --require-hashes --requirements requirements/base.txt
.venv/bin/uv pip install --quiet --python "$trial/bin/python" --no-deps dist/*.whl
cd "$trial"
"$checkout/$trial/bin/servicing" --help >/dev/null
"$checkout/$trial/bin/python" "$checkout/scripts/try_examples.py"
echo "wheel: $(cd "$checkout" && ls dist) installs, starts and carries the sample agents"
