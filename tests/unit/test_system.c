#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "shell/server.h"
#include "shell/text.h"
#include "system/system.h"

#include "../src/system/posix.h"

/* Behaviour of the operating-system files that no test over sockets can cause. */

/* An odd number of pages, so that the system places mappings at every page of a unit. */
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

static void impossible_sizes_are_refused(void **state) {
    assert_null(system_reserve(UINT64_MAX));
    assert_null(system_reserve(SIZE_MAX));
    assert_null(system_reserve(SIZE_MAX - KERNEL_MEMORY_UNIT + 1));
    assert_null(system_reserve(SIZE_MAX - KERNEL_MEMORY_UNIT));
}

/* sd_listen_fds(3): both variables belong to the protocol. */
static void activation_needs_both_variables(void **state) {
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

/* A pipe is not a socket. */
static void unexpected_errno_is_fault_other(void **state) {
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

static void errno_values_are_printed_by_name(void **state) {
    char text[TEXT_ERROR_BYTES];
    text_of_error(ECONNRESET, text);
    assert_string_equal(text, "ECONNRESET");
    text_of_error(ETIMEDOUT, text);
    assert_string_equal(text, "ETIMEDOUT");
    text_of_error(99999, text);
    assert_string_equal(text, "99999");
}

/* The errors in the man pages of the calls: each has a name and its fault. */
static void each_documented_errno_has_its_fault(void **state) {
    static const struct {
        enum fault fault;
        int errors[16]; /* up to 0 */
    } kinds[] = {
        {FAULT_WOULD_BLOCK, {EAGAIN}},
        {FAULT_INTERRUPTED, {EINTR}},
        {FAULT_RESET, {ECONNRESET, ENOTCONN}},
        {FAULT_PIPE, {EPIPE}},
        {FAULT_ABORTED, {ECONNABORTED, EPROTO}},
        {FAULT_DESCRIPTORS, {EMFILE, ENFILE}},
        {FAULT_MEMORY, {ENOMEM, ENOBUFS}},
        {FAULT_NOT_FOUND, {ENOENT}},
        {FAULT_EXISTS, {EEXIST}},
        {FAULT_NO_SPACE, {ENOSPC}},
        {FAULT_OTHER,
         {EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EBADF, EHOSTDOWN, EHOSTUNREACH, EINVAL,
          EIO, ENETDOWN, ENETUNREACH, EPERM, ETIMEDOUT}},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (const int *error = kinds[i].errors; *error != 0; error++) {
            char text[TEXT_ERROR_BYTES];
            text_of_error(*error, text);
            assert_int_equal(text[0], 'E');
            assert_int_equal(posix_fault(*error), kinds[i].fault);
        }
    }
}

/* Writes a log line as the server does. */
static struct result log_line(const char *line, size_t length) {
    struct result result = system_kernel.log_poll(NULL);
    if (result.fault != FAULT_NONE) return result;
    return system_kernel.log_write(NULL, line, length, 1000);
}

/* Writes a log line with stdout replaced; cmocka's stdout is restored before any check. */
static struct result log_write_to(int descriptor) {
    int before = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(descriptor, STDOUT_FILENO);
    struct result result = log_line("x\n", 2);
    dup2(before, STDOUT_FILENO);
    close(before);
    return result;
}

static void full_log_sink_would_block(void **state) {
    static const char page[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(log_write_to(ends[1]).value, 2);
    while (write(ends[1], page, sizeof page) > 0) {
    }
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    struct result result = log_write_to(ends[1]);
    assert_int_equal(result.fault, FAULT_WOULD_BLOCK);
    assert_int_equal(result.raw, EAGAIN);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

/* The address is at another offset in sockaddr_in6 than in sockaddr_in. */
static void endpoints_keep_the_whole_address(void **state) {
    char text[TEXT_ENDPOINT_BYTES];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(4444)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(4444)};
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    in.sin_addr.s_addr = htonl(0xC0000201); /* addresses for documentation (RFC 5737, RFC 3849) */
    memcpy(&address, &in, sizeof in);
    struct endpoint endpoint = posix_endpoint(&address);
    text_of_endpoint(&endpoint, text);
    assert_string_equal(text, "192.0.2.1:4444");
    assert_int_equal(inet_pton(AF_INET6, "2001:db8:1:2:3:4:5:6", &in6.sin6_addr), 1);
    memcpy(&address, &in6, sizeof in6);
    endpoint = posix_endpoint(&address);
    text_of_endpoint(&endpoint, text);
    assert_string_equal(text, "[2001:db8:1:2:3:4:5:6]:4444");
}

/* The parent process may have blocked the stop signals. */
static void blocked_stop_signal_is_unblocked(void **state) {
    sigset_t stop;
    uint8_t byte;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &stop, NULL), 0);
    struct result caught = system_catch_stop();
    assert_int_equal(caught.fault, FAULT_NONE);
    struct pollfd seen = {.fd = (int)caught.value, .events = POLLIN};
    assert_int_equal(poll(&seen, 1, 0), 0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(poll(&seen, 1, 0), 1);
    assert_int_equal(read(seen.fd, &byte, 1), 1);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
}

static int option_of(int descriptor, int level, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(descriptor, level, option, &value, &length), 0);
    return value;
}

/* A listening socket of loopback on a free port, without any option set. */
static int listen_plainly(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)address, length), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)address, &length), 0);
    return listener;
}

static int connect_to(const struct sockaddr_in *address) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (const struct sockaddr *)address, sizeof *address), 0);
    return client;
}

/* Socket activation: the first client connects before the server starts. */
static void client_that_waits_in_a_passed_listener_has_all_options(void **state) {
    char complaint[SYSTEM_COMPLAINT_BYTES];
    char process[24];
    struct sockaddr_in address;
    struct endpoint peer;
    int listener = listen_plainly(&address);
    int client = connect_to(&address);
    int before = dup(3); /* -1 if 3 is free */
    if (listener != 3) assert_int_equal(dup2(listener, 3), 3);
    snprintf(process, sizeof process, "%ld", (long)getpid());
    assert_int_equal(setenv("LISTEN_PID", process, 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", "1", 1), 0);
    assert_int_equal(system_activated(complaint).value, 3);
    struct result accepted = system_kernel.accept(NULL, 3, &peer);
    assert_int_equal(accepted.fault, FAULT_NONE);
    int descriptor = (int)accepted.value;
    assert_int_not_equal(option_of(descriptor, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_not_equal(option_of(descriptor, SOL_SOCKET, SO_OOBINLINE), 0);
    assert_int_not_equal(option_of(descriptor, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(fcntl(descriptor, F_GETFD), FD_CLOEXEC);
    assert_true((fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    close(descriptor);
    close(client);
    close(3);
    if (listener != 3) close(listener);
    if (before >= 0) dup2(before, 3);
    if (before >= 0) close(before);
}

/* Raises a signal twice at once, reports that it survived, and raises it until it is ended. */
static void stop_twice(int number, int report) {
    signal(number, SIG_DFL); /* nohup(1) ignores SIGHUP */
    if (system_catch_stop().fault != FAULT_NONE) _exit(1);
    raise(number);
    raise(number);
    if (write(report, "", 1) != 1) _exit(2);
    for (int i = 0; i < 1000; i++) {
        raise(number);
        poll(NULL, 0, 10);
    }
    _exit(3);
}

/* A launcher that forwards Ctrl-C delivers it twice within milliseconds. */
static void second_stop_signal_counts_after_half_a_second(void **state) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        int ends[2], status;
        uint8_t byte;
        assert_int_equal(pipe(ends), 0);
        uint64_t began = system_kernel.clock_ms(NULL);
        pid_t child = fork();
        if (child == 0) stop_twice(signals[i], ends[1]);
        close(ends[1]);
        assert_int_equal(read(ends[0], &byte, 1), 1);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 128 + signals[i]);
        assert_true(system_kernel.clock_ms(NULL) - began >= 500);
        close(ends[0]);
    }
}

/* In the middle of the handler the first one is only half recorded. */
static void stop_signals_do_not_interrupt_each_other(void **state) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action;
    assert_int_equal(system_catch_stop().fault, FAULT_NONE);
    assert_int_equal(sigaction(SIGTERM, NULL, &action), 0);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        assert_int_equal(sigismember(&action.sa_mask, signals[i]), 1);
    signal(SIGHUP, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

static void hangup_that_was_ignored_stays_ignored(void **state) {
    struct sigaction action;
    signal(SIGHUP, SIG_IGN);
    assert_int_equal(system_catch_stop().fault, FAULT_NONE);
    assert_int_equal(sigaction(SIGHUP, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_IGN);
    signal(SIGHUP, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

/* A temporary failure must not look like bad usage, which no service manager retries. */
static void temporary_resolver_failures_are_told_apart(void **state) {
    static const int temporary[] = {EAI_AGAIN, EAI_MEMORY, EAI_SYSTEM};
    static const int permanent[] = {EAI_NONAME, EAI_FAIL, EAI_FAMILY, EAI_SERVICE, EAI_BADFLAGS};
    for (size_t i = 0; i < sizeof temporary / sizeof temporary[0]; i++)
        assert_int_equal(posix_resolver_fault(temporary[i]), FAULT_WOULD_BLOCK);
    for (size_t i = 0; i < sizeof permanent / sizeof permanent[0]; i++)
        assert_int_equal(posix_resolver_fault(permanent[i]), FAULT_OTHER);
}

static void link_local_address_needs_a_zone(void **state) {
    char complaint[SYSTEM_COMPLAINT_BYTES];
    struct addrinfo *address;
    assert_int_equal(system_resolve("fe80::1", 0, &address, complaint).fault, FAULT_OTHER);
    assert_non_null(strstr(complaint, "fe80::1%"));
    assert_int_equal(system_resolve("fe80::1%lo", 0, &address, complaint).fault, FAULT_NONE);
    freeaddrinfo(address);
    assert_int_equal(system_resolve("::1", 0, &address, complaint).fault, FAULT_NONE);
    freeaddrinfo(address);
}

/* One socket, which the listening line shows as [::]. */
static void star_listens_on_all_addresses_of_both_families(void **state) {
    char complaint[SYSTEM_COMPLAINT_BYTES];
    char text[TEXT_ENDPOINT_BYTES];
    struct addrinfo *address;
    struct endpoint endpoint;
    assert_int_equal(system_resolve("*", 0, &address, complaint).fault, FAULT_NONE);
    struct result listener = system_listen(address, true);
    if (listener.raw == EAFNOSUPPORT) skip();
    assert_int_equal(listener.fault, FAULT_NONE);
    assert_int_equal(system_local_endpoint((int32_t)listener.value, &endpoint).fault, FAULT_NONE);
    text_of_endpoint(&endpoint, text);
    assert_memory_equal(text, "[::]:", 5);
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_port = htons(endpoint.port)};
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    close(connect_to(&loopback));
    close((int)listener.value);
}

/* A client that resets between the stop and the server's shutdown. */
static void shutdown_after_a_reset_is_a_reset(void **state) {
    struct sockaddr_in address;
    struct endpoint peer;
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    int listener = listen_plainly(&address);
    int client = connect_to(&address);
    int32_t descriptor = (int32_t)system_kernel.accept(NULL, listener, &peer).value;
    assert_true(descriptor >= 0);
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    assert_int_equal(close(client), 0);
    struct pollfd reset = {.fd = descriptor, .events = POLLIN};
    assert_int_equal(poll(&reset, 1, 5000), 1);
    struct result result = system_kernel.shutdown(NULL, descriptor);
    assert_int_equal(result.fault, FAULT_RESET);
    close(descriptor);
    close(listener);
}

/* A chroot may lack /dev/null: it is needed only for a stream that is closed. */
static void dev_null_is_opened_for_closed_streams_only(void **state) {
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0; /* every open fails */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct result result = system_open_stdio();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(result.fault, FAULT_NONE);

    int before = dup(STDIN_FILENO);
    close(STDIN_FILENO);
    result = system_open_stdio();
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    if (before >= 0) dup2(before, STDIN_FILENO);
    if (before >= 0) close(before);
    assert_int_equal(result.fault, FAULT_NONE);
    assert_int_equal(flags & O_ACCMODE, O_RDWR);
}

/* Whether the kernel says of the mapping at this address that it takes no huge pages. */
static bool has_no_huge_pages(const void *address) {
    unsigned long long begin, end;
    char line[512], *after;
    bool within = false, found = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        begin = strtoull(line, &after, 16);
        if (*after == '-') { /* begin-end, the first line of a mapping */
            end = strtoull(after + 1, NULL, 16);
            within = begin <= (uintptr_t)address && (uintptr_t)address < end;
        }
        if (within && strncmp(line, "VmFlags:", 8) == 0) found = strstr(line, " nh") != NULL;
    }
    fclose(maps);
    return found;
}

/* With huge pages one touched byte costs 2 MiB, and releasing an area gives nothing back. */
static void memory_has_no_huge_pages(void **state) {
#ifndef MADV_NOHUGEPAGE
    skip(); /* only Linux has it */
#else
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) skip();
    const size_t size = 64 * (size_t)KERNEL_MEMORY_UNIT;
    void *advised = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(advised, MAP_FAILED);
    madvise(advised, size, MADV_NOHUGEPAGE);
    bool heeded = has_no_huge_pages(advised);
    munmap(advised, size);
    if (!heeded) skip(); /* qemu-user ignores this advice */
    assert_true(has_no_huge_pages(system_reserve(size)));
#endif
}

/* Opens the log on a sink that nobody reads, and writes lines to it until one is not taken. It is
 * not polled before, as if another process had filled the sink in between. */
static enum fault fill_log(int sink, bool can_be_reopened) {
    static const char line[PIPE_BUF];
    struct rlimit limit, none;
    struct itimerval timer;
    struct result result;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0; /* every open fails */
    int before = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(sink, STDOUT_FILENO);
    setrlimit(RLIMIT_NOFILE, can_be_reopened ? &limit : &none);
    system_open_log();
    setrlimit(RLIMIT_NOFILE, &limit);
    do {
        result = system_kernel.log_write(NULL, line, sizeof line, 1000);
    } while (result.fault == FAULT_NONE);
    dup2(before, STDOUT_FILENO);
    system_open_log();
    close(before);
    assert_int_equal(getitimer(ITIMER_REAL, &timer), 0);
    assert_true(timer.it_value.tv_sec == 0 && timer.it_value.tv_usec == 0);
    return result.fault;
}

static void open_terminal(int ends[2]) {
    struct termios raw;
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(ends[0] >= 0 && grantpt(ends[0]) == 0 && unlockpt(ends[0]) == 0);
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
    assert_int_equal(tcgetattr(ends[1], &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(ends[1], TCSANOW, &raw), 0);
}

/* SIGALRM, which interrupts a write that blocks, would end the test by default. */
static void write_to_a_full_log_does_not_block(void **state) {
    bool has_pipe_names = strcmp(system_poller, "epoll") == 0; /* Linux */
    int terminal[2], pipe_[2], sockets[2];
    open_terminal(terminal);
    assert_int_equal(pipe(pipe_), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    const struct {
        const int *ends;
        enum fault reopened;
    } sinks[] = {
        {terminal, FAULT_WOULD_BLOCK},
        {pipe_, has_pipe_names ? FAULT_WOULD_BLOCK : FAULT_INTERRUPTED},
        {sockets, FAULT_INTERRUPTED}, /* it cannot be opened by a name */
    };
    system_ignore_signals();
    for (size_t i = 0; i < sizeof sinks / sizeof sinks[0]; i++) {
        const int *ends = sinks[i].ends;
        assert_int_equal(fill_log(ends[1], false), FAULT_INTERRUPTED);
        assert_int_equal(fill_log(ends[1], true), sinks[i].reopened);
        close(ends[0]);
        close(ends[1]);
    }
}

/* The shared description keeps its flags, and the log's own does not block. */
static void pipe_is_reopened_without_blocking(void **state) {
    static char bytes[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int before = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    system_open_log();
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    struct result result = log_line("x\n", 2);
    dup2(before, STDOUT_FILENO);
    system_open_log();
    close(before);
    assert_int_equal(result.value, 2);
    assert_int_equal(read(ends[0], bytes, sizeof bytes), 2);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

/* Here because it has no TCP_NODELAY; a TCP client may be gone, and refuse its options (macOS). */
static void client_that_refuses_options_counts_as_aborted(void **state) {
    struct sockaddr_un name = {.sun_family = AF_UNIX}; /* Linux: bound to a name of its choice */
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    struct endpoint peer;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, length), 0);
    posix_listener_inherited = true;
    struct result refused = system_kernel.accept(NULL, listener, &peer);
    struct result empty = system_kernel.accept(NULL, listener, &peer);
    posix_listener_inherited = false;
    assert_int_equal(refused.fault, FAULT_ABORTED);
    assert_int_equal(empty.fault, FAULT_WOULD_BLOCK);
    uint8_t byte;
    assert_int_equal(read(client, &byte, 1), 0); /* it was closed */
    close(client);
    close(listener);
}

/* It is not reopened, and written to in time. */
static void socket_can_be_the_log(void **state) {
    char bytes[8];
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    int before = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    system_open_log();
    struct result result = log_write_to(ends[1]);
    dup2(before, STDOUT_FILENO);
    system_open_log();
    close(before);
    assert_int_equal(result.value, 2);
    close(ends[1]);
    assert_int_equal(read(ends[0], bytes, sizeof bytes), 2);
    close(ends[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_zeroed),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(activation_needs_both_variables),
        cmocka_unit_test(unexpected_errno_is_fault_other),
        cmocka_unit_test(errno_values_are_printed_by_name),
        cmocka_unit_test(each_documented_errno_has_its_fault),
        cmocka_unit_test(full_log_sink_would_block),
        cmocka_unit_test(endpoints_keep_the_whole_address),
        cmocka_unit_test(second_stop_signal_counts_after_half_a_second), /* no stop before it */
        cmocka_unit_test(blocked_stop_signal_is_unblocked),
        cmocka_unit_test(client_that_waits_in_a_passed_listener_has_all_options),
        cmocka_unit_test(stop_signals_do_not_interrupt_each_other),
        cmocka_unit_test(hangup_that_was_ignored_stays_ignored),
        cmocka_unit_test(temporary_resolver_failures_are_told_apart),
        cmocka_unit_test(link_local_address_needs_a_zone),
        cmocka_unit_test(star_listens_on_all_addresses_of_both_families),
        cmocka_unit_test(shutdown_after_a_reset_is_a_reset),
        cmocka_unit_test(dev_null_is_opened_for_closed_streams_only),
        cmocka_unit_test(memory_has_no_huge_pages),
        cmocka_unit_test(write_to_a_full_log_does_not_block),
        cmocka_unit_test(pipe_is_reopened_without_blocking),
        cmocka_unit_test(client_that_refuses_options_counts_as_aborted),
        cmocka_unit_test(socket_can_be_the_log),
    };
    return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
