//! A sprite's network, as the server sees it: its gateway is told policies, and what it reports is kept for a while.

use crate::lock::locked;
use crate::meter::account::Carried;
use futures::{SinkExt, StreamExt};
use ipnet::IpNet;
use local_vmm::gateway::{
    Counters, Event, GatewayError, GatewayHandle, Message, Plan, Report, Request, Settings, host_has_ipv6,
};
use local_vmm::{MachineHandle, NetSpec};
use sprites_api::extension::{NetworkEvent, NetworkLog};
use sprites_api::policy::NetworkPolicy;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::codec::{Framed, LinesCodec};

/// Events that are kept of a sprite.
const KEPT: usize = 1000;
/// Longest line of a gateway: all events of its ring.
const LINE: usize = 8 << 20;
/// Requests that may wait.
const WAITING: usize = 16;
/// Between two tries to reach a gateway, and two looks at whether it is reached.
const AGAIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);
/// Why a sprite has no network whose gateway was killed.
const GONE: &str = "its gateway was killed from outside; stop the sprite to have its network start anew";
/// How long a gateway may take to carry out a request.
const ANSWER: Duration = Duration::from_secs(20);

/// What sprites may reach beside their policies.
#[derive(Clone, Debug, Default)]
pub struct NetworkSettings {
    /// None has a network.
    pub off: bool,
    /// Those without rules may reach the private networks that the host is in.
    pub allow_private: bool,
    /// Ranges that are treated as though they were public, such as `192.168.7.0/24`.
    pub reachable: Vec<IpNet>,
    /// Name servers; those of the host when empty.
    pub resolvers: Vec<SocketAddr>,
    /// Whether they have IPv6; unset, if the host has a way out for it.
    pub ipv6: Option<bool>,
}

impl NetworkSettings {
    fn gateway(&self, policy: NetworkPolicy) -> Settings {
        Settings {
            policy,
            allow_private: self.allow_private,
            reachable: self.reachable.clone(),
            resolvers: self.resolvers.clone(),
            ipv6: Some(self.ipv6.unwrap_or_else(host_has_ipv6)),
            ..Settings::default()
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Network {
    log: Mutex<Log>,
    line: Mutex<Option<mpsc::Sender<Asked>>>,
    /// Why there is none, when its machine started without.
    missing: Mutex<Option<String>>,
    /// Whether the machine has a card.
    plugged: AtomicBool,
    /// Tells followers of one machine from those of the next.
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Log {
    events: VecDeque<Event>,
    last: Report,
    lost: u64,
}

type Asked = (Request, oneshot::Sender<Result<(), String>>);

impl Network {
    /// Starts a gateway for a machine that is about to be started in `run_dir`.
    pub(super) async fn start(
        exe: &Path,
        run_dir: &Path,
        settings: &NetworkSettings,
        policy: NetworkPolicy,
    ) -> Result<NetSpec, GatewayError> {
        let settings = settings.gateway(policy);
        let ipv6 = settings.ipv6.unwrap_or_default();
        let gateway = GatewayHandle::spawn(exe, run_dir, settings).await?;
        Ok(NetSpec { socket: gateway.cable(), mac: Plan::default().guest_mac, ipv6 })
    }

    /// Listens to the gateway of a machine, if it has one, for as long as the machine runs.
    pub(super) fn follow(self: &Arc<Self>, machine: &MachineHandle) {
        let gateway = GatewayHandle::at(machine.run_dir());
        self.plugged.store(gateway.is_there(), Ordering::SeqCst);
        let (network, machine) = (Arc::clone(self), machine.clone());
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::spawn(async move {
            let mut gone = false;
            // A machine is held from its first moment; another one has its own follower.
            while gateway.is_there() && network.turn.load(Ordering::SeqCst) == turn {
                if let Ok(stream) = gateway.line().await {
                    if std::mem::take(&mut gone) {
                        network.plugged.store(true, Ordering::SeqCst);
                        network.begins(None);
                    }
                    network.speak(stream).await;
                } else if machine.is_held() && !std::mem::replace(&mut gone, true) {
                    // Nothing is reached any more, so there is nobody to tell a policy.
                    network.plugged.store(false, Ordering::SeqCst);
                    network.begins(Some(GONE.to_owned()));
                    tracing::warn!("a sprite's network is gone; stop the sprite to have it start anew");
                }
                if !machine.is_held() {
                    break;
                }
                sleep(AGAIN).await;
            }
        });
    }

    /// Its machine starts with a network, or without one for this reason.
    pub(super) fn begins(&self, missing: Option<String>) {
        *locked(&self.missing) = missing;
    }

    /// Carries requests and reports until the line ends.
    async fn speak(&self, stream: UnixStream) {
        let (sender, mut asked) = mpsc::channel::<Asked>(WAITING);
        *locked(&self.line) = Some(sender.clone());
        let (mut says, mut told) = Framed::new(stream, LinesCodec::new_with_max_length(LINE)).split();
        let waiting: Mutex<VecDeque<oneshot::Sender<Result<(), String>>>> = Mutex::default();
        // Each for itself: a gateway that waits for its reports to be read takes no requests.
        let speak = async {
            while let Some((request, answer)) = asked.recv().await {
                let Ok(text) = serde_json::to_string(&request) else { continue };
                locked(&waiting).push_back(answer);
                if says.send(text).await.is_err() {
                    break;
                }
            }
        };
        let hear = async {
            while let Some(Ok(told)) = told.next().await {
                match serde_json::from_str(&told) {
                    Ok(Message::Report(report)) => self.keep(report),
                    Ok(Message::Done(_)) => answer(&waiting, Ok(())),
                    Ok(Message::Error(why)) => answer(&waiting, Err(why)),
                    // The end of a line that was meant for a server before this one.
                    Err(_) => {}
                }
            }
        };
        tokio::select! {
            () = speak => {}
            () = hear => {}
        }
        let mut held = locked(&self.line);
        // The next machine's may be there already.
        if held.as_ref().is_some_and(|held| held.same_channel(&sender)) {
            *held = None;
        }
    }

    /// From now on this policy holds; what it allows no more has been cut when this is over. Without a card there is nothing to reach.
    pub(super) async fn set_policy(&self, policy: NetworkPolicy) -> Result<(), String> {
        if !self.plugged.load(Ordering::SeqCst) {
            return Ok(());
        }
        let give_up = Instant::now() + ANSWER;
        let late = || format!("its network does not answer within {} s", ANSWER.as_secs());
        while Instant::now() < give_up {
            if !self.plugged.load(Ordering::SeqCst) {
                return Ok(());
            }
            // It may just be coming.
            let Some(line) = locked(&self.line).clone() else {
                sleep(LOOK).await;
                continue;
            };
            let (sender, receiver) = oneshot::channel();
            let asked = async {
                let gone = |_| ();
                line.send((Request::Policy(policy.clone()), sender)).await.map_err(gone)?;
                receiver.await.map_err(|_| ())
            };
            match timeout_at(give_up, asked).await {
                Ok(Ok(outcome)) => return outcome,
                // The line ended; there may be another.
                Ok(Err(())) => sleep(LOOK).await,
                Err(_) => break,
            }
        }
        Err(late())
    }

    /// What its present gateway, or its last one, has carried; none before the first report.
    pub(crate) fn carried(&self) -> Option<Carried> {
        let Counters { began, sent, received, .. } = locked(&self.log).last.counters;
        (began != 0).then_some(Carried { began, sent, received })
    }

    fn keep(&self, mut report: Report) {
        let mut log = locked(&self.log);
        log.events.extend(report.events.drain(..));
        log.lost += report.lost;
        while log.events.len() > KEPT {
            log.events.pop_front();
            log.lost += 1;
        }
        log.last = report;
    }

    /// What happened, newest first.
    pub(crate) fn log(&self) -> NetworkLog {
        let log = locked(&self.log);
        let counters = log.last.counters;
        NetworkLog {
            missing: locked(&self.missing).clone(),
            sent: counters.sent,
            received: counters.received,
            connections: counters.connections,
            lost: log.lost,
            events: log.events.iter().rev().filter_map(shown).collect(),
        }
    }
}

fn answer(waiting: &Mutex<VecDeque<oneshot::Sender<Result<(), String>>>>, outcome: Result<(), String>) {
    if let Some(answer) = locked(waiting).pop_front() {
        let _ = answer.send(outcome);
    }
}

/// An event as the API tells it: the same, with words for what is a choice.
fn shown(event: &Event) -> Option<NetworkEvent> {
    let mut value = serde_json::to_value(event).ok()?;
    let members = value.as_object_mut()?;
    // A reason with more to it is told by its first word.
    if let Some(serde_json::Value::Object(reason)) = members.get("reason") {
        let word = reason.keys().next().cloned().unwrap_or_default();
        members.insert("reason".into(), word.into());
    }
    if let Some(serde_json::Value::Object(rule)) = members.get("rule") {
        let text = rule.get("text").cloned().unwrap_or_default();
        members.insert("rule".into(), text);
    }
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sprites_api::agent;

    #[test]
    fn both_ends_of_the_cable_know_the_same_addresses() {
        let plan = Plan::default();
        assert_eq!((plan.guest, plan.gateway), (agent::ADDRESS.into(), agent::GATEWAY.into()));
        assert_eq!(u32::from_be_bytes(agent::NETMASK).count_ones(), u32::from(plan.prefix));
        assert_eq!((plan.guest_v6, plan.gateway_v6), (agent::ADDRESS_V6.into(), agent::GATEWAY_V6.into()));
        assert_eq!(plan.prefix_v6, agent::PREFIX_V6);
    }
}
