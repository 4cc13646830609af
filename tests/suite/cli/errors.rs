//! An error names the cause, where it lies, and the next step.

use holdfast::cli::exit::rule_of_constraint;
use url::Url;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::engines;
use crate::support::program::holdfast;

/// Runs `line`, expects `code`, and each of `said` in the error, but no password.
async fn fails(environment: &[(&str, &str)], line: &str, code: i32, said: &[&str]) {
    let run = holdfast(environment, &line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{line}: {run:?}");
    for said in said {
        assert!(run.stderr.contains(said), "{line}: no {said:?} in {run:?}");
    }
    assert!(!run.stderr.contains("s3cret"), "{line}: {run:?}");
}

#[tokio::test]
async fn a_database_that_refuses_is_named_with_the_next_step() {
    let database = Database::new().await;
    let mut url: Url = database.url.parse().expect("a URL");
    let host = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    url.set_password(Some("s3cret")).expect("postgres URLs have one");
    let said = [host.as_str(), "check account and password in DATABASE_URL"];
    fails(&[("DATABASE_URL", url.as_str())], "server list", 78, &said).await;

    let absent = engines::database_url(&format!("absent_{}", Uuid::new_v4().simple()));
    for line in ["server list", "migrate"] {
        let said = ["does not exist", "createdb", host.as_str()];
        fails(&[("DATABASE_URL", absent.as_str())], line, 78, &said).await;
    }

    let away = [("DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/x")];
    let said = ["database x on 127.0.0.1:1 as me", "check that PostgreSQL runs there"];
    fails(&away, "server list", 75, &said).await;
    database.finish().await;
}

#[tokio::test]
async fn a_database_without_a_schema_says_how_to_get_one() {
    let name = format!("empty_{}", Uuid::new_v4().simple());
    let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
    admin.batch_execute(&format!("create database {name}")).await.expect("create database");
    let url = engines::database_url(&name);
    for line in ["server list", "user add ann", "policy show", "billing ledger --from -1d --to now"]
    {
        fails(&[("DATABASE_URL", url.as_str())], line, 3, &["run `holdfast migrate`"]).await;
    }
    engines::drop_database(&name).await;
}

#[tokio::test]
async fn a_broker_that_refuses_is_named_with_the_next_step() {
    let mut url = engines::AMQP_URL.clone();
    let absent = engines::amqp_url(
        url.username(),
        url.password().expect("a password"),
        &format!("absent-{}", Uuid::new_v4().simple()),
    );
    let said = ["check the vhost in AMQP_URL", "rabbitmqctl add_vhost"];
    fails(&[("AMQP_URL", &absent)], "billing tail", 78, &said).await;
    url.set_password(Some("s3cret")).expect("amqp URLs have one");
    let said = ["check account and password in AMQP_URL"];
    fails(&[("AMQP_URL", url.as_str())], "billing tail", 78, &said).await;

    let away = [("AMQP_URL", "amqp://me:s3cret@127.0.0.1:1/x")];
    let said = ["amqp://me@127.0.0.1:1/x", "check that RabbitMQ runs there"];
    fails(&away, "billing tail", 75, &said).await;

    let add = "account add broker-worker some_worker";
    let mut management = engines::MANAGEMENT_URL.clone();
    management.set_password(Some("s3cret")).expect("http URLs have one");
    let amqp = ("AMQP_URL", engines::AMQP_URL.as_str());
    let database = Database::new().await;
    let url = ("DATABASE_URL", database.url.as_str());
    let environment = [url, amqp, ("RABBITMQ_MANAGEMENT_URL", management.as_str())];
    fails(&environment, add, 78, &["RABBITMQ_MANAGEMENT_URL", "administrator"]).await;
    let away = [url, amqp, ("RABBITMQ_MANAGEMENT_URL", "http://me:s3cret@127.0.0.1:1")];
    let said = ["127.0.0.1:1", "rabbitmq-plugins enable rabbitmq_management"];
    fails(&away, add, 75, &said).await;
    database.finish().await;
}

/// Tables that operators' commands write.
const CHECKS: &str = "select conname::text, pg_get_constraintdef(oid) from pg_constraint
    where contype = 'c' and conrelid in ('policy'::regclass, 'topology'::regclass, 'servers'::regclass,
        'moves'::regclass, 'closures'::regclass, 'users'::regclass, 'terminals'::regclass,
        'database_roles'::regclass)
      -- No command sets these columns to what a user typed.
      and conname not in ('policy_only_row_check', 'topology_only_row_check', 'moves_phase_check',
        'database_roles_kind_check')
    order by 1";

#[tokio::test]
async fn every_check_that_a_command_can_violate_is_a_sentence() {
    let database = Database::new().await;
    let checks = database.client.query(CHECKS, &[]).await.expect("constraints");
    assert!(checks.len() > 20, "{}", checks.len());
    for check in checks {
        let (name, definition): (String, String) = (check.get(0), check.get(1));
        let rule = rule_of_constraint(&name);
        let rule = rule.unwrap_or_else(|| panic!("no sentence for {name}: {definition}"));
        if definition.contains('~') {
            continue;
        }
        let words: Vec<&str> = rule.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let numbers = definition.split(|c: char| !c.is_ascii_digit());
        for number in numbers.filter(|number| number.len() > 1) {
            assert!(words.contains(&number), "{name}: no {number} in {rule:?}");
        }
    }
    let environment = [("DATABASE_URL", database.url.as_str())];
    database.server("cam", 1, 0).await;
    let said = ["shorter than the shortest", "--max-seconds"];
    fails(&environment, "server set cam --min-seconds 90000", 4, &said).await;
    let said = ["not shorter than answers"];
    fails(&environment, "policy set --answers-kept-days 30000", 4, &said).await;
    database.finish().await;
}
