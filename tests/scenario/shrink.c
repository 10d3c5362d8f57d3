#include "scenario/shrink.h"

#include <string.h>

static const struct run_target *run_on;

/* A candidate must still be a valid sequence of steps. */
static bool makes_sense(const struct scenario *scenario) {
    struct scenario_state state = {.frozen = false};
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        if (scenario_take(&state, &scenario->steps[i]) != NULL) return false;
    }
    return true;
}

static bool fails(const struct scenario *scenario) {
    struct run_result results[2];
    return makes_sense(scenario) && !run_all(run_on, scenario, RUN_ORACLE, results);
}

/* Keeps a candidate if it still fails. */
static bool adopt(struct scenario *scenario, const struct scenario *smaller) {
    if (!fails(smaller)) return false;
    *scenario = *smaller;
    return true;
}

/* Clients are numbered in the order in which they connect, as a parser will number them: what they
 * send depends on it, so what is tried must be what is printed. */
static void number_clients(struct scenario *scenario) {
    uint32_t numbers[WHO_KINDS];
    for (uint32_t i = 0; i < WHO_KINDS; i++)
        numbers[i] = i;
    scenario->client_count = 0;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        struct step *step = &scenario->steps[i];
        if (step->kind > STEP_EXPECT_CLOSE) continue; /* not a client's step */
        if (step->kind == STEP_CONNECT) numbers[step->client] = scenario->client_count++;
        step->client = numbers[step->client];
    }
}

static void remove_steps(struct scenario *scenario, uint32_t at, uint32_t count) {
    memmove(&scenario->steps[at], &scenario->steps[at + count],
            (scenario->step_count - at - count) * sizeof scenario->steps[0]);
    scenario->step_count -= count;
    number_clients(scenario);
}

/* Removes runs of steps, long ones first. */
static bool shrink_steps(struct scenario *scenario) {
    static struct scenario smaller;
    bool any = false;
    for (uint32_t length = scenario->step_count; length > 0; length /= 2) {
        for (uint32_t at = 0; at + length <= scenario->step_count;) {
            smaller = *scenario;
            remove_steps(&smaller, at, length);
            if (adopt(scenario, &smaller))
                any = true;
            else
                at++;
        }
    }
    return any;
}

static bool shrink_number(struct scenario *scenario, size_t offset, uint32_t least) {
    static struct scenario smaller;
    bool any = false;
    uint32_t value;
    memcpy(&value, (const char *)scenario + offset, sizeof value);
    const uint32_t tries[] = {least, value / 2, value - 1};
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        if (value <= least || tries[i] >= value || tries[i] < least) continue;
        smaller = *scenario;
        memcpy((char *)&smaller + offset, &tries[i], sizeof tries[i]);
        if (!adopt(scenario, &smaller)) continue;
        value = tries[i];
        any = true;
    }
    return any;
}

static bool shrink_counts(struct scenario *scenario) {
    bool any = false;
    for (uint32_t i = 0; i < scenario->step_count; i++) {
        const struct step *step = &scenario->steps[i];
        bool counts =
            step->kind == STEP_SEND || step->kind == STEP_EXPECT || scenario_is_short(step->kind);
        size_t offset = (size_t)((const char *)&step->count - (const char *)scenario);
        any |= shrink_number(scenario, offset, counts ? 1 : 0);
    }
    return any;
}

/* Removes faults and choices one by one. */
static bool shrink_lists(struct scenario *scenario) {
    static struct scenario smaller;
    bool any = false;
    for (uint32_t at = 0; at < scenario->fault_count;) {
        smaller = *scenario;
        memmove(&smaller.faults[at], &smaller.faults[at + 1],
                (--smaller.fault_count - at) * sizeof smaller.faults[0]);
        if (adopt(scenario, &smaller))
            any = true;
        else
            at++;
    }
    for (uint32_t at = 0; at < scenario->choice_count;) {
        smaller = *scenario;
        memmove(&smaller.choices[at], &smaller.choices[at + 1],
                (--smaller.choice_count - at) * sizeof smaller.choices[0]);
        if (adopt(scenario, &smaller))
            any = true;
        else
            at++;
    }
    return any;
}

static bool shrink_settings(struct scenario *scenario) {
    static struct scenario smaller;
    static const size_t offsets[] = {
        offsetof(struct scenario, kernel_receive), offsetof(struct scenario, kernel_send),
        offsetof(struct scenario, buffer_bytes),   offsetof(struct scenario, connections_max),
        offsetof(struct scenario, idle_timeout_s), offsetof(struct scenario, drain_timeout_s),
        offsetof(struct scenario, fault_count),    offsetof(struct scenario, choice_count),
    };
    bool any = false;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        smaller = *scenario;
        memset((char *)&smaller + offsets[i], 0, sizeof(uint32_t));
        if (memcmp(&smaller, scenario, offsetof(struct scenario, steps)) != 0)
            any |= adopt(scenario, &smaller);
    }
    for (uint32_t bit = 1; bit <= VARY_ALL; bit *= 2) {
        smaller = *scenario;
        smaller.vary &= ~bit;
        if (scenario->vary & bit) any |= adopt(scenario, &smaller);
    }
    return any;
}

static bool insert_choice(struct scenario *scenario, uint32_t at, struct step step) {
    static struct scenario other;
    if (scenario->step_count == SCENARIO_STEPS_MAX) return false;
    other = *scenario;
    memmove(&other.steps[at + 1], &other.steps[at],
            (other.step_count - at) * sizeof other.steps[0]);
    other.steps[at] = step;
    other.step_count++;
    return adopt(scenario, &other);
}

/* A failure that depends on a seed is hard to read. So the seed goes if the scenario fails without
 * variation, or with one step that states the kernel's choice; otherwise it stays. */
static bool shrink_chance(struct scenario *scenario) {
    static struct scenario certain;
    if (scenario->seed == 0 && scenario->vary == 0) return false;
    certain = *scenario;
    certain.seed = certain.vary = 0;
    bool found = fails(&certain);
    for (uint32_t at = 0; at <= certain.step_count && !found; at++) {
        for (uint32_t who = 0; who < WHO_KINDS && !found; who++) {
            found = insert_choice(&certain, at, (struct step){STEP_REPORT, .client = who});
            for (int kind = STEP_SHORT_RECEIVE; kind <= STEP_SHORT_SEND && !found; kind++)
                found = who < certain.client_count &&
                        insert_choice(&certain, at,
                                      (struct step){(enum step_kind)kind, who, .count = 1});
        }
    }
    if (found) *scenario = certain;
    return found;
}

void shrink(const struct run_target *target, struct scenario *scenario) {
    run_on = target;
    bool again = true;
    while (again) {
        again = shrink_steps(scenario);
        again |= shrink_settings(scenario);
        again |= shrink_lists(scenario);
        again |= shrink_counts(scenario);
        again |= shrink_chance(scenario);
    }
}
