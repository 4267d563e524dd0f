//! Sessions: a shell, what it has shown, and who is attached to it.

use crate::actor::Actor;
use crate::shell::{Around, Said, Shell, greeting};
use crate::world::{AWAKE, Result, World, second};
use sprites_api::Time;
use sprites_api::exec::Session;
use tokio::sync::broadcast;

/// Most of what a console has shown that is shown again, bytes.
const SHOWN: usize = 32 << 10;

/// A console that may be attached.
pub struct Console {
    shell: Shell,
    created: Time,
    shown: Vec<u8>,
    pub attached: u32,
    pub output: broadcast::Sender<Vec<u8>>,
}

impl World {
    /// Another console of a sprite; its number.
    pub fn console(&mut self, name: &str) -> Result<u32> {
        self.wake(name, "a console")?;
        self.next += 1;
        let id = self.next;
        let console = Console {
            shell: Shell::default(),
            created: Time::now(),
            shown: greeting(name).into_bytes(),
            attached: 0,
            output: broadcast::channel(64).0,
        };
        self.actor(name)?.consoles.insert(id, console);
        Ok(id)
    }

    /// Takes what is typed in a console; whether that ended it.
    pub fn typed(&mut self, name: &str, id: u32, bytes: &[u8]) -> Result<bool> {
        self.wake(name, "a console")?;
        let actor = self.actor(name)?;
        let memory = actor.load.sample(second(), 1).memory_bytes;
        let programs = actor.services.iter().map(|service| service.command.clone());
        let processes = programs.chain(["bash -l".to_owned(), "ps".to_owned()]).collect();
        let Actor { files, consoles, .. } = actor;
        let console = consoles.get_mut(&id).ok_or("session not found")?;
        let Said { bytes, ended } =
            console.shell.typed(bytes, &mut Around { name, files, processes, memory });
        console.shown.extend_from_slice(&bytes);
        let over = console.shown.len().saturating_sub(SHOWN);
        console.shown.drain(..over);
        // Nobody may be attached.
        let _ = console.output.send(bytes);
        if ended {
            consoles.remove(&id);
        }
        Ok(ended)
    }
}

impl Actor {
    pub fn sessions(&self) -> Vec<Session> {
        let session = |(id, console): (&u32, &Console)| Session {
            id: id.to_string(),
            command: "bash -l".into(),
            workdir: "/home/sprite".into(),
            created: console.created,
            bytes_per_second: 0.0,
            is_active: false,
            tty: true,
            last_activity: None,
            attached: console.attached,
        };
        self.consoles.iter().map(session).collect()
    }

    /// What a console that is attached now shows first, and how it goes on.
    pub fn attach(&mut self, id: u32) -> Result<(Vec<u8>, broadcast::Receiver<Vec<u8>>)> {
        let console = self.consoles.get_mut(&id).ok_or("session not found")?;
        console.attached += 1;
        Ok((console.shown.clone(), console.output.subscribe()))
    }

    pub fn detach(&mut self, id: u32) {
        if let Some(console) = self.consoles.get_mut(&id) {
            console.attached = console.attached.saturating_sub(1);
        }
        self.until = second() + AWAKE;
    }
}
