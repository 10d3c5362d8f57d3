#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scenario/scenario.h"
#include "sim/oracle.h"
#include "sim/stream.h"

/* CMake defines SCENARIOS, the folder with the scenarios. */
#define SYNTAX_ACCEPTED SCENARIOS "/syntax/accepted"
#define SYNTAX_REJECTED SCENARIOS "/syntax/rejected"

#define TEXT_MAX (1u << 17) /* of any scenario's canonical text */
#define RANDOM_STRINGS 100000
#define RANDOM_BYTES_MAX 200

/* Files */

struct file {
    char *text; /* in a block of exactly its length, so that sanitizers detect a read beyond it */
    size_t length;
};

/* A missing file counts as empty. */
static struct file read_file(const char *path) {
    static char bytes[TEXT_MAX];
    FILE *stream = fopen(path, "rb");
    struct file file = {.length = stream != NULL ? fread(bytes, 1, sizeof bytes, stream) : 0};
    if (stream != NULL) fclose(stream);
    file.text = malloc(file.length > 0 ? file.length : 1);
    assert_non_null(file.text);
    memcpy(file.text, bytes, file.length);
    return file;
}

/* Calls `check` with the path of each .scenario file in a folder, without the extension. */
static size_t for_each(const char *folder, void (*check)(const char *stem)) {
    DIR *directory = opendir(folder);
    size_t count = 0;
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char stem[4096];
        const char *extension = strstr(entry->d_name, ".scenario");
        if (extension == NULL) continue;
        int length = (int)(extension - entry->d_name);
        snprintf(stem, sizeof stem, "%s/%.*s", folder, length, entry->d_name);
        check(stem);
        count++;
    }
    closedir(directory);
    return count;
}

static struct file read_beside(const char *stem, const char *extension) {
    char path[5000];
    snprintf(path, sizeof path, "%s%s", stem, extension);
    return read_file(path);
}

/* Scenarios */

static struct scenario parsed(const char *text, size_t length) {
    static struct scenario scenario;
    struct scenario_error error;
    if (!scenario_parse(&scenario, text, length, &error))
        fail_msg("%u:%u: %s in\n%.*s", error.line, error.column, error.text, (int)length, text);
    return scenario;
}

static struct scenario parsed_file(const char *stem) {
    struct file file = read_beside(stem, ".scenario");
    struct scenario scenario = parsed(file.text, file.length);
    free(file.text);
    return scenario;
}

static size_t printed(const struct scenario *scenario, char text[TEXT_MAX]) {
    size_t length = scenario_print(scenario, text, TEXT_MAX);
    assert_true(length < TEXT_MAX);
    return length;
}

static void check_steps_make_sense(const struct scenario *scenario) {
    struct scenario_state state = {.frozen = false};
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        const char *refused = scenario_take(&state, &scenario->steps[i]);
        if (refused != NULL) fail_msg("step %u: %s", i + 1, refused);
    }
}

static void check_text(const struct scenario *scenario) {
    static char first[TEXT_MAX], second[TEXT_MAX];
    size_t length = printed(scenario, first);
    assert_true(scenario_is_text(first, length));
    struct scenario again = parsed(first, length);
    assert_true(scenario_equal(scenario, &again));
    assert_int_equal(scenario->client_count, again.client_count);
    assert_int_equal(printed(&again, second), length);
    assert_memory_equal(first, second, length);
}

static void check_bytes(const struct scenario *scenario) {
    static struct scenario again;
    static uint8_t bytes[SCENARIO_ENCODED_MAX];
    size_t length = scenario_encode(scenario, bytes);
    assert_true(length <= sizeof bytes);
    assert_false(scenario_is_text((const char *)bytes, length));
    uint8_t *exact = malloc(length > 0 ? length : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, length);
    scenario_decode(&again, exact, length);
    free(exact);
    assert_true(scenario_equal(scenario, &again));
    assert_int_equal(scenario->client_count, again.client_count);
}

/* Compares what a client sends, step by step, with the stream: whole and in odd parts. */

static void fill_by_steps(const struct scenario *scenario, uint32_t client, uint8_t *bytes,
                          size_t room, size_t *sent) {
    *sent = 0;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        const struct step *step = &scenario->steps[i];
        bool sends = step->kind == STEP_SEND || step->kind == STEP_URGENT;
        uint32_t count = step->kind == STEP_URGENT ? 1 : step->count;
        for (uint32_t j = 0; sends && step->client == client && j < count && *sent < room; j++) {
            bytes[*sent] = step->literal ? scenario->bytes[step->offset + j]
                                         : scenario_generated(client, *sent);
            ++*sent;
        }
    }
}

static void check_stream(const struct scenario *scenario) {
    static uint8_t expected[5000], filled[5000];
    static const size_t parts[] = {sizeof filled, 300, 7};
    static struct stream stream;
    stream_init(&stream, scenario);
    for (uint32_t client = 0; client < scenario->client_count; client++) {
        size_t sent;
        fill_by_steps(scenario, client, expected, sizeof expected, &sent);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            for (size_t at = 0; at < sent; at += parts[i]) {
                size_t count = sent - at < parts[i] ? sent - at : parts[i];
                stream_fill(&stream, client, at, filled + at, count);
            }
            assert_memory_equal(filled, expected, sent);
        }
    }
}

static void check_all(const struct scenario *scenario) {
    check_steps_make_sense(scenario);
    check_text(scenario);
    check_bytes(scenario);
    check_stream(scenario);
}

static void check_file(const char *stem) {
    struct scenario scenario = parsed_file(stem);
    check_all(&scenario);
}

/* A scenario begins with a comment that states its purpose. */
static void check_comment(const char *stem) {
    struct file file = read_beside(stem, ".scenario");
    if (file.length < 3 || memcmp(file.text, "# ", 2) != 0)
        fail_msg("%s: expected a comment in the first line", stem);
    free(file.text);
}

static void every_file_survives_both_notations(void **state) {
    (void)state;
    size_t count = for_each(SCENARIOS, check_file);
    assert_true(count >= 60);
    assert_true(for_each(SYNTAX_ACCEPTED, check_file) > 0);
    for_each(SCENARIOS, check_comment);
    print_message("scenario: %zu files\n", count);
}

static void any_bytes_decode_to_a_valid_scenario(void **state) {
    static struct scenario scenario;
    (void)state;
    uint32_t dice = 1;
    size_t steps = 0;
    for (int i = 0; i < RANDOM_STRINGS; i++) {
        uint8_t bytes[RANDOM_BYTES_MAX];
        size_t length = (size_t)(i % RANDOM_BYTES_MAX);
        for (size_t j = 0; j < length; j++) {
            dice = dice * 1664525 + 1013904223;
            /* Small values are kinds and clients; large ones are rarely a valid step. */
            bytes[j] = (uint8_t)(dice >> 24 >> (dice >> 20 & 3));
        }
        scenario_decode(&scenario, bytes, length);
        check_all(&scenario);
        steps += scenario.step_count;
    }
    print_message("scenario: %d strings of bytes, %zu steps\n", RANDOM_STRINGS, steps);
    assert_true(steps > RANDOM_STRINGS);
}

/* The folder syntax: this parser and any other must agree on these texts. */

static void check_accepted(const char *stem) {
    static char text[TEXT_MAX];
    struct scenario scenario = parsed_file(stem);
    struct file canonical = read_beside(stem, ".canonical");
    size_t length = printed(&scenario, text);
    if (length != canonical.length || memcmp(text, canonical.text, length) != 0)
        fail_msg("%s: the canonical form differs, got\n%s", stem, text);
    struct scenario again = parsed(canonical.text, canonical.length);
    assert_true(scenario_equal(&scenario, &again));
    free(canonical.text);
}

/* The file beside it holds LINE:COLUMN CODE, then each word that the message must contain. */
static void check_rejected(const char *stem) {
    static struct scenario scenario;
    struct scenario_error error;
    char expected[256], found[256], place[32], code[32], head[80];
    struct file file = read_beside(stem, ".scenario");
    struct file beside = read_beside(stem, ".error");
    if (scenario_parse(&scenario, file.text, file.length, &error)) fail_msg("%s is accepted", stem);
    snprintf(found, sizeof found, "%u:%u %s", error.line, error.column, error.text);
    snprintf(expected, sizeof expected, "%.*s", (int)beside.length, beside.text);
    assert_int_equal(sscanf(expected, "%31s %31s", place, code), 2);
    snprintf(head, sizeof head, "%s %s: ", place, code);
    if (strncmp(found, head, strlen(head)) != 0)
        fail_msg("%s: got %s, expected %s", stem, found, head);
    for (char *word = strtok(expected + strlen(head) - 2, " \n"); word != NULL;
         word = strtok(NULL, " \n"))
        if (strstr(found + strlen(head), word) == NULL)
            fail_msg("%s: got %s, expected %s in it", stem, found, word);
    free(file.text);
    free(beside.text);
}

static void shared_syntax_files_are_accepted_and_rejected(void **state) {
    (void)state;
    size_t accepted = for_each(SYNTAX_ACCEPTED, check_accepted);
    size_t rejected = for_each(SYNTAX_REJECTED, check_rejected);
    print_message("scenario: %zu texts accepted, %zu rejected\n", accepted, rejected);
    assert_true(accepted + rejected >= 40);
}

/* Every prefix of a file, in a block of exactly its length, for the sanitizers. */
static void check_beginnings(const char *stem) {
    static struct scenario scenario;
    struct scenario_error error;
    struct file file = read_beside(stem, ".scenario");
    for (size_t length = 0; length <= file.length; length++) {
        char *text = malloc(length > 0 ? length : 1);
        assert_non_null(text);
        memcpy(text, file.text, length);
        if (!scenario_parse(&scenario, text, length, &error))
            assert_true(error.line > 0 && error.column > 0 && error.text[0] != '\0');
        free(text);
    }
    free(file.text);
}

static void parser_does_not_read_beyond_the_text(void **state) {
    (void)state;
    for_each(SCENARIOS, check_beginnings);
    for_each(SYNTAX_ACCEPTED, check_beginnings);
    for_each(SYNTAX_REJECTED, check_beginnings);
}

/* Limits, which would make long files */

static bool accepts(const char *text, size_t length, struct scenario_error *error) {
    static struct scenario scenario;
    if (!scenario_parse(&scenario, text, length, error)) return false;
    check_all(&scenario);
    return true;
}

static void steps_are_limited_to_256(void **state) {
    static char text[TEXT_MAX];
    struct scenario_error error;
    (void)state;
    size_t length = (size_t)snprintf(text, sizeof text, "scenario 1\n");
    for (int i = 0; i < SCENARIO_STEPS_MAX; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "settle\n");
    assert_true(accepts(text, length, &error));
    length += (size_t)snprintf(text + length, sizeof text - length, "settle\n");
    assert_false(accepts(text, length, &error));
    assert_int_equal(error.line, SCENARIO_STEPS_MAX + 2);
    assert_int_equal(error.column, 1);
    assert_memory_equal(error.text, "limit: ", 7);
    assert_non_null(strstr(error.text, "256"));
}

static void literals_are_limited_to_8192_bytes(void **state) {
    static char text[TEXT_MAX];
    struct scenario_error error;
    (void)state;
    size_t length = (size_t)snprintf(text, sizeof text, "scenario 1\nconnect a\nsend a \"");
    size_t begin = length;
    memset(text + length, 'x', SCENARIO_BYTES_MAX + 1);
    length += SCENARIO_BYTES_MAX;
    text[length] = '"';
    assert_true(accepts(text, length + 1, &error));
    text[length] = 'x';
    text[length + 1] = '"';
    assert_false(accepts(text, length + 2, &error));
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 8 + SCENARIO_BYTES_MAX + 1);
    assert_int_equal(begin, strlen("scenario 1\nconnect a\nsend a \""));
    assert_memory_equal(error.text, "limit: ", 7);
    assert_non_null(strstr(error.text, "8192"));
}

static void tabs_and_blanks_separate_words(void **state) {
    static const char text[] = "\tscenario\t1 \t\n connect \t a\t# so\n\t\nsend a\t\"a\tb\" \n";
    static char canonical[TEXT_MAX];
    (void)state;
    struct scenario scenario = parsed(text, strlen(text));
    printed(&scenario, canonical);
    assert_string_equal(canonical, "scenario 1\nconnect a\nsend a \"a\\tb\"\n");
}

/* Binary files can begin with bytes that look like blanks. */
static void text_is_recognised_by_its_first_word(void **state) {
    static const struct {
        const char *bytes;
        bool text;
    } files[] = {
        {"scenario 1", true},
        {"\t\r\n# a\n\n  scenario", true},
        {"# scenario 1", false},
        {"\r\r\r", false},
        {"", false},
        {"Scenario 1\n", false},
        {"scenarios", false},
        {"connect a\nscenario 1\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        assert_int_equal(scenario_is_text(files[i].bytes, strlen(files[i].bytes)), files[i].text);
}

/* A text that does not fit is cut, and its full length returned. */
static void printing_is_cut_to_the_given_room(void **state) {
    static char whole[TEXT_MAX];
    (void)state;
    struct scenario scenario = parsed_file(SYNTAX_ACCEPTED "/every-step");
    size_t length = printed(&scenario, whole);
    for (size_t room = 0; room <= length; room++) {
        char *text = malloc(room > 0 ? room : 1);
        assert_non_null(text);
        assert_int_equal(scenario_print(&scenario, text, room), length);
        if (room > 0) assert_memory_equal(text, whole, room - 1);
        free(text);
    }
}

/* Exhaustive. */
static void oracle_maps_ascii_letters_alone(void **state) {
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        int expected = byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte;
        assert_int_equal(oracle_mapped((uint8_t)byte), expected);
    }
}

/* The idle sweep becomes due a millisecond before the retry of accept: two timeouts, each with its
 * own reason. After them nothing is due, and another timeout is a failure. */
static void each_due_time_justifies_one_timeout(void **state) {
    static struct oracle oracle;
    struct stream stream;
    struct scenario scenario = {.step_count = 0};
    (void)state;
    stream_init(&stream, &scenario);
    oracle_init(&oracle, &stream, 1000, 0);
    oracle_connected(&oracle, 0);
    oracle_accepted(&oracle, 0, 0);
    oracle_taken(&oracle, 0, 1, 10);
    oracle_refused(&oracle, 901);
    oracle_timed_out(&oracle, 901, 1001); /* the sweep; the next one is due from 1101 on */
    oracle_timed_out(&oracle, 1001, 1003);
    oracle_refused(&oracle, 1003);
    oracle_timed_out(&oracle, 1003, 1102);
    assert_false(oracle.failed);
    oracle_timed_out(&oracle, 1102, 1103);
    assert_false(oracle.failed);
    oracle_timed_out(&oracle, 1103, 1104);
    assert_true(oracle.failed);
}

/* A connection that is closed for idleness does not count for the next sweep. */
static void next_idle_sweep_ignores_connections_that_are_due_now(void **state) {
    static struct oracle oracle;
    struct stream stream;
    struct scenario scenario = {.step_count = 0};
    (void)state;
    stream_init(&stream, &scenario);
    oracle_init(&oracle, &stream, 1000, 0);
    oracle_connected(&oracle, 0);
    oracle_connected(&oracle, 1);
    oracle_accepted(&oracle, 0, 0);
    oracle_accepted(&oracle, 1, 432);
    oracle_timed_out(&oracle, 432, 1001); /* client 0 is closed; the other becomes idle at 1432 */
    oracle_taken(&oracle, 1, 1, 1002);
    oracle_refused(&oracle, 1002);
    oracle_timed_out(&oracle, 1002, 1103);
    oracle_refused(&oracle, 1406);
    oracle_timed_out(&oracle, 1406, 1433);
    assert_false(oracle.failed);
}

static void only_documented_errors_may_be_injected(void **state) {
    (void)state;
    for (int call = 0; call < CALL_KINDS; call++) {
        int errors = 0;
        for (int error = 0; error < ERROR_KINDS; error++)
            errors += scenario_may_fail((enum sim_call)call, (enum sim_error)error) ? 1 : 0;
        assert_true(errors > 0 && errors < ERROR_KINDS);
    }
    assert_true(scenario_may_fail(CALL_ACCEPT, ERROR_MFILE));
    assert_false(scenario_may_fail(CALL_RECEIVE, ERROR_MFILE));
    assert_false(scenario_may_fail(CALL_WAIT, ERROR_AGAIN));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_survives_both_notations),
        cmocka_unit_test(any_bytes_decode_to_a_valid_scenario),
        cmocka_unit_test(shared_syntax_files_are_accepted_and_rejected),
        cmocka_unit_test(parser_does_not_read_beyond_the_text),
        cmocka_unit_test(steps_are_limited_to_256),
        cmocka_unit_test(literals_are_limited_to_8192_bytes),
        cmocka_unit_test(tabs_and_blanks_separate_words),
        cmocka_unit_test(text_is_recognised_by_its_first_word),
        cmocka_unit_test(printing_is_cut_to_the_given_room),
        cmocka_unit_test(oracle_maps_ascii_letters_alone),
        cmocka_unit_test(each_due_time_justifies_one_timeout),
        cmocka_unit_test(next_idle_sweep_ignores_connections_that_are_due_now),
        cmocka_unit_test(only_documented_errors_may_be_injected),
    };
    return cmocka_run_group_tests_name("scenario", tests, NULL, NULL);
}
