//! What is done to a file, and taken back.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is done to it. A name of the place stands in what a failing case prints, nowhere else.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "the compiler does not count what is printed")]
pub enum Fault {
    /// The lowest bit at a position, which is part of this.
    Flip(u64, &'static str),
    /// So many bytes from a position, which are this.
    Zero(u64, u64, &'static str),
    /// Cut to a length.
    Cut(u64),
    /// Exchanged with another file.
    Exchange(PathBuf),
    Gone,
    ReadOnly,
}

/// A file, by its path in the store, and what is done to it.
#[derive(Clone, Debug)]
pub struct Case {
    pub file: PathBuf,
    pub fault: Fault,
}

/// How to take it back.
pub enum Cause {
    /// The bytes from a position on were these and became those.
    Bytes(PathBuf, u64, Vec<u8>, Vec<u8>),
    /// The file was longer and ended with these bytes.
    Cut(PathBuf, u64, Vec<u8>),
    Exchange(PathBuf, PathBuf),
    Gone(PathBuf, PathBuf),
    ReadOnly(PathBuf),
}

impl Case {
    /// What an error has to name: the file, or another one of its folder that does not fit it.
    pub fn names(&self) -> Vec<String> {
        let name = |file: &Path| match file.parent().filter(|above| above.iter().count() > 0) {
            Some(folder) => format!("{}", folder.display()),
            None => file.display().to_string(),
        };
        let mut names = vec![name(&self.file)];
        if let Fault::Exchange(other) = &self.fault {
            names.push(name(other));
        }
        names
    }

    pub fn apply(&self, store: &Path) -> Cause {
        let path = store.join(&self.file);
        let len = fs::metadata(&path).unwrap().len();
        let change = |at: u64, change: &dyn Fn(&mut [u8]), count: u64| {
            let file = writable(&path);
            let mut before = vec![0; count as usize];
            file.read_exact_at(&mut before, at).unwrap();
            let mut after = before.clone();
            change(&mut after);
            file.write_all_at(&after, at).unwrap();
            Cause::Bytes(path.clone(), at, before, after)
        };
        match &self.fault {
            Fault::Flip(at, _) => change(*at, &|bytes| bytes[0] ^= 1, 1),
            Fault::Zero(at, count, _) => change(*at, &|bytes| bytes.fill(0), *count),
            Fault::Cut(to) => {
                let file = writable(&path);
                let mut tail = vec![0; (len - to) as usize];
                file.read_exact_at(&mut tail, *to).unwrap();
                file.set_len(*to).unwrap();
                Cause::Cut(path, *to, tail)
            }
            Fault::Exchange(other) => {
                let other = store.join(other);
                exchange(&path, &other);
                Cause::Exchange(path, other)
            }
            Fault::Gone => {
                let aside = store.with_extension("aside");
                fs::rename(&path, &aside).unwrap();
                Cause::Gone(path, aside)
            }
            Fault::ReadOnly => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
                Cause::ReadOnly(path)
            }
        }
    }
}

impl Cause {
    /// Takes it back, where the library has not written something else there meanwhile.
    pub fn take_back(self) {
        match self {
            Self::Bytes(path, at, before, after) => {
                let mut now = vec![0; after.len()];
                let file = writable(&path);
                if file.read_exact_at(&mut now, at).is_ok() && now == after {
                    file.write_all_at(&before, at).unwrap();
                }
            }
            Self::Cut(path, to, tail) => {
                if fs::metadata(&path).is_ok_and(|now| now.len() == to) {
                    writable(&path).write_all_at(&tail, to).unwrap();
                }
            }
            Self::Exchange(one, other) => exchange(&one, &other),
            Self::Gone(path, aside) => {
                if !path.exists() {
                    fs::rename(&aside, &path).unwrap();
                }
            }
            Self::ReadOnly(path) => {
                if path.exists() {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                }
            }
        }
    }
}

fn writable(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open(path).unwrap()
}

fn exchange(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&aside, other).unwrap();
}
