/* The command line: any argument, any value of any option, and whole lines of short arguments. */
#include "shell/options.h"
#include "print.h"

/* The longest texts: an argument, longer than any name with its value; a number, of more than 64
 * bits; an address with its port; each argument of a whole line; about as long as a host may be,
 * with brackets and port; and longer than a complaint. */
#define NAME 20
#define NUMBER 21
#define ADDRESS 9
#define LINE 3
#define LONG (OPTIONS_HOST_BYTES + 10)
#define LONGEST OPTIONS_COMPLAINT_BYTES

/* All that is read has a value. */
static void check_read(const char *bytes, size_t length) {
    /*@ check read: \valid_read(bytes + (0 .. length - 1)); */
    /*@ check value: \initialized(bytes + (0 .. length - 1)); */
}
static void *copy(char *to, const char *from, size_t length) {
    check_read(from, length);
    return memcpy(to, from, length);
}
#define memcpy copy

/* What the standard says of these. Of the bytes compared only that they are equal or not. */
int memcmp(const void *first, const void *second, size_t length) {
    check_read(first, length);
    check_read(second, length);
    return any_bool();
}
int strncmp(const char *first, const char *second, size_t most) {
    for (size_t i = 0; i < most; i++) {
        if (first[i] < second[i]) return -1;
        if (first[i] > second[i]) return 1;
        if (first[i] == '\0') return 0;
    }
    return 0;
}
int strcmp(const char *first, const char *second) { return strncmp(first, second, SIZE_MAX); }
char *strrchr(const char *text, int c) {
    const char *last = NULL;
    for (; *text != '\0'; text++)
        if (*text == c) last = text;
    return (char *)last;
}
size_t strcspn(const char *text, const char *reject) {
    /*@ check one: reject[0] != 0 && reject[1] == 0; */
    size_t length = 0;
    while (text[length] != '\0' && text[length] != *reject)
        length++;
    return length;
}

/* With all of these. */
#include "shell/options.c"

/* What lies behind the end of a text has no value, so that reading it is an alarm. */
static const char *ended(char *text, size_t length) {
    text[length] = '\0';
    return text;
}

/* Any text of at most so many bytes. */
static const char *any_short(char *text, int longest) {
    int length = any_of(longest + 1);
    any_bytes(text, (size_t)length);
    return ended(text, (size_t)length);
}

/* Any short one, or one of the long ones, with letters between its ends. */
static const char *any_text(char text[LONGEST + 1], int longest) {
    if (any_bool()) return any_short(text, longest);
    int length = any_bool() ? LONGEST : LONG - any_of(8);
    any_bytes(text, 2);
    for (int i = 2; i < length - 6; i++)
        text[i] = (char)Frama_C_interval('a', 'z');
    any_bytes(text + length - 6, 6);
    return ended(text, (size_t)length);
}

static const struct option *any_option(void) { return &table[any_of(ROWS)]; }

static void check_complaint(const char *complaint) {
    /*@ check whole: printed == complaint && printed_end < OPTIONS_COMPLAINT_BYTES - 1; */
}

static void any_argument(void) {
    char first[LONGEST + 1], complaint[OPTIONS_COMPLAINT_BYTES];
    const char *argv[] = {any_text(first, NAME), any_bool() ? "next" : NULL};
    const char *value = "";
    int i = 0;
    if (read_option(argv, &i, &value, complaint) == NULL) check_complaint(complaint);
    /*@ check consumed: i == 0 || argv[i] != \null; */
    /*@ check value: valid_read_string(value); */
}

static void any_value(void) {
    char bytes[LONGEST + 1], complaint[OPTIONS_COMPLAINT_BYTES];
    struct options options = {.host = ""};
    const struct option *option = any_option();
    const char *value = any_text(bytes, option->letter == 'l' ? ADDRESS : NUMBER);
    if (!take(&options, option, value, complaint)) check_complaint(complaint);
}

static void any_line(void) {
    char first[LINE + 1], second[LINE + 1], complaint[OPTIONS_COMPLAINT_BYTES];
    const char *argv[] = {"touchstone", NULL, NULL, NULL};
    struct options options;
    int argc = any_of(3) + 1;
    if (argc > 1) argv[1] = any_short(first, LINE);
    if (argc > 2) argv[2] = any_short(second, LINE);
    if (options_parse(&options, argc, argv, complaint) == OPTIONS_BAD) check_complaint(complaint);
}

void main(void) {
    char text[OPTIONS_HELP_BYTES];
    switch (any_of(4)) {
    case 0: any_argument(); break;
    case 1: any_value(); break;
    case 2: any_line(); break;
    default: options_help(text); break;
    }
}
