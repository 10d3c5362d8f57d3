/* The notation in text: one statement per line, words separated by blanks, comments from # on. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "scenario/scenario.h"

#define NAME_LENGTH_MAX 31

struct word {
    const char *text; /* null at the end of the line */
    size_t length;
    uint32_t column;
};

struct parser {
    struct scenario *scenario;
    struct scenario_state state;
    struct scenario_error *error;
    const char *at, *end; /* of the text */
    const char *line_start;
    uint32_t line;
    char names[SCENARIO_CLIENTS_MAX][NAME_LENGTH_MAX + 1]; /* in order of appearance */
    uint32_t name_count;
};

__attribute__((format(printf, 3, 4))) static bool wrong(struct parser *p, uint32_t column,
                                                        const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    p->error->line = p->line;
    p->error->column = column;
    vsnprintf(p->error->text, sizeof p->error->text, format, arguments);
    va_end(arguments);
    return false;
}

/* Reports a word: what was found and what was expected. */
static bool unexpected(struct parser *p, struct word word, const char *expected) {
    if (word.text == NULL)
        return wrong(p, word.column, "syntax: the line ends here, expected %s", expected);
    int shown = word.length < 60 ? (int)word.length : 60;
    return wrong(p, word.column, "syntax: found '%.*s', expected %s", shown, word.text, expected);
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* The next word of the line; a quoted string is one word, with its quotes. */
static struct word next_word(struct parser *p) {
    while (p->at < p->end && is_blank(*p->at))
        p->at++;
    struct word word = {NULL, 0, (uint32_t)(p->at - p->line_start) + 1};
    if (p->at == p->end || *p->at == '\n' || *p->at == '#') return word;
    word.text = p->at;
    bool quoted = *p->at == '"';
    for (p->at++; p->at < p->end && *p->at != '\n'; p->at++) {
        if (quoted && *p->at == '"') {
            p->at++;
            break;
        }
        if (quoted && *p->at == '\\' && p->at + 1 < p->end && p->at[1] != '\n') p->at++;
        if (!quoted && (is_blank(*p->at) || *p->at == '#')) break;
    }
    word.length = (size_t)(p->at - word.text);
    return word;
}

static bool is_word(struct word word, const char *text) {
    return word.text != NULL && strlen(text) == word.length &&
           memcmp(word.text, text, word.length) == 0;
}

/* The index of the word in a list, or the list's length. */
static uint32_t find_word(struct word word, const char *const *list, uint32_t length) {
    uint32_t i = 0;
    while (i < length && !is_word(word, list[i]))
        i++;
    return i;
}

static bool number_of(struct word word, uint32_t min, uint32_t max, uint32_t *number) {
    uint64_t value = 0;
    for (size_t i = 0; i < word.length; i++) {
        if (word.text[i] < '0' || word.text[i] > '9' || value > max) return false;
        value = value * 10 + (uint64_t)(word.text[i] - '0');
    }
    *number = (uint32_t)value;
    return word.length > 0 && value >= min && value <= max;
}

static bool take_number(struct parser *p, uint32_t min, uint32_t max, uint32_t *number) {
    char expected[64];
    struct word word = next_word(p);
    snprintf(expected, sizeof expected, "a number from %u to %u", min, max);
    return number_of(word, min, max, number) || unexpected(p, word, expected);
}

/* A source of records that is not a client. */
static bool take_who(struct word word, struct step *step) {
    step->client = is_word(word, "stop") ? WHO_STOP : WHO_LISTENER;
    return is_word(word, "stop") || is_word(word, "listener");
}

static bool take_client(struct parser *p, struct step *step) {
    struct word word = next_word(p);
    bool plain = word.text != NULL;
    for (size_t i = 0; plain && i < word.length; i++) {
        char c = word.text[i];
        plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9' && i > 0) || (c == '-' && i > 0);
    }
    if (!plain) return unexpected(p, word, "a client's name: a-z, then a-z, 0-9 or -");
    if (word.length > NAME_LENGTH_MAX)
        return wrong(p, word.column, "limit: found a name of %zu bytes, expected at most %d",
                     word.length, NAME_LENGTH_MAX);
    if (step->kind == STEP_REPORT && take_who(word, step)) return true;
    for (step->client = 0; step->client < p->name_count; step->client++) {
        if (is_word(word, p->names[step->client])) return true;
    }
    if (step->kind == STEP_REPORT)
        return unexpected(p, word, "a client that has connected, listener or stop");
    if (step->kind != STEP_CONNECT) return unexpected(p, word, "a client that has connected");
    if (p->name_count == SCENARIO_CLIENTS_MAX)
        return unexpected(p, word, "at most 16 clients in a scenario");
    memcpy(p->names[p->name_count], word.text, word.length);
    p->names[p->name_count++][word.length] = '\0';
    p->scenario->client_count = p->name_count;
    return true;
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool add_byte(struct parser *p, uint32_t column, struct step *step, int byte) {
    if (p->scenario->byte_count + step->count == SCENARIO_BYTES_MAX)
        return wrong(p, column,
                     "limit: found more, expected at most %d bytes of literals in a scenario",
                     SCENARIO_BYTES_MAX);
    p->scenario->bytes[step->offset + step->count++] = (uint8_t)byte;
    return true;
}

/* "text" with \" \\ \n \r \t and \x00 */
static bool take_string(struct parser *p, struct word word, struct step *step) {
    static const char letters[] = "\"\"\\\\n\nr\rt\t"; /* pairs: a letter and its byte */
    size_t end = word.length - 1;
    if (word.length < 2 || word.text[end] != '"')
        return wrong(p, word.column + (uint32_t)word.length,
                     "syntax: the line ends here, expected \"");
    for (size_t i = 1; i < end; i++) {
        uint32_t column = word.column + (uint32_t)i;
        int byte = (unsigned char)word.text[i];
        if (byte == '\\') {
            char letter = word.text[++i];
            const char *pair = letters;
            while (*pair != '\0' && *pair != letter)
                pair += 2;
            int high = i + 2 < end ? digit_of(word.text[i + 1]) : -1;
            int low = i + 2 < end ? digit_of(word.text[i + 2]) : -1;
            if (letter == 'x' && high >= 0 && low >= 0) {
                byte = high * 16 + low;
                i += 2;
            } else if (*pair != '\0' && i < end) {
                byte = (unsigned char)pair[1];
            } else {
                return wrong(p, column, "syntax: expected one of \\\" \\\\ \\n \\r \\t \\x00");
            }
        }
        if (!add_byte(p, column, step, byte)) return false;
    }
    return step->count > 0 ||
           wrong(p, word.column, "syntax: found nothing, expected at least one byte");
}

static bool take_hex(struct parser *p, struct step *step) {
    struct word word = next_word(p);
    if (word.text == NULL || word.length % 2 != 0)
        return unexpected(p, word, "two of 0-9 a-f for each byte");
    for (size_t i = 0; i < word.length; i += 2) {
        int high = digit_of(word.text[i]);
        int low = digit_of(word.text[i + 1]);
        if (high < 0 || low < 0) return unexpected(p, word, "two of 0-9 a-f for each byte");
        if (!add_byte(p, word.column + (uint32_t)i, step, high * 16 + low)) return false;
    }
    return true;
}

/* N, "text" or hex 00ff */
static bool take_bytes(struct parser *p, struct step *step) {
    struct word word = next_word(p);
    bool string = word.text != NULL && word.text[0] == '"';
    step->literal = string || is_word(word, "hex");
    if (!step->literal)
        return number_of(word, 1, SCENARIO_COUNT_MAX, &step->count) ||
               unexpected(p, word, "a number of bytes, \"text\" or hex 00ff");
    step->offset = p->scenario->byte_count;
    bool good = string ? take_string(p, word, step) : take_hex(p, step);
    return good;
}

static bool take_closes(struct parser *p, struct step *step) {
    static const char *const words[] = {"fin", "rst", "open"};
    struct word word = next_word(p);
    for (; word.text != NULL; word = next_word(p)) {
        uint32_t i = find_word(word, words, 3);
        if (i == 3) return unexpected(p, word, "fin, rst or open");
        step->closes |= 1u << i;
    }
    return step->closes != 0 || unexpected(p, word, "fin, rst or open");
}

static bool take_operands(struct parser *p, struct step *step) {
    struct word word;
    switch (step->kind) {
    case STEP_SEND:
    case STEP_EXPECT: return take_bytes(p, step);
    case STEP_EXPECT_CLOSE: return take_closes(p, step);
    case STEP_SHORT_RECEIVE:
    case STEP_SHORT_SEND: return take_number(p, 1, SCENARIO_COUNT_MAX, &step->count);
    case STEP_WAIT:
    case STEP_DESCRIPTORS: return take_number(p, 0, SCENARIO_COUNT_MAX, &step->count);
    case STEP_CROWD: return take_number(p, 1, SCENARIO_CROWD_MAX, &step->count);
    case STEP_CONNECT:
        word = next_word(p);
        if (word.text == NULL) return true;
        if (!is_word(word, "window"))
            return unexpected(p, word, "window N, or the end of the line");
        return take_number(p, 1, SCENARIO_COUNT_MAX, &step->count);
    default: return true;
    }
}

static bool take_step(struct parser *p, struct word first, enum step_kind kind) {
    struct step step = {.kind = kind};
    if (scenario_is_simulated(kind) && !p->scenario->simulated)
        return unexpected(p, first, "the line 'simulated' before it");
    if (kind <= STEP_EXPECT_CLOSE && !take_client(p, &step)) return false;
    if (!take_operands(p, &step)) return false;
    if (p->scenario->step_count == SCENARIO_STEPS_MAX)
        return wrong(p, first.column, "limit: found one more step, expected at most %d",
                     SCENARIO_STEPS_MAX);
    const char *refused = scenario_take(&p->state, &step);
    if (refused != NULL) return wrong(p, first.column, "%s", refused);
    if (step.literal) p->scenario->byte_count += step.count;
    p->scenario->steps[p->scenario->step_count++] = step;
    return true;
}

static bool take_server_setting(struct parser *p) {
    struct scenario *s = p->scenario;
    struct word word = next_word(p);
    if (is_word(word, "buffer")) return take_number(p, 1, 65536, &s->buffer_bytes);
    if (is_word(word, "max-connections")) return take_number(p, 1, 16, &s->connections_max);
    if (is_word(word, "idle-timeout")) return take_number(p, 1, 1000, &s->idle_timeout_s);
    if (is_word(word, "drain-timeout")) return take_number(p, 1, 1000, &s->drain_timeout_s);
    return unexpected(p, word, "buffer, max-connections, idle-timeout or drain-timeout");
}

static bool take_kernel_setting(struct parser *p) {
    struct word word = next_word(p);
    if (is_word(word, "receive")) return take_number(p, 1, 1 << 20, &p->scenario->kernel_receive);
    if (is_word(word, "send")) return take_number(p, 1, 1 << 20, &p->scenario->kernel_send);
    return unexpected(p, word, "receive or send");
}

/* KIND N K: the Nth time, the kernel takes alternative K. */
static bool take_choice(struct parser *p, uint32_t kind) {
    struct scenario *s = p->scenario;
    struct sim_choice choice = {.kind = kind};
    if (s->choice_count == SCENARIO_CHOICES_MAX) {
        struct word word = next_word(p);
        return wrong(p, word.column, "limit: found one more choice, expected at most %d",
                     SCENARIO_CHOICES_MAX);
    }
    if (!take_number(p, 1, SCENARIO_COUNT_MAX, &choice.nth)) return false;
    if (!take_number(p, 1, SCENARIO_TAKEN_MAX, &choice.taken)) return false;
    s->choices[s->choice_count++] = choice;
    return true;
}

/* True if a number comes next. */
static bool is_number_next(const struct parser *p) {
    struct parser ahead = *p;
    struct word word = next_word(&ahead);
    return word.text != NULL && word.text[0] >= '0' && word.text[0] <= '9';
}

static bool take_vary(struct parser *p) {
    struct word word = next_word(p);
    if (word.text == NULL) return unexpected(p, word, "what varies, or all");
    uint32_t kind = find_word(word, scenario_vary_words, VARY_KINDS);
    if (kind < VARY_KINDS && is_number_next(p)) return take_choice(p, kind);
    for (; word.text != NULL; word = next_word(p)) {
        uint32_t i = find_word(word, scenario_vary_words, VARY_KINDS);
        if (i == VARY_KINDS && !is_word(word, "all"))
            return unexpected(p, word,
                              "short, delay, order, hints, stale, eagain, eintr, inherited, log "
                              "or all");
        p->scenario->vary |= i == VARY_KINDS ? VARY_ALL : 1u << i;
    }
    return true;
}

static bool take_fault(struct parser *p) {
    struct scenario *s = p->scenario;
    struct word word = next_word(p);
    struct sim_fault fault = {.call =
                                  (enum sim_call)find_word(word, scenario_call_words, CALL_KINDS)};
    if (fault.call == CALL_KINDS)
        return unexpected(p, word,
                          "a call: accept, receive, send, shutdown, close, unread, "
                          "control, wait or log");
    if (!take_number(p, 1, SCENARIO_COUNT_MAX, &fault.nth)) return false;
    word = next_word(p);
    fault.error = (enum sim_error)find_word(word, scenario_error_words, ERROR_KINDS);
    if (fault.error == ERROR_KINDS || !scenario_may_fail(fault.call, fault.error))
        return unexpected(p, word, "an error that this call may fail with");
    if (s->fault_count == SCENARIO_FAULTS_MAX)
        return wrong(p, word.column, "limit: found one more fault, expected at most %d",
                     SCENARIO_FAULTS_MAX);
    s->faults[s->fault_count++] = fault;
    return true;
}

static bool take_statement(struct parser *p, struct word first) {
    struct scenario *s = p->scenario;
    uint32_t kind = find_word(first, scenario_step_words, STEP_KINDS);
    if (kind < STEP_KINDS) return take_step(p, first, (enum step_kind)kind);
    bool server = is_word(first, "server");
    bool needs_simulation = is_word(first, "seed") || is_word(first, "kernel") ||
                            is_word(first, "vary") || is_word(first, "fault");
    if (!server && !needs_simulation && !is_word(first, "simulated"))
        return unexpected(p, first, "a step or a setting");
    if (s->step_count > 0)
        return wrong(p, first.column, "settings-first: settings come before the first step");
    if (needs_simulation && !s->simulated)
        return unexpected(p, first, "the line 'simulated' before it");
    if (server) return take_server_setting(p);
    if (is_word(first, "seed")) return take_number(p, 0, UINT32_MAX, &s->seed);
    if (is_word(first, "kernel")) return take_kernel_setting(p);
    if (is_word(first, "vary")) return take_vary(p);
    if (is_word(first, "fault")) return take_fault(p);
    s->simulated = true;
    return true;
}

static bool take_version(struct parser *p, struct word first) {
    uint32_t version;
    if (!is_word(first, "scenario")) return unexpected(p, first, "scenario 1");
    return take_number(p, SCENARIO_VERSION, SCENARIO_VERSION, &version);
}

static void next_line(struct parser *p) {
    while (p->at < p->end && *p->at != '\n')
        p->at++;
    if (p->at < p->end) p->at++;
}

bool scenario_is_text(const char *text, size_t length) {
    struct parser p = {.at = text, .end = text + length};
    struct word first = {.text = NULL};
    while (p.at < p.end && first.text == NULL) {
        first = next_word(&p);
        next_line(&p);
    }
    return is_word(first, "scenario");
}

bool scenario_parse(struct scenario *scenario, const char *text, size_t length,
                    struct scenario_error *error) {
    struct parser p = {.scenario = scenario, .error = error, .at = text, .end = text + length};
    bool versioned = false;
    memset(scenario, 0, offsetof(struct scenario, steps));
    scenario->step_count = 0;
    scenario->byte_count = 0;
    for (p.line = 1; p.at < p.end; p.line++) {
        p.line_start = p.at;
        struct word first = next_word(&p);
        if (first.text != NULL) {
            if (!(versioned ? take_statement(&p, first) : take_version(&p, first))) return false;
            versioned = true;
            struct word rest = next_word(&p);
            if (rest.text != NULL) return unexpected(&p, rest, "the end of the line");
        }
        next_line(&p);
    }
    p.line_start = p.at;
    return versioned || unexpected(&p, (struct word){NULL, 0, 1}, "scenario 1");
}

/* Printing */

struct printer {
    char *text;
    size_t length, room;
};

__attribute__((format(printf, 2, 3))) static void print(struct printer *p, const char *format,
                                                        ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t left = p->length < p->room ? p->room - p->length : 0;
    int written = vsnprintf(left > 0 ? p->text + p->length : NULL, left, format, arguments);
    va_end(arguments);
    p->length += (size_t)written;
}

static void print_literal(struct printer *p, const uint8_t *bytes, uint32_t count) {
    bool plain = true;
    for (uint32_t i = 0; i < count; i++)
        plain &= (bytes[i] >= 0x20 && bytes[i] <= 0x7e) || bytes[i] == '\n' || bytes[i] == '\r' ||
                 bytes[i] == '\t';
    print(p, plain ? " \"" : " hex ");
    for (uint32_t i = 0; i < count; i++) {
        if (!plain)
            print(p, "%02x", bytes[i]);
        else if (bytes[i] == '"' || bytes[i] == '\\')
            print(p, "\\%c", bytes[i]);
        else if (bytes[i] < 0x20)
            print(p, "\\%c", bytes[i] == '\n' ? 'n' : bytes[i] == '\r' ? 'r' : 't');
        else
            print(p, "%c", bytes[i]);
    }
    if (plain) print(p, "\"");
}

static void print_step(struct printer *p, const struct scenario *scenario, const struct step *step,
                       char name) {
    print(p, "%s", scenario_step_words[step->kind]);
    if (step->client >= SCENARIO_CLIENTS_MAX)
        print(p, step->client == WHO_STOP ? " stop" : " listener");
    else if (step->kind <= STEP_EXPECT_CLOSE)
        print(p, " %c", name);
    if (step->kind == STEP_CONNECT && step->count > 0) print(p, " window %u", step->count);
    if (step->literal)
        print_literal(p, scenario->bytes + step->offset, step->count);
    else if (step->kind == STEP_SEND || step->kind == STEP_EXPECT || step->kind == STEP_WAIT ||
             step->kind == STEP_DESCRIPTORS || step->kind == STEP_CROWD ||
             scenario_is_short(step->kind))
        print(p, " %u", step->count);
    if (step->closes & CLOSE_FIN) print(p, " fin");
    if (step->closes & CLOSE_RST) print(p, " rst");
    if (step->closes & CLOSE_OPEN) print(p, " open");
    print(p, "\n");
}

static void print_setting(struct printer *p, const char *name, uint32_t value) {
    if (value > 0) print(p, "%s %u\n", name, value);
}

static void print_settings(struct printer *p, const struct scenario *s) {
    print(p, "scenario %d\n", SCENARIO_VERSION);
    if (s->simulated) print(p, "simulated\n");
    print_setting(p, "seed", s->seed);
    if (s->vary != 0) print(p, "vary");
    for (uint32_t i = 0; scenario_vary_words[i] != NULL; i++) {
        if (s->vary & (1u << i)) print(p, " %s", scenario_vary_words[i]);
    }
    if (s->vary != 0) print(p, "\n");
    print_setting(p, "kernel receive", s->kernel_receive);
    print_setting(p, "kernel send", s->kernel_send);
    print_setting(p, "server buffer", s->buffer_bytes);
    print_setting(p, "server max-connections", s->connections_max);
    print_setting(p, "server idle-timeout", s->idle_timeout_s);
    print_setting(p, "server drain-timeout", s->drain_timeout_s);
    for (uint32_t i = 0; i < s->fault_count; i++)
        print(p, "fault %s %u %s\n", scenario_call_words[s->faults[i].call], s->faults[i].nth,
              scenario_error_words[s->faults[i].error]);
    for (uint32_t i = 0; i < s->choice_count; i++)
        print(p, "vary %s %u %u\n", scenario_vary_words[s->choices[i].kind], s->choices[i].nth,
              s->choices[i].taken);
}

size_t scenario_print(const struct scenario *scenario, char *text, size_t room) {
    struct printer p = {text, 0, room};
    print_settings(&p, scenario);
    for (uint32_t i = 0; i < scenario->step_count; i++)
        print_step(&p, scenario, &scenario->steps[i], (char)('a' + scenario->steps[i].client));
    return p.length;
}
