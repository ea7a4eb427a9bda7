#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| blueteam_fuzz::redteam_report(data));
