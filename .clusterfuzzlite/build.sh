#!/bin/bash -eu
# Builds every fuzzer as ClusterFuzzLite and OSS-Fuzz ask for it: compilers, flags and the engine
# come from the environment, and $OUT gets each with its seeds, dictionary and options.
source=$SRC/touchstone build=$WORK/touchstone plain=$WORK/plain

# A build type that CMake does not know adds no flags: assertions stay on, and -O is $CFLAGS' matter.
cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Fuzz \
    -DTOUCHSTONE_FUZZ_ENGINE="$LIB_FUZZING_ENGINE"
cmake --build "$build" --target fuzzers --parallel "$(nproc)"

# What turns scenarios into seeds is no fuzzer: it takes neither engine nor instrumentation.
env -u CFLAGS -u CXXFLAGS -u LDFLAGS CC=clang cmake -S "$source" -B "$plain"
cmake --build "$plain" --target scenario --parallel "$(nproc)"
mkdir -p "$WORK/seeds/server"
for file in "$source"/tests/scenarios/*.scenario; do
    "$plain/tests/scenario" binary "$file" >"$WORK/seeds/server/$(basename "$file" .scenario)"
done

for fuzzer in "$build"/fuzz/*_fuzzer; do
    name=$(basename "$fuzzer" _fuzzer)
    # Its bug is there to be found, and would be reported again and again.
    [ "$name" != canary ] || continue
    cp "$fuzzer" "$OUT/"
    folders=("$source/fuzz/corpus/$name" "$WORK/seeds/$name")
    [ "$name" != scenario ] || folders+=("$source"/tests/scenarios/syntax/*/)
    for folder in "${folders[@]}"; do
        [ ! -d "$folder" ] || zip -q -r -j "$OUT/${name}_fuzzer_seed_corpus.zip" "$folder"
    done
    [ ! -e "$source/fuzz/dict/$name.dict" ] ||
        cp "$source/fuzz/dict/$name.dict" "$OUT/${name}_fuzzer.dict"
    [ ! -e "$source/fuzz/${name}_fuzzer.options" ] ||
        cp "$source/fuzz/${name}_fuzzer.options" "$OUT/"
done
