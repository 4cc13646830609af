//! `holdfast doctor` for people: the worst first, with what to do.

use super::finding::{Finding, Level};
use super::report::Report;

pub(super) fn of(report: &Report) -> String {
    let lines: String = report.checks.iter().map(lines).collect();
    let Report { green, yellow, red, skipped, .. } = report;
    format!("{lines}\n{red} red, {yellow} yellow, {skipped} skipped, {green} green\n")
}

fn lines(finding: &Finding) -> String {
    let Finding { check, looked_at, level, seen, remedy } = finding;
    let level = match level {
        Level::Green => "green  ",
        Level::Yellow => "yellow ",
        Level::Red => "RED    ",
        Level::Skipped => "skipped",
    };
    let mut text = format!("{level}  {check}: {seen}\n");
    if let Some(remedy) = remedy {
        text.push_str(&format!("         looked at: {looked_at}\n         to do: {remedy}\n"));
    }
    text
}
