#pragma once

/* Real system calls. They are made by libc's syscall(), whose text the trap lets through; result
 * and errno are those of libc. */

/* Any arguments, at most six. */
#define REAL(...) REAL_FILLED(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define REAL_FILLED(number, a, b, c, d, e, f, ...)                                                 \
    real_call((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

long real_call(long number, long a, long b, long c, long d, long e, long f);

/* A function of libc, or of the library loaded next, by name; ends the process if there is none. */
void *real_function(const char *name);
