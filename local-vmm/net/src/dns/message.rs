//! Questions of the guest's, questions to name servers, and what of an answer the guest gets.
//!
//! No message passes through. A question is read and asked anew, an answer is read and built anew from the records that belong in it, so what else
//! either side packs into a message goes nowhere.

use crate::event::Reason;
use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Mandatory, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use sprites_api::policy::normal;
use std::net::IpAddr;

/// Largest datagram either side is told to send: what fits every link (the DNS flag day of 2020).
pub(crate) const DATAGRAM: u16 = 1232;
/// Largest datagram to who says nothing about that.
const OLD_DATAGRAM: u16 = 512;
/// Largest answer on a stream under a policy.
const STRICT_STREAM: usize = 16 << 10;
/// Most records of an answer under a policy.
const STRICT_RECORDS: usize = 64;
/// Longest chain of names that stand for each other.
const CHAIN: usize = 16;

/// A question of the guest's.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) id: u16,
    /// As it was asked.
    asked: Asked,
    /// As names are compared.
    pub(crate) name: String,
    /// The name has nothing in it but what host names have.
    pub(crate) plain: bool,
    recursion: bool,
    checking_disabled: bool,
    dnssec: bool,
    /// Largest datagram it takes, if it says so.
    payload: Option<u16>,
}

/// What is left of an answer.
#[derive(Debug)]
pub(crate) struct Filtered {
    pub(crate) message: Message,
    /// Addresses in it, and for how many seconds they hold.
    pub(crate) addresses: Vec<(IpAddr, u32)>,
    /// An address that was taken out, and why.
    pub(crate) blocked: Option<(IpAddr, Reason)>,
}

impl Query {
    /// Reads a question. One that makes no sense is answered with the error; what is no question at all, with nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Option<Vec<u8>>> {
        let Ok(message) = Message::from_vec(bytes) else {
            // An answer still needs the number of what it is about.
            let (Some(id), Some(flags)) = (bytes.first_chunk::<2>(), bytes.get(2)) else { return Err(None) };
            let error = Message::error_msg(u16::from_be_bytes(*id), OpCode::Query, ResponseCode::FormErr);
            return Err((flags & 0x80 == 0).then(|| error.to_vec().ok()).flatten());
        };
        let metadata = &message.metadata;
        let fail = |code| Err(Message::error_msg(metadata.id, metadata.op_code, code).to_vec().ok());
        if metadata.message_type != MessageType::Query {
            return Err(None);
        }
        if metadata.op_code != OpCode::Query {
            return fail(ResponseCode::NotImp);
        }
        let [asked] = message.queries.as_slice() else { return fail(ResponseCode::FormErr) };
        if asked.query_class() != DNSClass::IN {
            return fail(ResponseCode::NotImp);
        }
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        Ok(Self {
            id: metadata.id,
            name: normal(&asked.name().to_ascii()),
            plain: asked.name().iter().all(|label| label.iter().all(fits)),
            asked: asked.clone(),
            recursion: metadata.recursion_desired,
            checking_disabled: metadata.checking_disabled,
            dnssec: message.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            payload: message.edns.as_ref().map(Edns::max_payload),
        })
    }

    pub(crate) fn kind(&self) -> RecordType {
        self.asked.query_type()
    }

    /// Whether a record of that type is asked for under a policy: what finds servers, and none of those that carry text at will.
    pub(crate) fn is_common(&self) -> bool {
        matches!(
            self.kind(),
            RecordType::A
                | RecordType::AAAA
                | RecordType::CNAME
                | RecordType::HTTPS
                | RecordType::SVCB
                | RecordType::MX
                | RecordType::SRV
                | RecordType::NS
                | RecordType::SOA
                | RecordType::PTR
        )
    }

    /// The address whose name is asked for.
    pub(crate) fn reverse(&self) -> Option<IpAddr> {
        if self.kind() != RecordType::PTR {
            return None;
        }
        let net = self.asked.name().parse_arpa_name().ok()?;
        (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
    }

    /// The question as a name server is asked it: in lower case, with nothing of the guest's beside it.
    pub(crate) fn upstream(&self, id: u16, strict: bool) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.checking_disabled && !strict;
        message.add_query(Asked::query(self.asked.name().to_lowercase(), self.kind()));
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM).set_version(0);
        edns.set_dnssec_ok(self.dnssec && !strict);
        message.set_edns(edns);
        message.to_vec().ok()
    }

    /// An answer without records.
    pub(crate) fn refuse(&self, code: ResponseCode) -> Message {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.response_code = code;
        message.add_query(self.asked.clone());
        if self.payload.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM).set_version(0).set_dnssec_ok(self.dnssec);
            message.set_edns(edns);
        }
        message
    }

    /// Takes from a name server's answer what belongs in it. `leads` tells whether guests may go to an address.
    pub(crate) fn filter(
        &self,
        answer: Message,
        strict: bool,
        mut leads: impl FnMut(IpAddr) -> Result<(), Reason>,
    ) -> Filtered {
        let code = match answer.metadata.response_code {
            code @ (ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::NotImp) => code,
            // Refused is what a denial looks like, and this is none.
            _ => ResponseCode::ServFail,
        };
        let mut message = self.refuse(code);
        message.metadata.authentic_data = answer.metadata.authentic_data && !strict;
        let chain = self.chain(&answer.answers);
        let (mut addresses, mut blocked) = (Vec::new(), None);
        for mut record in answer.answers {
            if strict && !(chain.contains(&record.name) && self.belongs(&record)) {
                continue;
            }
            if strict && message.answers.len() >= STRICT_RECORDS {
                break;
            }
            if let Some(address) = address(&record.data) {
                if let Err(reason) = leads(address) {
                    blocked = Some((address, reason));
                    continue;
                }
                if chain.contains(&record.name) {
                    addresses.push((address, record.ttl));
                }
            }
            match &mut record.data {
                RData::SVCB(service) => strip(service),
                RData::HTTPS(service) => strip(&mut service.0),
                _ => {}
            }
            message.add_answer(record);
        }
        for record in answer.authorities {
            // Without it nobody may remember that there is nothing.
            let needed = record.record_type() == RecordType::SOA && message.answers.is_empty();
            if address(&record.data).is_none()
                && (needed || !strict)
                && message.authorities.len() < STRICT_RECORDS
            {
                message.add_authority(record);
            }
        }
        if blocked.is_some() && addresses.is_empty() {
            message = self.refuse(ResponseCode::Refused);
        }
        Filtered { message, addresses, blocked }
    }

    /// The name asked for, and all that it stands for.
    fn chain(&self, answers: &[Record]) -> Vec<Name> {
        let mut chain = vec![self.asked.name().clone()];
        // In whichever order they come.
        while let Some(next) = answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if chain.contains(&record.name) && !chain.contains(&target.0) => {
                Some(&target.0)
            }
            _ => None,
        }) {
            if chain.len() > CHAIN {
                break;
            }
            chain.push(next.clone());
        }
        chain
    }

    fn belongs(&self, record: &Record) -> bool {
        record.dns_class == DNSClass::IN
            && (record.record_type() == self.kind() || record.record_type() == RecordType::CNAME)
    }

    /// The bytes of an answer for a datagram. What is too long for it is left out, and asked for on a stream.
    pub(crate) fn datagram(&self, message: &Message) -> Option<Vec<u8>> {
        let most = usize::from(self.payload.unwrap_or(OLD_DATAGRAM).clamp(OLD_DATAGRAM, DATAGRAM));
        let bytes = message.to_vec().ok()?;
        if bytes.len() <= most {
            return Some(bytes);
        }
        message.truncate().to_vec().ok().filter(|bytes| bytes.len() <= most)
    }

    /// The bytes of an answer for a stream.
    pub(crate) fn stream(&self, message: &Message, strict: bool) -> Option<Vec<u8>> {
        let most = if strict { STRICT_STREAM } else { usize::from(u16::MAX) };
        message
            .to_vec()
            .ok()
            .filter(|bytes| bytes.len() <= most)
            .or_else(|| self.refuse(ResponseCode::ServFail).to_vec().ok())
    }
}

/// Whether bytes are an answer to exactly that question; if so, what their header says. The rest is read when its turn has come: many answers may
/// wait, and read they take many times as much memory.
pub(crate) fn answer_to(asked: &[u8], bytes: &[u8]) -> Option<Metadata> {
    let (question, answer) = (head(asked)?, head(bytes)?);
    let same = answer.0.id == question.0.id && answer.1 == question.1;
    (same && answer.0.message_type == MessageType::Response).then_some(answer.0)
}

fn head(bytes: &[u8]) -> Option<(Metadata, Asked)> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let asked = Asked::read(&mut decoder).ok()?;
    (header.counts.queries == 1).then_some((header.metadata, asked))
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// Takes addresses out of a service record, and what nobody knows the meaning of. They come as answers of their own, which are looked at.
fn strip(service: &mut SVCB) {
    let keeps = |key: &SvcParamKey| {
        matches!(
            key,
            SvcParamKey::Mandatory
                | SvcParamKey::Alpn
                | SvcParamKey::NoDefaultAlpn
                | SvcParamKey::Port
                | SvcParamKey::EchConfigList
        )
    };
    service.svc_params.retain_mut(|(key, value)| {
        if let SvcParamValue::Mandatory(Mandatory(keys)) = value {
            keys.retain(keeps);
            return !keys.is_empty();
        }
        keeps(key)
    });
}

#[cfg(test)]
mod tests;
