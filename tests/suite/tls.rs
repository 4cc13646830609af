//! TLS to both engines, with an authority that `./dev` makes for each run.

use holdfast::broker::connection::Endpoint;
use holdfast::broker::management::Address;
use holdfast::store::pool;
use holdfast::store::url::DatabaseUrl;
use url::Url;

use crate::support::engines::{self, variable};
use crate::support::program::holdfast;
use crate::support::stack::Stack;
use crate::support::terminal::window;

/// A file of the run's authorities and certificates. Engines of one's own have no such.
fn file(name: &str) -> Option<String> {
    let directory = std::env::var("HOLDFAST_DEV_TLS").ok();
    if directory.is_none() {
        eprintln!("skipped: these engines are not of `./dev`, so there is no authority to trust");
    }
    directory.map(|directory| format!("{directory}/{name}"))
}

fn database_url(stack: &Stack, host: &str, options: &str) -> String {
    let mut url: Url = stack.worker_url.parse().expect("a URL");
    url.set_host(Some(host)).expect("a host");
    url.set_query(Some(options));
    url.to_string()
}

fn broker_url(stack: &Stack, host: &str, options: &str) -> String {
    let (account, password) = (stack.broker.account(), stack.broker.password());
    let plain = engines::amqp_url(account, password, &stack.vhost);
    let mut url: Url = plain.replacen("amqp", "amqps", 1).parse().expect("a URL");
    url.set_host(Some(host)).expect("a host");
    let port = variable("HOLDFAST_DEV_AMQPS_PORT").parse().expect("a port");
    url.set_port(Some(port)).expect("a port");
    url.set_query(Some(options));
    url.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_speaks_tls_with_both_engines() {
    let Some(authority) = file("authority.pem") else { return };
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let trusted = format!("sslmode=verify-full&sslrootcert={authority}");
    let database = database_url(&stack, "localhost", &trusted);
    let broker = broker_url(&stack, "localhost", &format!("cacertfile={authority}"));
    let mut worker = stack.worker_with(&[("DATABASE_URL", &database), ("AMQP_URL", &broker)]);
    terminal.accepted(&server, window(86_400, 60)).await;
    let plain: i64 = stack
        .ask(
            "select count(*) from pg_stat_activity join pg_stat_ssl using (pid)
             where datname = current_database() and application_name like 'holdfast%' and not ssl",
            &[],
        )
        .await;
    assert_eq!(plain, 0, "every connection of the worker is encrypted");
    // The system's authorities can be replaced for a whole process, too.
    let environment = [
        ("DATABASE_URL", database_url(&stack, "localhost", "sslmode=require")),
        ("AMQP_URL", broker_url(&stack, "localhost", "heartbeat=5")),
        ("SSL_CERT_FILE", authority),
    ];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let run = holdfast(&environment, &["topology", "verify"]).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// An engine that is not who it should be gets no password, whatever else would have worked.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_authority_and_a_wrong_name_are_refused() {
    let (Some(authority), Some(stranger)) = (file("authority.pem"), file("stranger.pem")) else {
        return;
    };
    let stack = Stack::new().await;
    for (host, authority, reason) in [
        ("localhost", Some(&stranger), "UnknownIssuer"),
        ("localhost", None, "UnknownIssuer"),
        ("127.0.0.1", Some(&authority), "not valid for name"),
    ] {
        let trust = |name: &str| authority.map_or(String::new(), |path| format!("&{name}={path}"));
        let options = format!("sslmode=verify-full{}", trust("sslrootcert"));
        let database = database_url(&stack, host, &options);
        let run = holdfast(&[("DATABASE_URL", &database)], &["migrate", "--check"]).await;
        assert_eq!(run.code, 78, "{run:?}");
        assert!(run.stderr.contains(reason), "{run:?}");
        let options = format!("heartbeat=5{}", trust("cacertfile"));
        let broker = broker_url(&stack, host, &options);
        let environment = [("DATABASE_URL", stack.database_url.as_str()), ("AMQP_URL", &broker)];
        let run = holdfast(&environment, &["topology", "verify"]).await;
        assert_eq!(run.code, 78, "{run:?}");
        assert!(run.stderr.contains(reason), "{run:?}");
        assert!(!run.stderr.contains(engines::PASSWORD), "{run:?}");
    }
    stack.finish().await;
}

/// An authority is replaced by writing its file: the next connect trusts what is there then.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_authority_is_trusted_by_the_next_connect() {
    let (Some(authority), Some(stranger)) = (file("authority.pem"), file("stranger.pem")) else {
        return;
    };
    let stack = Stack::new().await;
    let directory = tempfile::tempdir().expect("a directory");
    let trusted = directory.path().join("trusted.pem");
    let path = trusted.to_str().expect("text");
    std::fs::copy(stranger, &trusted).expect("copied");
    let options = format!("sslmode=verify-full&sslrootcert={path}");
    let database = pool::settings(&database_url(&stack, "localhost", &options).parse().unwrap());
    let broker = broker_url(&stack, "localhost", &format!("heartbeat=5&cacertfile={path}"));
    let broker: Endpoint = broker.parse().expect("a URL");
    let untrusted = database.connect().await.err().expect("it trusts another");
    assert!(untrusted.is_refusal(), "{untrusted}");
    assert!(broker.connect("test").await.is_err(), "it trusts another");
    std::fs::copy(authority, &trusted).expect("copied");
    assert!(database.connect().await.is_ok());
    let connection = broker.connect("test").await.expect("it is trusted now");
    connection.close().await.expect("closed");
    stack.finish().await;
}

fn management_url(host: &str, options: &str) -> String {
    let mut url = engines::MANAGEMENT_URL.clone();
    url.set_scheme("https").expect("a scheme");
    url.set_host(Some(host)).expect("a host");
    let port = variable("HOLDFAST_DEV_HTTPS_PORT").parse().expect("a port");
    url.set_port(Some(port)).expect("a port");
    url.set_query(Some(options));
    url.to_string()
}

/// Accounts are made over TLS; a broker that is not who it should be gets no password.
#[tokio::test(flavor = "multi_thread")]
async fn the_management_api_is_known_before_it_is_asked() {
    let (Some(authority), Some(stranger)) = (file("authority.pem"), file("stranger.pem")) else {
        return;
    };
    let stack = Stack::new().await;
    let broker = engines::amqp_url(stack.broker.account(), stack.broker.password(), &stack.vhost);
    let name = format!("over-tls-{}", uuid::Uuid::new_v4().simple());
    for (host, authority, reason) in [
        ("localhost", &stranger, "UnknownIssuer"),
        ("127.0.0.1", &authority, "not valid for name"),
        ("localhost", &authority, ""),
    ] {
        let url = management_url(host, &format!("cacertfile={authority}"));
        let environment = [
            ("DATABASE_URL", stack.database_url.as_str()),
            ("AMQP_URL", broker.as_str()),
            ("RABBITMQ_MANAGEMENT_URL", &url),
        ];
        let run = holdfast(&environment, &["account", "add", "broker-billing", &name]).await;
        assert_eq!(run.code, if reason.is_empty() { 0 } else { 78 }, "{run:?}");
        assert!(run.stderr.contains(reason), "{run:?}");
        assert!(!run.stderr.contains(engines::MANAGEMENT_URL.password().expect("one")), "{run:?}");
    }
    let account = holdfast::broker::accounts::Purpose::Billing.account(&name);
    engines::management().delete_user(&account, false).await.expect("deleted");
    stack.finish().await;
}

/// What would only look safe is refused before anything connects.
#[test]
fn half_measures_are_refused() {
    for (url, reason) in [
        ("postgres://a:b@h/x?sslmode=prefer", "sslmode must be"),
        ("postgres://a:b@h/x?sslmode=verify-ca", "sslmode must be"),
        ("postgres://a:b@h/x?sslrootcert=/dev/null", "needs sslmode=verify-full"),
        ("postgres://a:b@h/x?sslmode=verify-full&sslrootcert=/dev/null", "no certificate"),
        ("postgres://a:b@h/x?sslmode=verify-full&sslrootcert=/nowhere", "No such file"),
    ] {
        let error = url.parse::<DatabaseUrl>().err().expect("refused");
        assert!(error.contains(reason), "{url}: {error}");
    }
    for (url, reason) in [
        ("amqp://a:b@h/x?cacertfile=/dev/null", "needs the scheme amqps"),
        ("amqps://a:b@h/x?cacertfile=/dev/null", "no certificate"),
        ("amqps://a:b@h/x?cacertfile=/nowhere", "No such file"),
    ] {
        let error = url.parse::<Endpoint>().unwrap_err();
        assert!(error.contains(reason), "{url}: {error}");
    }
    for (url, reason) in [
        ("http://a:b@h?cacertfile=/dev/null", "needs the scheme https"),
        ("https://a:b@h?cacertfile=/dev/null", "no certificate"),
    ] {
        let error = url.parse::<Address>().err().expect("refused");
        assert!(error.contains(reason), "{url}: {error}");
    }
}
