#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shell/log.h"
#include "shell/options.h"
#include "shell/server.h"
#include "shell/text.h"
#include "system/system.h"

/* Exit statuses; 0: --help, --version, or a drain that lost nothing. */
#define STATUS_CANNOT_RUN 1
#define STATUS_USAGE 2
#define STATUS_DRAIN_SHORT 3

/* Descriptors that are not clients: the standard three, the listener, the poller, the stop pipe,
 * and a few that the parent process may have left open. */
#define DESCRIPTORS_RESERVED 32

#define CONNECTIONS_DEFAULT_MAX 65536u

/* More than any error message needs. */
#define MESSAGE_BYTES 1024

static struct server server;
static struct log event_log;

__attribute__((format(printf, 2, 3))) static _Noreturn void fail(int status, const char *format,
                                                                 ...) {
    char message[MESSAGE_BYTES];
    char text[4 * MESSAGE_BYTES]; /* an argument may hold control characters: \x1b */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    log_escape(LOG_TEXT, (const uint8_t *)message, strlen(message), text, sizeof text);
    fprintf(stderr, "touchstone: %s\n", text);
    exit(status);
}

/* The value of a call; exits with an error message if it failed. */
static int64_t need(struct result result, const char *what) {
    char name[TEXT_ERROR_BYTES];
    text_of_error(result.raw, name);
    if (result.fault != FAULT_NONE)
        fail(STATUS_CANNOT_RUN, "%s: %s (%s)", what, name, strerror(result.raw));
    return result.value;
}

static _Noreturn void print(const char *text) {
    fputs(text, stdout);
    if (fflush(stdout) != 0)
        fail(STATUS_CANNOT_RUN, "cannot write to standard output: %s", strerror(errno));
    exit(EXIT_SUCCESS);
}

static struct options read_options(int argc, char *argv[]) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    char help[OPTIONS_HELP_BYTES];
    switch (options_parse(&options, argc, (const char *const *)argv, complaint)) {
    case OPTIONS_BAD: fail(STATUS_USAGE, "%s", complaint);
    case OPTIONS_HELP: options_help(help); print(help);
    case OPTIONS_VERSION: print("touchstone " TOUCHSTONE_VERSION "\n");
    case OPTIONS_SERVE: break;
    }
    return options;
}

static int32_t listen_on(const struct options *options) {
    struct addrinfo *address;
    char why[SYSTEM_COMPLAINT_BYTES];
    char what[OPTIONS_HOST_BYTES + 64];
    struct result activated = system_activated(why);
    if (activated.fault != FAULT_NONE) fail(STATUS_CANNOT_RUN, "socket activation: %s", why);
    if (activated.value > 0) return (int32_t)activated.value;
    struct result resolved = system_resolve(options->host, options->port, &address, why);
    if (resolved.fault != FAULT_NONE)
        fail(resolved.fault == FAULT_WOULD_BLOCK ? STATUS_CANNOT_RUN : STATUS_USAGE,
             "--listen: '%s' cannot be resolved: %s", options->host, why);
    bool is_v6 = strchr(options->host, ':') != NULL;
    snprintf(what, sizeof what, is_v6 ? "cannot listen on [%s]:%u" : "cannot listen on %s:%u",
             options->host, options->port);
    return (int32_t)need(system_listen(address, strcmp(options->host, "*") == 0), what);
}

static struct server_options size_server(const struct options *options) {
    uint32_t limit = system_raise_descriptor_limit();
    uint32_t connections = options->connections_max == 0 ? 1 : options->connections_max;
    if (limit < connections + DESCRIPTORS_RESERVED)
        fail(STATUS_CANNOT_RUN,
             "--max-connections %u needs a descriptor limit of %u, but it is %u (see ulimit -n)",
             connections, connections + DESCRIPTORS_RESERVED, limit);
    uint32_t most = limit - DESCRIPTORS_RESERVED;
    if (options->connections_max == 0)
        connections = most < CONNECTIONS_DEFAULT_MAX ? most : CONNECTIONS_DEFAULT_MAX;
    return (struct server_options){.connections_max = connections,
                                   .buffer_bytes = options->buffer_bytes,
                                   .idle_timeout_ms = options->idle_timeout_s * 1000,
                                   .drain_timeout_ms = options->drain_timeout_s * 1000};
}

static uint8_t *reserve(const struct server_options *options) {
    uint64_t length = server_memory_needed(options);
    uint8_t *memory = system_reserve(length);
    if (memory == NULL)
        fail(STATUS_CANNOT_RUN,
             "cannot reserve %llu MiB of address space for %u connections of %u bytes "
             "(a lower --max-connections or --buffer needs less)",
             (unsigned long long)(length >> 20) + 1, options->connections_max,
             options->buffer_bytes);
    return memory;
}

static void start(const struct options *options) {
    struct server_options sizes = size_server(options);
    uint8_t *memory = reserve(&sizes);
    /* Before it listens: whoever can connect is served, even if a stop comes at once. */
    int32_t stop = (int32_t)need(system_catch_stop(), "cannot catch signals");
    int32_t listener = listen_on(options);
    struct endpoint address;
    struct poller poller;
    need(system_local_endpoint(listener, &address), "cannot determine the listening address");
    need(system_open_poller(&poller), "cannot open a poller");
    event_log = (struct log){
        .kernel = poller.kernel, .level = options->log_level, .format = options->log_format};
    need(server_init(&server, poller, &event_log, &sizes, listener, stop, memory),
         "cannot watch the listening socket");
    log_listening(&event_log, &address);
}

int main(int argc, char *argv[]) {
    system_ignore_signals();
    need(system_open_stdio(), "cannot open /dev/null");
    struct options options = read_options(argc, argv);
    if (options.poller != NULL && strcmp(options.poller, system_poller) != 0)
        fail(STATUS_USAGE, "--poller: '%s' is not in this build (expected: %s)", options.poller,
             system_poller);
    system_open_log();
    start(&options);
    enum server_status status = SERVER_RUNNING;
    while (status == SERVER_RUNNING)
        status = server_step(&server);
    need(server.failure, "cannot wait for events");
    return status == SERVER_STOPPED ? EXIT_SUCCESS : STATUS_DRAIN_SHORT;
}
