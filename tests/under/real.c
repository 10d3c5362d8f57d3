#include "under/real.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

static long (*libc_syscall)(long, ...);

void *real_function(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) abort();
    return function;
}

long real_call(long number, long a, long b, long c, long d, long e, long f) {
    /* Other libraries may call before our constructor runs. */
    if (libc_syscall == NULL) *(void **)&libc_syscall = real_function("syscall");
    return libc_syscall(number, a, b, c, d, e, f);
}
