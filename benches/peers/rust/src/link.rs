//! How those who take part in a run and the one who leads it talk: lines, over pipes between
//! processes or over channels between threads.

use std::sync::mpsc::{Receiver, Sender};

use crate::peer::Outcome;
use crate::tally::{Tally, now_ns};

/// What one that takes part has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    /// When the last message was accepted, or acknowledged.
    pub(crate) end: u64,
    pub(crate) waits: Option<[u64; 4]>,
}

impl Report {
    /// Of work that ends now.
    pub(crate) fn of(tally: Tally) -> Report {
        Report {
            tally,
            end: now_ns(),
            waits: None,
        }
    }
}

/// What one that takes part says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// Everything is open; it waits for the start.
    Ready,
    /// Nothing came for a while; so many came until then. It waits for an order.
    Idle(u64),
    Done(Report),
    Failed(String),
}

/// What the leader answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start, or look again.
    Go,
    /// No more is to come.
    End,
}

/// The side of one that takes part.
pub(crate) trait Link {
    fn say(&mut self, what: Say) -> Outcome<()>;
    fn hear(&mut self) -> Outcome<Order>;
}

/// Over channels.
pub(crate) struct Channel {
    pub(crate) place: usize,
    pub(crate) says: Sender<(usize, Say)>,
    pub(crate) orders: Receiver<Order>,
}

impl Link for Channel {
    fn say(&mut self, what: Say) -> Outcome<()> {
        Ok(self.says.send((self.place, what))?)
    }

    fn hear(&mut self) -> Outcome<Order> {
        Ok(self.orders.recv()?)
    }
}

/// Over standard input and output.
pub(crate) struct Pipe;

impl Link for Pipe {
    fn say(&mut self, what: Say) -> Outcome<()> {
        use std::io::Write;
        // Past the line buffer: the one that reads waits for it.
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", what.to_line())?;
        Ok(out.flush()?)
    }

    fn hear(&mut self) -> Outcome<Order> {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        Order::from_line(&line)
    }
}

impl Order {
    pub(crate) fn to_line(self) -> &'static str {
        match self {
            Order::Go => "go",
            Order::End => "end",
        }
    }

    fn from_line(line: &str) -> Outcome<Order> {
        match line.trim_end() {
            "go" => Ok(Order::Go),
            "end" => Ok(Order::End),
            other => Err(format!("expected the order go or end, found {other:?}").into()),
        }
    }
}

impl Say {
    pub(crate) fn to_line(&self) -> String {
        match self {
            Say::Ready => "ready".to_owned(),
            Say::Idle(count) => format!("idle {count}"),
            Say::Done(Report { tally, end, waits }) => {
                let mut line = format!("done {} {} {end}", tally.count, tally.sum);
                for wait in waits.iter().flatten() {
                    line += &format!(" {wait}");
                }
                line
            }
            Say::Failed(why) => format!("failed {}", why.replace('\n', " ")),
        }
    }

    pub(crate) fn from_line(line: &str) -> Outcome<Say> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers = || -> Result<Vec<u64>, _> { rest.split(' ').map(str::parse).collect() };
        Ok(match word {
            "ready" => Say::Ready,
            "idle" => Say::Idle(rest.parse()?),
            "failed" => Say::Failed(rest.to_owned()),
            "done" => match numbers()?[..] {
                [count, sum, end, ref waits @ ..] => Say::Done(Report {
                    tally: Tally { count, sum },
                    end,
                    waits: waits.try_into().ok(),
                }),
                _ => return Err(format!("a report of too few numbers: {line:?}").into()),
            },
            _ => return Err(format!("not understood: {line:?}").into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let report = |waits| {
            Say::Done(Report {
                tally: Tally { count: 1, sum: 2 },
                end: 3,
                waits,
            })
        };
        for say in [
            Say::Ready,
            Say::Idle(17),
            report(None),
            report(Some([4, 5, 6, 7])),
            Say::Failed("of two words".to_owned()),
        ] {
            assert_eq!(Say::from_line(&say.to_line()).expect("a line"), say);
        }
        for strange in ["", "idle", "done 1 2", "done a b c", "whatever"] {
            assert!(Say::from_line(strange).is_err(), "{strange:?}");
        }
        for order in [Order::Go, Order::End] {
            assert_eq!(Order::from_line(order.to_line()).expect("an order"), order);
        }
        assert!(Order::from_line("").is_err(), "the leader is gone");
    }
}
