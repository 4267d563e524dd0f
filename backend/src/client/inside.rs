//! What goes on in a sprite. Looking neither wakes it nor keeps it awake, which is an extension of the local server; starting and stopping
//! its services does.

use super::transport::{HEARTBEAT, WORK};
use super::{Client, Lines, Method, Result, lines};
use sprites_api::inside::Inside;
use sprites_api::services::{Event, EventKind};

/// What can be done with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAction {
    /// Run it, and what it needs.
    Start,
    /// End it; it stays so.
    Stop,
    /// Both.
    Restart,
}

impl ServiceAction {
    /// Its name in the path of the call.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

impl Client {
    /// Services, tasks, ports and sessions; of a sprite that sleeps as they were last. Local servers only.
    pub async fn inside(&self, name: &str) -> Result<Inside> {
        let call = self.get_call(&["v1", "local", "sprites", name, "inside"])?;
        self.local("looking into a sprite", self.transport.json(call).await)
    }

    /// The last lines of a service's log and all that follow, for as long as the sprite runs; ends with a line of the kind `asleep`, or
    /// `complete` after an hour, or `error`. Local servers only.
    pub fn follow_log(&self, name: &str, service: &str, count: usize) -> Lines<Event> {
        let call = self.get_call(&["v1", "local", "sprites", name, "services", service, "logs"]);
        let call = call.map(|mut call| {
            call.url.query_pairs_mut().append_pair("lines", &count.to_string());
            call
        });
        let last = |event: &Event| {
            // What goes wrong with a service is told in its log too, and that goes on.
            matches!(event.kind, EventKind::Asleep | EventKind::Complete)
        };
        self.transport.lines(call, HEARTBEAT, lines::End::Line(last))
    }

    /// Starts, stops or restarts a service of a sprite, which is woken if needed; the stream ends when that is done.
    pub fn service(&self, name: &str, service: &str, action: ServiceAction) -> Lines<Event> {
        let path = ["v1", "sprites", name, "services", service, action.as_str()];
        let call = self.transport.call(Method::POST, &path).map(|mut call| {
            if action != ServiceAction::Stop {
                // Long enough to tell that there is no such program.
                call.url.query_pairs_mut().append_pair("duration", "1s");
            }
            self.long(call)
        });
        self.transport.lines(call, WORK, lines::End::Line(|event: &Event| event.kind == EventKind::Complete))
    }
}
