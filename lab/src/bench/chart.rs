//! Draws the report: how far each target is met, rates, and processor time by process.

use std::fmt::Write as _;

use crate::cost::Cost;
use crate::report::{Judged, Report, median};

const WIDTH: usize = 900;
/// Where bars begin, and the length of the longest.
const LEFT: f64 = 290.0;
const LONGEST: f64 = 400.0;
const ROW: usize = 26;
const BAR: usize = 18;

const MET: &str = "#3a7d44";
const MISSED: &str = "#b5453a";
const RATE: &str = "#4a7fb5";
const PARTIES: [(&str, &str); 4] = [
    ("broker", "#e08e45"),
    ("database", "#4a7fb5"),
    ("workers", "#3a7d44"),
    ("load generator", "#9a9a9a"),
];

/// A picture to which rows are added at the bottom.
struct Picture {
    body: String,
    y: usize,
}

impl Picture {
    fn text(&mut self, x: f64, y: usize, more: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y}\" {more}>{text}</text>").ok();
    }

    fn rect(&mut self, x: f64, width: f64, height: usize, fill: &str) {
        let y = self.y;
        writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>"
        )
        .ok();
    }

    fn heading(&mut self, title: &str, explained: &str) {
        self.y += 34;
        self.text(16.0, self.y, "font-size=\"16\" font-weight=\"bold\"", title);
        self.y += 18;
        self.text(16.0, self.y, "fill=\"#555\"", explained);
        self.y += 12;
    }

    fn label(&mut self, name: &str) {
        self.text(LEFT - 10.0, self.y + 14, "text-anchor=\"end\"", name);
    }
}

pub fn draw(report: &Report) -> String {
    let mut picture = Picture { body: String::new(), y: 26 };
    picture.text(16.0, 26, "font-size=\"19\" font-weight=\"bold\"", "Holdfast, measured");
    picture.y = 44;
    picture.text(16.0, 44, "fill=\"#555\" font-size=\"11\"", &report.setting.line());
    if let Some(why) = report.void() {
        picture.y += 22;
        let y = picture.y;
        picture.text(
            16.0,
            y,
            &format!("fill=\"{MISSED}\" font-weight=\"bold\""),
            &format!("VOID: {why}"),
        );
    }
    targets(&mut picture, &report.judged());
    rates(&mut picture, report);
    costs(&mut picture, &report.costs());
    let height = picture.y + 20;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        picture.body
    )
}

/// A number with few digits.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Bars in units of the target: a bar that reaches the line meets it, and longer is better.
fn targets(picture: &mut Picture, judged: &[Judged]) {
    const MOST: f64 = 2.5;
    picture.heading(
        "Targets",
        "A bar that reaches the line meets its target; the longer, the better. Cut off at 2.5 times.",
    );
    let line = LEFT + LONGEST / MOST;
    let top = picture.y;
    for target in judged {
        // For an upper bound, smaller is better.
        let times = match (target.least, target.bound == 0.0) {
            (_, true) => f64::from(u8::from(target.met)),
            (true, _) => target.measured / target.bound,
            (false, _) => target.bound / target.measured.max(target.bound / MOST),
        };
        picture.label(target.name);
        let length = times.clamp(0.0, MOST) / MOST * LONGEST;
        picture.rect(LEFT, length, BAR, if target.met { MET } else { MISSED });
        let sign = if target.least { "at least" } else { "at most" };
        let text = format!("{} ({sign} {})", short(target.measured), short(target.bound));
        let beside = (LEFT + length).max(line) + 8.0;
        let y = picture.y + 14;
        picture.text(beside, y, "", &text);
        picture.y += ROW;
    }
    let bottom = picture.y;
    writeln!(
        picture.body,
        "<line x1=\"{line:.1}\" y1=\"{top}\" x2=\"{line:.1}\" y2=\"{bottom}\" stroke=\"black\" \
         stroke-dasharray=\"4 3\"/>"
    )
    .ok();
}

/// Whether a figure is a rate. Other figures have their unit in their name.
fn is_rate(name: &str) -> bool {
    !["ms", "MiB", "%", "/s"].iter().any(|unit| name.split(' ').any(|word| word.contains(unit)))
}

fn rates(picture: &mut Picture, report: &Report) {
    let rates = report.values.iter().filter(|(name, _)| is_rate(name));
    let rates: Vec<(&str, &[f64])> =
        rates.map(|(name, values)| (*name, values.as_slice())).collect();
    let most = rates.iter().flat_map(|(_, values)| *values).copied().fold(1.0, f64::max);
    picture.heading("Rates", "Pieces of work per second: the median, and a mark for each round.");
    for (name, values) in rates {
        let median = median(values.iter().copied());
        picture.label(name);
        picture.rect(LEFT, median / most * LONGEST, BAR, RATE);
        for value in values {
            picture.rect(LEFT + value / most * LONGEST - 1.0, 2.0, BAR, "black");
        }
        let longest = values.iter().copied().fold(0.0, f64::max);
        let y = picture.y + 14;
        picture.text(LEFT + longest / most * LONGEST + 8.0, y, "", &format!("{median:.0}"));
        picture.y += ROW;
    }
}

fn costs(picture: &mut Picture, costs: &[(&'static str, Cost)]) {
    if costs.is_empty() {
        return;
    }
    picture.heading("Processor time", "Microseconds per piece of work, by who uses them.");
    let mut x = LEFT;
    for (party, fill) in PARTIES {
        picture.rect(x, 12.0, 12, fill);
        let y = picture.y + 11;
        picture.text(x + 18.0, y, "", party);
        x += 120.0;
    }
    picture.y += ROW;
    let most = costs.iter().map(|(_, cost)| cost.sum()).fold(1.0, f64::max);
    for (name, cost) in costs {
        picture.label(name);
        let parts = [cost.broker, cost.database, Some(cost.workers), Some(cost.load)];
        let mut x = LEFT;
        for (part, (_, fill)) in parts.into_iter().zip(PARTIES) {
            let width = part.unwrap_or(0.0) / most * LONGEST;
            picture.rect(x, width, BAR, fill);
            x += width;
        }
        let y = picture.y + 14;
        picture.text(x + 8.0, y, "", &format!("{:.0}", cost.sum()));
        picture.y += ROW;
    }
}
