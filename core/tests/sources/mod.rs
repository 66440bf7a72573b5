//! The repository's sources, and Rust without comments and strings.

use std::fs;
use std::path::{Path, PathBuf};

const SOURCES: [&str; 11] = [
    "rs", "c", "h", "hpp", "cpp", "cc", "py", "pyi", "sh", "mk", "java",
];
/// What is not in the repository though it may be in its folder.
const NOT_OURS: [&str; 4] = ["target", "build", "dist", "__pycache__"];

/// One source file.
pub struct Source {
    /// From the repository's root, with slashes.
    pub path: String,
    /// Its contents.
    pub text: String,
}

pub fn root() -> PathBuf {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    core.parent().expect("the workspace").to_owned()
}

/// All sources of the repository.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), "", &mut found);
    assert!(
        found.iter().any(|one| one.path == "core/src/lib.rs"),
        "no sources at {}",
        root().display()
    );
    found
}

fn collect(folder: &Path, place: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let (inside, path) = (entry.path(), format!("{place}{name}"));
        let extension = inside.extension().unwrap_or_default().to_string_lossy();
        if inside.is_dir() {
            collect(&inside, &format!("{path}/"), found);
        } else if SOURCES.contains(&&*extension) {
            let text = fs::read_to_string(&inside).expect(&path);
            found.push(Source { path, text });
        }
    }
}

pub fn rust(sources: &[Source], under: &str) -> Vec<(String, String)> {
    let wanted = |one: &&Source| one.path.starts_with(under) && one.path.ends_with(".rs");
    let found = sources.iter().filter(wanted);
    found
        .map(|one| (one.path.clone(), code(&one.text)))
        .collect()
}

/// Rust without comments and without what stands in strings and character literals, line by line as
/// it was.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |place: usize| chars.get(place).copied().unwrap_or('\n');
    let (mut out, mut i) = (String::with_capacity(text.len()), 0);
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len())
                .find(|j| at(*j) == '\n')
                .unwrap_or(chars.len()),
            ('/', '*') => end_of_comment(&chars, i),
            ('r', '"' | '#') if i == 0 || !is_word(at(i - 1)) => end_of_raw(&chars, i),
            ('"', _) => end_of_quoted(&chars, i, '"'),
            // 'a' and '\n' are characters, 'a is a lifetime.
            ('\'', '\\') => end_of_quoted(&chars, i, '\''),
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => i,
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            out.push(' ');
            out.extend(chars[i..end].iter().filter(|c| **c == '\n'));
            i = end;
        }
    }
    out
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_raw(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return start;
    }
    let mut i = start + 2 + hashes;
    while i < chars.len() {
        let closing = chars[i] == '"' && chars[i + 1..].iter().take(hashes).all(|c| *c == '#');
        i += 1;
        if closing {
            return i + hashes;
        }
    }
    i
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

#[test]
fn comments_strings_and_characters_are_told_from_code() {
    for (text, left) in [
        ("a /* b /* c */ d */ e", "a   e"),
        ("a // b\nc", "a  \nc"),
        ("f(\"x\\\"y\", 'z', '\\'', r#\"a\"b\"#)", "f( ,  ,  ,  )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("\"two\nlines\"", " \n"),
    ] {
        assert_eq!(code(text), left);
    }
}
