//! Limits after a crash (P14): what is settled takes no room, and nothing else does.

use super::check::{Opened, told};
use super::model::Sent;
use super::times::Times;
use crate::options::{OnFull, TopicOptions};
use crate::{ErrorKind, Message};

/// Numbers of what is sent to a topic with room for so many more begin here.
const NUMBERS: u64 = 1 << 42;
const ROOM: u64 = 3;

impl Opened<'_> {
    /// Where every group has settled everything, exactly so many messages as a limit says may be
    /// sent.
    pub fn room_is_counted(&mut self) -> Result<(), String> {
        for (number, model) in self.model.topics.iter().enumerate() {
            let Some(topic) = self.life.topics[number].clone() else {
                continue;
            };
            if topic.groups().map_err(told("listing groups"))?.is_empty() {
                continue;
            }
            let few = TopicOptions {
                max_messages: Some(ROOM),
                on_full: Some(OnFull::Reject),
                ..TopicOptions::default()
            };
            topic.configure(&few).map_err(told("setting a limit"))?;
            for turn in 0..=ROOM {
                let partition = turn as usize % model.logs.len();
                let sent = Sent {
                    offset: 0,
                    number: NUMBERS | (number as u64) << 8 | turn,
                    len: 50,
                    key: None,
                    times: Times::default(),
                    id: None,
                };
                let body = super::model::payload(&sent);
                let message = Message::new(&body).partition(partition as u32);
                match topic.send(&message) {
                    Ok(id) if turn < ROOM => {
                        self.contents[number][partition].push((id.offset, sent.number));
                    }
                    Err(error) if turn == ROOM && error.kind() == ErrorKind::Full => {}
                    done => {
                        return Err(format!(
                            "P14: topic {} has room for {ROOM} messages, and number {turn} from 0 \
                             on: {done:?}",
                            model.name
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
