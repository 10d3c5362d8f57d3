#pragma once

#include "shell/log.h"

/* Bytes for a host name (RFC 1035: 255) or an address, and the terminating null. */
#define OPTIONS_HOST_BYTES 256

/* The parsed command line. Nothing is resolved or opened here. */
struct options {
    char host[OPTIONS_HOST_BYTES]; /* without brackets */
    uint16_t port;                 /* 0: any free port */
    uint32_t connections_max;      /* 0: as the descriptor limit allows, at most 65,536 */
    uint32_t buffer_bytes;
    uint32_t idle_timeout_s; /* 0: never */
    uint32_t drain_timeout_s;
    const char *poller; /* "epoll" or "kqueue"; null: the system's */
    enum log_level log_level;
    enum log_format log_format;
};

enum options_action {
    OPTIONS_SERVE,
    OPTIONS_HELP,    /* --help was given */
    OPTIONS_VERSION, /* --version was given */
    OPTIONS_BAD      /* `complaint` is one line: what is wrong, and what was expected */
};

#define OPTIONS_COMPLAINT_BYTES 512

/* Parses a command line; argv[0] is the program's name.
 *
 * ensures   SERVE: `options` is complete, with defaults; of an option given twice the last counts.
 *           HELP, VERSION: the first of them ends the parsing
 */
enum options_action options_parse(struct options *options, int argc, const char *const argv[],
                                  char complaint[OPTIONS_COMPLAINT_BYTES]);

/* Bytes for the output of --help. */
#define OPTIONS_HELP_BYTES 4096

void options_help(char text[OPTIONS_HELP_BYTES]);
