//! The service.

/// ASCII a-z to A-Z in place. Bytes, not text: from 0x80 on nothing is a letter here.
pub fn upper(bytes: &mut [u8]) {
    bytes.make_ascii_uppercase();
}
