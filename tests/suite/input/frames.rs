//! AMQP frames written by hand: messages that no client library would send.

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

pub fn long(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).expect("a text").to_be_bytes(), text].concat()
}

fn method(class: u16, method: u16, arguments: &[&[u8]]) -> Vec<u8> {
    let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
    [ids, arguments.concat()].concat()
}

/// Properties of a command, each as the bytes that are sent.
pub struct Properties<'a> {
    pub content_type: &'a [u8],
    pub headers: Vec<u8>,
    pub correlation_id: &'a [u8],
    pub reply_to: &'a [u8],
    pub message_id: &'a [u8],
    pub kind: &'a [u8],
    pub account: &'a [u8],
    pub app_id: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Those of a request.
    pub fn new(account: &'a str, message_id: &'a str) -> Self {
        Self {
            content_type: b"application/json",
            headers: long(&[]),
            correlation_id: b"one",
            reply_to: b"two",
            message_id: message_id.as_bytes(),
            kind: b"request",
            account: account.as_bytes(),
            app_id: b"three",
        }
    }

    /// Adds a header with a raw value, its type first.
    pub fn header(mut self, name: &[u8], value: &[u8]) -> Self {
        let entries = [&self.headers[4..], &short(name), value].concat();
        self.headers = long(&entries);
        self
    }

    /// The flags, one bit for each property, and the properties in the same order.
    fn encode(&self) -> (u16, Vec<u8>) {
        let texts = [
            (15, self.content_type),
            (10, self.correlation_id),
            (9, self.reply_to),
            (7, self.message_id),
            (5, self.kind),
            (4, self.account),
            (3, self.app_id),
        ];
        let flags = texts.iter().fold(1 << 13, |flags, (bit, _)| flags | 1 << bit);
        let mut encoded: Vec<Vec<u8>> = texts.iter().map(|(_, text)| short(text)).collect();
        encoded.insert(1, self.headers.clone());
        (flags, encoded.concat())
    }
}

/// Nested arrays.
pub fn nested(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for inside in (0..depth).rev() {
        let len = u32::try_from(inside * 5).expect("small");
        value.extend([&b"A"[..], &len.to_be_bytes()].concat());
    }
    value
}

impl Frames {
    pub fn connect(endpoint: &Endpoint) -> Self {
        let address = (AMQP_URL.host_str().expect("a host"), AMQP_URL.port().expect("a port"));
        let mut frames = Self(TcpStream::connect(address).expect("the broker"));
        frames.0.write_all(b"AMQP\0\0\x09\x01").expect("written");
        frames.expect(10, 10);
        let login = format!("\0{}\0{}", endpoint.account(), endpoint.password());
        let login = [long(&[]), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")];
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

    /// Publishes a command whose properties may be any bytes, and waits for the confirm.
    pub fn publish_raw(&mut self, key: &[u8], properties: &Properties<'_>, body: &[u8]) {
        let exchange = short(COMMANDS_EXCHANGE.as_bytes());
        self.send(METHOD, 1, &method(60, 40, &[&[0, 0], &exchange, &short(key), &[0]]));
        let (flags, properties) = properties.encode();
        let size = (body.len() as u64).to_be_bytes();
        let header = [&[0, 60, 0, 0], &size[..], &flags.to_be_bytes(), &properties];
        self.send(HEADER, 1, &header.concat());
        self.send(BODY, 1, body);
        self.expect(60, 80);
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let frame = [&[kind], &channel.to_be_bytes()[..], &long(payload), &[END]].concat();
        self.0.write_all(&frame).expect("written");
    }

    /// Reads one method frame, which must be of this method.
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
