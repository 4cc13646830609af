//! A pooler in between that drops the session's settings is found out.

use std::net::SocketAddr;

use holdfast::store::error::StoreError;
use holdfast::store::pool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::support::engines::{AMQP_URL, DATABASE_URL};
use crate::support::pgbouncer::{Mode, PgBouncer};
use crate::support::program::holdfast;
use crate::support::stack::Stack;

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

async fn pass(mut client: TcpStream) {
    let database = SocketAddr::from(([127, 0, 0, 1], DATABASE_URL.port().expect("a port")));
    let mut server = TcpStream::connect(database).await.expect("PostgreSQL");
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

/// A URL's way through a PgBouncer.
fn through(bouncer: &PgBouncer, url: &str) -> String {
    let mut url: Url = url.parse().expect("a URL");
    url.set_port(Some(bouncer.port)).expect("a port");
    url.to_string()
}

/// A URL's way through a pooler that drops the session's settings.
pub async fn through_pooler(url: &str) -> String {
    let mut url: Url = url.parse().expect("a URL");
    url.set_port(Some(pooler().await)).expect("a port");
    url.to_string()
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
        let url = through(&bouncer, &stack.worker_url);
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
    let url = through(&bouncer, &stack.database_url);
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
    pool::check(&pool).await.expect("as it was opened");
    let session = pool.get().await.expect("that session");
    let isolation = "set default_transaction_isolation = 'repeatable read'";
    session.batch_execute(isolation).await.expect("set");
    drop(session);
    let error = pool::check(&pool).await.expect_err("it has changed");
    assert!(error.to_string().contains("repeatable read"), "{error}");
    stack.finish().await;
}
