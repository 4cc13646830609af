//! Who changed what is recorded, and each tariff version that a bill names can be looked up.

use serde_json::{Value, json};

use crate::support::database::{Database, Row, run};
use crate::support::program::{Run, holdfast};
use crate::support::stack::Stack;

async fn operate(database: &Database, more: &[(&str, &str)], line: &str) -> Run {
    let own = [("DATABASE_URL", database.url.as_str())];
    let environment: Vec<(&str, &str)> = own.iter().chain(more).copied().collect();
    holdfast(&environment, &line.split_whitespace().collect::<Vec<_>>()).await
}

async fn json_of(database: &Database, line: &str) -> Value {
    let run = operate(database, &[], &format!("{line} --json")).await;
    assert_eq!(run.code, 0, "{run:?}");
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// The flag wins over the variable, and that over the system's account.
#[tokio::test]
async fn each_change_names_its_operator() {
    let database = Database::new().await;
    database.server("cam", 4, 0).await;
    type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);
    let environments: [Case; 4] = [
        (&[("HOLDFAST_OPERATOR", "eve")], " --operator olga", "olga"),
        (&[("HOLDFAST_OPERATOR", "eve"), ("USER", "root")], "", "eve"),
        (&[("USER", "oscar"), ("LOGNAME", "else")], "", "oscar"),
        (&[("USER", ""), ("LOGNAME", "otto")], "", "otto"),
    ];
    for (environment, flag, _) in environments {
        for action in ["close", "open"] {
            let run = operate(&database, environment, &format!("server {action} cam{flag}")).await;
            assert_eq!(run.code, 0, "{run:?}");
        }
    }
    // Again: nothing changes.
    assert_eq!(operate(&database, &[("USER", "x")], "server open cam").await.code, 0);
    database.accepts("update servers set capacity = 5").await;
    let history = json_of(&database, "server history cam").await;
    let changes = history["changes"].as_array().expect("changes");
    let (by_hand, typed) = changes.split_last().expect("changes");
    let operators: Vec<&str> =
        typed.iter().skip(1).step_by(2).map(|c| c["operator"].as_str().unwrap()).collect();
    assert_eq!(operators, environments.map(|(_, _, operator)| operator));
    assert_eq!(typed[1]["before"], json!({ "open": true }));
    assert_eq!(typed[1]["after"], json!({ "open": false }));
    // SQL typed by hand is its role's.
    let role: String = database.ask("select session_user::text").await;
    assert_eq!(by_hand["operator"], role.as_str());
    assert_eq!(by_hand["after"], json!({ "capacity": 5 }));
    database.finish().await;
}

#[tokio::test]
async fn everything_that_operators_set_is_recorded() {
    let database = Database::new().await;
    database.server("cam", 4, 0).await;
    database.user("ann", None).await;
    for line in [
        "user set ann --quota-seconds 7200",
        "user set ann --quota-seconds default",
        "terminal disable ann-t",
        "policy set --holds-default-max 7 --quota-zone europe/berlin",
        "server closure add cam --start 2091-03-05T01:00:00Z --end 2091-03-05T02:00:00Z",
        "server closure remove 1",
        "server set cam --rate-minor 1500 --lead-seconds 60",
    ] {
        let run = operate(&database, &[("HOLDFAST_OPERATOR", "olga")], line).await;
        assert_eq!(run.code, 0, "{line}: {run:?}");
    }
    // `topology apply` needs a broker.
    database.accepts("insert into topology values (true, 4, 4, 24)").await;
    database.accepts("update topology set partitions = 5").await;
    let told = |value: &Value| -> Vec<String> {
        let word = |c: &Value, name: &str| c[name].as_str().expect("a word").to_owned();
        let all = value.as_array().expect("changes").iter();
        all.map(|c| format!("{} {} {}", word(c, "action"), word(c, "kind"), word(c, "object")))
            .collect()
    };
    let users = json_of(&database, "user history ann").await;
    assert_eq!(
        told(&users),
        [
            "add user ann",
            "add terminal ann-t",
            "set user ann",
            "set user ann",
            "set terminal ann-t"
        ]
    );
    assert_eq!(users[2]["before"], json!({ "quota_seconds": null }));
    assert_eq!(users[2]["after"], json!({ "quota_seconds": 7_200 }));
    let policy = json_of(&database, "policy history").await;
    assert_eq!(told(&policy), ["set policy true", "add topology true", "set topology true"]);
    assert_eq!(policy[2]["after"], json!({ "partitions": 5 }));
    let after = json!({ "holds_default_max": 7, "quota_zone": "Europe/Berlin" });
    assert_eq!(policy[0]["after"], after);
    let server = json_of(&database, "server history cam").await;
    let expected =
        ["add server cam", "add server_closure cam", "remove server_closure cam", "set server cam"];
    assert_eq!(told(&server["changes"]), expected);
    let after = json!({ "lead_seconds": 60, "rate_minor": 1_500, "tariff_version": 2 });
    assert_eq!(server["changes"][3]["after"], after);
    assert_eq!(operate(&database, &[], "server history none").await.code, 4);
    assert_eq!(operate(&database, &[], "user history none").await.code, 4);
    let text = operate(&database, &[], "user history ann").await.stdout;
    assert!(text.contains("set user ann: quota_seconds - -> 7200"), "{text}");
    database.finish().await;
}

#[tokio::test]
async fn each_tariff_version_can_be_looked_up() {
    let database = Database::new().await;
    database.server("cam", 4, 0).await;
    for change in [
        "rate_minor = 1500",
        "rate_minor = 1500, capacity = 5",
        "currency = 'JPY'",
        // A version follows from rate and currency alone.
        "tariff_version = 1",
        "rate_minor = 3600, currency = 'EUR', tariff_version = 9",
    ] {
        database.accepts(&format!("update servers set {change}")).await;
    }
    let tariffs = json_of(&database, "server history cam").await["tariffs"].clone();
    let tariffs: Vec<(i64, i64, &str)> = tariffs
        .as_array()
        .expect("tariffs")
        .iter()
        .map(|t| {
            let number = |name: &str| t[name].as_i64().expect("a number");
            let currency = if t["currency"] == "EUR" { "EUR" } else { "JPY" };
            (number("version"), number("rate_minor"), currency)
        })
        .collect();
    assert_eq!(
        tariffs,
        [(1, 3_600, "EUR"), (2, 1_500, "EUR"), (3, 1_500, "JPY"), (4, 3_600, "EUR")]
    );
    let text = operate(&database, &[], "server history cam").await.stdout;
    for line in ["36.00 EUR", "15.00 EUR", "1500 JPY"] {
        assert!(text.contains(line), "{text}");
    }
    // A server that is removed and added again goes on counting.
    database.accepts("delete from servers where id = 'cam'").await;
    database.server("cam", 4, 0).await;
    assert_eq!(database.ask::<i32>("select tariff_version from servers").await, 5);
    database.finish().await;
}

#[tokio::test]
async fn audit_and_tariffs_are_append_only() {
    let database = Database::new().await;
    database.server("cam", 4, 0).await;
    for statement in [
        "update audit set operator = 'mallory'",
        "delete from audit",
        "truncate audit",
        "update tariffs set rate_minor = 0",
        "delete from tariffs",
        "truncate tariffs",
    ] {
        database.refuses("ZR004", statement).await;
    }
    database.finish().await;
}

/// Decisions and settlements, and moves that end, are no operator's changes.
#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_writes_leave_no_trace() {
    let mut stack = Stack::with_partitions(2).await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let count = "select count(*) from audit";
    let before: i64 = stack.ask(count, &[]).await;
    let held = terminal.accepted(&server, crate::support::terminal::window(7_200, 600)).await;
    terminal.withdraw(&server, held.id).await;
    assert_eq!(stack.ask::<i64>(count, &[]).await, before);
    let line = "server move cam --partition 1 --operator olga";
    stack.operate(&[], line, 0).await;
    let moved: (i64, String) = (
        stack.ask::<i64>(count, &[]).await - before,
        stack
            .ask(
                "select operator || ' ' || action || ' ' || (before ->> 'partition') || ' '
                    || (after ->> 'partition') from audit order by id desc limit 1",
                &[],
            )
            .await,
    );
    assert_eq!(moved, (1, "olga move 0 1".to_owned()));
    stack.finish().await;
}

/// A change that is rolled back was none.
#[tokio::test]
async fn a_refused_change_is_not_recorded() {
    let database = Database::new().await;
    database.server("cam", 2, 0).await;
    database.user("ann", None).await;
    let rows = [Row::held(0.0, 60.0), Row::held(0.0, 60.0)];
    run(&database.client, &crate::support::database::insert(&rows))
        .await
        .expect("two reservations");
    let before: i64 = database.ask("select count(*) from audit").await;
    assert_eq!(operate(&database, &[], "server set cam --capacity 1").await.code, 4);
    assert_eq!(database.ask::<i64>("select count(*) from audit").await, before);
    database.finish().await;
}
