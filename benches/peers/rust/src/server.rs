//! The servers that some peers are: where their programs stand, and that they end with the run.
//!
//! A server is started through this program (`child serve`), which asks the kernel to kill it with
//! the run, however that ends, and then becomes the server. Whatever the server keeps, its settings
//! and its log among it, stands in the folder of the run; it listens on a Unix socket there, or on
//! a loopback port that was free.

use std::ffi::OsString;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::getpid;

use crate::child::end_with;
use crate::peer::{Installed, Outcome, Prepared, Setup};

/// The slowest of them takes some seconds; one that takes as long as this does not come any more.
const START: Duration = Duration::from_secs(60);
/// Between two looks whether it is there.
const LOOK: Duration = Duration::from_millis(10);
/// So much of a log stands in an error.
const LOG: usize = 2000;
/// The path of a Unix socket has to fit into its address.
const SOCKET: usize = 107;

/// A program and where it is.
pub(crate) struct Program {
    path: PathBuf,
    /// From `build/peers`, where it has its libraries and other programs beside it.
    private: bool,
}

/// The program of this name: one on the PATH is taken as it is, else what `install.sh` made.
pub(crate) fn program(name: &str) -> Option<Program> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers stand where only root's PATH leads.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let public = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    let private = installed().join("bin").join(name);
    public
        .map(|path| Program {
            path,
            private: false,
        })
        .or_else(|| {
            private.is_file().then_some(Program {
                path: private,
                private: true,
            })
        })
}

/// A program that stands at this place, whatever the PATH says.
pub(crate) fn program_at(path: &str) -> Option<Program> {
    let path = PathBuf::from(path);
    path.is_file().then_some(Program {
        path,
        private: false,
    })
}

/// Where `install.sh` puts what it makes.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../build/peers")
}

impl Program {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same at the place that a link leads to, for one that looks around itself for its parts.
    pub(crate) fn resolved(self) -> Option<Program> {
        let path = self.path.canonicalize().ok()?;
        Some(Program { path, ..self })
    }

    /// The environment that it needs to find what belongs to it.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        if !self.private {
            return Vec::new();
        }
        let libraries = installed().join("lib").into_os_string();
        let mut path = installed().join("bin").into_os_string();
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        vec![("LD_LIBRARY_PATH", libraries), ("PATH", path)]
    }

    /// What it says to this argument about its version: the first word with a digit in front, after
    /// the sign that some put there.
    pub(crate) fn version(&self, argument: &str) -> Option<String> {
        let mut command = Command::new(&self.path);
        command.arg(argument).envs(self.environment());
        let said = String::from_utf8(command.output().ok()?.stdout).ok()?;
        said.split_whitespace().find_map(version_in)
    }
}

/// The version that a word is: `v=7.0.15`, `v2.14.10`, `1.12`.
fn version_in(word: &str) -> Option<String> {
    let version = word.trim_start_matches(['v', '=']);
    let numbers =
        version.split('.').count() > 1 && version.starts_with(|c: char| c.is_ascii_digit());
    numbers.then(|| version.to_owned())
}

/// Whether a peer is there, by its program and that program's version.
pub(crate) fn installed_as(name: &str, version: Option<String>) -> Installed {
    match version {
        Some(version) => Installed::Yes { version },
        None => Installed::No {
            reason: format!(
                "{name} is not on the PATH, and benches/peers/install.sh {name} has not been run"
            ),
        },
    }
}

/// A server that runs. It is killed when this is dropped.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Prepared for Server {}
impl Prepared for (Server, Server) {}

impl Server {
    /// Starts it in the folder of the run.
    pub(crate) fn start(
        name: &'static str,
        program: &Program,
        arguments: &[OsString],
        environment: &[(&str, OsString)],
        setup: &Setup,
    ) -> Outcome<Server> {
        let log = setup.dir.join(format!("{name}.log"));
        let out = std::fs::File::create(&log)?;
        let child = Command::new(std::env::current_exe()?)
            .args(["child", "serve", &getpid().as_raw_pid().to_string()])
            .arg(&program.path)
            .args(arguments)
            .envs(program.environment())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&setup.dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Server { name, child, log })
    }

    /// What `attempt` gives once it succeeds. An error says why it did not, and what the server
    /// logged.
    pub(crate) fn ready<T>(&mut self, mut attempt: impl FnMut() -> Outcome<T>) -> Outcome<T> {
        let began = Instant::now();
        loop {
            let why = match attempt() {
                Ok(there) => return Ok(there),
                Err(why) => why,
            };
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > START {
                let what = ended.map_or("is not ready".into(), |how| format!("ended with {how}"));
                return Err(format!("{} {what}: {why}\n{}", self.name, self.logged()).into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until somebody listens at this port of the loopback interface.
    pub(crate) fn listens(&mut self, port: u16) -> Outcome<()> {
        let connect = || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
        self.ready(connect).map(drop)
    }

    /// The end of its log.
    fn logged(&self) -> String {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.log).and_then(|mut log| log.read_to_end(&mut bytes));
        match read {
            Ok(length) => {
                String::from_utf8_lossy(&bytes[length.saturating_sub(LOG)..]).into_owned()
            }
            Err(why) => format!("{}: {why}", self.log.display()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as good. Nothing that it has not
        // written is wanted: its folder goes with the run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that becomes a server: PARENT PROGRAM ARGUMENT...
pub(crate) fn serve(args: &[String]) -> Outcome<()> {
    let [parent, program, arguments @ ..] = args else {
        return Err("child serve takes PARENT PROGRAM ARGUMENT...".into());
    };
    end_with(parent)?;
    Err(Command::new(program).args(arguments).exec().into())
}

/// A port of the loopback interface that is free now.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The Unix socket of a server.
pub(crate) fn socket(setup: &Setup, name: &str) -> Outcome<PathBuf> {
    let path = std::path::absolute(&setup.dir)?.join(name);
    let length = path.as_os_str().len();
    if length > SOCKET {
        return Err(format!(
            "{}: a Unix socket's path has at most {SOCKET} bytes, this one has {length}; \
             give --dir a folder with a shorter path",
            path.display()
        )
        .into());
    }
    Ok(path)
}

/// Tells the processes of the run where the server listens.
pub(crate) fn publish_port(setup: &Setup, port: u16) -> Outcome<()> {
    Ok(std::fs::write(setup.dir.join("port"), port.to_string())?)
}

/// Where the server of this run listens.
pub(crate) fn published_port(setup: &Setup) -> Outcome<u16> {
    Ok(std::fs::read_to_string(setup.dir.join("port"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_servers_say() {
        let said = |text: &str| text.split_whitespace().find_map(version_in);
        assert_eq!(said("Redis server v=7.0.15 sha=0"), Some("7.0.15".into()));
        assert_eq!(said("nats-server: v2.14.10"), Some("2.14.10".into()));
        assert_eq!(said("beanstalkd 1.12"), Some("1.12".into()));
        assert_eq!(said("unknown option"), None);
    }

    #[test]
    fn a_socket_with_too_long_a_path_is_refused() {
        let setup = |length: usize| Setup {
            dir: PathBuf::from(format!("/{}", "d".repeat(length))),
            sync: false,
            size: 100,
            count: 1,
            batch: 1,
        };
        assert!(socket(&setup(10), "s").is_ok());
        assert!(socket(&setup(SOCKET), "s").is_err());
    }
}
