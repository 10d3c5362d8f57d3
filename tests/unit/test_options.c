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

#define WORDS(...) ((struct command){{__VA_ARGS__}})

static struct options expect_good(struct command command) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, command, complaint), OPTIONS_SERVE);
    assert_string_equal(complaint, "");
    return options;
}

static void expect_bad(struct command command, const char *expected) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, command, complaint), OPTIONS_BAD);
    assert_string_equal(complaint, expected);
}

static void test_defaults(void **state) {
    struct options options = expect_good(WORDS(NULL));
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

/* A program can be started without even a name. What lies behind the last word is not read. */
static void test_no_words(void **state) {
    static const char *const argv[] = {NULL, "--frob", NULL};
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES] = "";
    assert_int_equal(options_parse(&options, 0, argv, complaint), OPTIONS_SERVE);
    assert_int_equal(options_parse(&options, 1, argv, complaint), OPTIONS_SERVE);
    assert_string_equal(complaint, "");
}

static void test_forms(void **state) {
    assert_int_equal(expect_good(WORDS("--buffer", "7")).buffer_bytes, 7);
    assert_int_equal(expect_good(WORDS("--buffer=7")).buffer_bytes, 7);
    assert_int_equal(expect_good(WORDS("-b", "7")).buffer_bytes, 7);
    assert_int_equal(expect_good(WORDS("-b7")).buffer_bytes, 7);
    assert_int_equal(expect_good(WORDS("-b7", "--buffer=8")).buffer_bytes, 8);
    assert_int_equal(expect_good(WORDS("-v")).log_level, LOG_CHUNKS);
    assert_int_equal(expect_good(WORDS("--verbose", "-q")).log_level, LOG_QUIET);
    assert_int_equal(expect_good(WORDS("-f", "json")).log_format, LOG_JSON);
    assert_int_equal(expect_good(WORDS("-fjson", "-ftext")).log_format, LOG_TEXT);
    assert_int_equal(expect_good(WORDS("-c", "16777216")).connections_max, 16777216);
}

static void test_limits(void **state) {
    assert_int_equal(expect_good(WORDS("-c", "1")).connections_max, 1);
    assert_int_equal(expect_good(WORDS("-b", "1")).buffer_bytes, 1);
    assert_int_equal(expect_good(WORDS("-b", "1073741824")).buffer_bytes, 1073741824);
    assert_int_equal(expect_good(WORDS("-i", "0")).idle_timeout_s, 0);
    assert_int_equal(expect_good(WORDS("-i", "1048576")).idle_timeout_s, 1048576);
    assert_int_equal(expect_good(WORDS("-d", "0")).drain_timeout_s, 0);
    assert_int_equal(expect_good(WORDS("-d", "999")).drain_timeout_s, 999);
    assert_int_equal(expect_good(WORDS("-d", "1048576")).drain_timeout_s, 1048576);
}

static void test_pollers(void **state) {
    assert_string_equal(expect_good(WORDS("-p", "epoll")).poller, "epoll");
    assert_string_equal(expect_good(WORDS("-p", "kqueue")).poller, "kqueue");
}

static void expect_listen(const char *value, const char *host, uint16_t port) {
    struct options options = expect_good(WORDS("--listen", value));
    assert_string_equal(options.host, host);
    assert_int_equal(options.port, port);
}

static void test_listen(void **state) {
    expect_listen("0.0.0.0:0", "0.0.0.0", 0);
    expect_listen("[::1]:65535", "::1", 65535);
    expect_listen("[fe80::1%eth0]:80", "fe80::1%eth0", 80);
    expect_listen("localhost:080", "localhost", 80);
    expect_listen("[127.0.0.1]:1", "127.0.0.1", 1);
}

/* The longest host that fits, one byte more, and many. */
static void test_longest_host(void **state) {
    static const size_t lengths[] = {OPTIONS_HOST_BYTES - 1, OPTIONS_HOST_BYTES,
                                     OPTIONS_HOST_BYTES + 1, 2 * (size_t)OPTIONS_HOST_BYTES};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char value[OPTIONS_HOST_BYTES * 2 + 8];
        memset(value, 'h', sizeof value);
        memcpy(value + lengths[i], ":1", sizeof ":1");
        if (i == 0) {
            assert_int_equal(strlen(expect_good(WORDS("-l", value)).host), lengths[i]);
            continue;
        }
        struct options options;
        char complaint[OPTIONS_COMPLAINT_BYTES];
        assert_int_equal(parse(&options, WORDS("-l", value), complaint), OPTIONS_BAD);
        assert_non_null(strstr(complaint, "is not ADDRESS:PORT"));
    }
}

#define EXPECTED_LISTEN " is not ADDRESS:PORT (expected, for example, 127.0.0.1:4444 or [::1]:4444)"

static void test_bad_listen(void **state) {
    expect_bad(WORDS("-l", "foo"), "--listen: 'foo'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", ""), "--listen: ''" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", ":80"), "--listen: ':80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "[]:80"), "--listen: '[]:80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "::1:80"), "--listen: '::1:80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "[::1]"), "--listen: '[::1]'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "::80"), "--listen: '::80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "[::1:80"), "--listen: '[::1:80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "[::1}:80"), "--listen: '[::1}:80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "::1]:80"), "--listen: '::1]:80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "{::1]:80"), "--listen: '{::1]:80'" EXPECTED_LISTEN);
    expect_bad(WORDS("-l", "a:"), "--listen: port '' is not a number from 0 to 65535");
    expect_bad(WORDS("-l", "a:65536"), "--listen: port '65536' is not a number from 0 to 65535");
    expect_bad(WORDS("-l", "a:80x"), "--listen: port '80x' is not a number from 0 to 65535");
    expect_bad(WORDS("-l", "a:-1"), "--listen: port '-1' is not a number from 0 to 65535");
    expect_bad(WORDS("-l", "a: 1"), "--listen: port ' 1' is not a number from 0 to 65535");
    expect_bad(WORDS("-l", "a:18446744073709551617"),
               "--listen: port '18446744073709551617' is not a number from 0 to 65535");
}

static void test_bad_values(void **state) {
    expect_bad(WORDS("-b", "0"), "--buffer: '0' is not a number from 1 to 1073741824");
    expect_bad(WORDS("-b", "1073741825"),
               "--buffer: '1073741825' is not a number from 1 to 1073741824");
    expect_bad(WORDS("--buffer="), "--buffer: '' is not a number from 1 to 1073741824");
    expect_bad(WORDS("-c", "+1"), "--max-connections: '+1' is not a number from 1 to 16777216");
    expect_bad(WORDS("-c", "1e3"), "--max-connections: '1e3' is not a number from 1 to 16777216");
    expect_bad(WORDS("-c", "0"), "--max-connections: '0' is not a number from 1 to 16777216");
    expect_bad(WORDS("-c", "16777217"),
               "--max-connections: '16777217' is not a number from 1 to 16777216");
    expect_bad(WORDS("-i", "1048577"),
               "--idle-timeout: '1048577' is not a number from 0 to 1048576");
    expect_bad(WORDS("-d", "1048577"),
               "--drain-timeout: '1048577' is not a number from 0 to 1048576");
    expect_bad(WORDS("-b", "10:"), "--buffer: '10:' is not a number from 1 to 1073741824");
    expect_bad(WORDS("-b", "10/"), "--buffer: '10/' is not a number from 1 to 1073741824");
    expect_bad(WORDS("-p", "poll"), "--poller: 'poll' is not one of epoll|kqueue");
    expect_bad(WORDS("-f", "zzzz"), "--log-format: 'zzzz' is not one of text|json");
    expect_bad(WORDS("-p", "\xff"), "--poller: '\xff' is not one of epoll|kqueue");
    expect_bad(WORDS("-b", "1\xff"), "--buffer: '1\xff' is not a number from 1 to 1073741824");
    expect_bad(WORDS("-p", ""), "--poller: '' is not one of epoll|kqueue");
    expect_bad(WORDS("-p", "epolL"), "--poller: 'epolL' is not one of epoll|kqueue");
    expect_bad(WORDS("-f", "xml"), "--log-format: 'xml' is not one of text|json");
    expect_bad(WORDS("-f", "tex"), "--log-format: 'tex' is not one of text|json");
    expect_bad(WORDS("-f", "text|json"), "--log-format: 'text|json' is not one of text|json");
}

static void test_bad_words(void **state) {
    expect_bad(WORDS("--frob"), "unknown option '--frob' (touchstone --help lists the options)");
    expect_bad(WORDS("--buffe", "1"),
               "unknown option '--buffe' (touchstone --help lists the options)");
    expect_bad(WORDS("--bufferx"),
               "unknown option '--bufferx' (touchstone --help lists the options)");
    expect_bad(WORDS("--"), "unknown option '--' (touchstone --help lists the options)");
    expect_bad(WORDS("--=1"), "unknown option '--=1' (touchstone --help lists the options)");
    expect_bad(WORDS("-x"), "unknown option '-x' (touchstone --help lists the options)");
    expect_bad(WORDS("--listen"), "--listen needs a value: ADDRESS:PORT");
    expect_bad(WORDS("-b"), "--buffer needs a value: BYTES");
    expect_bad(WORDS("-c"), "--max-connections needs a value: N");
    expect_bad(WORDS("-i"), "--idle-timeout needs a value: SECONDS");
    expect_bad(WORDS("-d"), "--drain-timeout needs a value: SECONDS");
    expect_bad(WORDS("-p"), "--poller needs a value: epoll|kqueue");
    expect_bad(WORDS("-f"), "--log-format needs a value: text|json");
    expect_bad(WORDS("-q1"), "--quiet takes no value, but was given '1'");
    expect_bad(WORDS("-h1"), "--help takes no value, but was given '1'");
    expect_bad(WORDS("-V1"), "--version takes no value, but was given '1'");
    expect_bad(WORDS("--verbose=x"), "--verbose takes no value, but was given 'x'");
    expect_bad(WORDS("--verbose="), "--verbose takes no value, but was given ''");
    expect_bad(WORDS("-vq"), "--verbose takes no value, but was given 'q'");
    expect_bad(WORDS("-q\xff"), "--quiet takes no value, but was given '\xff'");
    expect_bad(WORDS("--helpx"), "unknown option '--helpx' (touchstone --help lists the options)");
    expect_bad(WORDS("+q"),
               "unexpected argument '+q' (touchstone takes options only; --help lists them)");
    expect_bad(WORDS("/q"),
               "unexpected argument '/q' (touchstone takes options only; --help lists them)");
    expect_bad(WORDS("-\xff"), "unknown option '-\xff' (touchstone --help lists the options)");
    expect_bad(WORDS("x"),
               "unexpected argument 'x' (touchstone takes options only; --help lists them)");
    expect_bad(WORDS("-"),
               "unexpected argument '-' (touchstone takes options only; --help lists them)");
    expect_bad(WORDS(""),
               "unexpected argument '' (touchstone takes options only; --help lists them)");
}

/* Complaints about arguments of any length fit, and still say what was expected. */
static void test_long_values(void **state) {
    char value[4096];
    memset(value, '9', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, WORDS("-b", value), complaint), OPTIONS_BAD);
    assert_non_null(strstr(complaint, "is not a number from 1 to 1073741824"));
    assert_int_equal(parse(&options, WORDS("-l", value), complaint), OPTIONS_BAD);
    assert_non_null(strstr(complaint, "or [::1]:4444)"));
}

static void test_actions(void **state) {
    struct options options;
    char complaint[OPTIONS_COMPLAINT_BYTES];
    assert_int_equal(parse(&options, WORDS("--help"), complaint), OPTIONS_HELP);
    assert_int_equal(parse(&options, WORDS("-q", "-h", "--frob"), complaint), OPTIONS_HELP);
    assert_int_equal(parse(&options, WORDS("-V"), complaint), OPTIONS_VERSION);
    assert_int_equal(parse(&options, WORDS("--version", "--help"), complaint), OPTIONS_VERSION);
    assert_int_equal(parse(&options, WORDS("--help=x"), complaint), OPTIONS_BAD);
}

static void test_help(void **state) {
    char text[OPTIONS_HELP_BYTES];
    options_help(text);
    assert_string_equal(
        text,
        "usage: touchstone [OPTION]...\n"
        "A TCP server that echoes every byte, with ASCII a-z in upper case. Defaults in ().\n"
        "\n"
        "  -l, --listen          ADDRESS:PORT  IPv4, [IPv6], name, or * for all; port 0: any "
        "(127.0.0.1:4444)\n"
        "  -c, --max-connections N             further clients wait (descriptor limit - 32, at "
        "most 65536)\n"
        "  -b, --buffer          BYTES         pending output per connection (65536)\n"
        "  -i, --idle-timeout    SECONDS       close connections idle for this long; 0: never (0)\n"
        "  -d, --drain-timeout   SECONDS       wait at most this long for clients when stopping "
        "(5)\n"
        "  -p, --poller          epoll|kqueue  the one that this system has\n"
        "  -f, --log-format      text|json     json: one object per line (text)\n"
        "  -v, --verbose                       also log each chunk received\n"
        "  -q, --quiet                         log only the listening address\n"
        "  -h, --help                          print this help and exit\n"
        "  -V, --version                       print the version and exit\n");
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strcspn(line, "\n") <= 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_forms),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_pollers),
        cmocka_unit_test(test_listen),     cmocka_unit_test(test_longest_host),
        cmocka_unit_test(test_bad_listen), cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_bad_words),  cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_actions),    cmocka_unit_test(test_help),
        cmocka_unit_test(test_no_words),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
