#include "under/trap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "under/real.h"
#include "under/world.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define DISPATCH_ON 1
#define SELECTOR_BLOCK 1

/* A system call by number goes where the function of libc does. The first that is not a call on
 * descriptors or clocks is made as it is. */

static long call_on_bytes(long number, const long a[6], bool *known) {
    int fd = (int)a[0];
    void *bytes = (void *)a[1];
    size_t length = (size_t)a[2];
    switch (number) {
    case SYS_read: return read(fd, bytes, length);
    case SYS_write: return write(fd, bytes, length);
    case SYS_readv: return readv(fd, bytes, (int)length);
    case SYS_writev: return writev(fd, bytes, (int)length);
    case SYS_recvfrom:
        return recvfrom(fd, bytes, length, (int)a[3], (void *)a[4], (socklen_t *)a[5]);
    case SYS_sendto: return sendto(fd, bytes, length, (int)a[3], (void *)a[4], (socklen_t)a[5]);
    case SYS_recvmsg: return recvmsg(fd, bytes, (int)length);
    case SYS_sendmsg: return sendmsg(fd, bytes, (int)length);
    default: *known = false; return 0;
    }
}

static long call_on_sockets(long number, const long a[6], bool *known) {
    int fd = (int)a[0];
    switch (number) {
    case SYS_close: return close(fd);
    case SYS_listen: return listen(fd, (int)a[1]);
    case SYS_accept: return accept(fd, (void *)a[1], (void *)a[2]);
    case SYS_accept4: return accept4(fd, (void *)a[1], (void *)a[2], (int)a[3]);
    case SYS_shutdown: return shutdown(fd, (int)a[1]);
    case SYS_setsockopt: return setsockopt(fd, (int)a[1], (int)a[2], (void *)a[3], (socklen_t)a[4]);
    case SYS_getsockopt: return getsockopt(fd, (int)a[1], (int)a[2], (void *)a[3], (void *)a[4]);
    case SYS_getsockname: return getsockname(fd, (void *)a[1], (void *)a[2]);
    case SYS_getpeername: return getpeername(fd, (void *)a[1], (void *)a[2]);
    case SYS_fcntl: return fcntl(fd, (int)a[1], a[2]);
    case SYS_ioctl: return ioctl(fd, (unsigned long)a[1], (void *)a[2]);
    case SYS_dup: return dup(fd);
    case SYS_dup2: return dup2(fd, (int)a[1]);
    case SYS_dup3: return dup3(fd, (int)a[1], (int)a[2]);
    default: *known = false; return 0;
    }
}

static long call_on_waits(long number, const long a[6], bool *known) {
    void *second = (void *)a[1];
    switch (number) {
    case SYS_epoll_ctl: return epoll_ctl((int)a[0], (int)a[1], (int)a[2], (void *)a[3]);
    case SYS_epoll_wait: return epoll_wait((int)a[0], second, (int)a[2], (int)a[3]);
    case SYS_epoll_pwait: return epoll_pwait((int)a[0], second, (int)a[2], (int)a[3], (void *)a[4]);
    case SYS_epoll_pwait2:
        return epoll_pwait2((int)a[0], second, (int)a[2], (void *)a[3], (void *)a[4]);
    case SYS_poll: return poll((void *)a[0], (nfds_t)a[1], (int)a[2]);
    case SYS_ppoll: return ppoll((void *)a[0], (nfds_t)a[1], (void *)a[2], (void *)a[3]);
    case SYS_clock_gettime: return clock_gettime((clockid_t)a[0], second);
    case SYS_nanosleep: return nanosleep((void *)a[0], second);
    case SYS_exit_group:
        world_exits((int)a[0]);
        *known = false;
        return 0;
    case SYS_io_uring_setup:
        world_seen("io_uring_setup (ENOSYS)");
        errno = ENOSYS;
        return -1;
    default: *known = false; return 0;
    }
}

static long call(long number, const long a[6]) {
    static long (*const kinds[])(long, const long[6], bool *) = {call_on_bytes, call_on_sockets,
                                                                 call_on_waits};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool known = true;
        long result = kinds[i](number, a, &known);
        if (known) return result;
    }
    return real_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long syscall(long number, ...) {
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (!world_exists()) return real_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return call(number, a);
}

/* Inline assembly */

static volatile char selector = SELECTOR_BLOCK;
static unsigned long restorer; /* libc's rt_sigreturn */

/* What these two set is undone as the handler returns: so it is set in what it returns to. */
static long change_mask(ucontext_t *context, const long a[6]) {
    unsigned long mask, set, kept;
    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    kept = mask;
    if (a[1] != 0) {
        memcpy(&set, (void *)a[1], sizeof set);
        mask = a[0] == SIG_BLOCK ? mask | set : a[0] == SIG_UNBLOCK ? mask & ~set : set;
    }
    if (a[2] != 0) memcpy((void *)a[2], &kept, sizeof kept);
    mask &= ~(1ul << (SIGSYS - 1));
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    return 0;
}

static long change_stack(ucontext_t *context, const long a[6]) {
    stack_t kept = context->uc_stack;
    if (a[0] != 0) context->uc_stack = *(stack_t *)a[0];
    if (a[1] != 0) *(stack_t *)a[1] = kept;
    return 0;
}

static void on_call(int signal_number, siginfo_t *info, void *pointer) {
    ucontext_t *context = pointer;
    greg_t *r = context->uc_mcontext.gregs;
    const long a[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
    int kept = errno;
    long number = r[REG_RAX];
    if (number == SYS_rt_sigreturn) { /* of another handler: libc's text returns for it */
        r[REG_RIP] = (greg_t)restorer;
        return;
    }
    long result = number == SYS_rt_sigprocmask ? change_mask(context, a)
                  : number == SYS_sigaltstack  ? change_stack(context, a)
                                               : call(number, a);
    r[REG_RAX] = result == -1 ? -errno : result;
    errno = kept;
}

/* The text of libc, which may call the kernel as before. */
static bool find_libc(unsigned long *from, unsigned long *to) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    bool found = false;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        char *end; /* FROM-TO RIGHTS ... */
        *from = strtoul(line, &end, 16);
        *to = strtoul(end + 1, &end, 16);
        unsigned long text = (unsigned long)real_function("syscall");
        found = *from <= text && text < *to;
    }
    if (maps != NULL) fclose(maps);
    return found;
}

void trap_start(void) {
    unsigned long from, to;
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct {
        void *handler;
        unsigned long flags, restorer, mask;
    } kernels;
    if (!find_libc(&from, &to)) world_unsupported("a libc that is not a shared library");
    sigaction(SIGSYS, &action, NULL);
    REAL(SYS_rt_sigaction, SIGSYS, NULL, &kernels, sizeof kernels.mask);
    restorer = kernels.restorer;
    /* Without it (before Linux 5.11) raw calls reach the sockets that reserve the numbers. */
    prctl(PR_SET_SYSCALL_USER_DISPATCH, DISPATCH_ON, from, to - from, &selector);
}
