#include "shell/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct option {
    char letter;
    const char *name;
    const char *value; /* the name of its value; null if it takes none */
    uint32_t min, max; /* for numbers */
    const char *help;
};

static const struct option table[] = {
    {'l', "listen", "ADDRESS:PORT", 0, UINT16_MAX,
     "IPv4, [IPv6], name, or * for all; port 0: any (127.0.0.1:4444)"},
    {'c', "max-connections", "N", 1, 1u << 24,
     "further clients wait (descriptor limit - 32, at most 65536)"},
    {'b', "buffer", "BYTES", 1, 1u << 30, "pending output per connection (65536)"},
    {'i', "idle-timeout", "SECONDS", 0, 1u << 20,
     "close connections idle for this long; 0: never (0)"},
    {'d', "drain-timeout", "SECONDS", 0, 1u << 20,
     "wait at most this long for clients when stopping (5)"},
    {'p', "poller", "epoll|kqueue", 0, 0, "the one that this system has"},
    {'f', "log-format", "text|json", 0, 0, "json: one object per line (text)"},
    {'v', "verbose", NULL, 0, 0, "also log each chunk received"},
    {'q', "quiet", NULL, 0, 0, "log only the listening address"},
    {'h', "help", NULL, 0, 0, "print this help and exit"},
    {'V', "version", NULL, 0, 0, "print the version and exit"},
};

#define ROWS (sizeof table / sizeof table[0])

/* Parses a decimal number in a range: digits only, no sign or space. */
static bool read_number(const char *text, uint32_t min, uint32_t max, uint32_t *number) {
    uint64_t value = 0;
    const char *digit = text;
    for (; *digit >= '0' && *digit <= '9' && value <= max; digit++)
        value = value * 10 + (uint64_t)(*digit - '0');
    if (digit == text || *digit != '\0' || value < min || value > max) return false;
    *number = (uint32_t)value;
    return true;
}

/* Writes the error message; returns false, for the caller to return. */
__attribute__((format(printf, 2, 3))) static bool complain(char *complaint, const char *format,
                                                           ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(complaint, OPTIONS_COMPLAINT_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static bool take_number(const struct option *option, const char *value, uint32_t *number,
                        char *complaint) {
    if (read_number(value, option->min, option->max, number)) return true;
    return complain(complaint, "--%s: '%.128s' is not a number from %u to %u", option->name, value,
                    option->min, option->max);
}

/* Parses one of the two choices in option->value, "first|second". */
static bool take_choice(const struct option *option, const char *value, bool *second,
                        char *complaint) {
    size_t length = strcspn(option->value, "|");
    bool first = strlen(value) == length && memcmp(value, option->value, length) == 0;
    *second = strcmp(value, option->value + length + 1) == 0;
    if (first || *second) return true;
    return complain(complaint, "--%s: '%.128s' is not one of %s", option->name, value,
                    option->value);
}

static bool take_listen(struct options *options, const struct option *option, const char *value,
                        char *complaint) {
    const char *colon = strrchr(value, ':');
    const char *host = value;
    size_t length = colon == NULL ? 0 : (size_t)(colon - value);
    uint32_t port;
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    } else if (length > 0 && memchr(host, ':', length) != NULL) {
        length = 0; /* without brackets the port is ambiguous */
    }
    if (length == 0 || length >= OPTIONS_HOST_BYTES)
        return complain(complaint,
                        "--listen: '%.300s' is not ADDRESS:PORT "
                        "(expected, for example, 127.0.0.1:4444 or [::1]:4444)",
                        value);
    if (!read_number(colon + 1, option->min, option->max, &port))
        return complain(complaint, "--listen: port '%.128s' is not a number from 0 to 65535",
                        colon + 1);
    memcpy(options->host, host, length);
    options->host[length] = '\0';
    options->port = (uint16_t)port;
    return true;
}

static bool take(struct options *options, const struct option *option, const char *value,
                 char *complaint) {
    bool second;
    switch (option->letter) {
    case 'l': return take_listen(options, option, value, complaint);
    case 'c': return take_number(option, value, &options->connections_max, complaint);
    case 'b': return take_number(option, value, &options->buffer_bytes, complaint);
    case 'i': return take_number(option, value, &options->idle_timeout_s, complaint);
    case 'd': return take_number(option, value, &options->drain_timeout_s, complaint);
    case 'p':
        if (!take_choice(option, value, &second, complaint)) return false;
        options->poller = second ? "kqueue" : "epoll";
        return true;
    case 'f':
        if (!take_choice(option, value, &second, complaint)) return false;
        options->log_format = second ? LOG_JSON : LOG_TEXT;
        return true;
    default: /* v or q */
        options->log_level = option->letter == 'v' ? LOG_CHUNKS : LOG_QUIET;
        return true;
    }
}

/* Finds the option of --name, --name=VALUE, -n or -nVALUE, and the attached value, or null. */
static const struct option *find(const char *argument, const char **attached) {
    bool is_long = strncmp(argument, "--", 2) == 0;
    const char *name = argument + (is_long ? 2 : argument[0] == '-' ? 1 : 0);
    size_t length = is_long ? strcspn(name, "=") : 1;
    for (const struct option *option = table; option < table + ROWS; option++) {
        bool same_name = strlen(option->name) == length && memcmp(option->name, name, length) == 0;
        if (is_long ? !same_name : option->letter != *name) continue;
        *attached = name[length] == '\0' ? NULL : name + length + (is_long ? 1 : 0);
        return option;
    }
    return NULL;
}

/* Parses the option in argv[*i], and its value from there or from the next; null if invalid. */
static const struct option *read_option(const char *const argv[], int *i, const char **value,
                                        char *complaint) {
    const char *argument = argv[*i];
    const char *next = argv[*i + 1];
    const char *attached = NULL;
    const struct option *option = find(argument, &attached);
    if (argument[0] != '-' || argument[1] == '\0') {
        complain(complaint,
                 "unexpected argument '%.128s' "
                 "(touchstone takes options only; --help lists them)",
                 argument);
    } else if (option == NULL) {
        complain(complaint, "unknown option '%.128s' (touchstone --help lists the options)",
                 argument);
    } else if (option->value == NULL && attached != NULL) {
        complain(complaint, "--%s takes no value, but was given '%.128s'", option->name, attached);
    } else if (option->value != NULL && attached == NULL && next == NULL) {
        complain(complaint, "--%s needs a value: %s", option->name, option->value);
    } else {
        if (option->value != NULL) *value = attached != NULL ? attached : next;
        if (option->value != NULL && attached == NULL) ++*i;
        return option;
    }
    return NULL;
}

enum options_action options_parse(struct options *options, int argc, const char *const argv[],
                                  char complaint[OPTIONS_COMPLAINT_BYTES]) {
    *options = (struct options){
        .host = "127.0.0.1", .port = 4444, .buffer_bytes = 65536, .drain_timeout_s = 5};
    options->log_level = LOG_EVENTS;
    for (int i = 1; i < argc; i++) {
        const char *value = "";
        const struct option *option = read_option(argv, &i, &value, complaint);
        if (option == NULL) return OPTIONS_BAD;
        if (option->letter == 'h') return OPTIONS_HELP;
        if (option->letter == 'V') return OPTIONS_VERSION;
        if (!take(options, option, value, complaint)) return OPTIONS_BAD;
    }
    return OPTIONS_SERVE;
}

void options_help(char text[OPTIONS_HELP_BYTES]) {
    size_t length = (size_t)snprintf(
        text, OPTIONS_HELP_BYTES, "usage: touchstone [OPTION]...\n%s\n\n",
        "A TCP server that echoes every byte, with ASCII a-z in upper case. Defaults in ().");
    for (size_t i = 0; i < ROWS; i++)
        length += (size_t)snprintf(text + length, OPTIONS_HELP_BYTES - length,
                                   "  -%c, --%-15s %-12s  %s\n", table[i].letter, table[i].name,
                                   table[i].value == NULL ? "" : table[i].value, table[i].help);
}
