//! Those who take part in a run: processes, or threads where a peer belongs to one process.
//!
//! A process ends with the one that started it: the kernel kills it then, so that no run leaves
//! producers behind that go on writing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use crate::link::{Channel, Link, Order, Pipe, Report, Say};
use crate::options::{child_arguments, role_of};
use crate::peer::Outcome;
use crate::server::serve;
use crate::works::{Plan, Role, act};

/// How one of them is given orders.
enum Orders {
    Process(Child),
    Thread(Sender<Order>),
}

/// All that take part. Dropping it ends the processes.
pub(crate) struct Members {
    says: Receiver<(usize, Say)>,
    orders: Vec<Orders>,
    /// They end on their own: with the process that they read from, or with their work.
    threads: Vec<JoinHandle<()>>,
}

impl Members {
    /// Starts one for each role.
    pub(crate) fn start(plan: &Plan, roles: &[Role], processes: bool) -> Outcome<Members> {
        let (sender, says) = channel();
        let mut members = Members {
            says,
            orders: Vec::new(),
            threads: Vec::new(),
        };
        for (place, role) in roles.iter().enumerate() {
            if processes {
                members.process(plan, *role, place, sender.clone())?;
            } else {
                members.thread(plan, *role, place, sender.clone());
            }
        }
        Ok(members)
    }

    fn process(
        &mut self,
        plan: &Plan,
        role: Role,
        place: usize,
        says: Sender<(usize, Say)>,
    ) -> Outcome<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(child_arguments(plan, role, getpid().as_raw_pid()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take();
        self.orders.push(Orders::Process(child));
        let out = BufReader::new(out.ok_or("a child without an output")?);
        self.threads.push(std::thread::spawn(move || {
            for line in out.lines() {
                let said = line
                    .map_err(Into::into)
                    .and_then(|line| Say::from_line(&line));
                let say = said.unwrap_or_else(|why| Say::Failed(why.to_string()));
                // Nobody listens any more once another one has failed.
                if says.send((place, say)).is_err() {
                    return;
                }
            }
            // The last word, unless it has reported; then nobody takes it.
            let _ = says.send((place, Say::Failed(format!("{role:?} ended early"))));
        }));
        Ok(())
    }

    fn thread(&mut self, plan: &Plan, role: Role, place: usize, says: Sender<(usize, Say)>) {
        let (sender, orders) = channel();
        let (plan, mut link) = (
            plan.clone(),
            Channel {
                place,
                says,
                orders,
            },
        );
        self.orders.push(Orders::Thread(sender));
        self.threads.push(std::thread::spawn(move || {
            if let Err(why) = act(&plan, role, &mut link) {
                // It fails only where the leader is gone, who needs no reason then.
                let _ = link.say(Say::Failed(why.to_string()));
            }
        }));
    }

    /// The next that is said; none if nothing was said for so long.
    pub(crate) fn hear(&self, wait: Duration) -> Outcome<Option<(usize, Say)>> {
        match self.says.recv_timeout(wait) {
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("all that took part are gone".into()),
        }
    }

    pub(crate) fn order(&mut self, place: usize, order: Order) -> Outcome<()> {
        match &mut self.orders[place] {
            Orders::Thread(orders) => Ok(orders.send(order)?),
            Orders::Process(child) => {
                let pipe = child.stdin.as_mut().ok_or("a child without an input")?;
                writeln!(pipe, "{}", order.to_line())?;
                Ok(pipe.flush()?)
            }
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        // Whoever waits for an order of these hears that there is none.
        for orders in self.orders.drain(..) {
            if let Orders::Process(mut child) = orders {
                // One that has ended already cannot be killed, which is as good.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Has one process do what needs no barrier.
pub(crate) fn alone(plan: &Plan, role: Role) -> Outcome<Report> {
    let members = Members::start(plan, &[role], true)?;
    match members.says.recv()? {
        (_, Say::Done(report)) => Ok(report),
        (_, other) => Err(format!("{role:?} said: {}", other.to_line()).into()),
    }
}

/// Has the kernel kill this process when its parent ends, whose number this is.
pub(crate) fn end_with(parent: &str) -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before the kernel was told to watch.
    if getppid().map(|pid| pid.as_raw_pid()) != Some(parent.parse()?) {
        return Err("the run that this process belongs to is over".into());
    }
    Ok(())
}

/// A process that takes part: ROLE PLACE PARENT and the options of the run.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    if args.first().is_some_and(|what| what == "serve") {
        return serve(&args[1..]);
    }
    let [role, place, parent, options @ ..] = args else {
        return Err("child takes ROLE PLACE PARENT and the options of a run".into());
    };
    end_with(parent)?;
    let plan = crate::options::plan(options)?;
    let done = act(&plan, role_of(role, place.parse()?)?, &mut Pipe);
    if let Err(why) = &done {
        Pipe.say(Say::Failed(why.to_string()))?;
    }
    done
}
