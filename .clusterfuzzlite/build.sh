#!/bin/bash -eu
# Builds every fuzzer for ClusterFuzzLite and OSS-Fuzz. Compilers, flags and engine come from the
# environment; each fuzzer is copied to $OUT with its seeds, dictionary and options.
source=$SRC/touchstone build=$WORK/touchstone plain=$WORK/plain

# CMake adds no flags for an unknown build type: assertions stay on, and $CFLAGS sets -O.
cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Fuzz \
    -DTOUCHSTONE_FUZZ_ENGINE="$LIB_FUZZING_ENGINE"
cmake --build "$build" --target fuzzers --parallel "$(nproc)"

# The program that converts scenarios into seeds is built without engine and instrumentation.
env -u CFLAGS -u CXXFLAGS -u LDFLAGS CC=clang cmake -S "$source" -B "$plain"
cmake --build "$plain" --target scenario --parallel "$(nproc)"
mkdir -p "$WORK/seeds/server"
for file in "$source"/tests/scenarios/*.scenario; do
    "$plain/tests/scenario" binary "$file" >"$WORK/seeds/server/$(basename "$file" .scenario)"
done

for fuzzer in "$build"/fuzz/*_fuzzer; do
    name=$(basename "$fuzzer" _fuzzer)
    # The canary has a bug on purpose, which would be reported every time.
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
