//! Amounts for people are money of an ISO 4217 currency; programs get minor units.

use serde_json::Value;

use crate::support::database::Database;
use crate::support::program::{Run, holdfast};

async fn operate(database: &Database, line: &str) -> Run {
    let environment = [("DATABASE_URL", database.url.as_str())];
    holdfast(&environment, &line.split_whitespace().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_price_has_the_decimals_of_its_currency() {
    let database = Database::new().await;
    database.server("cam", 1, 0).await;
    for (currency, price) in
        [("EUR", "12.34 EUR"), ("JPY", "1234 JPY"), ("KWD", "1.234 KWD"), ("CLF", "0.1234 CLF")]
    {
        let set = format!("server set cam --rate-minor 1234 --currency {currency}");
        assert_eq!(operate(&database, &set).await.code, 0, "{currency}");
        for command in ["server show cam", "server list", "server history cam"] {
            let told = operate(&database, command).await.stdout;
            assert!(told.contains(&format!(" {price}")), "{command}: {told}");
        }
        let told = operate(&database, "server show cam --json").await.stdout;
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(told["rate_minor"], 1_234);
    }
    database.finish().await;
}

#[tokio::test]
async fn only_currencies_of_iso_4217_are_taken() {
    let database = Database::new().await;
    database.server("cam", 1, 0).await;
    for wrong in ["QQQ", "ABC", "eur", "EURO", "XXX", "XTS", "XAU", "978"] {
        let run = operate(&database, &format!("server set cam --currency {wrong}")).await;
        assert_eq!(run.code, 2, "{wrong}: {run:?}");
        assert!(run.stderr.contains("ISO 4217"), "{}", run.stderr);
    }
    assert_eq!(database.ask::<String>("select currency from servers").await, "EUR");
    database.finish().await;
}
