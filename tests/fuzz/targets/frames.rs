//! The budget of HTTP/2 frames that are no request: the same count however the bytes are cut, and the one that a walk
//! over the whole frames gives.

#![no_main]

use hublatch::server::io::http2_io::{Exceeded, ControlFrameLimiter};
use libfuzzer_sys::fuzz_target;

const BUDGET: u32 = 5;

/// How many frames in `bytes` are no part of a request (RFC 9113 § 6).
fn control_frames(bytes: &[u8], busy: bool) -> u32 {
    let mut rest = bytes.get(24..).unwrap_or_default();
    let mut count = 0;
    while let Some((head, payload)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (is_data, is_end, is_padded) = (head[3] == 0, head[4] & 1 != 0, head[4] & 8 != 0);
        let is_request = match head[3] {
            _ if is_data && is_padded => false,
            _ if is_data => length > 0 || is_end,
            1 | 9 => true,
            8 => busy,
            _ => false,
        };
        count += u32::from(!is_request);
        rest = payload.get(length..).unwrap_or_default();
    }
    count
}

fn follow(bytes: &[u8], step: usize, busy: bool) -> Result<(), Exceeded> {
    let mut meter = ControlFrameLimiter::new(BUDGET);
    bytes.chunks(step).try_for_each(|piece| meter.read(piece, busy))
}

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let (busy, step) = (first & 1 == 1, usize::from(first >> 1) + 1);
    let exceeds = control_frames(bytes, busy) > BUDGET;
    for step in [1, step, usize::MAX] {
        assert_eq!(follow(bytes, step, busy).is_err(), exceeds, "in pieces of {step}");
    }
});
