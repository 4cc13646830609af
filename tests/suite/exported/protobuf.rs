//! As much of OTLP's protobuf as a test looks at, by the numbers of its fields.

/// An exported span. Ids are in hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// Those with a text.
    attributes: Vec<(String, String)>,
    /// Trace and span of each.
    pub links: Vec<(String, String)>,
}

impl Span {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Of an `ExportTraceServiceRequest`: in its resources (1), their scopes (2), these have spans (2).
pub fn spans(request: &[u8]) -> Vec<Span> {
    let scopes = all(request, 1).into_iter().flat_map(|resource| all(resource, 2));
    scopes.flat_map(|scope| all(scope, 2)).map(span).collect()
}

fn span(span: &[u8]) -> Span {
    let attribute = |pair: &[u8]| {
        let value = all(pair, 2).first().map(|value| text(value, 1)).unwrap_or_default();
        (text(pair, 1), value)
    };
    Span {
        trace: hexadecimal(span, 1),
        id: hexadecimal(span, 2),
        parent: hexadecimal(span, 4),
        name: text(span, 5),
        attributes: all(span, 9).into_iter().map(attribute).collect(),
        links: all(span, 13)
            .into_iter()
            .map(|link| (hexadecimal(link, 1), hexadecimal(link, 2)))
            .collect(),
    }
}

fn hexadecimal(message: &[u8], field: u64) -> String {
    let bytes = all(message, field).first().copied().unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(message: &[u8], field: u64) -> String {
    let bytes = all(message, field).first().copied().unwrap_or_default();
    String::from_utf8(bytes.to_vec()).expect("a text")
}

/// The values of a field that has a length.
fn all(mut message: &[u8], field: u64) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).expect("a length"),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(length);
        message = rest;
        if key == field << 3 | 2 {
            found.push(value);
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first().expect("a number");
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}
