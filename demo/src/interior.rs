//! What goes on in a sprite: its services, ports and tasks, and what it tried to reach.

use crate::actor::Actor;
use crate::world::{Result, at, second};
use sprites_api::Time;
use sprites_api::extension::{NetworkEvent, NetworkLog};
use sprites_api::inside::{Inside, Interior, Port};
use sprites_api::services::Status as Service;
use sprites_api::sprite::Status;

impl Actor {
    pub fn network(&self) -> NetworkLog {
        let now = second();
        let (allowed, denied) = &self.hosts;
        let event = |index: usize, host: &String, verdict: &str| NetworkEvent {
            at: at(now - 7 * (index as i64 + 1)),
            kind: "tcp".into(),
            name: host.parse::<std::net::IpAddr>().is_err().then(|| host.clone()),
            address: host.parse().ok(),
            port: Some(443),
            verdict: verdict.into(),
            reason: (verdict == "denied").then(|| "private addresses are not reachable".into()),
            rule: None,
            sent: 1200 * (index as u64 + 1),
            received: 54_000 * (index as u64 + 1),
            count: 1,
        };
        let hosts =
            allowed.iter().map(|host| (host, "allowed")).chain(denied.iter().map(|host| (host, "denied")));
        let events = hosts.enumerate().map(|(index, (host, verdict))| event(index, host, verdict)).collect();
        NetworkLog {
            sent: self.totals.sent_bytes,
            received: self.totals.received_bytes,
            connections: allowed.len() as u64,
            events,
            ..NetworkLog::default()
        }
    }

    pub fn inside(&self) -> Inside {
        let live = self.sprite.status == Status::Running;
        let ports = self.services.iter().filter_map(|service| {
            let program = service.command.split(' ').next().unwrap_or_default().to_owned();
            let port = service.http_port.filter(|_| service.state.status == Service::Running)?;
            Some(Port { port, address: "0.0.0.0".into(), pid: service.state.pid.unwrap_or(0), program })
        });
        let interior = Interior {
            services: self.services.clone(),
            ports: ports.collect(),
            sessions: self.sessions(),
            ..Interior::default()
        };
        Inside {
            status: self.sprite.status,
            as_of: Some(Time::now()),
            live,
            tasks: self.tasks.clone(),
            interior,
        }
    }

    pub fn service(&mut self, name: &str, runs: bool) -> Result<()> {
        let service =
            self.services.iter_mut().find(|service| service.name == name).ok_or("service not found")?;
        service.state.status = if runs { Service::Running } else { Service::Stopped };
        service.state.started_at = runs.then(Time::now);
        service.state.pid = runs.then_some(300);
        Ok(())
    }
}
