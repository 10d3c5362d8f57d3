#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "core/upper.h"

#define VALUES 256
#define LENGTH_MAX 200
#define ALIGNMENTS 64
#define MARGIN 64

/* One page between two inaccessible ones: an access outside crashes. */
static uint8_t *page;
static size_t page_size;

/* Every byte value at every position: shifted by s, byte i is (i + s) mod 256. */
static uint8_t given[VALUES + LENGTH_MAX];
static uint8_t expected[VALUES + LENGTH_MAX];

/* The bytes around. A letter, so that mapping it would change it. */
static uint8_t margin[MARGIN];

static size_t cases;

static void make_texts(void) {
    static const char small[] = "abcdefghijklmnopqrstuvwxyz";
    static const char capital[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t mapping[VALUES];
    for (size_t value = 0; value < VALUES; value++) {
        mapping[value] = (uint8_t)value;
    }
    for (size_t i = 0; small[i] != '\0'; i++) {
        mapping[(uint8_t)small[i]] = (uint8_t)capital[i];
    }
    for (size_t i = 0; i < sizeof given; i++) {
        given[i] = (uint8_t)(i % VALUES);
        expected[i] = mapping[given[i]];
    }
    memset(margin, 'z', sizeof margin);
}

static int set_up(void **state) {
    (void)state;
    make_texts();
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *area = mmap(NULL, 3 * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        return -1;
    }
    page = area + page_size;
    return mprotect(page, page_size, PROT_READ | PROT_WRITE);
}

static int tear_down(void **state) {
    (void)state;
    print_message("upper: %zu cases\n", cases);
    return munmap(page - page_size, 3 * page_size);
}

/* Runs upper on `length` bytes of one shift, between margins of `before` and `after` bytes. */
static void check(uint8_t *bytes, size_t length, size_t shift, size_t before, size_t after) {
    memset(bytes - before, margin[0], before + length + after);
    memcpy(bytes, given + shift, length);

    upper(bytes, length);

    cases++;
    if (memcmp(bytes, expected + shift, length) != 0) {
        fail_msg("wrong bytes: length %zu, shift %zu, address %p", length, shift, (void *)bytes);
    }
    if (memcmp(bytes - before, margin, before) != 0 || memcmp(bytes + length, margin, after) != 0) {
        fail_msg("a neighbour changed: length %zu, shift %zu, address %p", length, shift,
                 (void *)bytes);
    }
}

/* From 4 bytes on, every fourth shift covers all values at each alignment, and four alignments
 * together cover them at each position. */
static void every_value_is_mapped_at_every_alignment_and_length(void **state) {
    (void)state;
    for (size_t alignment = 0; alignment < ALIGNMENTS; alignment++) {
        for (size_t length = 0; length <= LENGTH_MAX; length++) {
            size_t stride = length < 4 ? 1 : 4;
            for (size_t shift = alignment % stride; shift < VALUES; shift += stride) {
                check(page + MARGIN + alignment, length, shift, MARGIN, MARGIN);
            }
        }
    }
}

static void no_byte_after_the_end_is_accessed(void **state) {
    (void)state;
    for (size_t length = 0; length <= LENGTH_MAX; length++) {
        for (size_t shift = 0; shift < VALUES; shift++) {
            check(page + page_size - length, length, shift, MARGIN, 0);
        }
    }
}

static void no_byte_before_the_start_is_accessed(void **state) {
    (void)state;
    for (size_t length = 0; length <= LENGTH_MAX; length++) {
        for (size_t shift = 0; shift < VALUES; shift++) {
            check(page, length, shift, 0, MARGIN);
        }
    }
}

static void null_is_allowed_with_length_0(void **state) {
    (void)state;
    upper(NULL, 0);
    cases++;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_mapped_at_every_alignment_and_length),
        cmocka_unit_test(no_byte_after_the_end_is_accessed),
        cmocka_unit_test(no_byte_before_the_start_is_accessed),
        cmocka_unit_test(null_is_allowed_with_length_0),
    };
    return cmocka_run_group_tests_name("upper", tests, set_up, tear_down);
}
