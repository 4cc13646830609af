#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::frames::run(input));
