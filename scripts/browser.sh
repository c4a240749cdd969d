#!/bin/sh
# Called by `make test`: the browser that the page is tested with. One that is there is taken; else Debian's, where we may install it.
set -eu
[ -n "${CHROMIUM_PATH:-}" ] && exit 0
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "test: installing chromium" >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null
    exit 0
fi
echo "test: no Chromium here; install it (Debian/Ubuntu: sudo apt-get install chromium), or name one: CHROMIUM_PATH=…" >&2
exit 1
