# What the verbs in shell share: those that run before Python is there. Sourced, never run; sourcing
# it moves to the top of the tree.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

# Progress goes to stderr: stdout belongs to what is run, such as the server's log.
say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "ci/$(basename "$0"): $*"
    exit 1
}

# usage: the comment at the head of the verb.
usage() {
    sed -n '2,/^[^#]/{ /^#/!d; s/^# \{0,1\}//; p; }' "ci/$(basename "$0")"
}

# refuse ARGUMENT EXPECTED: bad usage.
refuse() {
    say "ci/$(basename "$0"): unknown argument '$1', expected $2 (see ci/$(basename "$0") --help)"
    exit 2
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# logged WHAT COMMAND...: one line of progress; what the command prints only if it fails.
logged() {
    local what=$1 begin=$SECONDS output
    shift
    printf '%s ... ' "$what" >&2
    if ! output=$("$@" 2>&1 </dev/null); then
        say "failed:"
        say "$output"
        exit 1
    fi
    say "$((SECONDS - begin)) s"
}

# cmake_is_at_least 3.25
cmake_is_at_least() {
    local version
    version=$(cmake --version 2>/dev/null | sed -n '1s/^cmake version \([0-9]*\.[0-9]*\).*/\1/p')
    [ "$(printf '%s\n' "$1" "$version" | sort -t. -k1,1n -k2,2n | head -n 1)" = "$1" ]
}
