//! AMQP frames by hand: what no client library would send.

use std::io::{Read, Write};
use std::net::TcpStream;

use holdfast::broker::connection::Endpoint;
use holdfast::broker::topology::COMMANDS_EXCHANGE;

use crate::support::engines::AMQP_URL;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;

/// A connection with one channel in confirm mode.
pub struct Frames(TcpStream);

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a short text")], text].concat()
}

fn long(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).expect("a text").to_be_bytes(), text].concat()
}

/// A table with names as they stand, doubled ones included, and texts as values.
fn table(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(name, value): &(&str, &[u8])| {
        [short(name.as_bytes()), b"S".to_vec(), long(value)].concat()
    };
    long(&entries.iter().flat_map(entry).collect::<Vec<u8>>())
}

fn method(class: u16, method: u16, arguments: &[&[u8]]) -> Vec<u8> {
    let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
    [ids, arguments.concat()].concat()
}

impl Frames {
    pub fn connect(endpoint: &Endpoint) -> Self {
        let address = (AMQP_URL.host_str().expect("a host"), AMQP_URL.port().expect("a port"));
        let mut frames = Self(TcpStream::connect(address).expect("the broker"));
        frames.0.write_all(b"AMQP\0\0\x09\x01").expect("written");
        frames.expect(10, 10);
        let login = format!("\0{}\0{}", endpoint.account(), endpoint.password());
        let login = [table(&[]), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")];
        frames.send(METHOD, 0, &method(10, 11, &login.each_ref().map(Vec::as_slice)));
        frames.expect(10, 30);
        // One channel, frames as long as the broker allows, no heartbeats.
        frames.send(METHOD, 0, &method(10, 31, &[&[0, 1, 0, 2, 0, 0, 0, 0]]));
        let vhost = short(endpoint.vhost().as_bytes());
        frames.send(METHOD, 0, &method(10, 40, &[&vhost, &[0, 0]]));
        frames.expect(10, 41);
        frames.send(METHOD, 1, &method(20, 10, &[&[0]]));
        frames.expect(20, 11);
        frames.send(METHOD, 1, &method(85, 10, &[&[0]]));
        frames.expect(85, 11);
        frames
    }

    /// Publishes a command with the properties that every command has, the given header entries
    /// and correlation id, and waits for the publisher confirm.
    pub fn publish(
        &mut self,
        account: &str,
        message_id: &str,
        headers: &[(&str, &[u8])],
        correlation_id: &[u8],
        body: &[u8],
    ) {
        let exchange = short(COMMANDS_EXCHANGE.as_bytes());
        let key = short(format!("{account}.request").as_bytes());
        self.send(METHOD, 1, &method(60, 40, &[&[0, 0], &exchange, &key, &[0]]));
        // Bits for content type, headers, correlation id, message id and account, in this order.
        let flags: u16 = 1 << 15 | 1 << 13 | 1 << 10 | 1 << 7 | 1 << 4;
        let header = [
            [0, 60, 0, 0].to_vec(),
            (body.len() as u64).to_be_bytes().to_vec(),
            flags.to_be_bytes().to_vec(),
            short(b"application/json"),
            table(headers),
            short(correlation_id),
            short(message_id.as_bytes()),
            short(account.as_bytes()),
        ];
        self.send(HEADER, 1, &header.concat());
        self.send(BODY, 1, body);
        self.expect(60, 80);
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind], &channel.to_be_bytes()[..], &long(payload), &[END]].concat();
        self.0.write_all(&frame).expect("written");
    }

    /// Reads one method frame, which must be this one.
    fn expect(&mut self, class: u16, method: u16) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).expect("a frame");
        let len = u32::from_be_bytes(head[3..7].try_into().expect("four")) as usize;
        let mut payload = vec![0; len + 1];
        self.0.read_exact(&mut payload).expect("a frame");
        let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
        assert_eq!(payload[..4], ids[..], "{}", String::from_utf8_lossy(&payload));
    }
}
