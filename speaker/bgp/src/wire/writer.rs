//! Lengths that are known only once what they count is written.

/// Appends what `body` writes behind its length in one octet. What goes beyond 255 bytes is cut off.
pub(crate) fn counted_u8(to: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = to.len();
    to.push(0);
    body(to);
    to.truncate(at + 1 + usize::from(u8::MAX));
    let length = u8::try_from(to.len() - at - 1).unwrap_or(u8::MAX);
    if let Some(field) = to.get_mut(at) {
        *field = length;
    }
}

/// Appends what `body` writes behind its length in two octets. What goes beyond 65,535 bytes is cut off.
pub(crate) fn counted_u16(to: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = to.len();
    to.extend_from_slice(&[0, 0]);
    body(to);
    to.truncate(at + 2 + usize::from(u16::MAX));
    let length = to.len() - at - 2;
    set_u16(to, at, length);
}

/// Overwrites the two octets at `at`. A number that they cannot hold becomes the largest that they can.
pub(crate) fn set_u16(to: &mut [u8], at: usize, number: usize) {
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    if let Some(field) = to.get_mut(at..at + 2) {
        field.copy_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_counts_what_was_written_behind_it() {
        let mut bytes = vec![7];
        counted_u8(&mut bytes, |to| {
            counted_u16(to, |to| to.extend_from_slice(&[1, 2, 3]));
        });
        assert_eq!(bytes, [7, 5, 0, 3, 1, 2, 3]);
    }

    #[test]
    fn what_a_length_cannot_count_is_cut_off() {
        let mut bytes = Vec::new();
        counted_u8(&mut bytes, |to| to.extend_from_slice(&[1; 300]));
        assert_eq!((bytes.len(), bytes[0]), (256, 255));
    }
}
