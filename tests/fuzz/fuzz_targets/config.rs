#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironlb_fuzz::config::run(bytes));
