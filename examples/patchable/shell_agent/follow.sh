#!/bin/sh
# Keeps the configuration of any program up to date: polls for it, rewrites the file, and tells the program with a signal.
# Usage: follow.sh PROGRAM [ARGUMENT …]. Needs sh, curl and sha256sum; the program reads $SERVICING_CONFIG_FILE on SIGHUP.
set -eu
"$@" &
program=$!
trap 'kill "$program"' TERM INT
here="$SERVICING_URL/api/platform/agents/$SERVICING_AGENT/link"
while kill -0 "$program" 2>/dev/null; do
    hash=$(sha256sum <"$SERVICING_CONFIG_FILE" | cut -d' ' -f1)
    new="$SERVICING_CONFIG_FILE.new"
    status=$(curl -s -o "$new" -w '%{http_code}' --max-time 30 -H "Authorization: Bearer $SERVICING_INSTANCE_TOKEN" \
        -H "If-None-Match: \"$hash\"" "$here/config?wait=20" || true)
    if [ "$status" = 200 ]; then
        mv "$new" "$SERVICING_CONFIG_FILE"
        kill -HUP "$program"
    elif [ "$status" != 304 ]; then
        sleep 1
    fi
done
wait "$program"
