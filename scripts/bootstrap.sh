#!/bin/sh
# Called by the Makefile: turns a bare checkout into .venv with everything in requirements/dev.txt and this project, editable.
# Needs Python 3.11 or newer and nothing else; finds or installs uv by itself. The package index is whatever this machine is set up to use.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed. Debian/Ubuntu: apt-get install python3; or name one: make PYTHON=/path/to/python3.11"
}

can_make_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The version of uv is locked with its hashes like everything else.
install_uv() {
    python=$1
    if ! can_make_environments "$python" && ! "$python" -m pip --version >/dev/null 2>&1; then
        [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "this Python has neither venv nor pip. Run: sudo apt-get install python3-venv"
        say "installing python3-venv"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; } >/dev/null ||
            fail "apt-get could not install python3-venv; install it by hand and start again"
    fi
    say "installing uv into .venv-uv"
    rm -rf .venv-uv
    if can_make_environments "$python"; then
        "$python" -m venv .venv-uv
        .venv-uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
    else
        "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --target .venv-uv -r requirements/uv.txt
    fi
}

find_uv() {
    if command -v uv >/dev/null; then
        command -v uv
    else
        [ -x .venv-uv/bin/uv ] || install_uv "$1"
        echo .venv-uv/bin/uv
    fi
}

python=$(find_python)
uv=$(find_uv "$python")

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "creating .venv with $("$python" --version)"
    rm -rf .venv
    "$uv" venv --quiet --python "$python" .venv
fi
say "installing the locked packages"
"$uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable . --editable ./sdk
say "ready"
