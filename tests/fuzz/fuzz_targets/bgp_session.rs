#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironlb_fuzz::bgp_session::run(bytes));
