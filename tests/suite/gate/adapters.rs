//! Requests and responses of every adapter, compared with golden files.

use std::fmt::Write as _;

use chrono::TimeDelta;
use holdfast::domain::admission::admit::Ask;
use holdfast::domain::admission::code::Denial;
use holdfast::domain::admission::live::{Client, Role};
use holdfast::gate::adapters::{Adapter, Heard, Listing, Outcome, Reply, Request};
use uuid::Uuid;

use crate::support::golden;

/// A reservation's public name.
const NAME: &str = "01890000-0000-7000-8000-000000000001";

/// Hooks with a word on each.
type Hooks = &'static [(&'static str, &'static str, &'static str)];

struct Case {
    adapter: Adapter,
    hooks: Hooks,
    /// Replies to the requests for a list, round by round.
    rounds: &'static [&'static [(u16, &'static str)]],
}

/// Everything that an adapter makes of a case.
fn transcript(case: &Case) -> String {
    let mut text = String::new();
    for (word, path, body) in case.hooks {
        let request = Request { path, body: body.as_bytes() };
        let heard = case.adapter.hear(request);
        writeln!(text, "# {word}\nPOST /{path}\n{body}\n= {}", shown(&heard)).unwrap();
        let id = Uuid::parse_str(NAME).unwrap();
        let early = Outcome::Deny(Denial::TooEarly, Some(TimeDelta::seconds(30)));
        let outcomes = match heard {
            Heard::Ask { .. } => {
                vec![
                    ("admitted", Outcome::Admit(id)),
                    ("denied", early),
                    ("unknown", Outcome::Unknown),
                ]
            }
            Heard::Wrong(code) => vec![("denied", Outcome::Deny(code, None))],
            _ => vec![("noted", Outcome::Noted)],
        };
        for (word, outcome) in outcomes {
            let response = case.adapter.respond(request, outcome);
            let headers: Vec<String> =
                response.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
            writeln!(text, "{word}: {}{} {}", response.status, headers.concat(), response.body)
                .unwrap();
        }
        text.push('\n');
    }
    let mut replies = Vec::new();
    for round in case.rounds {
        let Listing::Ask(calls) = case.adapter.list(&replies).unwrap() else {
            panic!("a round left")
        };
        assert_eq!(calls.len(), round.len(), "a reply for each call");
        for (call, (status, body)) in calls.iter().zip(*round) {
            writeln!(text, "{} {}\n{status} {body}\n", call.method, call.path).unwrap();
            replies.push(Reply { status: *status, body: (*body).to_owned() });
        }
    }
    let Listing::Done(clients) = case.adapter.list(&replies).unwrap() else {
        panic!("one more round")
    };
    for client in clients {
        let Client { role, stream, id, place } = &client;
        let call = case.adapter.kick(&client);
        writeln!(text, "{role:?} {stream:?} id {id:?} at {place:?}: {} {}", call.method, call.path)
            .unwrap();
    }
    text
}

fn shown(heard: &Heard) -> String {
    match heard {
        Heard::Ask { ask: Ask::Publish { key, under, client }, place } => {
            let under = under.map_or("any name".to_owned(), |id| id.to_string());
            format!("publish with key {key:?} under {under}, client {client:?} at {place:?}")
        }
        Heard::Ask { ask: Ask::View { stream, client }, place } => {
            format!("view {stream:?}, client {client:?} at {place:?}")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn nginx_rtmp() {
    let case = Case {
        adapter: Adapter::NginxRtmp,
        hooks: &[
            (
                "an encoder",
                "publish",
                "app=live&flashver=FMLE/3.0%20(compatible%3B%20Lavf59.27&swfurl=&tcurl=rtmp://host/live&pageurl=&addr=10.0.0.9&clientid=1&call=publish&name=hfk_abc&type=live",
            ),
            (
                "a viewer",
                "play",
                "app=live&flashver=LNX%209,0,124,2&swfurl=&tcurl=rtmp://host/live&pageurl=&addr=10.0.0.9&clientid=3&call=play&name=01890000-0000-7000-8000-000000000001&start=4294965296&duration=0&reset=0",
            ),
            (
                "arguments of the URL come last",
                "publish",
                "app=live&addr=10.0.0.9&clientid=1&call=publish&name=nokey&type=live&call=done",
            ),
            (
                "another event's field",
                "publish",
                "app=live&addr=10.0.0.9&clientid=1&call=done&name=hfk_abc&type=live",
            ),
            (
                "fields in the version of the player",
                "publish",
                "app=live&flashver=x&name=hfk_abc&addr=10.0.0.9&clientid=1&call=publish&name=nokey&type=live",
            ),
            (
                "the end of a publisher",
                "publish_done",
                "app=live&addr=10.0.0.9&clientid=1&call=publish_done&name=hfk_abc",
            ),
            (
                "the end of a viewer",
                "play_done",
                "app=live&addr=10.0.0.9&clientid=3&call=play_done&name=01890000-0000-7000-8000-000000000001",
            ),
        ],
        rounds: &[&[(
            200,
            "<rtmp><server><application><name>live</name><live><stream><name>01890000-0000-7000-8000-000000000001</name><client><id>6</id><address>127.0.0.1</address><active/></client><client><id>1</id><publishing/><active/></client><publishing/></stream><nclients>2</nclients></live></application></server></rtmp>",
        )]],
    };
    golden::check("gate_nginx_rtmp", &transcript(&case));
}

#[test]
fn icecast() {
    let case = Case {
        adapter: Adapter::Icecast,
        hooks: &[
            (
                "a source",
                "stream_auth",
                "action=stream_auth&mount=%2f01890000%2d0000%2d7000%2d8000%2d000000000001&ip=127%2e0%2e0%2e1&server=localhost&port=8000&user=source&pass=hfk%5fkey",
            ),
            (
                "its metadata",
                "stream_auth",
                "action=stream_auth&mount=%2f01890000%2d0000%2d7000%2d8000%2d000000000001&ip=127%2e0%2e0%2e1&server=localhost&port=8000&user=source&pass=hfk%5fkey&admin=1",
            ),
            (
                "another mount",
                "stream_auth",
                "action=stream_auth&mount=%2fstream&ip=127%2e0%2e0%2e1&server=localhost&port=8000&user=source&pass=hfk%5fkey",
            ),
            (
                "a listener, whose query says nothing",
                "listener_add",
                "action=listener_add&server=localhost&port=8000&client=1&mount=%2f01890000%2d0000%2d7000%2d8000%2d000000000001%3fa%3db%26pass%3dx&user=&pass=&ip=127%2e0%2e0%2e1&agent=curl",
            ),
            (
                "the end of a listener",
                "listener_remove",
                "action=listener_remove&server=localhost&port=8000&client=1&mount=%2f01890000%2d0000%2d7000%2d8000%2d000000000001&user=&pass=&duration=5&ip=127%2e0%2e0%2e1&agent=curl",
            ),
            (
                "a field twice",
                "listener_add",
                "action=listener_add&client=1&client=2&mount=%2f01890000%2d0000%2d7000%2d8000%2d000000000001",
            ),
        ],
        rounds: &[
            &[(
                200,
                "<icestats><clients>2</clients><source mount=\"/01890000-0000-7000-8000-000000000001\"><listeners>1</listeners></source><source mount=\"/gone\"/></icestats>",
            )],
            &[
                (
                    200,
                    "<icestats><source mount=\"/01890000-0000-7000-8000-000000000001\"><Listeners>1</Listeners><listener><IP>127.0.0.1</IP><ID>7</ID></listener></source></icestats>",
                ),
                (400, "Source does not exist"),
            ],
        ],
    };
    golden::check("gate_icecast", &transcript(&case));
}

const NONE: (u16, &str) = (200, r#"{"itemCount":0,"pageCount":0,"items":[]}"#);

const MEDIAMTX: &[&[(u16, &str)]] = &[
    &[
        (
            200,
            r#"{"itemCount":3,"pageCount":2,"items":[{"id":"r1","state":"publish","path":"01890000-0000-7000-8000-000000000001"},{"id":"r2","state":"idle","path":""}]}"#,
        ),
        NONE,
        (
            200,
            r#"{"itemCount":1,"pageCount":1,"items":[{"id":"s1","state":"read","path":"01890000-0000-7000-8000-000000000001"}]}"#,
        ),
        (404, ""),
        NONE,
        NONE,
    ],
    &[(
        200,
        r#"{"itemCount":3,"pageCount":2,"items":[{"id":"r3","state":"read","path":"other"}]}"#,
    )],
];

#[test]
fn mediamtx() {
    let case = Case {
        adapter: Adapter::MediaMtx,
        hooks: &[
            (
                "an encoder, the key as password",
                "auth",
                r#"{"user":"any","password":"hfk_abc","token":"","ip":"10.0.0.9","action":"publish","path":"01890000-0000-7000-8000-000000000001","protocol":"rtmp","id":"r1","query":"","userAgent":""}"#,
            ),
            (
                "an encoder, the key in the query",
                "auth",
                r#"{"user":"","password":"","token":"","ip":"10.0.0.9","action":"publish","path":"01890000-0000-7000-8000-000000000001","protocol":"srt","id":"r1","query":"token=hfk_abc"}"#,
            ),
            (
                "two keys in the query",
                "auth",
                r#"{"user":"","password":"","action":"publish","path":"01890000-0000-7000-8000-000000000001","protocol":"srt","id":"r1","query":"token=hfk_abc&token=x"}"#,
            ),
            (
                "RTSP before it is asked for credentials",
                "auth",
                r#"{"user":"","password":"","action":"publish","path":"01890000-0000-7000-8000-000000000001","protocol":"rtsp","id":"r1","query":""}"#,
            ),
            (
                "a viewer",
                "auth",
                r#"{"user":"","password":"","action":"read","path":"01890000-0000-7000-8000-000000000001","protocol":"webrtc","id":"w1","query":""}"#,
            ),
            (
                "its own interface",
                "auth",
                r#"{"user":"","password":"","action":"api","path":"","protocol":"","id":null,"query":""}"#,
            ),
            ("a field twice", "auth", r#"{"action":"read","action":"publish","path":"x"}"#),
        ],
        rounds: MEDIAMTX,
    };
    golden::check("gate_mediamtx", &transcript(&case));
}

#[test]
fn srs() {
    let case = Case {
        adapter: Adapter::Srs,
        hooks: &[
            (
                "an encoder",
                "hook",
                r#"{"action":"on_publish","client_id":"9308h583","ip":"10.0.0.9","vhost":"__defaultVhost__","app":"live","stream":"01890000-0000-7000-8000-000000000001","param":"?token=hfk_abc","tcUrl":"rtmp://host/live"}"#,
            ),
            (
                "without a key",
                "hook",
                r#"{"action":"on_publish","client_id":"9308h583","app":"live","stream":"01890000-0000-7000-8000-000000000001","param":""}"#,
            ),
            (
                "a viewer",
                "hook",
                r#"{"action":"on_play","client_id":"c2","app":"live","stream":"01890000-0000-7000-8000-000000000001","param":"","pageUrl":""}"#,
            ),
            (
                "the end of a publisher",
                "hook",
                r#"{"action":"on_unpublish","client_id":"9308h583","app":"live","stream":"01890000-0000-7000-8000-000000000001","param":"?token=hfk_abc"}"#,
            ),
            (
                "the end of a viewer",
                "hook",
                r#"{"action":"on_stop","client_id":"c2","app":"live","stream":"01890000-0000-7000-8000-000000000001","param":""}"#,
            ),
            (
                "a connection",
                "hook",
                r#"{"action":"on_connect","client_id":"c2","app":"live","tcUrl":"rtmp://host/live"}"#,
            ),
        ],
        rounds: &[&[(
            200,
            r#"{"code":0,"server":"vid-1","clients":[{"id":"9308h583","name":"01890000-0000-7000-8000-000000000001","type":"fmle-publish","publish":true},{"id":"c2","name":"01890000-0000-7000-8000-000000000001","type":"rtmp-play","publish":false}]}"#,
        )]],
    };
    golden::check("gate_srs", &transcript(&case));
}

#[test]
fn ovenmediaengine() {
    let case = Case {
        adapter: Adapter::OvenMediaEngine,
        hooks: &[
            (
                "an encoder",
                "hook",
                r#"{"client":{"address":"10.0.0.9","port":29291},"request":{"direction":"incoming","protocol":"rtmp","status":"opening","url":"rtmp://host:1935/app/hfk_abc","time":"2026-01-01T00:00:00.000Z"}}"#,
            ),
            (
                "a viewer",
                "hook",
                r#"{"client":{"address":"10.0.0.9","port":29291},"request":{"direction":"outgoing","protocol":"llhls","status":"opening","url":"https://host:3334/app/01890000-0000-7000-8000-000000000001/llhls.m3u8","time":"2026-01-01T00:00:00.000Z"}}"#,
            ),
            (
                "the end",
                "hook",
                r#"{"client":{"address":"10.0.0.9","port":29291},"request":{"direction":"incoming","protocol":"rtmp","status":"closing","url":"rtmp://host:1935/app/hfk_abc","time":"2026-01-01T00:00:00.000Z"}}"#,
            ),
            (
                "no stream",
                "hook",
                r#"{"client":{},"request":{"direction":"incoming","protocol":"rtmp","status":"opening","url":"rtmp://host:1935/app"}}"#,
            ),
        ],
        rounds: &[
            &[(200, r#"{"message":"OK","response":["app"],"statusCode":200}"#)],
            &[(
                200,
                r#"{"message":"OK","response":["01890000-0000-7000-8000-000000000001"],"statusCode":200}"#,
            )],
        ],
    };
    golden::check("gate_ovenmediaengine", &transcript(&case));
}

/// No golden file would show a list that is not one.
#[test]
fn what_is_no_list_is_an_error() {
    for adapter in [
        Adapter::NginxRtmp,
        Adapter::Icecast,
        Adapter::MediaMtx,
        Adapter::Srs,
        Adapter::OvenMediaEngine,
    ] {
        for (status, body) in [(200, "<html>"), (500, ""), (401, "{}")] {
            let replies = vec![Reply { status, body: body.to_owned() }; 6];
            assert!(adapter.list(&replies).is_err(), "{adapter}: {status} {body}");
        }
    }
    let client = |role| Client {
        role,
        stream: "a&b".to_owned(),
        id: "1 2".to_owned(),
        place: "live".to_owned(),
    };
    let call = Adapter::Icecast.kick(&client(Role::Publisher));
    assert_eq!(call.path, "/admin/killsource?mount=%2Fa%26b");
}
