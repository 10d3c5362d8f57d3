#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "posix.h"
#include "system/system.h"

struct result system_open_stdio(void) {
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        bool closed = fcntl(descriptor, F_GETFD) < 0;
        if (closed && open("/dev/null", O_RDWR) < 0) return posix_result(-1);
    }
    return posix_result(0);
}

static void on_alarm(int number) {}

void system_ignore_signals(void) {
    struct sigaction alarm = {.sa_handler = on_alarm}; /* without SA_RESTART: a write ends */
    sigaction(SIGALRM, &alarm, NULL);
    signal(SIGPIPE, SIG_IGN); /* the log's reader exited */
    signal(SIGXFSZ, SIG_IGN); /* the log file reached its limit (ulimit -f) */
    signal(SIGTTOU, SIG_IGN); /* we are in the background of the log's terminal (stty tostop) */
}

/* The stop signal becomes a byte in a pipe: unlike a flag, a wait that begins later sees it. */
static int stop_pipe[2];
static volatile sig_atomic_t stopping;
static uint64_t stopped_ms; /* when the first signal arrived; only the handler uses it */

/* A launcher that forwards Ctrl-C delivers it twice: a second signal counts from this time on. */
#define SECOND_STOP_MS 500

static void on_stop(int number) {
    int saved = errno;
    uint64_t now = posix_clock_ms(NULL);
    bool at_once = stopping ? now - stopped_ms >= SECOND_STOP_MS : write(stop_pipe[1], "", 1) < 0;
    if (at_once) _exit(128 + number);
    if (!stopping) stopped_ms = now;
    stopping = 1;
    errno = saved;
}

/* SIGHUP stays ignored if it was ignored at the start (nohup). */
static bool catch_hangup(const struct sigaction *action) {
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) < 0) return false;
    return before.sa_handler == SIG_IGN || sigaction(SIGHUP, action, NULL) == 0;
}

struct result system_catch_stop(void) {
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask); /* or a second signal could arrive before the first is recorded */
    if (pipe(stop_pipe) < 0 || fcntl(stop_pipe[0], F_SETFD, FD_CLOEXEC) < 0 ||
        fcntl(stop_pipe[1], F_SETFD, FD_CLOEXEC) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
        sigaction(SIGINT, &action, NULL) < 0 || !catch_hangup(&action))
        return posix_result(-1);
    sigset_t none; /* the parent process may have blocked them */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return posix_result(stop_pipe[0]);
}

uint32_t system_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 0;
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = soft; /* macOS refuses more than its maximum */
    return limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
}

/* Reserves more than `length`, for the alignment: it is only address space. */
uint8_t *system_reserve(uint64_t length) {
    if (length > SIZE_MAX - KERNEL_MEMORY_UNIT) return NULL;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | posix_reserve_flag;
    size_t reserved = (size_t)length + KERNEL_MEMORY_UNIT;
    void *memory = mmap(NULL, reserved, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    madvise(memory, reserved, posix_reserve_advice); /* a kernel without huge pages refuses it */
    size_t beyond = (uintptr_t)memory % KERNEL_MEMORY_UNIT;
    return (uint8_t *)memory + (beyond == 0 ? 0 : KERNEL_MEMORY_UNIT - beyond);
}
