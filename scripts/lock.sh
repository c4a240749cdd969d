#!/bin/sh
# Called by `make lock`: resolves pyproject.toml into four hashed locks that hold for every platform and Python from 3.11 on.
# dev.txt agrees with base.txt on every package that both name. No index, host or path is written.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
}
compile pyproject.toml --output-file requirements/base.txt
compile pyproject.toml --group dev --constraint requirements/base.txt --output-file requirements/dev.txt
compile requirements/node.in --output-file requirements/node.txt
compile requirements/uv.in --constraint requirements/base.txt --output-file requirements/uv.txt
