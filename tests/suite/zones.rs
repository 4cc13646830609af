//! Zones in which quota periods begin: names of PostgreSQL's list, in its spelling, and nothing that
//! only looks like a zone.

use crate::support::database::Database;
use crate::support::program::holdfast;

const UNKNOWN: &str = "22023";

async fn set(database: &Database, zone: &str) -> (i32, String, String) {
    let environment = [("DATABASE_URL", database.url.as_str())];
    let run = holdfast(&environment, &["policy", "set", "--quota-zone", zone]).await;
    (run.code, run.stdout, run.stderr)
}

#[tokio::test]
async fn only_named_zones_are_taken_and_in_their_own_spelling() {
    let database = Database::new().await;
    for (typed, stored) in [
        ("Europe/Berlin", "Europe/Berlin"),
        ("america/NEW_york", "America/New_York"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("utc", "UTC"),
    ] {
        let (code, stdout, stderr) = set(&database, typed).await;
        assert_eq!(code, 0, "{typed}: {stderr}");
        assert!(stdout.contains(stored), "{stdout}");
        assert_eq!(database.ask::<String>("select quota_zone from policy").await, stored);
    }
    for wrong in [
        "CET",
        "EST",
        "EST5EDT",
        "GMT+0",
        "Etc/GMT-3",
        "UTC+2",
        "Mars+1",
        "<x>-3",
        "Garbage3Foo",
        "posixrules",
        "posix/Europe/Berlin",
        "right/UTC",
        "Europe",
        "Europe/",
        "+02:00",
        "",
        " UTC",
        "Europe/Berlin'; drop table policy; --",
    ] {
        let (code, _, stderr) = set(&database, wrong).await;
        assert_eq!(code, 4, "{wrong}: {stderr}");
        let by_hand = format!("update policy set quota_zone = '{}'", wrong.replace('\'', "''"));
        database.refuses(UNKNOWN, &by_hand).await;
    }
    assert_eq!(database.ask::<String>("select quota_zone from policy").await, "UTC");
    database.finish().await;
}

#[tokio::test]
async fn a_wrong_zone_is_told_what_is_near() {
    let database = Database::new().await;
    for (wrong, near) in [("Berlin", "Europe/Berlin"), ("Europe/Pariss", "Europe/Paris")] {
        let (_, _, stderr) = set(&database, wrong).await;
        assert!(stderr.contains(wrong) && stderr.contains(near), "{stderr}");
    }
    database.finish().await;
}
