/* Targets options_parse.
 *
 * The input is a command line, one argument per line. A second parser, which lists each form that
 * the manual allows and reads numbers by strtoull, gives the expected action, every field, and what
 * the complaint names, in one line that fits. The memory for what was read is computed without a
 * wrap, also where sizes have 32 bits. */

#include <string.h>

#include "check.h"
#include "shell/options.h"
#include "shell/server.h"

#define ARGUMENTS_MAX 16
#define TEXT_MAX 2048

static const struct known {
    char letter;
    const char *name;
    const char *first, *second; /* the words that it takes */
    unsigned min, max;          /* or numbers */
    bool alone;                 /* it takes no value */
} known[] = {
    {'l', "listen", NULL, NULL, 0, 65535, false},
    {'c', "max-connections", NULL, NULL, 1, 16777216, false},
    {'b', "buffer", NULL, NULL, 1, 1073741824, false},
    {'i', "idle-timeout", NULL, NULL, 0, 1048576, false},
    {'d', "drain-timeout", NULL, NULL, 0, 1048576, false},
    {'p', "poller", "epoll", "kqueue", 0, 0, false},
    {'f', "log-format", "text", "json", 0, 0, false},
    {'v', "verbose", NULL, NULL, 0, 0, true},
    {'q', "quiet", NULL, NULL, 0, 0, true},
    {'h', "help", NULL, NULL, 0, 0, true},
    {'V', "version", NULL, NULL, 0, 0, true},
};

struct reading {
    struct options options;
    enum options_action action;
    char complaint[64]; /* what it names; empty: anything */
};

static void refuse(struct reading *r, const char *named) {
    r->action = OPTIONS_BAD;
    snprintf(r->complaint, sizeof r->complaint, "%s", named);
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* `attached` is the value in -nVALUE or --name=VALUE; null: none. */
static const struct known *recognise(const char *argument, const char **attached) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char plain[32], assigned[32];
        snprintf(plain, sizeof plain, "--%s", known[i].name);
        snprintf(assigned, sizeof assigned, "--%s=", known[i].name);
        *attached = NULL;
        if (strcmp(argument, plain) == 0) return &known[i];
        if (begins(argument, assigned)) {
            *attached = argument + strlen(assigned);
            return &known[i];
        }
        if (argument[0] == '-' && argument[1] == known[i].letter) {
            if (argument[2] != '\0') *attached = argument + 2;
            return &known[i];
        }
    }
    return NULL;
}

static bool number(const char *text, unsigned min, unsigned max, uint32_t *value) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0') return false;
    size_t zeroes = strspn(text, "0");
    if (digits - zeroes > 18) return false;
    unsigned long long read = strtoull(text, NULL, 10);
    *value = (uint32_t)read;
    return read >= min && read <= max;
}

static void listen(struct reading *r, const char *value) {
    char host[TEXT_MAX + 1];
    uint32_t port;
    const char *colon = strrchr(value, ':');
    snprintf(host, sizeof host, "%.*s", colon == NULL ? 0 : (int)(colon - value), value);
    char *name = host;
    size_t length = strlen(host);
    bool bracketed = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    if (bracketed) {
        host[length - 1] = '\0';
        name++;
    }
    bool ambiguous = !bracketed && strchr(host, ':') != NULL;
    if (strlen(name) == 0 || strlen(name) > 255 || ambiguous)
        refuse(r, "--listen: '");
    else if (!number(colon + 1, 0, 65535, &port))
        refuse(r, "--listen: port '");
    else {
        memcpy(r->options.host, name, strlen(name) + 1);
        r->options.port = (uint16_t)port;
    }
}

static void set(struct reading *r, const struct known *option, const char *value) {
    char name[32];
    bool second = option->second != NULL && strcmp(value, option->second) == 0;
    bool first = option->first != NULL && strcmp(value, option->first) == 0;
    uint32_t *to = NULL;
    snprintf(name, sizeof name, "--%s", option->name);
    switch (option->letter) {
    case 'l': listen(r, value); break;
    case 'c': to = &r->options.connections_max; break;
    case 'b': to = &r->options.buffer_bytes; break;
    case 'i': to = &r->options.idle_timeout_s; break;
    case 'd': to = &r->options.drain_timeout_s; break;
    case 'p': r->options.poller = second ? "kqueue" : "epoll"; break;
    case 'f': r->options.log_format = second ? LOG_JSON : LOG_TEXT; break;
    case 'v': r->options.log_level = LOG_CHUNKS; break;
    case 'q': r->options.log_level = LOG_QUIET; break;
    case 'h': r->action = OPTIONS_HELP; break;
    default: r->action = OPTIONS_VERSION; break;
    }
    if (to != NULL && !number(value, option->min, option->max, to)) refuse(r, name);
    if (option->first != NULL && !first && !second) refuse(r, name);
}

static void read_all(struct reading *r, int count, const char *const arguments[]) {
    *r = (struct reading){.options = {.host = "127.0.0.1", .port = 4444, .buffer_bytes = 65536}};
    r->options.drain_timeout_s = 5;
    r->options.log_level = LOG_EVENTS;
    for (int i = 1; i < count && r->action == OPTIONS_SERVE; i++) {
        const char *argument = arguments[i], *value;
        const struct known *option = recognise(argument, &value);
        char name[32] = "";
        if (option != NULL) snprintf(name, sizeof name, "--%s", option->name);
        if (argument[0] != '-' || strlen(argument) == 1)
            refuse(r, "argument '");
        else if (option == NULL)
            refuse(r, "option '");
        else if (option->alone ? value != NULL : value == NULL && i + 1 == count)
            refuse(r, name);
        else {
            if (option->alone) value = "";
            set(r, option, value != NULL ? value : arguments[++i]);
        }
    }
}

static void check_same(const struct options *options, const struct options *expected) {
    CHECK(strcmp(options->host, expected->host) == 0);
    CHECK(options->port == expected->port);
    CHECK(options->connections_max == expected->connections_max);
    CHECK(options->buffer_bytes == expected->buffer_bytes);
    CHECK(options->idle_timeout_s == expected->idle_timeout_s);
    CHECK(options->drain_timeout_s == expected->drain_timeout_s);
    CHECK((options->poller == NULL) == (expected->poller == NULL));
    CHECK(options->poller == NULL || strcmp(options->poller, expected->poller) == 0);
    CHECK(options->log_level == expected->log_level);
    CHECK(options->log_format == expected->log_format);
}

/* An area for each client and one more, in whole units, and 64 bytes for each. */
static void check_memory(const struct options *options) {
    uint32_t clients = options->connections_max > 0 ? options->connections_max : 65536;
    struct server_options sizes = {.connections_max = clients,
                                   .buffer_bytes = options->buffer_bytes};
    uint64_t areas = server_memory_needed(&sizes) - UINT64_C(64) * clients;
    uint64_t area = areas / (clients + 1);
    CHECK(areas % (clients + 1) == 0 && area % KERNEL_MEMORY_UNIT == 0);
    CHECK(area >= sizes.buffer_bytes && area - sizes.buffer_bytes < KERNEL_MEMORY_UNIT);
}

static void check(int count, const char *const arguments[]) {
    struct reading expected;
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES + 1];
    memset(complaint, '?', sizeof complaint);
    complaint[0] = '\0';
    enum options_action action = options_parse(&options, count, arguments, complaint);
    read_all(&expected, count, arguments);
    CHECK(action == expected.action);
    CHECK(complaint[OPTIONS_COMPLAINT_BYTES] == '?');
    CHECK(strstr(complaint, expected.complaint) != NULL);
    CHECK((action == OPTIONS_BAD) == (complaint[0] != '\0'));
    CHECK(strchr(complaint, '\n') == NULL);
    if (action != OPTIONS_SERVE) return;
    check_same(&options, &expected.options);
    check_memory(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *arguments[ARGUMENTS_MAX + 2] = {"touchstone"};
    int count = 1;
    if (size > TEXT_MAX) return 0;
    char *text = malloc(size + 1); /* exactly this size, for sanitizers */
    if (text == NULL) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t begin = 0; begin < size && count <= ARGUMENTS_MAX; count++) {
        arguments[count] = text + begin;
        begin += strcspn(text + begin, "\n");
        if (begin < size) text[begin++] = '\0';
    }
    check(count, arguments);
    free(text);
    return 0;
}
