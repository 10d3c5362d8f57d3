//! The modules compared with those of the reference: `tests/vectors`, written by its core. What
//! a poller reports (`readiness_*.json`) mio reads itself.

use std::io::{self, ErrorKind};
use std::path::Path;

use mio::Token;
use serde_json::Value;

use crate::{next_guest, upper, Connection, Outcome, State, Want};

/// Checks each vector of a module; `false` means that Rust cannot express it. Returns how many
/// were checked.
fn check(module: &str, mut check: impl FnMut(&Value) -> bool) -> usize {
    let file = format!("../../../tests/vectors/{module}.json");
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where we are");
    let path = Path::new(&here).join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    vectors.iter().filter(|vector| check(vector)).count()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {vector}"))
}

fn number(vector: &Value, name: &str) -> usize {
    vector[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {vector}")) as usize
}

fn outcome(vector: &Value, count: usize) -> Outcome {
    match text(vector, "outcome") {
        "MOVED" => Outcome::Moved(count),
        // This port does the same after either of these.
        "INTERRUPTED" | "WOULD_BLOCK" => Outcome::NotYet,
        "END" => Outcome::End,
        "RESET" | "FAILED" => Outcome::Lost,
        other => panic!("{other} is no outcome"),
    }
}

/// The reference's faults as this language has them.
fn kind_of(fault: &str) -> ErrorKind {
    match fault {
        "WOULD_BLOCK" => ErrorKind::WouldBlock,
        "INTERRUPTED" => ErrorKind::Interrupted,
        "RESET" => ErrorKind::ConnectionReset,
        "PIPE" => ErrorKind::BrokenPipe,
        "ABORTED" => ErrorKind::ConnectionAborted,
        "MEMORY" => ErrorKind::OutOfMemory,
        "NOT_FOUND" => ErrorKind::NotFound,
        "EXISTS" => ErrorKind::AlreadyExists,
        "DESCRIPTORS" | "NO_SPACE" | "OTHER" => ErrorKind::Other,
        other => panic!("{other} is no fault"),
    }
}

#[test]
fn outcome_says_what_the_reference_says() {
    let checked = check("outcome", |vector| {
        let asked: usize = text(vector, "asked").parse().unwrap();
        let result = match text(vector, "fault") {
            "NONE" => match text(vector, "value").parse::<usize>() {
                Ok(count) if count <= asked => Ok(count),
                _ => return false, // a negative count, or too many: Rust has none
            },
            fault => Err(io::Error::from(kind_of(fault))),
        };
        let of_nothing = match text(vector, "call") {
            // A read without room: this port never makes one.
            "receive" if asked == 0 && result.is_ok() => return false,
            "receive" => Outcome::End,
            "send" => Outcome::NotYet,
            _ => return false, // accept gives a stream, not a number
        };
        let count = text(vector, "count").parse().unwrap();
        assert_eq!(Outcome::of(result, of_nothing), outcome(vector, count), "{vector}");
        true
    });
    assert!(checked > 200, "{checked}");
}

fn connection(vector: &Value) -> Connection {
    let state = match text(vector, "state") {
        "OPEN" => State::Open,
        "STOPPING" => State::Stopping { owed: number(vector, "owed") },
        "LINGERING" => State::Lingering,
        "DONE" => return Connection { state: State::Done, pending: 0 },
        other => panic!("{other} is no state"),
    };
    Connection { state, pending: number(vector, "pending") }
}

fn assert_wants(connection: &Connection, vector: &Value) {
    match (connection.wants(), text(vector, "wants")) {
        (Want::Read { max }, "READ") => {
            assert_eq!(max.min(16), number(vector, "receive_max"), "{vector}");
        }
        (Want::Write, "WRITE") | (Want::Shutdown, "SHUTDOWN") | (Want::Close, "CLOSE") => (),
        (actual, _) => panic!("{actual:?}: {vector}"),
    }
}

#[test]
fn connection_does_what_the_reference_does() {
    let checked = check("connection", |vector| {
        let mut actual = connection(&vector["before"]);
        assert_wants(&actual, &vector["before"]);
        match text(vector, "event") {
            "received" | "sent" => actual.tried(outcome(vector, number(vector, "count"))),
            "stop" => actual.state = State::Stopping { owed: number(vector, "unread") },
            "shut" => actual.tried(Outcome::Moved(0)),
            "expire" => actual.tried(Outcome::Lost),
            other => panic!("{other} is no event"),
        }
        assert_wants(&actual, &vector["after"]);
        let after = connection(&vector["after"]);
        assert_eq!(actual.state, after.state, "{vector}");
        if after.state != State::Done {
            assert_eq!(actual.pending, after.pending, "{vector}");
        }
        true
    });
    assert!(checked > 100, "{checked}");
}

#[test]
fn tokens_resolve_as_in_the_reference() {
    let mut slot = (Token(0), None); // as the server keeps it
    let checked = check("token", |vector| {
        let packed = text(vector, "packed").trim_start_matches("0x");
        let token = Token(usize::from_str_radix(packed, 16).unwrap());
        match text(vector, "step") {
            "begin" => slot = (token, None),
            "issue" => {
                slot = (next_guest(slot.0), Some(()));
                assert_eq!(slot.0, token, "{vector}");
            }
            "resolve" => {
                let resolves = slot.1.is_some() && slot.0 == token;
                assert_eq!(resolves, vector["resolves"] == true, "{vector}");
            }
            "release" => slot.1 = None,
            other => panic!("{other} is no step"),
        }
        true
    });
    assert!(checked > 50, "{checked}");
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn upper_maps_as_the_reference_does() {
    let checked = check("upper", |vector| {
        let mut actual = bytes(text(vector, "input"));
        upper(&mut actual);
        assert_eq!(actual, bytes(text(vector, "output")), "{vector}");
        true
    });
    assert!(checked > 9, "{checked}");
}
