#!/usr/bin/env bash
# The scenario command as people use it: which files it takes for text, and that it prints what
# README.md shows.
#
#   tests/scenario/test_command.sh SCENARIO-COMMAND
set -euo pipefail
scenario=$1
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# same WHAT FILE FILE
same() {
    diff "$2" "$3" || { echo "$1: not the same" && return 1; }
}

# shown FILE LINE: the block of FILE that begins with this line, less its indentation.
shown() {
    awk -v first="    $2" '$0 == first { on = 1 } on && !/^    / { exit } on' "$1" | cut -c5-
}

# check_readme FILE: what FILE shows is a scenario of the tree, and its trace up to the server's FIN,
# less the registrations before it.
check_readme() {
    local example=tests/scenarios/fin-with-data-frozen.scenario
    shown "$1" 'scenario 1' >"$scratch/shown"
    grep -v '^#' $example >"$scratch/written"
    same 'the scenario' "$scratch/shown" "$scratch/written" || return 1
    shown "$1" 'a               server' >"$scratch/shown"
    "$scenario" run --trace --poller epoll $example |
        sed -n '1p; /^connect/,/^< FIN/p' >"$scratch/traced"
    same 'the trace' "$scratch/shown" "$scratch/traced"
}

check_readme README.md
for planted in 's/^    thaw$/    settle/' 's/send 6 of 6: 6$/send 6 of 6: 5/' '/^    < FIN$/d'; do
    sed "$planted" README.md >"$scratch/README.md"
    if check_readme "$scratch/README.md" >"$scratch/log"; then
        echo "README.md with '$planted' went unnoticed" && exit 1
    fi
done

# A text that lacks its first line is told so by its name alone. Bytes that look like blank lines,
# or like words, are bytes.
printf 'connect a\n' >"$scratch/wrong.scenario"
status=0
"$scenario" text "$scratch/wrong.scenario" 2>"$scratch/log" || status=$?
[ $status = 2 ]
grep -q "wrong.scenario:1:1: found 'connect', expected scenario 1" "$scratch/log"

printf 'scenario 1\nsettle\nsettle\n' >"$scratch/settle"
"$scenario" binary "$scratch/settle" >"$scratch/bytes"
printf '\020\020' | cmp - "$scratch/bytes"
"$scenario" text "$scratch/bytes" >"$scratch/text"
same 'settle through bytes' "$scratch/settle" "$scratch/text"

for bytes in 'connect' '\r\n'; do
    # shellcheck disable=SC2059 # escapes are meant
    printf "$bytes" >"$scratch/bytes"
    "$scenario" text "$scratch/bytes" >"$scratch/text"
    grep -qx 'scenario 1' "$scratch/text"
done

# refuses WHY ARGUMENT...: bad usage is one line that says why, and status 2.
refuses() {
    local why=$1 status=0
    shift
    "$scenario" "$@" >"$scratch/log" 2>&1 || status=$?
    [ $status = 2 ] && grep -qF -- "$why" "$scratch/log" && return
    echo "scenario $*: status $status, expected 2 and '$why' in: $(cat "$scratch/log")"
    return 1
}

bare=tests/scenarios/fin-bare.scenario
refuses '--seeds: needs at least 1' run --seeds 0 $bare
refuses '--seed: is at most 4294967295' run --seed 99999999999 $bare
refuses 'soak: needs --events N' soak
refuses 'soak: takes fewer files' soak --events 10 $bare
refuses 'text: takes fewer files' text $bare $bare
refuses 'sweep: needs a file' sweep
refuses 'usage: ' fly
