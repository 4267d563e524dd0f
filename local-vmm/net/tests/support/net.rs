//! A gateway with a guest at one end, its owner at the other, and servers on the host's loopback.

#![allow(dead_code, reason = "each program that shares it uses its part")]

use crate::guest::{DEADLINE, Guest};
use hickory_proto::op::{Message as DnsMessage, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use vmm_net::{Counters, Event, Message, Request, Result, Settings};

/// See the module.
pub struct Net {
    pub guest: Guest,
    pub settings: Settings,
    pub owner: Owner,
    pub gateway: JoinHandle<Result<()>>,
}

/// The owner's end of the line.
pub struct Owner {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    pub events: Vec<Event>,
    pub counters: Counters,
}

/// Settings under which the loopback is outside.
pub fn settings(rules: &str) -> Settings {
    Settings {
        policy: serde_json::from_str(&format!(r#"{{"rules":[{rules}]}}"#)).unwrap(),
        reachable: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        // Nobody is there.
        resolvers: vec!["127.0.0.1:9".parse().unwrap()],
        ipv6: Some(true),
        ..Settings::default()
    }
}

impl Net {
    pub fn start(settings: Settings) -> Self {
        // Servers and gateway are one process here, and take two files for each connection.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
        let (card, cable) = UnixStream::pair().unwrap();
        let (line, control) = UnixStream::pair().unwrap();
        for stream in [&cable, &control] {
            stream.set_nonblocking(true).unwrap();
        }
        let given = settings.clone();
        let gateway = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tokio = |stream| tokio::net::UnixStream::from_std(stream).unwrap();
                vmm_net::run(tokio(cable), tokio(control), given).await
            })
        });
        Self { guest: Guest::new(card, &settings.plan), owner: Owner::new(line), settings, gateway }
    }

    /// Asks for a name, by datagram.
    pub fn resolve(&mut self, name: &str, kind: RecordType) -> DnsMessage {
        let server = self.server();
        let socket = self.guest.udp();
        let bytes = self.guest.exchange(socket, server, &question(name, kind));
        self.guest.sockets.remove(socket);
        DnsMessage::from_vec(&bytes).unwrap()
    }

    /// The guest's name server.
    pub fn server(&self) -> SocketAddr {
        (self.settings.plan.gateway, 53).into()
    }

    /// Ends it by unplugging the cable.
    pub fn end(self) {
        drop(self.guest);
        self.gateway.join().unwrap().unwrap();
    }
}

impl Owner {
    fn new(line: UnixStream) -> Self {
        line.set_read_timeout(Some(DEADLINE)).unwrap();
        let reader = BufReader::new(line.try_clone().unwrap());
        Self { reader, writer: line, events: Vec::new(), counters: Counters::default() }
    }

    /// Asks for something, and gives the answer to it.
    pub fn ask(&mut self, request: &Request) -> std::result::Result<(), String> {
        self.write(&serde_json::to_string(request).unwrap())
    }

    /// Sends any line.
    pub fn write(&mut self, line: &str) -> std::result::Result<(), String> {
        self.writer.write_all(format!("{line}\n").as_bytes()).unwrap();
        loop {
            match self.read() {
                Message::Done(_) => return Ok(()),
                Message::Error(why) => return Err(why),
                Message::Report(_) => {}
            }
        }
    }

    /// Another policy.
    pub fn policy(&mut self, rules: &str) {
        let policy = serde_json::from_str(&format!(r#"{{"rules":[{rules}]}}"#)).unwrap();
        self.ask(&Request::Policy(policy)).unwrap();
    }

    fn read(&mut self) -> Message {
        let mut line = String::new();
        assert_ne!(self.reader.read_line(&mut line).unwrap(), 0, "the gateway has hung up");
        let message = serde_json::from_str(&line).unwrap();
        if let Message::Report(report) = &message {
            self.events.extend(report.events.iter().cloned());
            self.counters = report.counters;
        }
        message
    }

    /// Waits for an event.
    pub fn event(&mut self, fits: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(event) = self.events.iter().find(|event| fits(event)) {
                return event.clone();
            }
            assert!(Instant::now() < deadline, "no such event among {:#?}", self.events);
            self.read();
        }
    }

    /// Waits for counters.
    pub fn counters(&mut self, fits: impl Fn(&Counters) -> bool) -> Counters {
        while !fits(&self.counters) {
            self.read();
        }
        self.counters
    }
}

/// The bytes of a question.
pub fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = DnsMessage::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

/// Addresses in an answer.
pub fn addresses(message: &DnsMessage) -> Vec<IpAddr> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    };
    message.answers.iter().filter_map(address).collect()
}

/// A server for connections, each served in a thread of its own.
pub fn serve(each: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    serve_at((Ipv4Addr::LOCALHOST, 0).into(), each)
}

pub fn serve_at(at: SocketAddr, each: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&at.into()).unwrap();
    // With a short queue the kernel answers many at once with cookies, and breaks off what it cannot remember later.
    socket.listen(4096).unwrap();
    serve_with(socket.into(), each)
}

fn serve_with(listener: TcpListener, each: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let each = Arc::new(each);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            thread::Builder::new().stack_size(256 << 10).spawn(move || each(stream)).unwrap();
        }
    });
    address
}

/// Sends everything back.
pub fn echo(mut stream: TcpStream) {
    let mut part = vec![0; 16 << 10];
    while let Ok(read @ 1..) = stream.read(&mut part) {
        if stream.write_all(&part[..read]).is_err() {
            return;
        }
    }
}

/// A name server, and what it was asked.
#[derive(Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// `answer` fills in the answer to a name.
    pub fn start(answer: impl Fn(&str, RecordType, &mut DnsMessage) + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), answer)
    }

    pub fn start_at(
        at: SocketAddr,
        answer: impl Fn(&str, RecordType, &mut DnsMessage) + Send + Sync + 'static,
    ) -> Self {
        // One port for datagrams and streams, whatever other tests do.
        let (socket, listener) = std::iter::repeat_with(|| {
            let socket = UdpSocket::bind(at).unwrap();
            TcpListener::bind(socket.local_addr().unwrap()).map(|listener| (socket, listener))
        })
        .find_map(std::result::Result::ok)
        .unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (heard, answer) = (asked.clone(), Arc::new(answer));
        let reply = move |bytes: &[u8]| {
            let question = DnsMessage::from_vec(bytes).unwrap();
            let mut message = DnsMessage::response(question.metadata.id, OpCode::Query);
            let asked = question.queries[0].clone();
            let name = asked.name().to_ascii();
            heard.lock().unwrap().push(name.clone());
            message.add_query(asked.clone());
            answer(&name, asked.query_type(), &mut message);
            message
        };
        let streams = reply.clone();
        serve_with(listener, move |mut stream| {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut bytes = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut bytes).unwrap();
                let answer = streams(&bytes).to_vec().unwrap();
                let length = (answer.len() as u16).to_be_bytes();
                stream.write_all(&[&length, &answer[..]].concat()).unwrap();
            }
        });
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((read, from)) = socket.recv_from(&mut bytes) {
                let message = reply(&bytes[..read]);
                let mut answer = message.to_vec().unwrap();
                if answer.len() > 1232 {
                    answer = message.truncate().to_vec().unwrap();
                }
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self { address, asked }
    }

    /// Every name asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// One that gives every name one address.
pub fn name_server(address: IpAddr) -> NameServer {
    NameServer::start(move |name, kind, message| add(message, name, kind, address))
}

/// Adds an address, if that is what was asked for.
pub fn add(message: &mut DnsMessage, name: &str, kind: RecordType, address: IpAddr) {
    let data = match (kind, address) {
        (RecordType::A, IpAddr::V4(address)) => RData::A(address.into()),
        (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA(address.into()),
        _ => return,
    };
    message.metadata.response_code = ResponseCode::NoError;
    message.add_answer(Record::from_rdata(Name::from_ascii(name).unwrap(), 1, data));
}
