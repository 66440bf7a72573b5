//! What a group does with its messages.

use std::time::Duration;

use super::{
    Brake, Filter, MAX_ATTEMPTS_MAX, Start, WINDOW_MAX, WINDOW_MIN, agree, check_range, check_time,
    invalid, mismatch,
};
use crate::error::{Error, ErrorKind, Result};

/// In which order a group hands messages out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ordering {
    /// Any order.
    None,
    /// A message waits for the earlier ones of its key; other keys flow past (the default).
    #[default]
    Key,
    /// A message waits for all earlier ones of its partition: one at a time is handed out of each.
    Partition,
}

/// When a message is settled: after it was handed out, or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeliveryMode {
    /// Each message comes until it is acknowledged, or is a dead letter (the default, P6).
    #[default]
    AtLeastOnce,
    /// Each message is settled before it is handed out, as durably as the topic's durability says:
    /// none comes twice, and what a consumer was about to be handed when it died is lost (P7).
    /// There are no leases and no failures.
    AtMostOnce,
}

impl DeliveryMode {
    /// Its name, as in the files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::AtMostOnce => "at_most_once",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::AtLeastOnce, Self::AtMostOnce];
        all.into_iter().find(|mode| mode.name() == name)
    }
}

/// What becomes of a message that nobody was handed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnExpired {
    /// It is settled, and counted as expired (the default).
    #[default]
    Drop,
    /// It is counted as expired and becomes a dead letter.
    DeadLetter,
}

/// How long a failed message waits before it is handed out again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure. Default: 1 second.
    pub first: Duration,
    /// The longest wait. Default: 300 seconds.
    pub longest: Duration,
    /// By how much each wait is longer than the last, at least 1. Default: 2.
    pub factor: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(300));
        Self {
            first,
            longest,
            factor: 2.0,
        }
    }
}

/// Where messages go that failed too often.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum DeadLetter {
    /// The topic `TOPIC.GROUP.dlq`, created when it is first needed.
    #[default]
    Default,
    /// A topic of this name in the same store.
    Topic(String),
    /// Nowhere: they are counted and dropped.
    Drop,
}

/// What becomes of a key whose message became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDeadLetter {
    /// Later messages of the key go on (the default).
    #[default]
    Continue,
    /// They wait until the dead letter is redriven, and then come after it, or purged. With
    /// [`Ordering::Partition`] all later messages of the partition wait. Until then it counts
    /// against the group's `window`. Not for messages without a key, nor for those that only came
    /// too late.
    HoldKey,
}

/// Configuration of a group, as given when it is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupOptions {
    /// Default: [`Ordering::Key`].
    pub ordering: Option<Ordering>,
    /// How long a message is handed out for. Default: 30 seconds.
    pub lease: Option<Duration>,
    /// How long a message may be leased in total since its hand-out, extensions included, at least
    /// the lease. Default: no bound.
    pub max_lease: Option<Duration>,
    /// After how many failures a message is a dead letter. Default: 5.
    pub max_attempts: Option<u32>,
    /// Default: 1 second, doubling up to 300 seconds, with jitter.
    pub backoff: Option<Backoff>,
    /// Default: [`DeadLetter::Default`].
    pub dead_letter_topic: Option<DeadLetter>,
    /// What becomes of messages that nobody was handed in time. Default: [`OnExpired::Drop`].
    pub on_expired: Option<OnExpired>,
    /// Where the group starts; used only when it is created. Default: [`Start::Earliest`].
    pub start: Option<Start>,
    /// How many messages the group may run ahead of its oldest unsettled one. Default: 65,536.
    pub window: Option<u32>,
    /// The messages that the group takes; the others are settled for it, and nobody is handed them.
    /// The empty filter takes all, and takes a stored one off. Default: all.
    pub filter: Option<Filter>,
    /// Default: [`DeliveryMode::AtLeastOnce`]. With [`DeliveryMode::AtMostOnce`] there is no
    /// `lease`, `max_lease`, `max_attempts`, `backoff` or `brake` to be given, and no key is held.
    pub delivery: Option<DeliveryMode>,
    /// Pauses the group when too many of its messages die. Default: [`Brake::NONE`].
    pub brake: Option<Brake>,
    /// What becomes of a key whose message became a dead letter. Default:
    /// [`OnDeadLetter::Continue`].
    pub on_dead_letter: Option<OnDeadLetter>,
}

impl GroupOptions {
    /// Errors with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument)
    /// where an option is out of range.
    pub fn check(&self) -> Result<()> {
        if let Some(lease) = self.lease {
            check_time("lease", lease, Duration::from_millis(1))?;
        }
        if let Some(most) = self.max_lease {
            let least = self.lease.unwrap_or(Duration::from_millis(1));
            check_time("max_lease", most, least)?;
        }
        if let Some(n) = self.max_attempts {
            check_range("max_attempts", u64::from(n), 1, u64::from(MAX_ATTEMPTS_MAX))?;
        }
        if let Some(n) = self.window {
            check_range(
                "window",
                u64::from(n),
                u64::from(WINDOW_MIN),
                u64::from(WINDOW_MAX),
            )?;
        }
        if let Some(backoff) = self.backoff {
            check_time("backoff (first)", backoff.first, Duration::ZERO)?;
            check_time("backoff (longest)", backoff.longest, backoff.first)?;
            if !(1.0..=1000.0).contains(&backoff.factor) {
                let found = backoff.factor;
                return Err(invalid(format!(
                    "backoff factor is {found}; expected 1 to 1000"
                )));
            }
        }
        self.brake.map_or(Ok(()), Brake::check)?;
        match self.delivery {
            Some(DeliveryMode::AtMostOnce) => self.check_has_no_leases(),
            _ => Ok(()),
        }
    }

    /// Where messages are settled before they are handed out nothing is leased, and nothing fails.
    fn check_has_no_leases(&self) -> Result<()> {
        let given = [
            ("lease", self.lease.is_some()),
            ("max_lease", self.max_lease.is_some()),
            ("max_attempts", self.max_attempts.is_some()),
            ("backoff", self.backoff.is_some()),
            ("brake", self.brake.and_then(Brake::stored).is_some()),
            (
                "on_dead_letter",
                self.on_dead_letter == Some(OnDeadLetter::HoldKey),
            ),
        ];
        let given = given.iter().filter(|(_, given)| *given);
        let names: Vec<&str> = given.map(|(name, _)| *name).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(invalid(format!(
            "{} given for a group with delivery at_most_once, which settles each message before it \
             is handed out: there are no leases and no failures; leave it out",
            names.join(", ")
        )))
    }
}

/// Configuration of a group, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// In which order messages are handed out.
    pub ordering: Ordering,
    /// How long a message is handed out for.
    pub lease: Duration,
    /// How long it may be leased in total; `None` for no bound.
    pub max_lease: Option<Duration>,
    /// After how many failures a message is a dead letter.
    pub max_attempts: u32,
    /// How long a failed message waits.
    pub backoff: Backoff,
    /// Where messages go that failed too often.
    pub dead_letter_topic: DeadLetter,
    /// What becomes of messages that nobody was handed in time.
    pub on_expired: OnExpired,
    /// How many messages the group may run ahead of its oldest unsettled one.
    pub window: u32,
    /// The messages that it takes; `None` for all.
    pub filter: Option<Filter>,
    /// When a message is settled. With [`DeliveryMode::AtMostOnce`] the lease is how long a receive
    /// call may take to hand on what it gathered, and `max_attempts` and `backoff` mean nothing.
    pub delivery: DeliveryMode,
    /// Pauses the group when too many of its messages die.
    pub brake: Option<Brake>,
    /// What becomes of a key whose message became a dead letter.
    pub on_dead_letter: OnDeadLetter,
}

impl GroupConfig {
    /// What a group created with these options stores.
    #[must_use]
    pub fn from_options(options: &GroupOptions) -> Self {
        Self {
            ordering: options.ordering.unwrap_or_default(),
            lease: options.lease.unwrap_or(Duration::from_secs(30)),
            max_lease: options.max_lease,
            max_attempts: options.max_attempts.unwrap_or(5),
            backoff: options.backoff.unwrap_or_default(),
            dead_letter_topic: options.dead_letter_topic.clone().unwrap_or_default(),
            on_expired: options.on_expired.unwrap_or_default(),
            window: options.window.unwrap_or(65_536),
            filter: options.filter.clone().filter(|filter| !filter.is_empty()),
            delivery: options.delivery.unwrap_or_default(),
            brake: options.brake.and_then(Brake::stored),
            on_dead_letter: options.on_dead_letter.unwrap_or_default(),
        }
    }

    /// Whether each message is settled before it is handed out.
    #[must_use]
    pub fn is_at_most_once(&self) -> bool {
        self.delivery == DeliveryMode::AtMostOnce
    }

    /// Whether these options may be given to the group, to open it or to change it.
    pub(crate) fn check_leases(&self, options: &GroupOptions) -> Result<()> {
        match self.delivery {
            DeliveryMode::AtMostOnce => options.check_has_no_leases(),
            DeliveryMode::AtLeastOnce => Ok(()),
        }
    }

    /// Errors with [`ErrorKind::ConfigMismatch`](crate::ErrorKind::ConfigMismatch)
    /// where an option contradicts what is stored.
    /// `start` says where a new group begins and never contradicts.
    pub fn check_against(&self, group: &str, options: &GroupOptions) -> Result<()> {
        let at = format!("group {group:?}");
        if let Some(wanted) = options.delivery.filter(|wanted| *wanted != self.delivery) {
            let message = format!(
                "{at} was created with delivery {}, this call asks for {}; leave delivery out, or \
                 make another group: that of one that is there never changes",
                self.delivery.name(),
                wanted.name()
            );
            return Err(Error::new(ErrorKind::ConfigMismatch, message));
        }
        self.check_leases(options)?;
        agree(&at, "ordering", options.ordering, self.ordering)?;
        agree(&at, "lease", options.lease, self.lease)?;
        if options.max_lease.is_some() && options.max_lease != self.max_lease {
            let named = |max: Option<Duration>| max.map_or("none".into(), |max| format!("{max:?}"));
            let (stored, wanted) = (named(self.max_lease), named(options.max_lease));
            return Err(mismatch(&at, "max_lease", &stored, &wanted));
        }
        if let Some(wanted) = &options.filter {
            let stored = self.filter.as_ref().map_or("{}", Filter::as_str);
            if wanted.as_str() != stored {
                return Err(mismatch(&at, "filter", stored, wanted.as_str()));
            }
        }
        agree(&at, "max_attempts", options.max_attempts, self.max_attempts)?;
        agree(&at, "backoff", options.backoff, self.backoff)?;
        agree(&at, "window", options.window, self.window)?;
        agree(&at, "on_expired", options.on_expired, self.on_expired)?;
        agree(&at, "brake", options.brake.map(Brake::stored), self.brake)?;
        let wanted = options.on_dead_letter;
        agree(&at, "on_dead_letter", wanted, self.on_dead_letter)?;
        let wanted = options.dead_letter_topic.clone();
        agree(
            &at,
            "dead_letter_topic",
            wanted,
            self.dead_letter_topic.clone(),
        )
    }
}
