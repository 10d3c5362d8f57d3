/* Targets scenario_parse, scenario_print, scenario_is_text, scenario_decode and scenario_encode.
 *
 * The input is a text. A second parser, written from tests/scenarios/README.md, decides whether it
 * is a scenario, in which line the first error is, and what its canonical text is, byte for byte.
 * That text, and the bytes that it encodes to, must give the same scenario. The input is also
 * decoded as bytes, and the result must survive both notations. */

#include <string.h>

#include "check.h"
#include "scenario/scenario.h"

#define TEXT_MAX 9216 /* more than all literals together */
#define WORDS_MAX (TEXT_MAX / 2 + 1)
#define CANONICAL_MAX (1u << 17)
#define COUNT_MAX 16777215

/* ---- The words of a line */

struct word {
    const char *text;
    size_t length;
    bool open; /* an unterminated string */
};

struct line {
    struct word words[WORDS_MAX];
    size_t count, at;
};

static struct word quoted(const char *text, size_t left) {
    size_t length = 1;
    while (length < left && text[length] != '"')
        length += text[length] == '\\' && length + 1 < left ? 2 : 1;
    bool open = length >= left;
    return (struct word){text, open ? left : length + 1, open};
}

static void cut(struct line *line, const char *text, size_t length) {
    line->count = line->at = 0;
    for (size_t i = 0; i < length && text[i] != '#';) {
        if (strchr(" \t\r", text[i]) != NULL && text[i] != '\0') {
            i++;
            continue;
        }
        struct word word = {text + i, 0, false};
        if (text[i] == '"') word = quoted(text + i, length - i);
        while (text[i] != '"' && i + word.length < length &&
               (word.text[word.length] == '\0' || !strchr(" \t\r#", word.text[word.length])))
            word.length++;
        line->words[line->count++] = word;
        i += word.length;
    }
}

static bool same(const struct word *word, const char *text) {
    return word->length == strlen(text) && memcmp(word->text, text, word->length) == 0;
}

/* Takes the next word if it is this one. */
static bool next_is(struct line *line, const char *text) {
    bool is = line->at < line->count && same(&line->words[line->at], text);
    if (is) line->at++;
    return is;
}

/* Takes the next word if it is in the list, and returns its index; else -1. */
static int next_of(struct line *line, const char *const *list) {
    for (int i = 0; list[i] != NULL; i++) {
        if (next_is(line, list[i])) return i;
    }
    return -1;
}

static bool next_number(struct line *line, uint64_t min, uint64_t max, uint32_t *number) {
    uint64_t value = 0;
    if (line->at == line->count) return false;
    const struct word *word = &line->words[line->at++];
    for (size_t i = 0; i < word->length; i++) {
        if (strchr("0123456789", word->text[i]) == NULL || word->text[i] == '\0') return false;
        value = value * 10 + (uint64_t)(word->text[i] - '0');
        if (value > max) return false;
    }
    *number = (uint32_t)value;
    return value >= min;
}

/* ---- The second parser */

struct client {
    char name[32];
    bool shut, gone, paused;
    uint64_t unexpected; /* bytes sent and not yet expected */
};

struct reader {
    bool versioned, simulated, frozen, stopped;
    uint32_t seed, varies, numbers[6]; /* in the order of `limits` */
    char faults[SCENARIO_FAULTS_MAX * 64];
    int fault_count;
    char choices[SCENARIO_CHOICES_MAX * 64];
    int choice_count;
    struct client clients[SCENARIO_CLIENTS_MAX];
    size_t client_count, step_count, literal_bytes;
    uint32_t crowd;
    char steps[CANONICAL_MAX];
    size_t length; /* of `steps` */
};

static const char *const varied[] = {"short", "delay",     "order", "hints", "stale", "eagain",
                                     "eintr", "inherited", "log",   "all",   NULL};

static const struct {
    const char *group, *name;
    uint32_t max;
} limits[] = {
    {"kernel", "receive", 1048576},   {"kernel", "send", 1048576},
    {"server", "buffer", 65536},      {"server", "max-connections", 16},
    {"server", "idle-timeout", 1000}, {"server", "drain-timeout", 1000},
};

/* The documented errors of each call, from the man pages. */
static const char *const faulty[][2] = {
    {"accept", " EAGAIN EINTR ENOMEM ENOBUFS ETIMEDOUT EHOSTUNREACH ENETDOWN ECONNABORTED EMFILE"
               " ENFILE EPERM EPROTO "},
    {"receive", " EAGAIN EINTR ENOMEM ENOBUFS ETIMEDOUT EHOSTUNREACH ENETDOWN ECONNRESET EPIPE"
                " ENOTCONN EIO "},
    {"send", " EAGAIN EINTR ENOMEM ENOBUFS ETIMEDOUT EHOSTUNREACH ENETDOWN ECONNRESET EPIPE"
             " ENOTCONN EPERM EIO "},
    {"shutdown", " ENOTCONN ENOBUFS "},
    {"close", " EINTR EIO ENOSPC ECONNRESET "},
    {"unread", " EIO "},
    {"control", " ENOMEM ENOSPC ENOENT EEXIST EPERM EPIPE "},
    {"wait", " EINTR "},
    {"log", " EAGAIN EINTR EIO ENOSPC EPIPE "},
};

static void say_byte(struct reader *r, int byte) { r->steps[r->length++] = (char)byte; }

static void say(struct reader *r, const char *text) {
    for (; *text != '\0'; text++)
        say_byte(r, *text);
}

static void say_number(struct reader *r, const char *text, uint32_t number) {
    char digits[16];
    snprintf(digits, sizeof digits, "%u", number);
    say(r, text);
    say(r, digits);
}

static void say_client(struct reader *r, const char *word, size_t client) {
    say(r, word);
    say_byte(r, ' ');
    say_byte(r, (int)('a' + client));
}

/* The client that the next word names; null: unknown, or not a name. */
static struct client *next_client(struct line *line, struct reader *r) {
    for (size_t i = 0; i < r->client_count; i++) {
        if (next_is(line, r->clients[i].name)) return &r->clients[i];
    }
    return NULL;
}

static bool connect(struct line *line, struct reader *r) {
    uint32_t window;
    if (next_client(line, r) != NULL || line->at == line->count || r->stopped) return false;
    const struct word *word = &line->words[line->at++];
    if (word->length > 31 || r->client_count == SCENARIO_CLIENTS_MAX) return false;
    for (size_t i = 0; i < word->length; i++) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz", others[] = "0123456789-";
        char c = word->text[i];
        bool plain = strchr(letters, c) != NULL || (i > 0 && strchr(others, c) != NULL);
        if (c == '\0' || !plain) return false;
    }
    memcpy(r->clients[r->client_count].name, word->text, word->length);
    say_client(r, "connect", r->client_count++);
    if (!next_is(line, "window")) return true;
    if (!next_number(line, 1, COUNT_MAX, &window)) return false;
    say_number(r, " window ", window);
    return true;
}

static int hexadecimal(const char *text) {
    static const char digits[] = "0123456789abcdef";
    if (text[0] == '\0' || text[1] == '\0') return -1;
    const char *high = strchr(digits, text[0]), *low = strchr(digits, text[1]);
    return high == NULL || low == NULL ? -1 : (int)(16 * (high - digits) + (low - digits));
}

/* The number of bytes of a string; 0: not a string. */
static size_t unquote(const struct word *word, uint8_t *bytes) {
    size_t count = 0;
    const char *end = word->text + word->length - 1;
    for (const char *at = word->text + 1; at < end; at++) {
        int byte = (uint8_t)*at;
        if (byte == '\\') {
            at++;
            if (*at == 'x' && at + 2 < end) {
                byte = hexadecimal(at + 1);
                at += 2;
            } else {
                byte = *at == 'n' ? 10 : *at == 'r' ? 13 : *at == 't' ? 9 : -1;
                if (*at == '"' || *at == '\\') byte = (uint8_t)*at;
            }
            if (byte < 0) return 0;
        }
        bytes[count++] = (uint8_t)byte;
    }
    return count;
}

static size_t unhex(const struct word *word, uint8_t *bytes) {
    if (word->length % 2 != 0) return 0;
    for (size_t i = 0; i < word->length; i += 2) {
        int byte = hexadecimal(word->text + i);
        if (byte < 0) return 0;
        bytes[i / 2] = (uint8_t)byte;
    }
    return word->length / 2;
}

static void say_literal(struct reader *r, const uint8_t *bytes, size_t count) {
    bool text = true;
    for (size_t i = 0; i < count; i++)
        text = text && ((bytes[i] >= ' ' && bytes[i] <= '~') ||
                        (bytes[i] != 0 && strchr("\n\r\t", bytes[i]) != NULL));
    say(r, text ? " \"" : " hex ");
    for (size_t i = 0; i < count; i++) {
        static const char escaped[] = "\n\r\t\"\\", letters[] = "nrt\"\\";
        const char *found = memchr(escaped, bytes[i], sizeof escaped - 1);
        if (!text) {
            say_byte(r, "0123456789abcdef"[bytes[i] / 16]);
            say_byte(r, "0123456789abcdef"[bytes[i] % 16]);
        } else {
            if (found != NULL) say_byte(r, '\\');
            say_byte(r, found != NULL ? letters[found - escaped] : bytes[i]);
        }
    }
    if (text) say_byte(r, '"');
}

/* N, "text" or hex 00ff: the number of bytes; 0: none of these. */
static uint32_t transfer(struct line *line, struct reader *r) {
    static uint8_t bytes[TEXT_MAX];
    uint32_t number;
    if (line->at == line->count) return 0;
    bool hex = next_is(line, "hex");
    if (hex && line->at == line->count) return 0;
    const struct word *word = &line->words[line->at];
    if (!hex && word->text[0] != '"') {
        if (!next_number(line, 1, COUNT_MAX, &number)) return 0;
        say_number(r, " ", number);
        return number;
    }
    line->at++;
    size_t count = hex ? unhex(word, bytes) : word->open ? 0 : unquote(word, bytes);
    r->literal_bytes += count;
    say_literal(r, bytes, count);
    return r->literal_bytes > SCENARIO_BYTES_MAX ? 0 : (uint32_t)count;
}

static bool expect(struct line *line, struct reader *r, struct client *client, const char *word) {
    static const char *const ends[] = {"fin", "rst", "open", NULL};
    bool seen[3] = {false};
    if (r->frozen || client->paused) return false;
    if (strcmp(word, "expect-end") == 0) return client->shut || r->stopped;
    if (strcmp(word, "expect") == 0) {
        uint32_t count = transfer(line, r);
        if (count == 0 || count > client->unexpected) return false;
        client->unexpected -= count;
        return true;
    }
    for (int i = next_of(line, ends); i >= 0; i = next_of(line, ends))
        seen[i] = true;
    for (int i = 0; i < 3; i++) {
        if (!seen[i]) continue;
        say_byte(r, ' ');
        say(r, ends[i]);
    }
    return seen[0] || seen[1] || seen[2];
}

/* Steps that are choices of the simulated kernel. */
static bool choose(struct line *line, struct reader *r, const char *word) {
    static const char *const others[] = {"listener", "stop", NULL};
    uint32_t number;
    bool reports = strcmp(word, "report") == 0;
    int other = reports ? next_of(line, others) : -1;
    if (!r->simulated) return false;
    if (other >= 0) {
        say(r, "report ");
        say(r, others[other]);
        return true;
    }
    struct client *client = next_client(line, r);
    if (client == NULL || client->gone) return false;
    say_client(r, word, (size_t)(client - r->clients));
    if (reports) return true;
    if (!next_number(line, 1, COUNT_MAX, &number)) return false;
    say_number(r, " ", number);
    return true;
}

static bool act(struct line *line, struct reader *r, const char *word) {
    struct client *client = next_client(line, r);
    if (client == NULL || client->gone) return false;
    say_client(r, word, (size_t)(client - r->clients));
    if (strncmp(word, "expect", 6) == 0) return expect(line, r, client, word);
    if (strcmp(word, "reset") == 0 || strcmp(word, "close") == 0) {
        client->gone = true;
        return true;
    }
    if (strcmp(word, "pause") == 0 || strcmp(word, "resume") == 0) {
        bool before = client->paused;
        client->paused = strcmp(word, "pause") == 0;
        return client->paused != before;
    }
    if (client->shut) return false;
    if (strcmp(word, "shutdown") == 0) {
        client->shut = true;
        return true;
    }
    uint32_t count = strcmp(word, "urgent") == 0 ? 1 : transfer(line, r);
    client->unexpected += count;
    return count > 0;
}

static bool direct(struct line *line, struct reader *r, const char *word) {
    uint32_t number;
    say(r, word);
    if (strcmp(word, "freeze") == 0 || strcmp(word, "thaw") == 0) {
        bool before = r->frozen;
        r->frozen = strcmp(word, "freeze") == 0;
        return r->frozen != before;
    }
    if (strcmp(word, "stop") == 0) {
        bool before = r->stopped;
        r->stopped = true;
        return !before;
    }
    if (strcmp(word, "settle") == 0) return !r->frozen;
    if (strcmp(word, "crowd") == 0) {
        if (!r->simulated || r->stopped || !next_number(line, 1, 600, &number)) return false;
        say_number(r, " ", number);
        return (r->crowd += number) <= 600;
    }
    if (!next_number(line, 0, COUNT_MAX, &number)) return false;
    say_number(r, " ", number);
    return strcmp(word, "wait") != 0 || !r->frozen;
}

static bool fault(struct line *line, struct reader *r) {
    char error[32];
    uint32_t nth;
    size_t call = 0;
    while (call < sizeof faulty / sizeof faulty[0] && !next_is(line, faulty[call][0]))
        call++;
    if (call == sizeof faulty / sizeof faulty[0] || r->fault_count == SCENARIO_FAULTS_MAX)
        return false;
    if (!next_number(line, 1, COUNT_MAX, &nth) || line->at == line->count) return false;
    const struct word *word = &line->words[line->at++];
    if (word->length > 20 || memchr(word->text, '\0', word->length) != NULL) return false;
    snprintf(error, sizeof error, " %.*s ", (int)word->length, word->text);
    if (strstr(faulty[call][1], error) == NULL) return false;
    size_t length = strlen(r->faults);
    snprintf(r->faults + length, sizeof r->faults - length, "fault %s %u%.*s\n", faulty[call][0],
             nth, (int)strlen(error) - 1, error);
    r->fault_count++;
    return true;
}

/* The kind has been read. */
static bool choice(struct line *line, struct reader *r, const char *kind) {
    uint32_t nth, taken;
    if (r->choice_count++ == SCENARIO_CHOICES_MAX) return false;
    if (!next_number(line, 1, COUNT_MAX, &nth) || !next_number(line, 1, 255, &taken)) return false;
    size_t length = strlen(r->choices);
    snprintf(r->choices + length, sizeof r->choices - length, "vary %s %u %u\n", kind, nth, taken);
    return true;
}

static bool set(struct line *line, struct reader *r) {
    if (r->step_count > 0) return false;
    if (next_is(line, "simulated")) return r->simulated = true;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        bool simulated = limits[i].group[0] == 'k';
        if (!next_is(line, limits[i].group)) continue;
        if (next_is(line, limits[i].name))
            return next_number(line, 1, limits[i].max, &r->numbers[i]) &&
                   (r->simulated || !simulated);
        line->at--;
    }
    if (!r->simulated) return false;
    if (next_is(line, "seed")) return next_number(line, 0, UINT32_MAX, &r->seed);
    if (next_is(line, "fault")) return fault(line, r);
    if (!next_is(line, "vary") || line->at == line->count) return false;
    int first = next_of(line, varied);
    if (first < 0) return false;
    bool numbered = line->at < line->count &&
                    strchr("0123456789", *line->words[line->at].text) != NULL &&
                    *line->words[line->at].text != '\0';
    if (numbered) return first < 9 && choice(line, r, varied[first]);
    for (int i = first; i >= 0; i = next_of(line, varied))
        r->varies |= i == 9 ? 511 : 1u << i;
    return true;
}

static bool statement(struct line *line, struct reader *r) {
    static const char *const of_clients[] = {"send",       "urgent",       "shutdown", "reset",
                                             "close",      "pause",        "resume",   "expect",
                                             "expect-end", "expect-close", NULL};
    static const char *const of_the_kernel[] = {"short-receive", "short-send", "report", NULL};
    static const char *const of_all[] = {"freeze",      "thaw", "settle", "wait",
                                         "descriptors", "stop", "crowd",  NULL};
    uint32_t version;
    bool good;
    int word;
    if (!r->versioned) {
        r->versioned = next_is(line, "scenario");
        return r->versioned && next_number(line, 1, 1, &version) && line->at == line->count;
    }
    if (next_is(line, "connect"))
        good = connect(line, r);
    else if ((word = next_of(line, of_clients)) >= 0)
        good = act(line, r, of_clients[word]);
    else if ((word = next_of(line, of_the_kernel)) >= 0)
        good = choose(line, r, of_the_kernel[word]);
    else if ((word = next_of(line, of_all)) >= 0)
        good = direct(line, r, of_all[word]);
    else
        return set(line, r) && line->at == line->count;
    say_byte(r, '\n');
    return good && line->at == line->count && ++r->step_count <= SCENARIO_STEPS_MAX;
}

static size_t canonical(const struct reader *r, char *text) {
    char *at = text;
    at += sprintf(at, "scenario 1\n%s", r->simulated ? "simulated\n" : "");
    if (r->seed > 0) at += sprintf(at, "seed %u\n", r->seed);
    if (r->varies != 0) at += sprintf(at, "vary");
    for (int i = 0; i < 9; i++) {
        if (r->varies >> i & 1) at += sprintf(at, " %s", varied[i]);
    }
    if (r->varies != 0) at += sprintf(at, "\n");
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (r->numbers[i] > 0)
            at += sprintf(at, "%s %s %u\n", limits[i].group, limits[i].name, r->numbers[i]);
    }
    at += sprintf(at, "%s%s%.*s", r->faults, r->choices, (int)r->length, r->steps);
    return (size_t)(at - text);
}

/* ---- Checks */

static const char *line_of(const char *text, size_t length, uint32_t number, size_t *line_length) {
    const char *end = text + length, *begin = text;
    for (; number > 1 && begin < end; number--) {
        const char *newline = memchr(begin, '\n', (size_t)(end - begin));
        begin = newline == NULL ? end : newline + 1;
    }
    const char *newline = begin < end ? memchr(begin, '\n', (size_t)(end - begin)) : NULL;
    *line_length = (size_t)((newline == NULL ? end : newline) - begin);
    return begin;
}

/* The line with the error; 0: none. A missing version is an error after the last line. */
static uint32_t read_text(struct reader *r, const char *text, size_t length, bool *is_text) {
    static struct line line;
    uint32_t number = 1;
    bool first = true;
    memset(r, 0, offsetof(struct reader, steps));
    r->length = 0;
    *is_text = false;
    for (size_t begin = 0, size; begin < length; begin += size + 1, number++) {
        line_of(text + begin, length - begin, 1, &size);
        cut(&line, text + begin, size);
        if (line.count == 0) continue;
        if (first) *is_text = same(&line.words[0], "scenario");
        first = false;
        if (!statement(&line, r)) return number;
    }
    return r->versioned ? 0 : number;
}

static char first_text[CANONICAL_MAX], second_text[CANONICAL_MAX];

/* Both notations preserve a scenario. */
static void check_notations(const struct scenario *scenario, size_t length) {
    static struct scenario again;
    static uint8_t bytes[SCENARIO_ENCODED_MAX];
    struct scenario_error error;
    CHECK(scenario_parse(&again, first_text, length, &error));
    CHECK(scenario_equal(scenario, &again));
    CHECK(scenario_print(&again, second_text, CANONICAL_MAX) == length);
    CHECK(memcmp(first_text, second_text, length) == 0);
    size_t count = scenario_encode(scenario, bytes);
    CHECK(count <= SCENARIO_ENCODED_MAX);
    scenario_decode(&again, bytes, count);
    CHECK(scenario_equal(scenario, &again));
    CHECK(scenario_print(&again, second_text, CANONICAL_MAX) == length);
    CHECK(memcmp(first_text, second_text, length) == 0);
}

static void check_text(const char *text, size_t length) {
    static struct scenario scenario;
    static struct reader reader;
    struct scenario_error error = {.line = 0};
    bool is_text;
    uint32_t wrong = read_text(&reader, text, length, &is_text);
    bool accepted = scenario_parse(&scenario, text, length, &error);
    CHECK(accepted == (wrong == 0));
    CHECK(scenario_is_text(text, length) == is_text);
    if (!accepted) {
        size_t line_length;
        line_of(text, length, error.line, &line_length);
        CHECK(error.line == wrong);
        CHECK(error.column >= 1 && error.column <= line_length + 1);
        CHECK(error.text[0] != '\0' && memchr(error.text, '\0', sizeof error.text) != NULL);
        return;
    }
    size_t printed = scenario_print(&scenario, first_text, CANONICAL_MAX);
    CHECK(printed < CANONICAL_MAX);
    CHECK(canonical(&reader, second_text) == printed);
    CHECK(memcmp(first_text, second_text, printed) == 0);
    CHECK(scenario.client_count == reader.client_count);
    check_notations(&scenario, printed);
    second_text[printed / 2] = '?';
    CHECK(scenario_print(&scenario, second_text, printed / 2) == printed);
    CHECK(second_text[printed / 2] == '?');
}

static void check_bytes(const uint8_t *bytes, size_t length) {
    static struct scenario scenario;
    scenario_decode(&scenario, bytes, length);
    size_t printed = scenario_print(&scenario, first_text, CANONICAL_MAX);
    CHECK(printed < CANONICAL_MAX);
    check_notations(&scenario, printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > TEXT_MAX) return 0;
    check_text((const char *)data, size);
    check_bytes(data, size);
    return 0;
}
