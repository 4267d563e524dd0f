//! The gateway: one task that owns all state of a sprite's network.
//!
//! A turn does all that can be done without waiting: frames in, servers that rang, timers, answers of name servers, requests of the owner, frames
//! out. Then it waits for any of them. There are no locks and no second task that a packet has to be handed to.

use crate::access::{Access, Grant};
use crate::cable::{Cable, Outgoing, Read};
use crate::clock::Clock;
use crate::control::{Control, Counters, Request};
use crate::dns::{self, Asker, Dns, Question, Word};
use crate::echo::Echoes;
use crate::error::{Error, Result};
use crate::event::{Event, Kind, Log, Outcome, Reason};
use crate::frame::{self, Dropped, Frame, Pair};
use crate::plan::Plan;
use crate::reach;
use crate::ready::Bell;
use crate::reply;
use crate::settings::Settings;
use crate::tcp::{Rest, Tcp};
use crate::udp::Udp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// How often limits of time are looked at and reports made.
const SECOND: Duration = Duration::from_secs(1);
/// Most buffers full of frames that are taken in before all else has its turn.
const READS: usize = 4;

/// Who may ring.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Tcp(Pair),
    Udp(Pair),
    Echo(Pair),
}

/// See the module.
#[derive(Debug)]
pub struct Gateway {
    ipv6: bool,
    cable: Cable,
    control: Control,
    around: Around,
    rung: Vec<Who>,
    tcp: Tcp,
    udp: Udp,
    echoes: Echoes,
    dns: Dns,
    next_second: Instant,
}

/// What every part needs besides itself.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) plan: Plan,
    pub(crate) clock: Clock,
    pub(crate) out: Outgoing,
    pub(crate) access: Access,
    pub(crate) log: Log,
    pub(crate) counters: Counters,
    pub(crate) bell: Arc<Bell<Who>>,
    /// Where questions on streams go.
    pub(crate) door: mpsc::Sender<Question>,
}

/// Whether the gateway goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It waits for somebody.
    Waits,
    /// It has more to do at once.
    Busy,
    /// One of its two sides is gone.
    End,
}

impl Gateway {
    /// A gateway between a guest's card and the host's network. To be called within a runtime.
    pub fn new(frames: UnixStream, control: UnixStream, settings: &Settings) -> Result<Self> {
        settings.check().map_err(Error::Settings)?;
        // Better now than with the first connection.
        getrandom::u64().map_err(|error| Error::Random(error.into()))?;
        let limits = settings.limits;
        let dns = Dns::new(settings.resolvers.clone(), limits.questions);
        let around = Around::new(settings, dns.door()).map_err(Error::Settings)?;
        Ok(Self {
            ipv6: settings.ipv6.unwrap_or_else(reach::host_has_ipv6),
            cable: Cable::new(frames),
            control: Control::new(control),
            rung: Vec::new(),
            tcp: Tcp::new(limits),
            udp: Udp::new(limits.flows, Duration::from_secs(limits.flow_seconds)),
            echoes: Echoes::new(limits.echoes),
            dns,
            next_second: around.clock.now + SECOND,
            around,
        })
    }

    /// Serves until one of the two sides closes.
    pub async fn run(mut self) -> Result<()> {
        loop {
            self.around.clock.turn();
            match self.turn()? {
                Turn::End => return Ok(()),
                Turn::Busy => tokio::task::yield_now().await,
                Turn::Waits => {
                    if let Some(word) = self.wait().await? {
                        self.around.clock.turn();
                        self.dns.hear(word, &mut self.around);
                    }
                }
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Result<Option<Word>> {
        // A sprite that does nothing wakes nobody.
        let second = (!self.is_quiet()).then_some(self.next_second);
        let next = self.tcp.next_due().into_iter().chain(second).min();
        let time = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.cable.ready(&self.around.out) => ready.map_err(Error::Cable)?,
            ready = self.control.ready() => ready.map_err(Error::Control)?,
            () = self.around.bell.rings() => {}
            word = self.dns.word() => return Ok(Some(word)),
            () = time => {}
        }
        Ok(None)
    }

    /// Does what can be done.
    fn turn(&mut self) -> Result<Turn> {
        let mut busy = true;
        for _ in 0..READS {
            match self.cable.read()? {
                Read::Some => self.frames()?,
                Read::None => {
                    busy = false;
                    break;
                }
                Read::End => return Ok(Turn::End),
            }
        }
        self.around.bell.take(&mut self.rung);
        for who in &self.rung {
            match *who {
                Who::Tcp(pair) => self.tcp.rung(pair),
                Who::Udp(pair) => self.udp.rung(pair, &mut self.around),
                Who::Echo(pair) => self.echoes.rung(pair, &mut self.around),
            }
        }
        while let Some(word) = self.dns.next_word() {
            self.dns.hear(word, &mut self.around);
        }
        if !self.requests()? {
            return Ok(Turn::End);
        }
        busy |= self.tcp.serve(&mut self.around) == Rest::Busy;
        self.udp.serve(&mut self.around);
        if self.around.clock.now >= self.next_second {
            self.second();
        }
        self.count();
        if !self.cable.flush(&mut self.around.out)? || !self.control.flush()? {
            return Ok(Turn::End);
        }
        // Who has more for the guest waits for room on the cable, and here it is.
        busy |= self.around.out.has_room() && (self.tcp.is_listed() || self.udp.is_held());
        Ok(if busy { Turn::Busy } else { Turn::Waits })
    }

    /// Looks at the frames that have come.
    fn frames(&mut self) -> Result<()> {
        let around = &mut self.around;
        while let Some(bytes) = self.cable.frame()? {
            match frame::look(bytes, &around.plan, self.ipv6) {
                Ok(Frame::WhoIsGateway) => reply::gateway_is_here(&mut around.out, &around.plan),
                Ok(Frame::WhoIsGatewayV6(asker)) => {
                    reply::gateway_v6_is_here(&mut around.out, &around.plan, asker);
                }
                Ok(Frame::Tcp(segment)) => self.tcp.segment(&segment, around),
                Ok(Frame::Udp(datagram)) => {
                    let to = datagram.pair.remote;
                    if around.plan.is_gateway(to.ip()) && to.port() == dns::PORT {
                        around.counters.sent += datagram.payload.len() as u64;
                        self.dns.ask(datagram.payload, Asker::Datagram(datagram.pair), around);
                    } else {
                        self.udp.datagram(&datagram, around);
                    }
                }
                Ok(Frame::Echo(echo)) => self.echoes.request(&echo, around),
                Err(Dropped::Quiet) => {}
                Err(why) => {
                    let reason = Some(Reason::Dropped(why));
                    let event = Event { reason, ..Event::new(Kind::Frame, Outcome::Denied) };
                    around.log.add(event, around.clock.now);
                }
            }
        }
        Ok(())
    }

    /// Carries out what the owner asks for. False when the owner is gone.
    fn requests(&mut self) -> Result<bool> {
        let there = self.control.read()?;
        while let Some(request) = self.control.request()? {
            let result = match request {
                Request::Policy(policy) => self.around.access.set_policy(&policy),
                Request::AllowPrivate(allow) => {
                    self.around.access.set_allow_private(allow);
                    Ok(())
                }
                Request::Resolvers(servers) => {
                    self.dns.set_servers(servers);
                    Ok(())
                }
            };
            if result.is_ok() {
                self.tcp.review(&mut self.around);
                self.udp.review(&mut self.around);
                self.echoes.review(&mut self.around);
            }
            self.control.answer(result);
        }
        Ok(there)
    }

    /// Whether there is nothing to look at once a second.
    fn is_quiet(&self) -> bool {
        self.tcp.len() + self.udp.len() + self.echoes.len() == 0
            && self.control.is_told(&self.around.log, self.around.counters)
    }

    /// What is done once a second.
    fn second(&mut self) {
        let around = &mut self.around;
        self.next_second = around.clock.now + SECOND;
        self.tcp.second(around);
        self.udp.second(around);
        self.echoes.second(around.clock.now);
        around.access.pins.sweep(around.clock.now);
        self.count();
        self.control.report(&mut self.around.log, self.around.counters);
    }

    fn count(&mut self) {
        self.around.counters.connections = self.tcp.len() as u64;
        self.around.counters.flows = self.udp.len() as u64;
    }
}

impl Around {
    pub(crate) fn new(
        settings: &Settings,
        door: mpsc::Sender<Question>,
    ) -> std::result::Result<Self, String> {
        let clock = Clock::new();
        Ok(Self {
            plan: settings.plan,
            clock,
            out: Outgoing::new(&settings.plan),
            access: Access::new(settings)?,
            log: Log::new(clock.now),
            counters: Counters::new(),
            bell: Bell::new(),
            door,
        })
    }

    /// An event about a conversation of the guest's.
    pub(crate) fn event(
        &self,
        kind: Kind,
        verdict: Outcome,
        pair: Pair,
        grant: &Grant,
        reason: Option<Reason>,
    ) -> Event {
        Event {
            name: grant.name.clone(),
            rule: grant.rule.clone(),
            address: Some(pair.remote.ip()),
            port: (kind != Kind::Icmp).then_some(pair.remote.port()),
            reason,
            ..Event::new(kind, verdict)
        }
    }

    /// Logs one.
    pub(crate) fn report(
        &mut self,
        kind: Kind,
        verdict: Outcome,
        pair: Pair,
        grant: &Grant,
        reason: Option<Reason>,
    ) {
        let event = self.event(kind, verdict, pair, grant, reason);
        self.log.add(event, self.clock.now);
    }
}

#[cfg(test)]
mod tests;
