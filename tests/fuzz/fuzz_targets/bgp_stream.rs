#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ironlb_fuzz::bgp_stream::run(bytes));
