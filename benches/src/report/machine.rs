//! The machine of a run, without its name: its processor, memory, kernel and file system.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::date::today;

/// What the figures depend on.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory: u64,
    /// Of the folder that the stores are in.
    pub(crate) file_system: String,
    /// Of libqueue and of what it was called from.
    pub(crate) versions: BTreeMap<&'static str, String>,
}

impl Machine {
    /// This one, as far as it tells; what it does not is "unknown".
    pub(crate) fn here(folder: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = value_of(&read("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let mut versions = BTreeMap::from([("libqueue", env!("CARGO_PKG_VERSION").to_owned())]);
        versions.extend(version("rustc").map(|found| ("rust", found)));
        Self {
            date: today(),
            cpu: value_of(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory: kilobytes * 1024,
            file_system: file_system(&read("/proc/self/mountinfo"), folder),
            versions,
        }
    }

    /// Short, the same at every run, and for a file's name: processor and number of cores.
    pub(crate) fn name(&self) -> String {
        let cpu = self
            .cpu
            .split('@')
            .next()
            .unwrap_or_default()
            .to_lowercase();
        let cpu = cpu.replace("(r)", " ").replace("(tm)", " ");
        let words = cpu.split(|c: char| !c.is_ascii_alphanumeric());
        let words = words.filter(|word| !["", "cpu", "processor", "with"].contains(word));
        let mut name = words.take(4).collect::<Vec<_>>().join("-");
        if name.is_empty() {
            name.push_str(std::env::consts::ARCH);
        }
        format!("{name}-{}-cores", self.cores)
    }

    /// For a person, in a line.
    pub(crate) fn text(&self) -> String {
        let gigabytes = self.memory as f64 / (1_u64 << 30) as f64;
        let versions: Vec<String> = (self.versions.iter())
            .map(|(what, version)| format!("{what} {version}"))
            .collect();
        format!(
            "{}, {}, {} cores, {gigabytes:.0} GiB, Linux {}, {}; {}",
            self.date,
            self.cpu,
            self.cores,
            self.kernel,
            self.file_system,
            versions.join(", ")
        )
    }
}

/// What a program says to `--version`, without its name.
pub(crate) fn version(program: impl AsRef<std::ffi::OsStr>) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let found = text.split_whitespace().nth(1)?;
    output.status.success().then(|| found.to_owned())
}

/// What stands behind `NAME :` in a file of lines.
fn value_of(text: &str, name: &str) -> String {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut named = lines.filter(|(found, _)| found.trim() == name);
    let value = named.next().map(|(_, value)| value.trim().to_owned());
    value.unwrap_or_else(|| "unknown".into())
}

/// The type of the file system that the folder is in, from `/proc/self/mountinfo`.
fn file_system(mounts: &str, folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        // ... ROOT MOUNT-POINT OPTIONS ... - TYPE SOURCE OPTIONS
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let (point, kind) = (before.split(' ').nth(4), after.split(' ').next());
        if let (Some(point), Some(kind)) = (point, kind)
            && folder.starts_with(point)
            && point.len() >= best.0
        {
            best = (point.len(), kind);
        }
    }
    best.1.to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Machine, file_system, value_of};

    #[test]
    fn a_machine_has_a_name_for_a_file() {
        let name = |cpu: &str| {
            let machine = Machine {
                cpu: cpu.into(),
                cores: 2,
                ..Machine::default()
            };
            machine.name()
        };
        assert_eq!(
            name("Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz"),
            "intel-xeon-e5-2690-2-cores"
        );
        assert_eq!(
            name("AMD EPYC 9R14 96-Core Processor"),
            "amd-epyc-9r14-96-2-cores"
        );
        assert!(name("").ends_with("-2-cores"));
        assert!(!Machine::here(Path::new("/")).kernel.is_empty());
    }

    #[test]
    fn the_nearest_mount_is_the_folder_s() {
        let mounts = "21 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                      30 21 0:25 / /dev rw - devtmpfs devtmpfs rw\n\
                      31 30 0:26 / /dev/shm rw - tmpfs tmpfs rw\n";
        assert_eq!(file_system(mounts, Path::new("/nothing/here")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/dev/shm")), "tmpfs");
        assert_eq!(file_system("", Path::new("/")), "unknown");
        assert_eq!(value_of("a\t: b c\nd: e", "a"), "b c");
    }
}
