#pragma once

#include "shell/log.h"

/* Bytes for a host name (RFC 1035: 255) or an address, and the final 0. */
#define OPTIONS_HOST_BYTES 256

/* The command line, read. Nothing is looked up or opened here. */
struct options {
    char host[OPTIONS_HOST_BYTES]; /* without brackets */
    uint16_t port;                 /* 0: any free one */
    uint32_t connections_max;      /* 0: what the descriptor limit allows, at most 65,536 */
    uint32_t buffer_bytes;
    uint32_t idle_timeout_s; /* 0: never */
    uint32_t drain_timeout_s;
    const char *poller; /* "epoll" or "kqueue"; null: what there is */
    enum log_level log_level;
    enum log_format log_format;
};

enum options_action {
    OPTIONS_SERVE,
    OPTIONS_HELP,    /* --help was given */
    OPTIONS_VERSION, /* --version was given */
    OPTIONS_BAD      /* `complaint` says in one line what was wrong and what was expected */
};

#define OPTIONS_COMPLAINT_BYTES 512

/* Reads a command line, the program's name first.
 *
 * ensures   SERVE: `options` is complete, with defaults for what was not given; of an option given
 *           twice the last counts. HELP, VERSION: the first of them ends the reading
 */
enum options_action options_parse(struct options *options, int argc, const char *const argv[],
                                  char complaint[OPTIONS_COMPLAINT_BYTES]);

/* Bytes for the text of --help. */
#define OPTIONS_HELP_BYTES 4096

void options_help(char text[OPTIONS_HELP_BYTES]);
