//! Regressions, seeds and mutations of them, with stable Rust.

use std::path::{Path, PathBuf};

use super::seeds::{noise, of};
use super::{TARGETS, body};

/// Where `make fuzz` has the seeds written to.
const WRITE: &str = "LIBQUEUE_FUZZ_SEEDS";

fn regressions(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
    let Ok(found) = std::fs::read_dir(folder.join(target)) else {
        return Vec::new();
    };
    let mut found: Vec<_> = found
        .map(|entry| entry.expect("entry").path())
        .map(|path| (path.clone(), std::fs::read(path).expect("a file")))
        .collect();
    found.sort();
    found
}

/// Says which input it was, as what to put into a regression.
fn run(target: &str, name: &str, data: &[u8]) {
    let done = std::panic::catch_unwind(|| body(target)(data));
    assert!(done.is_ok(), "{target} fails with {name}: {data:?}");
}

fn mutate(bytes: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..1 + noise(state) % 4 {
        let at = noise(state) as usize % bytes.len().max(1);
        match noise(state) % 6 {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << (noise(state) % 8),
            1 if !bytes.is_empty() => bytes[at] = noise(state) as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at.min(bytes.len()), noise(state) as u8),
            4 => bytes.extend((0..noise(state) % 9).map(|n| n as u8)),
            _ => {
                let odd = [0, 0xFF, 0x7F, 0x80][noise(state) as usize % 4];
                bytes.iter_mut().skip(at).take(4).for_each(|b| *b = odd);
            }
        }
    }
}

/// Seeds, and as many mutations of them.
fn run_seeds(target: &str, mutations: usize) {
    let seeds = of(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for seed in &seeds {
        run(target, "a seed", seed);
    }
    let mut state = 1;
    for number in 0..mutations {
        let mut bytes = seeds[number % seeds.len()].clone();
        mutate(&mut bytes, &mut state);
        run(target, "a mutation", &bytes);
    }
}

#[test]
fn p18_found_cases_stay_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
    for entry in std::fs::read_dir(folder).expect("the regressions") {
        let name = entry.expect("entry").file_name();
        let known = TARGETS.iter().any(|(target, _)| name == **target);
        assert!(known, "{name:?} is no target");
    }
    for (target, _) in TARGETS {
        for (path, data) in regressions(target) {
            run(target, &path.display().to_string(), &data);
        }
    }
}

#[test]
fn every_target_has_its_file_for_the_fuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("Cargo.toml");
    for (target, _) in TARGETS {
        let file = format!("fuzz_targets/{target}.rs");
        let text = std::fs::read_to_string(fuzz.join(&file)).expect(&file);
        assert!(text.contains(&format!("\"{target}\"")), "{file}");
        assert!(manifest.contains(&file), "{file} is not in Cargo.toml");
    }
}

#[test]
fn p18_no_decoder_panics_over_mutations() {
    for (target, _) in &TARGETS[..10] {
        run_seeds(target, 4_000);
    }
}

#[test]
fn p18_no_import_panics_over_mutations_and_what_comes_in_is_whole() {
    run_seeds("import", 150);
}

#[test]
fn p18_no_import_of_lines_panics_over_mutations_and_what_comes_in_is_whole() {
    run_seeds("import_lines", 150);
}

#[test]
fn p18_no_dump_and_no_verify_panics_over_mutations() {
    run_seeds("dump", 1_000);
    run_seeds("verify", 150);
}

#[test]
fn p3_p18_a_damaged_store_gives_errors_or_right_data() {
    run_seeds("opening", 150);
}

#[test]
fn p3_p18_what_is_copied_out_of_a_damaged_store_is_whole() {
    run_seeds("recover", 100);
}

#[test]
fn p18_a_process_outlives_changes_of_control() {
    run_seeds("control", 60);
}

#[test]
fn p18_a_process_outlives_changes_of_windows_and_segments() {
    run_seeds("files", 60);
}

#[test]
fn p6_p10_p11_p12_a_plain_model_agrees() {
    run_seeds("model", 150);
}

/// By `make fuzz`, which gives a folder.
#[test]
fn seeds_are_written_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os(WRITE) else {
        return;
    };
    for (target, _) in TARGETS {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("folder");
        let regressions = regressions(target).into_iter().map(|(_, data)| data);
        for (number, data) in of(target).into_iter().chain(regressions).enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), data).expect("write");
        }
    }
}
