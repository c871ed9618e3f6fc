//! Writing canonical JSON text piece by piece (RFC 8785, sections 3.2.2.1 to 3.2.2.3).

use crate::encoding::hex_digit;

/// Appends a string with its quotes, escaped in the one canonical way.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_utf8(out, text.as_bytes());
}

fn write_utf8(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    // Runs without anything to escape go over in one copy.
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else { break };
        write_escape(out, *byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends octets as a string by isomorphic decoding: byte 0xNN is the character U+00NN.
pub fn write_octets(out: &mut Vec<u8>, octets: &[u8]) {
    // ASCII is the same both ways, and nearly everything is ASCII.
    if octets.is_ascii() {
        return write_utf8(out, octets);
    }
    let text: String = octets.iter().map(|byte| char::from(*byte)).collect();
    write_string(out, &text);
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a non-negative integer in decimal.
pub fn write_unsigned(out: &mut Vec<u8>, mut number: u64) {
    // The longest u64 has twenty digits; they are made from the last to the first.
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or(&[]));
}

/// Appends an integer in decimal.
pub fn write_integer(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_unsigned(out, number.unsigned_abs());
}
