//! The rooms against what the reference's own rooms say: `tests/vectors`, written by its core.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::Value;

use crate::connection::{Connection, State, Want};
use crate::outcome::Outcome;
use crate::token::{Slot, Token};
use crate::upper::upper;

/// Checks each vector of a room; `false` says that this language cannot express it. Gives how many
/// were checked.
fn check(room: &str, mut check: impl FnMut(&Value) -> bool) -> usize {
    let file = format!("../../../tests/vectors/{room}.json");
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
        "INTERRUPTED" => Outcome::Interrupted,
        "WOULD_BLOCK" => Outcome::WouldBlock,
        "END" => Outcome::End,
        "RESET" => Outcome::Reset,
        "FAILED" => Outcome::Failed,
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
                Ok(count) => Ok(count),
                Err(_) => return false, // less than nothing: Rust's calls cannot say so
            },
            fault => Err(io::Error::from(kind_of(fault))),
        };
        let actual = match text(vector, "call") {
            "receive" => Outcome::of_receive(result, asked),
            "send" => Outcome::of_send(result, asked),
            _ => return false, // accept gives a stream, not a number
        };
        let count = text(vector, "count").parse().unwrap();
        assert_eq!(actual, outcome(vector, count), "{vector}");
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
    let wants = match text(vector, "wants") {
        "READ" => Want::Read,
        "WRITE" => Want::Write,
        "SHUTDOWN" => Want::Shutdown,
        "CLOSE" => Want::Close,
        other => panic!("{other} is nothing to want"),
    };
    assert_eq!(connection.wants(), wants, "{vector}");
    if wants == Want::Read {
        assert_eq!(connection.receive_max(16), number(vector, "receive_max"), "{vector}");
    }
}

#[test]
fn connection_does_what_the_reference_does() {
    let checked = check("connection", |vector| {
        let mut actual = connection(&vector["before"]);
        assert_wants(&actual, &vector["before"]);
        match text(vector, "event") {
            "received" => actual.received(outcome(vector, number(vector, "count"))),
            "sent" => actual.sent(outcome(vector, number(vector, "count"))),
            "stop" => actual.stop(number(vector, "unread")),
            "shut" => actual.shut(),
            "expire" => actual.lose(),
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
    let mut slot = Slot::default();
    let checked = check("token", |vector| {
        let (number, generation) = (number(vector, "slot") as u32, number(vector, "generation"));
        let token = Token { slot: number, generation: generation as u32 };
        let packed = text(vector, "packed").trim_start_matches("0x");
        let packed = mio::Token(usize::from_str_radix(packed, 16).unwrap());
        assert_eq!(mio::Token::from(token), packed, "{vector}");
        assert_eq!(Token::from(packed), token, "{vector}");
        match text(vector, "step") {
            "begin" => slot = Slot { generation: token.generation, live: false },
            "issue" => assert_eq!(slot.issue(number), token, "{vector}"),
            "resolve" => assert_eq!(slot.holds(token), vector["resolves"] == true, "{vector}"),
            "release" => slot.release(),
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
