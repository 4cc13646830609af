//! A pooler in between that drops the session's settings is found out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use holdfast::client::Command;
use holdfast::message::answer::Answer;
use holdfast::store::error::StoreError;
use holdfast::store::pool::{self, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::support::engines::{AMQP_URL, DATABASE_URL};
use crate::support::facts;
use crate::support::pgbouncer::{Mode, PgBouncer};
use crate::support::program::holdfast;
use crate::support::stack::Stack;
use crate::support::terminal::{new_id, window};

/// Passes everything on but the startup parameter `options`, as PgBouncer does that ignores it. Returns its
/// port.
async fn pooler() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client));
        }
    });
    port
}

async fn database() -> TcpStream {
    let address = SocketAddr::from(([127, 0, 0, 1], DATABASE_URL.port().expect("a port")));
    TcpStream::connect(address).await.expect("PostgreSQL")
}

async fn pass(mut client: TcpStream) {
    let mut server = database().await;
    let length = client.read_u32().await.expect("a length");
    let mut startup = vec![0; length as usize - 4];
    client.read_exact(&mut startup).await.expect("a message");
    let (version, parameters) = startup.split_at(4);
    let mut words: Vec<&[u8]> = parameters.split(|byte| *byte == 0).collect();
    let dropped = words.iter().position(|word| *word == b"options").expect("they are sent");
    words.drain(dropped..dropped + 2);
    let kept = words.join(&0);
    let message = [version, &kept].concat();
    server.write_u32(u32::try_from(message.len() + 4).unwrap()).await.expect("sent");
    server.write_all(&message).await.expect("sent");
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
}

fn through(port: u16, url: &str) -> String {
    let mut url: Url = url.parse().expect("a URL");
    url.set_port(Some(port)).expect("a port");
    url.to_string()
}

/// A URL's way through a pooler that drops the session's settings.
pub async fn through_pooler(url: &str) -> String {
    through(pooler().await, url)
}

/// Changes the isolation level of each session once its client has looked at it, as far as the client can see:
/// a pooler of transactions goes on with another server process. Returns its port.
async fn changing_pooler() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_and_change(client));
        }
    });
    port
}

async fn pass_and_change(client: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = database().await.into_split();
    let to_server = Arc::new(tokio::sync::Mutex::new(to_server));
    let of_client = to_server.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            of_client.lock().await.write_all(&buffer[..length]).await?;
        }
        of_client.lock().await.shutdown().await
    });
    let mut ready = 0;
    loop {
        let message = message(&mut from_server).await?;
        ready += i32::from(message[0] == READY);
        // Ready for the first time after the login, and then after the look.
        if message[0] == READY && ready == 2 {
            to_server.lock().await.write_all(&change()).await?;
            while self::message(&mut from_server).await?[0] != READY {}
        }
        to_client.write_all(&message).await?;
    }
}

/// The type of the message `ReadyForQuery`.
const READY: u8 = b'Z';

/// A message of the server: its type, its length with itself, and the rest.
async fn message(server: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    server.read_exact(&mut message).await?;
    let length = u32::from_be_bytes(message[1..].try_into().expect("four bytes"));
    message.resize(length as usize + 1, 0);
    server.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// The message `Query`.
fn change() -> Vec<u8> {
    let text = b"set default_transaction_isolation = 'repeatable read'\0";
    let length = u32::try_from(text.len() + 4).expect("short").to_be_bytes();
    [b"Q".as_slice(), &length, text].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_drops_the_settings_is_refused() {
    let stack = Stack::new().await;
    let amqp = AMQP_URL.to_string();
    for (url, arguments) in [
        (&stack.worker_url, &["worker"][..]),
        (&stack.database_url, &["server", "list"]),
        (&stack.database_url, &["migrate"]),
    ] {
        let url = through_pooler(url).await;
        let run = holdfast(&[("DATABASE_URL", &url), ("AMQP_URL", &amqp)], arguments).await;
        assert_eq!(run.code, 78, "{run:?}");
        for words in ["lock_timeout is \"0\" instead of", "pooler", "PostgreSQL directly"] {
            assert!(run.stderr.contains(words), "{words}: {run:?}");
        }
    }
    let settings = pool::settings(&through_pooler(&stack.worker_url).await.parse().unwrap());
    let error = pool::open(settings, 1).get().await.err().map(StoreError::from);
    let Some(StoreError::Session(wrong)) = error else { panic!("{error:?}") };
    assert!(wrong.contains("plan_cache_mode is \"auto\" instead of"), "{wrong}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_that_drops_the_settings_is_refused() {
    let stack = Stack::new().await;
    let amqp = AMQP_URL.to_string();
    for mode in [Mode::Session, Mode::Transaction] {
        let direct = stack.worker_url.parse().expect("a URL");
        let bouncer = PgBouncer::start(mode, &direct).await.expect("PgBouncer");
        let url = through(bouncer.port, &stack.worker_url);
        let run = holdfast(&[("DATABASE_URL", &url), ("AMQP_URL", &amqp)], &["worker"]).await;
        assert_eq!(run.code, 78, "{mode:?}: {run:?}");
        for words in ["lock_timeout is \"0\" instead of", "pooler", "PostgreSQL directly"] {
            assert!(run.stderr.contains(words), "{mode:?}: {words}: {run:?}");
        }
    }
    stack.finish().await;
}

/// An account's own settings reach a session that PgBouncer keeps for its client.
#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_of_sessions_may_ignore_what_the_account_has_set() {
    let stack = Stack::new().await;
    let direct: Url = stack.database_url.parse().expect("a URL");
    let (user, database) = (direct.username(), direct.path().trim_start_matches('/'));
    for (name, value) in SETTINGS_OF_OPERATORS {
        let set = format!("alter role {user} in database {database} set {name} = '{value}'");
        stack.db.batch_execute(&set).await.expect("set");
    }
    let bouncer = PgBouncer::start(Mode::Session, &direct).await.expect("PgBouncer");
    let url = through(bouncer.port, &stack.database_url);
    let run = holdfast(&[("DATABASE_URL", &url)], &["server", "list"]).await;
    assert_eq!(run.code, 0, "{run:?}");
    stack.finish().await;
}

const SETTINGS_OF_OPERATORS: [(&str, &str); 6] = [
    ("statement_timeout", "1h"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "1min"),
    ("client_connection_check_interval", "2s"),
    ("TimeZone", "UTC"),
    ("default_transaction_isolation", "read committed"),
];

/// What is asked before a message is called undecidable.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_changed_is_found_out() {
    let stack = Stack::new().await;
    let pool = pool::open(pool::settings(&stack.worker_url.parse().unwrap()), 1);
    let session = Session::take(&pool).await.expect("a session");
    session.check(&pool).await.expect("as it was opened");
    let isolation = "set default_transaction_isolation = 'repeatable read'";
    session.client().batch_execute(isolation).await.expect("set");
    let error = session.check(&pool).await.expect_err("it has changed");
    assert!(error.to_string().contains("repeatable read"), "{error}");
    stack.finish().await;
}

/// In such a session the guard refuses every request.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_parked_for_a_changed_session() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let url = through(changing_pooler().await, &stack.worker_url);
    let mut worker = stack.worker_with(&[("DATABASE_URL", &url)]);
    let (start, end) = window(7_200, 60);
    let request = Command::request(new_id(), server.as_str(), start, end);
    terminal.client.send(&request).await.expect("sent");
    facts::until("it waits, or it is answered", async || {
        let waits = worker.log().contains("the session is to blame");
        waits || !terminal.answers_to(&request.message_id).is_empty()
    })
    .await;
    assert!(terminal.answers_to(&request.message_id).is_empty(), "{}", worker.log());
    assert!(!worker.log().contains("message parked"));
    assert!(worker.stop().await.success());
    let _direct = stack.worker();
    let answer = terminal.reply_to(&request.message_id).await.answer();
    assert!(matches!(answer, Ok(Answer::Accepted { .. })), "{answer:?}");
    stack.finish().await;
}
