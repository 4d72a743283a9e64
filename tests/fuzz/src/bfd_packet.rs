//! A BFD control packet decodes or is refused, and what decodes is written back as it was.

use ironlb_bfd::{EchoPayload, LENGTH, Packet};

/// Panics when `payload` breaks it.
pub fn run(payload: &[u8]) {
    match Packet::decode(payload) {
        Ok(packet) => {
            let mut written = Vec::new();
            packet.encode(&mut written);
            // The length is written anew: it may have counted an authentication section.
            let mut read = payload[..LENGTH].to_vec();
            read[3] = 24;
            assert_eq!(written, read);
            assert!(packet.detect_multiplier > 0 && packet.my_discriminator > 0);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Some(echo) = EchoPayload::decode(payload) {
        let mut written = Vec::new();
        echo.encode(&mut written);
        assert_eq!(written, payload);
    }
}
