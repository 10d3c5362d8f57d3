#pragma once

#include <stddef.h>
#include <stdint.h>

/* The error of a system call. errno is not used: its numbers differ between systems. */
enum fault {
    FAULT_NONE,
    FAULT_WOULD_BLOCK, /* EAGAIN, EWOULDBLOCK */
    FAULT_INTERRUPTED, /* EINTR */
    FAULT_RESET,       /* ECONNRESET, ENOTCONN */
    FAULT_PIPE,        /* EPIPE */
    FAULT_ABORTED,     /* ECONNABORTED, EPROTO: closed before it was accepted */
    FAULT_DESCRIPTORS, /* EMFILE, ENFILE */
    FAULT_MEMORY,      /* ENOMEM, ENOBUFS */
    FAULT_NOT_FOUND,   /* ENOENT */
    FAULT_EXISTS,      /* EEXIST */
    FAULT_NO_SPACE,    /* ENOSPC */
    FAULT_OTHER        /* any other error */
};

/* The result of a system call. */
struct result {
    int64_t value;    /* the return value; undefined if there is a fault */
    enum fault fault; /* FAULT_NONE if it succeeded */
    int32_t raw;      /* errno, for the log only */
};

/* What a result means for a connection. Close detection happens here and nowhere else: END and
 * RESET never come from a poller's flags. */
enum outcome_kind {
    OUTCOME_MOVED,       /* `count` bytes were transferred, at least one (accept: one connection) */
    OUTCOME_INTERRUPTED, /* by a signal: nothing was transferred, retry at once */
    OUTCOME_WOULD_BLOCK, /* nothing was transferred: wait */
    OUTCOME_END,         /* the peer's FIN: all that it sent was received */
    OUTCOME_RESET,       /* the connection no longer exists: FAULT_RESET, _PIPE or _ABORTED */
    OUTCOME_FAILED       /* any other error: `fault` */
};

struct outcome {
    enum outcome_kind kind;
    enum fault fault; /* of the call; FAULT_OTHER for a value that no kernel may return */
    size_t count;     /* 0 unless MOVED */
};

/*@
#include "core/acsl/outcome.acsl"
*/

/* Classifies the result of a receive of up to `asked` bytes.
 *
 * ensures   MOVED only with 1 <= count <= asked; END only for 0 if `asked` is not 0 (otherwise it
 *           means nothing: WOULD_BLOCK); FAILED for a value that no kernel may return
 * source    recv(2): 0 is the peer's orderly shutdown, unless 0 bytes were requested
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

/* Classifies the result of a send of `asked` bytes.
 *
 * ensures   MOVED only with 1 <= count <= asked; never END: 0 is WOULD_BLOCK; EPIPE is RESET,
 *           because the server never sends after its own shutdown
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

/* Classifies the result of an accept.
 *
 * ensures   MOVED with count 1 for a new descriptor, 0 to INT32_MAX; RESET for a client that was
 *           closed before it was accepted: the next can be tried at once; FAILED for any other
 *           fault, such as descriptors or memory; never END
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
