#pragma once

#include <stddef.h>
#include <stdint.h>

/* What went wrong in a system call, without errno: its numbers differ between systems. */
enum fault {
    FAULT_NONE,
    FAULT_WOULD_BLOCK, /* EAGAIN, EWOULDBLOCK */
    FAULT_INTERRUPTED, /* EINTR */
    FAULT_RESET,       /* ECONNRESET */
    FAULT_PIPE,        /* EPIPE */
    FAULT_ABORTED,     /* ECONNABORTED, EPROTO: gone before it was accepted */
    FAULT_DESCRIPTORS, /* EMFILE, ENFILE */
    FAULT_MEMORY,      /* ENOMEM, ENOBUFS */
    FAULT_NOT_FOUND,   /* ENOENT */
    FAULT_EXISTS,      /* EEXIST */
    FAULT_NO_SPACE,    /* ENOSPC */
    FAULT_OTHER        /* any other error */
};

/* What a system call returned. */
struct result {
    int64_t value;    /* its value; without meaning if there is a fault */
    enum fault fault; /* FAULT_NONE if it succeeded */
    int32_t raw;      /* errno, for the log alone */
};

/* What a result means for a connection. This is close detection: END and RESET come from here and
 * from nowhere else, whatever hints a poller gave. */
enum outcome_kind {
    OUTCOME_MOVED,       /* `count` bytes passed, at least one (of accept: one connection) */
    OUTCOME_INTERRUPTED, /* a signal came first: nothing passed, ask again at once */
    OUTCOME_WOULD_BLOCK, /* nothing passed: wait */
    OUTCOME_END,         /* the peer will send no more, and all that it sent was received */
    OUTCOME_RESET,       /* the connection is gone: FAULT_RESET, _PIPE or _ABORTED */
    OUTCOME_FAILED       /* so is this one, for the reason that `fault` tells */
};

struct outcome {
    enum outcome_kind kind;
    enum fault fault; /* the call's own; FAULT_OTHER for a value that no kernel may return */
    size_t count;     /* 0 unless MOVED */
};

/*@
#include "core/acsl/outcome.acsl"
*/

/* Classifies what receive returned when it was asked for up to `asked` bytes.
 *
 * ensures   MOVED only with 1 <= count <= asked; END only for 0 of more than 0 asked (0 of 0 says
 *           nothing and is WOULD_BLOCK); a value that no kernel may return is FAILED
 * source    recv(2): 0 is the peer's orderly shutdown, unless 0 bytes were asked for
 * carries   CLOSE-1, CLOSE-2, CLOSE-5, FAULT-1
 */
/*@ assigns  \nothing;
  @ ensures  fault: !Succeeded(result) ==> OutcomeOfFault(\result, result.fault);
  @ ensures  moved: Succeeded(result) && 1 <= result.value <= asked ==>
  @            OutcomeMoved(\result, result.value);
  @ ensures  end: Succeeded(result) && result.value == 0 && asked > 0 ==>
  @            OutcomeNothing(\result, OUTCOME_END, FAULT_NONE);
  @ ensures  idle: Succeeded(result) && result.value == 0 && asked == 0 ==>
  @            OutcomeNothing(\result, OUTCOME_WOULD_BLOCK, FAULT_NONE);
  @ ensures  absurd: Succeeded(result) && !(0 <= result.value <= asked) ==>
  @            OutcomeNothing(\result, OUTCOME_FAILED, FAULT_OTHER);
  @*/
struct outcome outcome_of_receive(struct result result, size_t asked);

/* Classifies what send returned when it was given `asked` bytes.
 *
 * ensures   MOVED only with 1 <= count <= asked; never END: 0 is WOULD_BLOCK; EPIPE is RESET, for
 *           we never send after our own shutdown
 * carries   CLOSE-5, FAULT-1, FLOW-2
 */
/*@ assigns  \nothing;
  @ ensures  fault: !Succeeded(result) ==> OutcomeOfFault(\result, result.fault);
  @ ensures  moved: Succeeded(result) && 1 <= result.value <= asked ==>
  @            OutcomeMoved(\result, result.value);
  @ ensures  nothing: Succeeded(result) && result.value == 0 ==>
  @            OutcomeNothing(\result, OUTCOME_WOULD_BLOCK, FAULT_NONE);
  @ ensures  absurd: Succeeded(result) && !(0 <= result.value <= asked) ==>
  @            OutcomeNothing(\result, OUTCOME_FAILED, FAULT_OTHER);
  @*/
struct outcome outcome_of_send(struct result result, size_t asked);

/* Classifies what accept returned.
 *
 * ensures   MOVED with count 1 for a new descriptor, 0 to INT32_MAX; RESET for a client that was
 *           gone before it was accepted, so that the next may be tried at once; FAILED for a
 *           fault of another kind, as of descriptors or memory; never END
 * carries   FAULT-2, FAULT-3
 */
/*@ assigns  \nothing;
  @ ensures  fault: !Succeeded(result) ==> OutcomeOfFault(\result, result.fault);
  @ ensures  accepted: Succeeded(result) && 0 <= result.value <= INT32_MAX ==>
  @            OutcomeMoved(\result, 1);
  @ ensures  absurd: Succeeded(result) && !(0 <= result.value <= INT32_MAX) ==>
  @            OutcomeNothing(\result, OUTCOME_FAILED, FAULT_OTHER);
  @*/
struct outcome outcome_of_accept(struct result result);
