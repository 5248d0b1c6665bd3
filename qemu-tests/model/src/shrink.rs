// SPDX-License-Identifier: GPL-2.0

//! Shrinks a failing sequence.

/// Removes from a failing sequence what is not needed for the failure, larger parts first.
///
/// `failing_prefix` tries a sequence and returns the length of its shortest failing prefix, or `None` if it does not fail.
pub fn shrink<T: Clone>(
    mut sequence: Vec<T>,
    mut failing_prefix: impl FnMut(&[T]) -> Option<usize>,
) -> Vec<T> {
    let mut part = sequence.len() / 2;
    while part > 0 {
        let mut at = 0;
        let mut is_shorter = false;
        while at + part <= sequence.len() {
            let shorter = [&sequence[..at], &sequence[at + part..]].concat();
            match failing_prefix(&shorter) {
                Some(len) => {
                    sequence = shorter[..len].to_vec();
                    is_shorter = true;
                }
                None => at += part,
            }
        }
        // A removed item may have been the reason why an earlier one was needed.
        if !(is_shorter && part == 1) {
            part /= 2;
        }
    }
    sequence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_what_is_needed() {
        let mut tries = 0;
        let needs_3_then_57 = |sequence: &[i32]| {
            tries += 1;
            let third = sequence.iter().position(|x| *x == 3)?;
            let last = sequence.iter().skip(third).position(|x| *x == 57)?;
            Some(third + last + 1)
        };
        assert_eq!(shrink((0..100).collect(), needs_3_then_57), [3, 57]);
        assert!(tries < 40, "{tries}");
    }
}
