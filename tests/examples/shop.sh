#!/bin/sh
# A test in a shell, with nothing but nc and sed: esps-portal run -- sh shop.sh
set -eu

# Print what answers a request: PORT SERVICE [ARGUMENT]. QUIT lets nc end when all is said.
ask() {
    port=$1
    argument=$(printf %s "${3-}" | sed 's/%/%25/g; s/ /%20/g; s/"/%22/g; s/#/%23/g')
    printf 'a CALL %s%s\nq QUIT\n' "$2" "${argument:+ $argument}" |
        nc "$ESPS_PORTAL_HOST" "$port" |
        sed -n 's/^a //p' | sed 's/%20/ /g; s/%22/"/g; s/%23/#/g; s/%0A/ /g; s/%25/%/g'
}

control() { ask "${ESPS_PORTAL_CONTROL_URL##*:}" "$@"; }
portal() { ask "$ESPS_PORTAL_PORT" "$@"; }

expect() {
    if [ "$2" != "$3" ]; then
        printf 'not ok - %s\n  expected: %s\n  was: %s\n' "$1" "$2" "$3"
        exit 1
    fi
    printf 'ok - %s\n' "$1"
}

expect "a stub is placed" "OK" \
    "$(control stub '{"service": "price", "args": ["sku 1"], "reply": "9.99"}')"
expect "and answers" "OK 9.99" "$(portal price 'sku 1')"
expect "all is as it should be" "OK" "$(control verify)"

expect "a fault is placed" \
    'DATA {"id":1,"fault":"reset when=before service=price times=1","seed":null}' \
    "$(control fault '{"fault": "reset", "service": "price", "when": "before", "times": 1}' | head -n 1)"
expect "it resets the connection" "" "$(portal price 'sku 1' 2>&1)"
expect "once" "OK 9.99" "$(portal price 'sku 1')"
expect "three calls came" "3" \
    "$(control calls '{"service": "price"}' | grep -c '^DATA')"

expect "a call that nobody foresaw" \
    "ERR unmatched nearest stub: price 'sku 1': argument 1 is 'x', not 'sku 1'" \
    "$(portal price x)"
expect "is told" "ERR x-unverified 1 problem: the portal was not used as expected" \
    "$(control verify | tail -n 1)"
