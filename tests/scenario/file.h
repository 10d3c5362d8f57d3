#pragma once

#include <stdio.h>

#include "scenario/scenario.h"

/* Scenario files, and what every verb of the command does when it cannot go on. */

#define STATUS_FAILED 1
#define STATUS_USAGE 2
#define STATUS_NOT_JUDGED 3

/* Prints one line, "scenario: WHAT: WHY", and exits with STATUS_USAGE. */
_Noreturn void quit(const char *what, const char *why);

/* Reads a file, true: of text, false: of bytes; quits if it is wrong. */
bool file_load(struct scenario *scenario, const char *path);

/* Prints the canonical text. */
void file_print(const struct scenario *scenario, FILE *file);

/* Prints the command that replays the scenario of `path`, as a shell takes it. `name` is this
 * program's; `server` is null for the reference. */
void file_print_replay(const char *path, const char *name, const char *poller, const char *server,
                       FILE *file);
