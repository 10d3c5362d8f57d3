#!/usr/bin/env bash
# The scenario command as a user runs it: what tests/README.md shows, which files are text, and bad
# usage.
#
#   tests/scenario/test_command.sh [EMULATOR...] SCENARIO-COMMAND
set -euo pipefail
scenario=("$@")
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# same WHAT FILE FILE
same() {
    diff "$2" "$3" || { echo "$1: differs" && return 1; }
}

# shown FILE LINE: the indented block of FILE that begins with this line, without indentation.
shown() {
    awk -v first="    $2" '$0 == first { on = 1 } on && !/^    / { exit } on' "$1" | cut -c5-
}

# check_readme FILE: FILE shows a scenario of the tree, and its trace from the connect to the server's
# FIN.
check_readme() {
    local example=tests/scenarios/fin-with-data-frozen.scenario
    shown "$1" 'scenario 1' >"$scratch/shown"
    grep -v '^#' $example >"$scratch/written"
    same 'the scenario' "$scratch/shown" "$scratch/written" || return 1
    shown "$1" 'a               server' >"$scratch/shown"
    "${scenario[@]}" run --trace --poller epoll $example |
        sed -n '1p; /^connect/,/^< FIN/p' >"$scratch/traced"
    same 'the trace' "$scratch/shown" "$scratch/traced"
}

check_readme tests/README.md
for change in 's/^    thaw$/    settle/' 's/send 6 of 6: 6$/send 6 of 6: 5/' '/^    < FIN$/d'; do
    sed "$change" tests/README.md >"$scratch/README.md"
    if check_readme "$scratch/README.md" >"$scratch/log"; then
        echo "self-test: expected a difference after '$change', found none" && exit 1
    fi
done

# A text without its first line is recognised by its name alone, and rejected with line and column.
printf 'connect a\n' >"$scratch/wrong.scenario"
status=0
"${scenario[@]}" text "$scratch/wrong.scenario" 2>"$scratch/log" || status=$?
[ $status = 2 ]
grep -q '/wrong\.scenario:1:1: ' "$scratch/log"

printf 'scenario 1\nsettle\nsettle\n' >"$scratch/settle"
"${scenario[@]}" binary "$scratch/settle" >"$scratch/bytes"
printf '\020\020' | cmp - "$scratch/bytes"
"${scenario[@]}" text "$scratch/bytes" >"$scratch/text"
same 'settle through bytes' "$scratch/settle" "$scratch/text"

# Other files are bytes, even if they look like text or blank lines.
for bytes in 'connect' '\r\n'; do
    # shellcheck disable=SC2059 # escapes are meant
    printf "$bytes" >"$scratch/bytes"
    "${scenario[@]}" text "$scratch/bytes" >"$scratch/text"
    grep -qx 'scenario 1' "$scratch/text"
done

# refuses NAME ARGUMENT...: bad usage is one line on stderr that names what was wrong, and status 2.
refuses() {
    local name=$1 status=0
    shift
    "${scenario[@]}" "$@" >"$scratch/output" 2>"$scratch/log" || status=$?
    [ $status = 2 ] && [ ! -s "$scratch/output" ] && [ "$(wc -l <"$scratch/log")" = 1 ] &&
        grep -q "^scenario: $name: " "$scratch/log" && return
    echo "scenario $*: status $status, expected 2 and one line about $name; got:"
    cat "$scratch/output" "$scratch/log"
    return 1
}

bare=tests/scenarios/fin-bare.scenario
refuses --seeds run --seeds 0 $bare
refuses --seeds run $bare --seeds
refuses --seeds run --seeds x $bare
refuses --seed run --seed 99999999999 $bare
refuses --sample sweep --sample 0 $bare
refuses fly run --faults short,fly $bare
refuses --without-stop run --without-stop $bare
refuses --fault run $bare --fault
refuses --fault run --fault 'fly 1 EIO' $bare
refuses --fault run --fault 'accept 1 ENOSPC' $bare
refuses fly run --poller fly $bare
refuses --fly run --fly $bare
refuses --under run $bare --under
refuses soak soak
refuses soak soak --events 10 $bare
refuses text text $bare $bare
refuses sweep sweep
refuses explore explore
refuses --steps explore --steps 16 tests/explore/plain.scenario
refuses --deviations explore --deviations 8 tests/explore/plain.scenario
refuses tests/scenarios/control-no-space.scenario explore tests/scenarios/control-no-space.scenario
refuses /no/such/file run /no/such/file
refuses fly fly
refuses 'no verb'

# A fault as an option is the same as one in the file.
sed 's/^scenario 1$/&\nsimulated\nfault accept 1 EINTR/' $bare >"$scratch/with.scenario"
"${scenario[@]}" run --trace --poller epoll "$scratch/with.scenario" >"$scratch/with"
"${scenario[@]}" run --trace --poller epoll --fault 'accept 1 EINTR' $bare >"$scratch/option"
same 'a fault as an option' "$scratch/with" "$scratch/option"
grep -q 'accept 3: interrupted' "$scratch/option"

"${scenario[@]}" --help >"$scratch/output" 2>"$scratch/log"
[ ! -s "$scratch/log" ] && grep -q '^usage: scenario run' "$scratch/output"
