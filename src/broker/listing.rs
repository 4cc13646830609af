//! Lists Holdfast's own queues or exchanges over the management API, page by page.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::management::Management;

/// Names of what is Holdfast's.
const NAMES: &str = r"^(reservation|billing\.entries)\.";

/// Objects per response.
const PAGE: usize = 500;

/// Most pages: a quarter of a million queues.
const PAGES_MAX: usize = 500;

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    page_count: usize,
}

/// `kind` is `queues` or `exchanges`. Asked for few `columns`, the API answers faster.
pub(super) async fn list<T: for<'a> Deserialize<'a>>(
    management: &Management,
    kind: &str,
    vhost: &str,
    columns: &str,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    for number in 1..=PAGES_MAX {
        let (number, size) = (number.to_string(), PAGE.to_string());
        let query = [
            ("page", number.as_str()),
            ("page_size", size.as_str()),
            ("name", NAMES),
            ("use_regex", "true"),
            ("columns", columns),
        ];
        let read = management.read_with::<Page<T>>(&[kind, vhost], &query).await;
        let page = read.with_context(|| format!("listing {kind}"))?;
        items.extend(page.items);
        if number.parse().is_ok_and(|number: usize| number >= page.page_count) {
            return Ok(items);
        }
    }
    bail!("listing {kind}: there are more than {}", PAGES_MAX * PAGE)
}
