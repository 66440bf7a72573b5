//! The header is what the sources say: `include/libqueue.h` is generated from them, compared, and
//! complete enough to program from.
//!
//! `LIBQUEUE_WRITE_HEADER=1` (`make header`) writes it anew.

use std::path::{Path, PathBuf};

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_path() -> PathBuf {
    crate_dir().join("../include/libqueue.h")
}

/// The sources that have something for C, in the order in which the header tells it.
const SOURCES: [&str; 26] = [
    "version",
    "error",
    "choices",
    "options",
    "store",
    "topic",
    "message",
    "group",
    "manage",
    "dead_letters",
    "redrive",
    "seek",
    "snapshots",
    "consumer",
    "receive",
    "batch",
    "consumers",
    "peek",
    "settle",
    "reader",
    "producer",
    "transaction",
    "names",
    "stats",
    "copy",
    "copy_lines",
];

fn generate() -> String {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).expect("config");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in SOURCES {
        builder = builder.with_src(crate_dir().join("src").join(name).with_extension("rs"));
    }
    let mut header = Vec::new();
    builder.generate().expect("bindings").write(&mut header);
    tidy(&String::from_utf8(header).expect("UTF-8"))
}

/// A comment of one line on one line, negative numbers in parentheses, types by their short names,
/// no runs of empty lines.
fn tidy(header: &str) -> String {
    let short = |line: &str| match line {
        line if line.starts_with("typedef struct lq_") => line.trim_end().to_owned(),
        line => line.trim_end().replace("struct lq_", "lq_"),
    };
    let lines: Vec<String> = header.lines().map(short).collect();
    let mut tidied: Vec<String> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let text = lines
            .get(at + 1)
            .and_then(|line| line.trim_start().strip_prefix("* "));
        let closed = lines.get(at + 2).is_some_and(|line| line.trim() == "*/");
        match (lines[at].trim() == "/**" && closed, text) {
            (true, Some(text)) if lines[at].len() + text.len() + 4 <= 100 => {
                tidied.push(format!("{} {text} */", lines[at]));
                at += 3;
                continue;
            }
            _ => {}
        }
        match lines[at].split_once(" -1") {
            Some((define, "")) if define.starts_with("#define") => {
                tidied.push(format!("{define} (-1)"));
            }
            _ if lines[at].is_empty() && tidied.last().is_some_and(String::is_empty) => {}
            _ => tidied.push(lines[at].clone()),
        }
        at += 1;
    }
    let mut text = tidied.join("\n");
    text.truncate(text.trim_end().len());
    text + "\n"
}

#[test]
fn the_header_is_generated_from_the_sources() {
    let generated = generate();
    if std::env::var_os("LIBQUEUE_WRITE_HEADER").is_some() {
        std::fs::write(header_path(), &generated).expect("write the header");
    }
    let kept = std::fs::read_to_string(header_path()).unwrap_or_default();
    if let Some((at, (old, new))) = kept
        .lines()
        .zip(generated.lines())
        .enumerate()
        .find(|(_, (old, new))| old != new)
    {
        panic!(
            "include/libqueue.h is not what the sources say; `make header` writes it anew\n\
             line {}: kept      {old}\n{:width$}: generated {new}",
            at + 1,
            "",
            width = 5 + (at + 1).to_string().len()
        );
    }
    assert_eq!(kept.len(), generated.len(), "`make header` writes it anew");
}

/// The declarations of the header, each on one line, with the comment above it.
fn declarations(header: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut comment, mut declaration) = (String::new(), String::new());
    let (mut in_comment, mut in_body) = (false, false);
    for line in header.lines() {
        let code = line.trim();
        if in_comment || code.starts_with("/*") {
            comment = if in_comment {
                comment + "\n" + line
            } else {
                line.to_owned()
            };
            in_comment = !code.ends_with("*/");
        } else if line.starts_with("#define LQ_") {
            found.push((code.to_owned(), std::mem::take(&mut comment)));
        } else if in_body {
            in_body = line != "}";
        } else if line == "{" {
            // The body of an inline function, whose first line was kept.
            found.push((
                std::mem::take(&mut declaration),
                std::mem::take(&mut comment),
            ));
            in_body = true;
        } else if code.is_empty() || code.starts_with(['#', '}']) || code.ends_with('\\') {
            comment.clear();
        } else if !code.starts_with("extern") && !code.starts_with('{') {
            declaration = (declaration + " " + code).trim().to_owned();
            if code.ends_with([';', '{']) {
                found.push((
                    std::mem::take(&mut declaration),
                    std::mem::take(&mut comment),
                ));
            }
        }
    }
    found
}

#[test]
fn everything_in_the_header_is_documented() {
    let header = generate();
    let found = declarations(&header);
    let functions = found
        .iter()
        .filter(|(line, _)| line.contains('(') && !line.starts_with('#'));
    assert!(
        functions.clone().count() >= 60,
        "the header was not understood"
    );
    for what in [
        "typedef struct lq_message {",
        "lq_bytes payload;",
        "#define LQ_OK 0",
    ] {
        assert!(
            found.iter().any(|(line, _)| line == what),
            "{what} was not understood"
        );
    }
    for (declaration, comment) in &found {
        assert!(!comment.is_empty(), "no comment above: {declaration}");
    }
    for (declaration, comment) in functions {
        for part in ["Returns:", "Threads:"] {
            assert!(comment.contains(part), "no {part:?} above: {declaration}");
        }
        if declaration.starts_with("lq_status") {
            assert!(comment.contains("LQ_OK"), "no codes above: {declaration}");
        }
        let parameters = declaration.split_once('(').map_or("", |(_, rest)| rest);
        for parameter in parameters
            .split([',', ')'])
            .filter(|part| part.contains(' '))
        {
            let name = parameter.rsplit([' ', '*']).next().unwrap_or_default();
            let described = format!(" * {name}: ");
            assert!(
                comment.contains(&described),
                "no word on {name} above: {declaration}"
            );
        }
    }
}
