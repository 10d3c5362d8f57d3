/* Calls that are not modelled: on a simulated descriptor they end the run without a verdict. All
 * others are made. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "under/real.h"
#include "under/world.h"

static void refuse(int fd, const char *call) {
    if (world_is_simulated(fd)) world_unsupported(call);
    world_stirred();
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t count) {
    refuse(to, "sendfile");
    return REAL(SYS_sendfile, to, from, offset, count);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    refuse(fd, "sendmmsg");
    return (int)REAL(SYS_sendmmsg, fd, messages, count, flags);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
             struct timespec *timeout) {
    refuse(fd, "recvmmsg");
    return (int)REAL(SYS_recvmmsg, fd, messages, count, flags, timeout);
}

ssize_t vmsplice(int fd, const struct iovec *parts, size_t count, unsigned flags) {
    refuse(fd, "vmsplice");
    return REAL(SYS_vmsplice, fd, parts, count, flags);
}

int sockatmark(int fd) {
    static int (*function)(int);
    refuse(fd, "sockatmark");
    if (function == NULL) *(void **)&function = real_function("sockatmark");
    return function(fd);
}

/* Streams write inside libc, where nothing is interposed. */
FILE *fdopen(int fd, const char *mode) {
    static FILE *(*function)(int, const char *);
    refuse(fd, "fdopen");
    if (function == NULL) *(void **)&function = real_function("fdopen");
    return function(fd, mode);
}

int vdprintf(int fd, const char *restrict format, va_list arguments) {
    static int (*function)(int, const char *, va_list);
    refuse(fd, "dprintf");
    if (function == NULL) *(void **)&function = real_function("vdprintf");
    return function(fd, format, arguments);
}

int dprintf(int fd, const char *restrict format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vdprintf(fd, format, arguments);
    va_end(arguments);
    return length;
}

/* They would close the sockets that reserve the numbers of clients. */
int close_range(unsigned first, unsigned last, int flags) {
    if (world_runs()) world_unsupported("close_range");
    return (int)REAL(SYS_close_range, first, last, flags);
}

void closefrom(int first) { close_range((unsigned)first, ~0u, 0); }
