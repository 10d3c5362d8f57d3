#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "posix.h"
#include "system/system.h"

bool posix_switch_on(int descriptor, int level, int option) {
    int on = 1;
    return setsockopt(descriptor, level, option, &on, sizeof on) == 0;
}

bool posix_prepare(int descriptor) {
    return posix_switch_on(descriptor, SOL_SOCKET, SO_KEEPALIVE) &&
           posix_switch_on(descriptor, SOL_SOCKET, SO_OOBINLINE) &&
           posix_switch_on(descriptor, IPPROTO_TCP, TCP_NODELAY) &&
           fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 &&
           fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0;
}

struct endpoint posix_endpoint(const struct sockaddr_storage *address) {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct endpoint endpoint = {.family = ENDPOINT_IPV4};
    if (address->ss_family == AF_INET6) {
        memcpy(&in6, address, sizeof in6);
        endpoint.family = ENDPOINT_IPV6;
        endpoint.port = ntohs(in6.sin6_port);
        endpoint.scope = in6.sin6_scope_id;
        memcpy(endpoint.address, &in6.sin6_addr, sizeof in6.sin6_addr);
    } else {
        memcpy(&in, address, sizeof in);
        endpoint.port = ntohs(in.sin_port);
        memcpy(endpoint.address, &in.sin_addr, sizeof in.sin_addr);
    }
    return endpoint;
}

struct result posix_receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length) {
    return posix_result(recv(descriptor, bytes, length, 0));
}

struct result posix_send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length) {
    return posix_result(send(descriptor, bytes, length, 0));
}

struct result posix_shutdown(void *self, int32_t descriptor) {
    return posix_result(shutdown(descriptor, SHUT_WR));
}

/* Exact only because urgent data are in line (SO_OOBINLINE): otherwise it counts up to the mark. */
struct result posix_unread(void *self, int32_t descriptor) {
    int count = 0;
    struct result result = posix_result(ioctl(descriptor, FIONREAD, &count));
    result.value = count;
    return result;
}

struct result posix_close_descriptor(void *self, int32_t descriptor) {
    return posix_result(close(descriptor));
}

void posix_release(void *self, uint8_t *memory, size_t length) {
    madvise(memory, length, posix_release_advice);
}

uint64_t posix_clock_ms(void *self) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool log_may_block;

void system_open_log(void) {
    char name[64];
    struct stat status = {.st_mode = 0};
    fstat(STDOUT_FILENO, &status);
    bool is_terminal = isatty(STDOUT_FILENO) != 0;
    bool is_pipe = S_ISFIFO(status.st_mode);
    log_may_block = is_terminal || is_pipe || S_ISSOCK(status.st_mode);
    bool named = is_terminal ? ttyname_r(STDOUT_FILENO, name, sizeof name) == 0 : is_pipe;
    const char *path = is_pipe ? posix_pipe_name : name;
    int reopened = named ? open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK) : -1;
    if (reopened < 0) return;
    dup2(reopened, STDOUT_FILENO);
    close(reopened);
    log_may_block = false;
}

/* SIGALRM interrupts a write after so many microseconds, and again until it is set to 0. */
static void limit_write(int32_t us) {
    struct itimerval timer = {.it_interval = {.tv_usec = us}, .it_value = {.tv_usec = us}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* A pipe that poll reports as writable has room for PIPE_BUF bytes (source: pipe(7), write(2)),
 * unless another process writes to it in between. */
struct result posix_log_poll(void *self) {
    struct pollfd sink = {.fd = STDOUT_FILENO, .events = POLLOUT};
    int ready = poll(&sink, 1, 0);
    if (ready == 0) return (struct result){.fault = FAULT_WOULD_BLOCK, .raw = EAGAIN};
    return posix_result(ready);
}

/* The open file description may be shared with the parent process, so it is not made non-blocking:
 * a write that may block is interrupted. */
struct result posix_log_write(void *self, const char *line, size_t length, int32_t limit_us) {
    if (log_may_block) limit_write(limit_us);
    struct result result = posix_result(write(STDOUT_FILENO, line, length));
    if (log_may_block) limit_write(0);
    return result;
}
