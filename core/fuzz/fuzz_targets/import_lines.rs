#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| libqueue::fuzzing::run("import_lines", data));
