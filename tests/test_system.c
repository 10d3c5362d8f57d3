#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shell/server.h"
#include "shell/system.h"
#include "shell/text.h"

/* What of the operating-system files no socket test can bring about. */

/* Of an odd number of pages, so that the system puts one to any page of a unit. */
#define RESERVED_BYTES ((size_t)4096)

static void memory_is_aligned_and_zeroed(void **state) {
    for (int i = 0; i < 64; i++) {
        uint8_t *memory = system_reserve(RESERVED_BYTES);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % KERNEL_MEMORY_UNIT, 0);
        for (size_t j = 0; j < RESERVED_BYTES; j++)
            assert_int_equal(memory[j], 0);
        memset(memory, 1, RESERVED_BYTES);
    }
}

static void memory_beyond_all_addresses_is_refused(void **state) {
    assert_null(system_reserve(SIZE_MAX));
    assert_null(system_reserve(SIZE_MAX - KERNEL_MEMORY_UNIT + 1));
    assert_null(system_reserve(SIZE_MAX - KERNEL_MEMORY_UNIT));
}

/* sd_listen_fds(3): both variables belong to the protocol. */
static void half_an_activation_is_none(void **state) {
    char complaint[SYSTEM_COMPLAINT_BYTES];
    char process[24];
    snprintf(process, sizeof process, "%ld", (long)getpid());
    assert_int_equal(setenv("LISTEN_PID", process, 1), 0);
    assert_int_equal(unsetenv("LISTEN_FDS"), 0);
    struct result result = system_activated(complaint);
    assert_int_equal(result.fault, FAULT_NONE);
    assert_int_equal(result.value, 0);
    assert_int_equal(setenv("LISTEN_FDS", "1", 1), 0);
    assert_int_equal(unsetenv("LISTEN_PID"), 0);
    assert_int_equal(system_activated(complaint).value, 0);
}

/* The file is no socket. */
static void an_error_that_nobody_foresaw_is_another(void **state) {
    int ends[2];
    uint8_t byte;
    assert_int_equal(pipe(ends), 0);
    struct result result = system_kernel.receive(NULL, ends[0], &byte, 1);
    assert_int_equal(result.fault, FAULT_OTHER);
    assert_int_equal(result.raw, ENOTSOCK);
    assert_int_equal(system_kernel.close(NULL, ends[0]).fault, FAULT_NONE);
    assert_int_equal(system_kernel.close(NULL, ends[1]).fault, FAULT_NONE);
    assert_int_equal(system_kernel.close(NULL, ends[1]).raw, EBADF);
}

static void errors_have_their_names(void **state) {
    char text[TEXT_ERROR_BYTES];
    text_of_error(ECONNRESET, text);
    assert_string_equal(text, "ECONNRESET");
    text_of_error(ETIMEDOUT, text);
    assert_string_equal(text, "ETIMEDOUT");
    text_of_error(99999, text);
    assert_string_equal(text, "99999");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_zeroed),
        cmocka_unit_test(memory_beyond_all_addresses_is_refused),
        cmocka_unit_test(half_an_activation_is_none),
        cmocka_unit_test(an_error_that_nobody_foresaw_is_another),
        cmocka_unit_test(errors_have_their_names),
    };
    return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
