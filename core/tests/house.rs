//! Guards over the sources: layers point downwards, unsafe stays in its rooms, files stay small.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up; a module uses those before it, and itself.
const LAYERS: [&str; 10] = [
    "error", "options", "format", "clock", "shm", "storage", "log", "group", "store", "inspect",
];
/// Where `unsafe` may stand.
const ROOMS: [&str; 3] = ["core/src/shm/", "ffi/src/", "benches/src/probe.rs"];
/// Lines of a file, by the file's ending. Headers that users read whole are not split.
const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;
const SKIPPED: [&str; 5] = ["target", "build", ".git", ".venv", "__pycache__"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file with one of these endings, with its path from the root.
fn sources(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                walk(&path, found);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    let (root, mut paths) = (root(), Vec::new());
    walk(&root, &mut paths);
    paths.sort();
    let ending = |path: &Path| path.extension().map(|e| e.to_string_lossy().into_owned());
    paths
        .into_iter()
        .filter(|path| ending(path).is_some_and(|e| endings.contains(&e.as_str())))
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The source without its unit tests, which may use what they like.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs")
}

/// Names that follow `crate::` in code, whole `use crate::{...}` lists included.
fn uses_of(source: &str) -> Vec<&str> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            rest.get(..end.unwrap_or(rest.len()))
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn layers_point_downwards() {
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut looked_at = 0;
    for (name, source) in sources(&["rs"]) {
        let Some(inside) = name.strip_prefix("core/src/") else {
            continue;
        };
        let layer = inside.split(['/', '.']).next().unwrap();
        if layer == "lib" || is_test(&name) {
            continue;
        }
        let own = rank(layer).unwrap_or_else(|| panic!("{name} is in no layer"));
        for used in uses_of(without_tests(&source)) {
            let Some(other) = rank(used) else {
                panic!("{name} uses crate::{used}, which is in no layer");
            };
            assert!(
                other <= own,
                "{name}: {layer} uses {used}, which is above it"
            );
            looked_at += 1;
        }
    }
    assert!(
        looked_at > 100,
        "the guard found {looked_at} uses only: it sees nothing"
    );
}

#[test]
fn other_crates_use_the_public_core_alone() {
    for (name, source) in sources(&["rs"]) {
        let outside = ["ffi/", "python/", "benches/"]
            .iter()
            .any(|crate_| name.starts_with(crate_));
        let reaches_in = source.contains("#[path") || source.contains("core/src");
        assert!(
            !(outside && reaches_in),
            "{name} reaches into the core's sources"
        );
    }
}

#[test]
fn unsafe_stays_in_its_rooms_and_is_argued() {
    let mut rooms_used = 0;
    for (name, source) in sources(&["rs"]) {
        if name == "core/tests/house.rs" {
            continue;
        }
        let lines: Vec<&str> = source.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let is_unsafe = code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe");
            if !is_unsafe {
                continue;
            }
            let place = format!("{name}:{}", number + 1);
            assert!(
                ROOMS.iter().any(|room| name.starts_with(room)),
                "{place}: unsafe outside"
            );
            rooms_used += 1;
            let is_block = code.contains("unsafe {") || code.contains("unsafe impl");
            let argued = lines[number.saturating_sub(8)..=number]
                .iter()
                .any(|line| line.contains("SAFETY:"));
            assert!(!is_block || argued, "{place}: no SAFETY argument");
        }
    }
    assert!(
        rooms_used > 10,
        "the guard found {rooms_used} places only: it sees nothing"
    );
}

#[test]
fn files_are_small_and_finished() {
    // Written apart, so that this file does not find itself.
    let unfinished = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["to", "do!("],
        ["unimple", "mented!("],
    ];
    for (name, source) in sources(&["rs", "py", "pyi", "c", "cpp", "hpp", "sh", "mk"]) {
        let generated = ["include/libqueue.h", "python/package/libqueue/_native.pyi"];
        let whole = generated.contains(&name.as_str()) || name.starts_with("include/");
        let count = source.lines().count();
        assert!(
            whole || count <= LINES_MAX,
            "{name} has {count} lines; at most {LINES_MAX}"
        );
        for (number, line) in source.lines().enumerate() {
            let place = format!("{name}:{}", number + 1);
            let wide = line.chars().count();
            assert!(
                wide <= COLUMNS_MAX,
                "{place} has {wide} columns; at most {COLUMNS_MAX}"
            );
            for word in &unfinished {
                assert!(!line.contains(&word.concat()), "{place}: {}", word.concat());
            }
        }
    }
}
