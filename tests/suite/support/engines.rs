//! The engines that `./dev test` starts, and what is created in them per test.

use std::sync::LazyLock;

use holdfast::broker::connection::Endpoint;
use holdfast::store::admin::roles::{self, Kind};
use holdfast::store::migrations;
use rabbitmq_http_client::api::Client as Management;
use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use rabbitmq_http_client::requests::{Permissions, UserParams, VirtualHostParams};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};
use url::Url;
use uuid::Uuid;

use super::facts;

/// Every broker account's password in tests; the engines listen on the loopback interface only.
pub const PASSWORD: &str = "test";

pub fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests with `./dev test`"))
}

pub static DATABASE_URL: LazyLock<Url> =
    LazyLock::new(|| variable("DATABASE_URL").parse().expect("a URL"));
pub static AMQP_URL: LazyLock<Url> = LazyLock::new(|| variable("AMQP_URL").parse().expect("a URL"));
pub static MANAGEMENT_URL: LazyLock<Url> =
    LazyLock::new(|| variable("RABBITMQ_MANAGEMENT_URL").parse().expect("a URL"));

/// A connection to a database, driven in the background.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client
}

/// The server's URL with another database.
pub fn database_url(name: &str) -> String {
    let mut url = DATABASE_URL.clone();
    url.set_path(name);
    url.to_string()
}

/// A migrated database that the tests' own are copied from, with the rights of the workers' account.
struct Template {
    name: String,
    role: String,
    password: String,
}

async fn template() -> &'static Template {
    static TEMPLATE: OnceCell<Template> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("holdfast_template_{}", Uuid::new_v4().simple());
            let admin = connect(DATABASE_URL.as_str()).await;
            admin.batch_execute(&format!("create database {name}")).await.expect("create database");
            migrations::migrate(&database_url(&name).parse().expect("a URL"))
                .await
                .expect("migrations apply");
            let role = format!("holdfast_worker_{}", Uuid::new_v4().simple());
            let mut client = connect(&database_url(&name)).await;
            let transaction = client.transaction().await.expect("a transaction");
            let password = Uuid::new_v4().to_string();
            let made = roles::create(&transaction, &role, Kind::Worker, &password).await;
            assert!(made.expect("a role"));
            transaction.commit().await.expect("committed");
            Template { name, role, password }
        })
        .await
}

/// A fresh, migrated database; returns its URL.
pub async fn create_database(name: &str) -> String {
    // Copying needs the template to be free of connections and copies one at a time.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let template = &template().await.name;
    let _turn = ONE_AT_A_TIME.lock().await;
    let admin = connect(DATABASE_URL.as_str()).await;
    let copy = format!("create database {name} template {template}");
    super::facts::until("the template is free", async || admin.batch_execute(&copy).await.is_ok())
        .await;
    database_url(name)
}

/// The URL with which workers connect to a copy: that of an account with the least rights.
pub async fn worker_url(name: &str) -> String {
    let Template { role, password, .. } = template().await;
    let mut url: Url = database_url(name).parse().expect("a URL");
    url.set_username(role).expect("postgres URLs have one");
    url.set_password(Some(password)).expect("postgres URLs have one");
    url.to_string()
}

pub async fn drop_database(name: &str) {
    let admin = connect(DATABASE_URL.as_str()).await;
    admin
        .batch_execute(&format!("drop database {name} with (force)"))
        .await
        .expect("drop database");
}

/// The broker's management API.
pub fn management() -> Management<String, String, String> {
    let mut endpoint = MANAGEMENT_URL.clone();
    let (user, password) =
        (endpoint.username().to_owned(), endpoint.password().unwrap_or_default().to_owned());
    endpoint.set_username("").expect("http URLs have one");
    endpoint.set_password(None).expect("http URLs have one");
    let endpoint = format!("{}/api", endpoint.as_str().trim_end_matches('/'));
    // The client asks for one even where there is no TLS.
    rustls::crypto::ring::default_provider().install_default().ok();
    Management::new(endpoint, user, password)
}

/// A vhost.
pub async fn create_vhost(name: &str) {
    let management = management();
    management.create_vhost(&VirtualHostParams::named(name)).await.expect("create vhost");
    let admin = AMQP_URL.username().to_owned();
    let all = Permissions::full_access(&admin, name);
    management.declare_permissions(&all).await.expect("grant");
}

pub async fn drop_vhost(name: &str) {
    management().delete_vhost(name, true).await.expect("delete vhost");
}

/// A broker account with full access to one vhost; returns its address there.
pub async fn create_account(account: &str, vhost: &str) -> Endpoint {
    let management = management();
    let hash = base64_encoded_salted_password_hash_sha256(&[1, 2, 3, 4], PASSWORD);
    management.create_user(&UserParams::new(account, &hash, "")).await.expect("create account");
    management.declare_permissions(&Permissions::full_access(account, vhost)).await.expect("grant");
    endpoint(account, PASSWORD, vhost)
}

/// How many connections an account has.
pub async fn connections_of(account: &str) -> usize {
    management().list_user_connections(account).await.expect("connections").len()
}

/// Takes an account's connections away from it.
pub async fn close_connections_of(account: &str) {
    // One that ends by itself meanwhile makes the broker answer with an error, and the others stay.
    facts::until("the account's connections are closed", async || {
        management().close_user_connections(account, Some("test"), true).await.is_ok()
    })
    .await;
}

pub async fn drop_account(account: &str) {
    management().delete_user(account, true).await.expect("delete account");
}

/// The address of an account on a vhost. A short heartbeat, so that a frozen worker's consumers are
/// taken away from it while a test waits.
pub fn endpoint(account: &str, password: &str, vhost: &str) -> Endpoint {
    amqp_url(account, password, vhost).parse().expect("an AMQP URL")
}

pub fn amqp_url(account: &str, password: &str, vhost: &str) -> String {
    let mut url = AMQP_URL.clone();
    url.set_username(account).expect("amqp URLs have one");
    url.set_password(Some(password)).expect("amqp URLs have one");
    url.set_path(vhost);
    url.set_query(Some("heartbeat=2"));
    url.to_string()
}
