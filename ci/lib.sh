# What the scripts in ci/ share. Sourced, never run; sourcing it moves to the top of the tree.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# Progress goes to stderr: stdout belongs to what is run, such as the server's log.
say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$(basename "$0"): $*"
    exit 1
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

# commit_number: for samples that are others for each commit, and the same each time for one.
commit_number() {
    echo $((16#$(git rev-parse HEAD | cut -c1-8)))
}

# real_path COMMAND: the file behind it, through links and alternatives.
real_path() {
    readlink -f "$(command -v "$1")"
}

# absolute PATH: the same seen from elsewhere.
absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}

# build_directory PRESET COMPILER: the preset's own for its usual compiler.
build_directory() {
    case $1-$2 in
    *-gcc | msan-clang | coverage-clang-19) echo "build/$1" ;;
    *) echo "build/$1-$2" ;;
    esac
}

# configured_with DIRECTORY COMPILER: the directory was configured with that compiler before.
configured_with() {
    local before
    before=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$1/CMakeCache.txt" 2>/dev/null)
    [ -n "$before" ] && [ "$(real_path "$before")" = "$(real_path "$2")" ]
}

# configure PRESET DIRECTORY COMPILER [ARGUMENT...]: afresh if the compiler is another than before.
configure() {
    local fresh=(--fresh "-DCMAKE_C_COMPILER=$3")
    if configured_with "$2" "$3"; then
        fresh=()
    fi
    cmake --preset "$1" -B "$2" ${fresh[@]+"${fresh[@]}"} "${@:4}"
}

# A sanitizer's finding ends the process by a signal, so that no test takes it for a clean exit.
export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
export MSAN_OPTIONS=abort_on_error=1
