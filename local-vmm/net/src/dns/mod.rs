//! The gateway as the guest's name server.
//!
//! | a question | is |
//! |---|---|
//! | for a name that the policy denies | refused at once; no name server hears of it |
//! | under a policy for a type of record that carries text at will | refused as well |
//! | otherwise | asked anew of the host's name servers |
//!
//! Addresses in the answer that lead inside (a private network, the host) are taken out: else whoever owns a name decides where inside it points.
//! All others are [pinned](crate::pins) before the guest hears of them.

mod message;
mod stream;
mod upstream;

pub(crate) use stream::serve;

use crate::event::{Event, Kind, Outcome, Reason};
use crate::frame::Pair;
use crate::gateway::Around;
use crate::reply;
use hickory_proto::op::{Message, ResponseCode};
use message::Query;
use sprites_api::policy::RuleRef;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use upstream::Servers;

/// Port at which the gateway answers.
pub(crate) const PORT: u16 = 53;
/// Questions from streams that wait to be looked at.
const WAITING: usize = 32;

/// A question that came on a stream.
#[derive(Debug)]
pub(crate) struct Question {
    bytes: Vec<u8>,
    answers: oneshot::Sender<Vec<u8>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Dns {
    servers: Servers,
    asked: JoinSet<Answered>,
    most: usize,
    from_streams: mpsc::Receiver<Question>,
    to_streams: mpsc::Sender<Question>,
}

/// Who asked.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A datagram.
    Datagram(Pair),
    /// Somebody on a stream.
    Stream(oneshot::Sender<Vec<u8>>),
}

/// Something that names have to do with.
#[derive(Debug)]
pub(crate) enum Word {
    /// Somebody on a stream asks.
    Question(Question),
    /// Name servers have answered.
    Answered(Box<Answered>),
}

/// What name servers said to a question.
#[derive(Debug)]
pub(crate) struct Answered {
    asker: Asker,
    query: Query,
    answer: Option<Vec<u8>>,
}

impl Dns {
    pub(crate) fn new(servers: Vec<SocketAddr>, most: usize) -> Self {
        let (to_streams, from_streams) = mpsc::channel(WAITING);
        Self { servers: Servers::new(servers), asked: JoinSet::new(), most, from_streams, to_streams }
    }

    /// From now on those are asked; if none, the host's.
    pub(crate) fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        self.servers = Servers::new(servers);
    }

    /// Where [streams](serve) put their questions.
    pub(crate) fn door(&self) -> mpsc::Sender<Question> {
        self.to_streams.clone()
    }

    /// Somebody asks.
    pub(crate) fn ask(&mut self, bytes: &[u8], asker: Asker, around: &mut Around) {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Some(error)) => return deliver(asker, error, around),
            Err(None) => return,
        };
        let strict = around.access.has_policy();
        let rule = match may_ask(&query, around) {
            Ok(rule) => rule,
            Err((reason, rule)) => {
                report(&query, Outcome::Denied, Some(reason), rule, None, around);
                return answer(asker, &query, &query.refuse(ResponseCode::Refused), around);
            }
        };
        let servers = self.servers.get(around.clock.now);
        let busy = self.asked.len() >= self.most;
        let question = getrandom::u32().ok().and_then(|id| query.upstream(id as u16, strict));
        let (false, false, Some(question)) = (busy, servers.is_empty(), question) else {
            let reason = if busy { Reason::TooMany } else { Reason::Unreachable };
            report(&query, Outcome::Failed, Some(reason), rule, None, around);
            return answer(asker, &query, &query.refuse(ResponseCode::ServFail), around);
        };
        self.asked
            .spawn(async move { Answered { asker, query, answer: upstream::ask(servers, question).await } });
    }

    /// Waits for a word.
    pub(crate) async fn word(&mut self) -> Word {
        loop {
            let answered = async {
                match self.asked.join_next().await {
                    Some(answered) => answered,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // There is always somebody who may ask: the door that is kept here.
                Some(question) = self.from_streams.recv() => return Word::Question(question),
                answered = answered => match answered {
                    Ok(answered) => return Word::Answered(Box::new(answered)),
                    Err(error) => lost(&error),
                },
            }
        }
    }

    /// The next word, if one is there.
    pub(crate) fn next_word(&mut self) -> Option<Word> {
        if let Ok(question) = self.from_streams.try_recv() {
            return Some(Word::Question(question));
        }
        loop {
            match self.asked.try_join_next()? {
                Ok(answered) => return Some(Word::Answered(Box::new(answered))),
                Err(error) => lost(&error),
            }
        }
    }

    /// Goes by a word.
    pub(crate) fn hear(&mut self, word: Word, around: &mut Around) {
        match word {
            Word::Question(Question { bytes, answers }) => self.ask(&bytes, Asker::Stream(answers), around),
            Word::Answered(answered) => hand_on(*answered, around),
        }
    }
}

fn lost(error: &tokio::task::JoinError) {
    // Who asked asks again.
    tracing::warn!("a question to a name server was lost: {error}");
}

/// Hands on what name servers said.
fn hand_on(answered: Answered, around: &mut Around) {
    let Answered { asker, query, answer: said } = answered;
    // The policy may have changed while the question was asked.
    let rule = match may_ask(&query, around) {
        Ok(rule) => rule,
        Err((reason, rule)) => {
            report(&query, Outcome::Denied, Some(reason), rule, None, around);
            return answer(asker, &query, &query.refuse(ResponseCode::Refused), around);
        }
    };
    let Some(said) = said.and_then(|bytes| Message::from_vec(&bytes).ok()) else {
        report(&query, Outcome::Failed, Some(Reason::TimedOut), rule, None, around);
        return answer(asker, &query, &query.refuse(ResponseCode::ServFail), around);
    };
    let (strict, now) = (around.access.has_policy(), around.clock.now);
    let filtered = query.filter(said, strict, |address| around.access.leads_outside(address, now));
    let name: Arc<str> = query.name.as_str().into();
    for (address, seconds) in &filtered.addresses {
        around.access.pins.add(&name, *address, *seconds, now);
    }
    match filtered.blocked {
        Some((address, reason)) => {
            report(&query, Outcome::Denied, Some(reason), rule, Some(address), around);
        }
        None => report(&query, Outcome::Allowed, None, rule, None, around),
    }
    answer(asker, &query, &filtered.message, around);
}

type Denied = (Reason, Option<Arc<RuleRef>>);

fn may_ask(query: &Query, around: &Around) -> Result<Option<Arc<RuleRef>>, Denied> {
    let access = &around.access;
    if !access.has_policy() {
        return Ok(None);
    }
    if !query.is_common() {
        return Err((Reason::RecordType, None));
    }
    if !query.plain {
        return Err((Reason::NoRule, None));
    }
    // What an address that may be connected to is called is no secret.
    if let Some(address) = query.reverse() {
        let known = access.pins.names(address, around.clock.now).find_map(|name| access.name(name).ok());
        if let Some(rule) = known {
            return Ok(rule);
        }
    }
    access.name(&query.name).map_err(|denial| (denial.reason, denial.rule))
}

fn report(
    query: &Query,
    verdict: Outcome,
    reason: Option<Reason>,
    rule: Option<Arc<RuleRef>>,
    address: Option<std::net::IpAddr>,
    around: &mut Around,
) {
    let name = Some(query.name.as_str().into());
    around.log.add(Event { name, address, reason, rule, ..Event::new(Kind::Dns, verdict) }, around.clock.now);
}

fn answer(asker: Asker, query: &Query, message: &Message, around: &mut Around) {
    let bytes = match &asker {
        Asker::Datagram(_) => query.datagram(message),
        Asker::Stream(_) => query.stream(message, around.access.has_policy()),
    };
    if let Some(bytes) = bytes {
        deliver(asker, bytes, around);
    }
}

fn deliver(asker: Asker, bytes: Vec<u8>, around: &mut Around) {
    match asker {
        Asker::Datagram(pair) => {
            around.counters.received += bytes.len() as u64;
            reply::datagram(&mut around.out, &around.plan, pair, &bytes);
        }
        // Nobody waits any more: the connection is gone.
        Asker::Stream(answers) => drop(answers.send(bytes)),
    }
}
