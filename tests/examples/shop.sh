#!/bin/sh
# A test in a shell, with nothing but curl and nc: esps-portal run -- sh shop.sh
set -eu

# Ask the control port: METHOD PATH [JSON].
control() {
    curl -sS -X "$1" "$ESPS_PORTAL_CONTROL_URL$2" -H 'Content-Type: application/json' -d "${3-}"
}

# Ask the portal, and print its reply: SERVICE [ARGUMENT]. After QUIT it ends the connection.
portal() {
    printf 'a CALL %s%s\nq QUIT\n' "$1" "${2:+ $2}" |
        nc "$ESPS_PORTAL_HOST" "$ESPS_PORTAL_PORT" | sed -n 's/^a //p'
}

expect() {
    if [ "$2" != "$3" ]; then
        printf 'not ok - %s\n  expected: %s\n  was: %s\n' "$1" "$2" "$3"
        exit 1
    fi
    printf 'ok - %s\n' "$1"
}

expect "a stub is placed" '{"id":"1","service":"price","args":["sku-1"],"reply":"9.99","used":0}' \
    "$(control POST /stubs '{"service": "price", "args": ["sku-1"], "reply": "9.99"}')"
expect "and answers" "OK 9.99" "$(portal price sku-1)"
expect "all is as it should be" '{"ok":true,"problems":[],"report":""}' "$(control POST /verify)"

control POST /faults '{"fault": "reset", "service": "price", "when": "before", "times": 1}' >fault
expect "a fault is placed" "reset when=before service=price times=1" \
    "$(sed 's/.*"text":"\([^"]*\)".*/\1/' fault)"
expect "it resets the connection" "" "$(portal price sku-1 2>&1)"
expect "once" "OK 9.99" "$(portal price sku-1)"
expect "three calls came" "3" \
    "$(control GET '/calls?service=price' | grep -o '"tag":"a"' | wc -l | tr -d ' ')"

portal price x >reply
expect "a call that nobody expected" "ERR unmatched" "$(cut -d ' ' -f 1-2 reply)"
expect "is a problem" '{"ok":false' "$(control POST /verify | cut -d , -f 1)"
rm fault reply
