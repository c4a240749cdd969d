#!/bin/sh
# Makes a program in any language patchable: sh follow_config.sh COMMAND [ARGUMENT...]
# Becomes COMMAND; beside it, $SERVICING_CONFIG_FILE is kept as the server wants it, and COMMAND gets a HUP whenever the file has changed.
# COMMAND must handle HUP before it does anything else. Needs curl and sha256sum.
set -u
umask 077
link="$SERVICING_URL/api/platform/agents/$SERVICING_AGENT/link"
file=$SERVICING_CONFIG_FILE
revision=$SERVICING_CONFIG_REVISION

hash_of_file() {
    sha256sum <"$file" | cut -d ' ' -f 1
}

ask() { # the token goes in by standard input, so that no list of processes shows it
    printf 'header = "Authorization: Bearer %s"\n' "$SERVICING_INSTANCE_TOKEN" | curl --config - --silent --max-time 40 "$@"
}

report() { # what the file holds now
    ask --output /dev/null --header 'Content-Type: application/json' --data '{
        "level": "script", "client": "follow_config/1", "state": "ready",
        "config": {"applied": {"revision": "'"$revision"'", "hash": "'"$(hash_of_file)"'"},
                   "prepared": null, "last_good": null, "last_attempt": null, "pending": []},
        "load": {"active_requests": 0, "active_streams": 0, "open_conversations": 0}}' "$link"
}

follow() {
    while kill -0 "$1" 2>/dev/null; do
        report
        status=$(ask --output "$file.new" --dump-header "$file.head" --write-out '%{http_code}' \
            --header "If-None-Match: \"$(hash_of_file)\"" "$link/config?wait=8")
        if [ "$status" = 200 ] && [ -s "$file.new" ]; then
            revision=$(sed -n 's/^[Xx]-[Ss]ervicing-[Rr]evision: *\([^[:space:]]*\).*/\1/p' "$file.head")
            mv "$file.new" "$file" && kill -HUP "$1"
        elif [ "$status" != 304 ]; then
            sleep 5 # the server is down, or has no time
        fi
    done
    rm -f "$file.new" "$file.head"
}

follow $$ &
exec "$@"
