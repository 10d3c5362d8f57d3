#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shell/options.h"

#define ARGUMENTS_MAX 6

/* A command line without the program's name. */
struct command {
    const char *arguments[ARGUMENTS_MAX];
};

static enum options_action parse(struct options *options, struct command command, char *complaint) {
    const char *argv[ARGUMENTS_MAX + 2] = {"touchstone"};
    int argc = 1;
    for (; command.arguments[argc - 1] != NULL; argc++)
        argv[argc] = command.arguments[argc - 1];
    complaint[0] = '\0';
    return options_parse(options, argc, argv, complaint);
}

#define ARGUMENTS(...) ((struct command){{__VA_ARGS__}})

static struct options expect_good(struct command command) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, command, complaint), OPTIONS_SERVE);
    assert_string_equal(complaint, "");
    return options;
}

/* The complaint is one line that has these parts, in this order: what was wrong, what was expected.
 * Its other words are free. */
static void expect_parts(const char *complaint, const char *const parts[]) {
    const char *at = complaint;
    for (size_t i = 0; parts[i] != NULL; i++) {
        const char *found = strstr(at, parts[i]);
        if (found == NULL) {
            fail_msg("expected '%s' in '%s'", parts[i], complaint);
            return;
        }
        at = found + strlen(parts[i]);
    }
    assert_null(strchr(complaint, '\n'));
}

static void expect_bad(struct command command, const char *const parts[]) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, command, complaint), OPTIONS_BAD);
    expect_parts(complaint, parts);
}

#define PARTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void defaults_without_arguments(void **state) {
    struct options options = expect_good(ARGUMENTS(NULL));
    assert_string_equal(options.host, "127.0.0.1");
    assert_int_equal(options.port, 4444);
    assert_int_equal(options.connections_max, 0);
    assert_int_equal(options.buffer_bytes, 65536);
    assert_int_equal(options.log_level, LOG_EVENTS);
    assert_int_equal(options.log_format, LOG_TEXT);
    assert_int_equal(options.idle_timeout_s, 0);
    assert_int_equal(options.drain_timeout_s, 5);
    assert_null(options.poller);
}

/* A program can be started with argc 0. What lies behind the last argument is not read. */
static void arguments_after_the_end_are_not_read(void **state) {
    static const char *const argv[] = {NULL, "--frob", NULL};
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES] = "";
    assert_int_equal(options_parse(&options, 0, argv, complaint), OPTIONS_SERVE);
    assert_int_equal(options_parse(&options, 1, argv, complaint), OPTIONS_SERVE);
    assert_string_equal(complaint, "");
}

static void every_form_of_an_option_is_accepted(void **state) {
    assert_int_equal(expect_good(ARGUMENTS("--buffer", "7")).buffer_bytes, 7);
    assert_int_equal(expect_good(ARGUMENTS("--buffer=7")).buffer_bytes, 7);
    assert_int_equal(expect_good(ARGUMENTS("-b", "7")).buffer_bytes, 7);
    assert_int_equal(expect_good(ARGUMENTS("-b7")).buffer_bytes, 7);
    assert_int_equal(expect_good(ARGUMENTS("-b7", "--buffer=8")).buffer_bytes, 8);
    assert_int_equal(expect_good(ARGUMENTS("-v")).log_level, LOG_CHUNKS);
    assert_int_equal(expect_good(ARGUMENTS("--verbose", "-q")).log_level, LOG_QUIET);
    assert_int_equal(expect_good(ARGUMENTS("-f", "json")).log_format, LOG_JSON);
    assert_int_equal(expect_good(ARGUMENTS("-fjson", "-ftext")).log_format, LOG_TEXT);
    assert_int_equal(expect_good(ARGUMENTS("-c", "16777216")).connections_max, 16777216);
}

static void limits_of_numbers_are_inclusive(void **state) {
    assert_int_equal(expect_good(ARGUMENTS("-c", "1")).connections_max, 1);
    assert_int_equal(expect_good(ARGUMENTS("-b", "1")).buffer_bytes, 1);
    assert_int_equal(expect_good(ARGUMENTS("-b", "1073741824")).buffer_bytes, 1073741824);
    assert_int_equal(expect_good(ARGUMENTS("-i", "0")).idle_timeout_s, 0);
    assert_int_equal(expect_good(ARGUMENTS("-i", "1048576")).idle_timeout_s, 1048576);
    assert_int_equal(expect_good(ARGUMENTS("-d", "0")).drain_timeout_s, 0);
    assert_int_equal(expect_good(ARGUMENTS("-d", "999")).drain_timeout_s, 999);
    assert_int_equal(expect_good(ARGUMENTS("-d", "1048576")).drain_timeout_s, 1048576);
}

static void both_pollers_are_known(void **state) {
    assert_string_equal(expect_good(ARGUMENTS("-p", "epoll")).poller, "epoll");
    assert_string_equal(expect_good(ARGUMENTS("-p", "kqueue")).poller, "kqueue");
}

static void expect_listen(const char *value, const char *host, uint16_t port) {
    struct options options = expect_good(ARGUMENTS("--listen", value));
    assert_string_equal(options.host, host);
    assert_int_equal(options.port, port);
}

static void listen_takes_ipv4_ipv6_and_names(void **state) {
    expect_listen("0.0.0.0:0", "0.0.0.0", 0);
    expect_listen("[::1]:65535", "::1", 65535);
    expect_listen("[fe80::1%eth0]:80", "fe80::1%eth0", 80);
    expect_listen("localhost:080", "localhost", 80);
    expect_listen("[127.0.0.1]:1", "127.0.0.1", 1);
}

/* The longest host that fits, one byte more, two more, and many more. */
static void hosts_that_do_not_fit_are_rejected(void **state) {
    static const size_t lengths[] = {OPTIONS_HOST_BYTES - 1, OPTIONS_HOST_BYTES,
                                     OPTIONS_HOST_BYTES + 1, 2 * (size_t)OPTIONS_HOST_BYTES};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char value[OPTIONS_HOST_BYTES * 2 + 8];
        memset(value, 'h', sizeof value);
        memcpy(value + lengths[i], ":1", sizeof ":1");
        if (i == 0) {
            assert_int_equal(strlen(expect_good(ARGUMENTS("-l", value)).host), lengths[i]);
            continue;
        }
        struct options options;
        char complaint[OPTIONS_COMPLAINT_BYTES];
        assert_int_equal(parse(&options, ARGUMENTS("-l", value), complaint), OPTIONS_BAD);
        expect_parts(complaint, PARTS("--listen: ", "127.0.0.1:4444"));
    }
}

/* The examples of what --listen expects. */
#define ADDRESSES "127.0.0.1:4444", "[::1]:4444"

static void bad_addresses_are_named(void **state) {
    expect_bad(ARGUMENTS("-l", "foo"), PARTS("--listen: ", "'foo'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", ""), PARTS("--listen: ", "''", ADDRESSES));
    expect_bad(ARGUMENTS("-l", ":80"), PARTS("--listen: ", "':80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "[]:80"), PARTS("--listen: ", "'[]:80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "::1:80"), PARTS("--listen: ", "'::1:80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "[::1]"), PARTS("--listen: ", "'[::1]'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "::80"), PARTS("--listen: ", "'::80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "[::1:80"), PARTS("--listen: ", "'[::1:80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "[::1}:80"), PARTS("--listen: ", "'[::1}:80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "::1]:80"), PARTS("--listen: ", "'::1]:80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "{::1]:80"), PARTS("--listen: ", "'{::1]:80'", ADDRESSES));
    expect_bad(ARGUMENTS("-l", "a:"), PARTS("--listen: port ", "''", " 0 ", "65535"));
    expect_bad(ARGUMENTS("-l", "a:65536"), PARTS("--listen: port ", "'65536'", " 0 ", "65535"));
    expect_bad(ARGUMENTS("-l", "a:80x"), PARTS("--listen: port ", "'80x'", " 0 ", "65535"));
    expect_bad(ARGUMENTS("-l", "a:-1"), PARTS("--listen: port ", "'-1'", " 0 ", "65535"));
    expect_bad(ARGUMENTS("-l", "a: 1"), PARTS("--listen: port ", "' 1'", " 0 ", "65535"));
    expect_bad(ARGUMENTS("-l", "a:18446744073709551617"),
               PARTS("--listen: port ", "'18446744073709551617'", " 0 ", "65535"));
}

static void bad_values_are_named_with_their_range(void **state) {
    expect_bad(ARGUMENTS("-b", "0"), PARTS("--buffer: ", "'0'", " 1 ", "1073741824"));
    expect_bad(ARGUMENTS("-b", "1073741825"),
               PARTS("--buffer: ", "'1073741825'", " 1 ", "1073741824"));
    expect_bad(ARGUMENTS("--buffer="), PARTS("--buffer: ", "''", " 1 ", "1073741824"));
    expect_bad(ARGUMENTS("-c", "+1"), PARTS("--max-connections: ", "'+1'", " 1 ", "16777216"));
    expect_bad(ARGUMENTS("-c", "1e3"), PARTS("--max-connections: ", "'1e3'", " 1 ", "16777216"));
    expect_bad(ARGUMENTS("-c", "0"), PARTS("--max-connections: ", "'0'", " 1 ", "16777216"));
    expect_bad(ARGUMENTS("-c", "16777217"),
               PARTS("--max-connections: ", "'16777217'", " 1 ", "16777216"));
    expect_bad(ARGUMENTS("-i", "1048577"),
               PARTS("--idle-timeout: ", "'1048577'", " 0 ", "1048576"));
    expect_bad(ARGUMENTS("-d", "1048577"),
               PARTS("--drain-timeout: ", "'1048577'", " 0 ", "1048576"));
    expect_bad(ARGUMENTS("-b", "10:"), PARTS("--buffer: ", "'10:'", " 1 ", "1073741824"));
    expect_bad(ARGUMENTS("-b", "10/"), PARTS("--buffer: ", "'10/'", " 1 ", "1073741824"));
    expect_bad(ARGUMENTS("-p", "poll"), PARTS("--poller: ", "'poll'", "epoll|kqueue"));
    expect_bad(ARGUMENTS("-f", "zzzz"), PARTS("--log-format: ", "'zzzz'", "text|json"));
    expect_bad(ARGUMENTS("-p", "\xff"), PARTS("--poller: ", "'\xff'", "epoll|kqueue"));
    expect_bad(ARGUMENTS("-b", "1\xff"), PARTS("--buffer: ", "'1\xff'", " 1 ", "1073741824"));
    expect_bad(ARGUMENTS("-p", ""), PARTS("--poller: ", "''", "epoll|kqueue"));
    expect_bad(ARGUMENTS("-p", "epolL"), PARTS("--poller: ", "'epolL'", "epoll|kqueue"));
    expect_bad(ARGUMENTS("-f", "xml"), PARTS("--log-format: ", "'xml'", "text|json"));
    expect_bad(ARGUMENTS("-f", "tex"), PARTS("--log-format: ", "'tex'", "text|json"));
    expect_bad(ARGUMENTS("-f", "text|json"), PARTS("--log-format: ", "'text|json'", "text|json"));
}

static void bad_arguments_are_named(void **state) {
    expect_bad(ARGUMENTS("--frob"), PARTS("option '--frob'", "--help"));
    expect_bad(ARGUMENTS("--buffe", "1"), PARTS("option '--buffe'", "--help"));
    expect_bad(ARGUMENTS("--bufferx"), PARTS("option '--bufferx'", "--help"));
    expect_bad(ARGUMENTS("--"), PARTS("option '--'", "--help"));
    expect_bad(ARGUMENTS("--=1"), PARTS("option '--=1'", "--help"));
    expect_bad(ARGUMENTS("-x"), PARTS("option '-x'", "--help"));
    expect_bad(ARGUMENTS("--listen"), PARTS("--listen ", "ADDRESS:PORT"));
    expect_bad(ARGUMENTS("-b"), PARTS("--buffer ", "BYTES"));
    expect_bad(ARGUMENTS("-c"), PARTS("--max-connections ", "N"));
    expect_bad(ARGUMENTS("-i"), PARTS("--idle-timeout ", "SECONDS"));
    expect_bad(ARGUMENTS("-d"), PARTS("--drain-timeout ", "SECONDS"));
    expect_bad(ARGUMENTS("-p"), PARTS("--poller ", "epoll|kqueue"));
    expect_bad(ARGUMENTS("-f"), PARTS("--log-format ", "text|json"));
    expect_bad(ARGUMENTS("-q1"), PARTS("--quiet ", "'1'"));
    expect_bad(ARGUMENTS("-h1"), PARTS("--help ", "'1'"));
    expect_bad(ARGUMENTS("-V1"), PARTS("--version ", "'1'"));
    expect_bad(ARGUMENTS("--verbose=x"), PARTS("--verbose ", "'x'"));
    expect_bad(ARGUMENTS("--verbose="), PARTS("--verbose ", "''"));
    expect_bad(ARGUMENTS("-vq"), PARTS("--verbose ", "'q'"));
    expect_bad(ARGUMENTS("-q\xff"), PARTS("--quiet ", "'\xff'"));
    expect_bad(ARGUMENTS("--helpx"), PARTS("option '--helpx'", "--help"));
    expect_bad(ARGUMENTS("+q"), PARTS("argument '+q'", "--help"));
    expect_bad(ARGUMENTS("/q"), PARTS("argument '/q'", "--help"));
    expect_bad(ARGUMENTS("-\xff"), PARTS("option '-\xff'", "--help"));
    expect_bad(ARGUMENTS("x"), PARTS("argument 'x'", "--help"));
    expect_bad(ARGUMENTS("-"), PARTS("argument '-'", "--help"));
    expect_bad(ARGUMENTS(""), PARTS("argument ''", "--help"));
}

/* A complaint about a long argument fits, and still states what was expected. */
static void long_values_keep_the_expected_form_in_the_complaint(void **state) {
    char value[4096];
    memset(value, '9', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, ARGUMENTS("-b", value), complaint), OPTIONS_BAD);
    expect_parts(complaint, PARTS("--buffer: ", "'999", " 1 ", "1073741824"));
    assert_int_equal(parse(&options, ARGUMENTS("-l", value), complaint), OPTIONS_BAD);
    expect_parts(complaint, PARTS("--listen: ", "'999", "[::1]:4444"));
}

static void first_help_or_version_decides(void **state) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, ARGUMENTS("--help"), complaint), OPTIONS_HELP);
    assert_int_equal(parse(&options, ARGUMENTS("-q", "-h", "--frob"), complaint), OPTIONS_HELP);
    assert_int_equal(parse(&options, ARGUMENTS("-V"), complaint), OPTIONS_VERSION);
    assert_int_equal(parse(&options, ARGUMENTS("--version", "--help"), complaint), OPTIONS_VERSION);
    assert_int_equal(parse(&options, ARGUMENTS("--help=x"), complaint), OPTIONS_BAD);
}

static void help_lists_every_option_with_its_default(void **state) {
    static const struct {
        const char *begin, *value_default; /* null: it has none */
    } rows[] = {
        {"  -l, --listen          ADDRESS:PORT  ", "(127.0.0.1:4444)"},
        {"  -c, --max-connections N             ", "65536)"},
        {"  -b, --buffer          BYTES         ", "(65536)"},
        {"  -i, --idle-timeout    SECONDS       ", "(0)"},
        {"  -d, --drain-timeout   SECONDS       ", "(5)"},
        {"  -p, --poller          epoll|kqueue  ", NULL},
        {"  -f, --log-format      text|json     ", "(text)"},
        {"  -v, --verbose                       ", NULL},
        {"  -q, --quiet                         ", NULL},
        {"  -h, --help                          ", NULL},
        {"  -V, --version                       ", NULL},
    };
    char text[OPTIONS_HELP_BYTES];
    options_help(text);
    assert_memory_equal(text, "usage: touchstone ", strlen("usage: touchstone "));
    const char *line = strstr(text, "\n\n") + 2;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t length = strcspn(line, "\n");
        size_t begin = strlen(rows[i].begin);
        size_t end = rows[i].value_default != NULL ? strlen(rows[i].value_default) : 0;
        assert_true(begin + end < length);
        assert_memory_equal(line, rows[i].begin, begin);
        assert_true(line[begin] != ' ');
        if (end > 0) assert_memory_equal(line + length - end, rows[i].value_default, end);
        line += length + 1;
    }
    assert_string_equal(line, "");
    for (line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_without_arguments),
        cmocka_unit_test(every_form_of_an_option_is_accepted),
        cmocka_unit_test(limits_of_numbers_are_inclusive),
        cmocka_unit_test(both_pollers_are_known),
        cmocka_unit_test(listen_takes_ipv4_ipv6_and_names),
        cmocka_unit_test(hosts_that_do_not_fit_are_rejected),
        cmocka_unit_test(bad_addresses_are_named),
        cmocka_unit_test(bad_values_are_named_with_their_range),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(long_values_keep_the_expected_form_in_the_complaint),
        cmocka_unit_test(first_help_or_version_decides),
        cmocka_unit_test(help_lists_every_option_with_its_default),
        cmocka_unit_test(arguments_after_the_end_are_not_read),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
