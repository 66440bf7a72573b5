//! Style as tests over the sources: the direction of layers, the rooms of unsafe, sizes of files
//! and lines. ARCHITECTURE.md names the rules; each has a test of the rule itself, so that a rule
//! that cannot fail is noticed.

mod sources;

use std::fs;

use sources::{Source, code, is_word, root, rust, sources};

/// From the bottom up: a layer uses those before it.
const LAYERS: [&str; 12] = [
    "error",
    "options",
    "format",
    "shm",
    "clock",
    "storage",
    "log",
    "group",
    "store",
    "inspect",
    "fuzzing",
    "simulation",
];
/// Layers of one height that do not use each other.
const APART: [(&str, &str); 5] = [
    ("clock", "error"),
    ("options", "clock"),
    ("format", "clock"),
    ("format", "options"),
    ("shm", "format"),
];
const UNSAFE_ROOMS: [&str; 5] = [
    "core/src/shm/",
    "core/src/format/folded.rs",
    "ffi/src/",
    "benches/src/probe/",
    "benches/peers/rust/src/lmdb.rs",
];
/// A safety argument stands at most so many lines above what it argues.
const ARGUMENT_LINES: usize = 10;
const MOST_LINES: usize = 450;
const MOST_COLUMNS: usize = 100;
/// One file by nature: a generated header, a header-only wrapper, the stub of one native module.
const LONG_FILES: [&str; 3] = [
    "include/libqueue.h",
    "include/libqueue.hpp",
    "python/package/libqueue/_native.pyi",
];

/// The names that are reached from the crate's root: behind `crate::`, and behind as many `super::`
/// as lead out of the file's module. `depth` is how many modules the file lies below the root.
fn reached(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut braces, mut inline) = (0_usize, Vec::new());
    for (number, line) in code.lines().enumerate() {
        let module = line
            .trim_start()
            .trim_start_matches("pub ")
            .starts_with("mod ");
        if module && line.contains('{') {
            inline.push(braces);
        }
        let up = "super::".repeat(depth + inline.len());
        for start in ["crate::", &up] {
            for (place, _) in line.match_indices(start) {
                // Not the tail of a longer path.
                if start.is_empty() || line[..place].ends_with(|c| is_word(c) || c == ':') {
                    continue;
                }
                let rest: String = code.lines().skip(number).collect::<Vec<_>>().join("\n");
                let names = names_behind(&rest[place + start.len()..]);
                found.extend(names.into_iter().map(|name| (number + 1, name)));
            }
        }
        for c in line.chars() {
            match c {
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    inline.retain(|opened| *opened < braces);
                }
                _ => {}
            }
        }
    }
    found
}

/// The first name of each path in `name::...` or `{name::..., name, ...}`.
fn names_behind(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String { text.trim().chars().take_while(|c| is_word(*c)).collect() };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let (mut depth, mut names, mut current) = (0, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(word(&std::mem::take(&mut current))),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c != ',' || depth > 0 {
            current.push(c);
        }
    }
    names.push(word(&current));
    names.retain(|name| !name.is_empty());
    names
}

/// The layer of each name that `lib.rs` exports from one, and of each layer itself.
fn homes(lib: &str) -> Vec<(String, String)> {
    let mut homes: Vec<(String, String)> = LAYERS.map(|l| (l.to_owned(), l.to_owned())).into();
    for (place, _) in lib.match_indices("pub use ") {
        let path = &lib[place + 8..];
        for layer in names_behind(path) {
            let Some(rest) = path.strip_prefix(&format!("{layer}::")) else {
                continue;
            };
            homes.extend(
                names_behind(rest)
                    .into_iter()
                    .map(|name| (name, layer.clone())),
            );
        }
    }
    homes
}

/// Why a layer may not use another, if it may not.
fn forbidden(user: &str, used: &str) -> Option<&'static str> {
    let height = |layer: &str| LAYERS.iter().position(|known| *known == layer);
    if user == used {
        return None;
    }
    let (Some(user_height), Some(used_height)) = (height(user), height(used)) else {
        return Some("one of them is no layer: name it in core/tests/house.rs, ARCHITECTURE.md");
    };
    if used_height > user_height {
        return Some("a layer uses only those below it");
    }
    let apart = APART.contains(&(user, used));
    apart.then_some("they are of one height and know nothing of each other")
}

#[test]
fn a_layer_uses_only_those_below_it() {
    let sources = sources();
    let core = rust(&sources, "core/src/");
    let lib = &core
        .iter()
        .find(|(path, _)| path == "core/src/lib.rs")
        .expect("lib.rs")
        .1;
    let homes = homes(lib);
    let mut wrong = Vec::new();
    let mut uses = 0;
    for (path, code) in core.iter().filter(|(path, _)| path != "core/src/lib.rs") {
        let inside = path.trim_start_matches("core/src/").trim_end_matches(".rs");
        let modules: Vec<&str> = inside.split('/').filter(|part| *part != "mod").collect();
        let user = modules[0];
        for (line, name) in reached(code, modules.len()) {
            uses += 1;
            let home = homes.iter().find(|(known, _)| *known == name);
            let used = home.map_or(name.as_str(), |(_, home)| home);
            if let Some(why) = forbidden(user, used) {
                wrong.push(format!("{path}:{line}: {user} uses {used} ({name}): {why}"));
            }
        }
    }
    assert!(
        uses > 100,
        "only {uses} uses were found: the test looks past them"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_stands_on_the_core_uses_its_public_api_and_nothing_else() {
    let manifest = |name: &str| {
        let path = root().join(name).join("Cargo.toml");
        fs::read_to_string(&path).expect("Cargo.toml")
    };
    let core = manifest("core");
    for above in ["libqueue-ffi", "pyo3", "cbindgen"] {
        assert!(!core.contains(above), "core depends on {above}");
    }
    let sources = sources();
    for name in ["ffi", "python", "benches"] {
        let text = manifest(name);
        assert!(
            !text.contains("path = \"../core"),
            "{name}: take core from the workspace"
        );
        for (path, code) in rust(&sources, &format!("{name}/")) {
            let around = code.contains("#[path") || code.contains("include!");
            assert!(
                !around,
                "{path} takes a source in around the crate's public API"
            );
        }
    }
}

#[test]
fn unsafe_stays_in_its_rooms_and_is_argued() {
    let mut wrong = Vec::new();
    let sources = sources();
    let mut blocks = 0;
    for (path, code) in rust(&sources, "") {
        let whole = &sources
            .iter()
            .find(|one| one.path == path)
            .expect("itself")
            .text;
        let lines: Vec<&str> = whole.lines().collect();
        let room = UNSAFE_ROOMS.iter().any(|room| path.starts_with(room));
        for (line, argued) in unsafe_code(&code, &lines) {
            blocks += 1;
            if !room {
                wrong.push(format!("{path}:{line}: unsafe outside of {UNSAFE_ROOMS:?}"));
            } else if !argued {
                wrong.push(format!(
                    "{path}:{line}: no SAFETY comment of its own above it"
                ));
            }
        }
    }
    assert!(
        blocks > 20,
        "only {blocks} were found: the test looks past them"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines with unsafe code, and whether a safety argument of their own stands above. Declarations of
/// functions and traits, and attributes, are argued where they are used; they count as argued, but
/// need a room too.
fn unsafe_code(code: &str, lines: &[&str]) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    let mut free_from = 0;
    for (number, line) in code.lines().enumerate() {
        for (place, word) in line.match_indices("unsafe") {
            let rest = &line[place + word.len()..];
            if rest.starts_with(is_word) || line[..place].ends_with(is_word) {
                continue;
            }
            let next = rest.trim_start();
            let declares = ["fn", "extern", "trait", "(", ")"]
                .iter()
                .any(|word| next.starts_with(word));
            let above = number.saturating_sub(ARGUMENT_LINES).max(free_from);
            let argued = lines[above..=number]
                .iter()
                .any(|line| line.contains("SAFETY:"));
            found.push((number + 1, declares || argued));
            if !declares {
                free_from = number;
            }
        }
    }
    found
}

#[test]
fn files_and_lines_stay_readable_and_nothing_is_left_for_later() {
    // In parts, or this file would hold what it forbids.
    let later = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    let mut wrong = Vec::new();
    for Source { path, text } in sources() {
        let (lines, long) = (text.lines().count(), LONG_FILES.contains(&path.as_str()));
        if lines > MOST_LINES && !long {
            wrong.push(format!(
                "{path}: {lines} lines, expected at most {MOST_LINES}: split it"
            ));
        }
        for (number, line) in text.lines().enumerate() {
            let (number, columns) = (number + 1, line.chars().count());
            if columns > MOST_COLUMNS {
                wrong.push(format!(
                    "{path}:{number}: {columns} columns, at most {MOST_COLUMNS}"
                ));
            }
            if later.iter().any(|word| line.contains(word)) {
                wrong.push(format!(
                    "{path}:{number}: left for later: do it or write an issue"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rule_of_layers_can_fail() {
    assert_eq!(forbidden("store", "log"), None);
    assert_eq!(forbidden("log", "log"), None);
    assert!(forbidden("log", "store").is_some());
    assert!(forbidden("format", "clock").is_some(), "format is pure");
    assert!(forbidden("cellar", "log").is_some(), "an unknown layer");
    let names = |text: &str, depth| -> Vec<String> {
        reached(&code(text), depth)
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    };
    assert_eq!(names("use crate::store::Topic;", 2), ["store"]);
    assert_eq!(
        names("use crate::{log::{A, B}, Store,\n group};", 1),
        ["log", "Store", "group"]
    );
    assert_eq!(
        names("// use crate::store\nlet s = \"crate::store\";", 1),
        [""; 0]
    );
    assert_eq!(names("use super::super::store::Topic;", 2), ["store"]);
    assert_eq!(names("use super::segment::Found;", 2), [""; 0]);
    assert_eq!(
        names("mod tests {\n use super::super::store::X;\n}", 1),
        ["store"]
    );
    assert_eq!(names("mod tests {\n use super::store::X;\n}", 1), [""; 0]);
    assert_eq!(names("fn f() { super::super::log::g() }", 2), ["log"]);
    let homes = homes("pub use store::{Store, Topic};\npub use error::Error;");
    assert!(homes.contains(&("Topic".to_owned(), "store".to_owned())));
    assert!(homes.contains(&("Error".to_owned(), "error".to_owned())));
}

#[test]
fn the_rule_of_unsafe_can_fail() {
    let seen = |text: &str| unsafe_code(&code(text), &text.lines().collect::<Vec<_>>());
    assert_eq!(
        seen("#![deny(unsafe_code)]\n// unsafe\nlet s = \"unsafe\";"),
        []
    );
    assert_eq!(seen("let a = unsafe { b() };"), [(1, false)]);
    assert_eq!(seen("// SAFETY: so.\nlet a = unsafe { b() };"), [(2, true)]);
    let shared = "// SAFETY: so.\nunsafe { b() };\nunsafe { c() };";
    assert_eq!(seen(shared), [(2, true), (3, false)]);
    assert_eq!(seen("unsafe impl Send for T {}"), [(1, false)]);
    assert_eq!(
        seen("#[unsafe(no_mangle)]\nunsafe fn f() {}"),
        [(1, true), (2, true)]
    );
}
