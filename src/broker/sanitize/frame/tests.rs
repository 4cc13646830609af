use super::*;

fn table(entries: &[u8]) -> Vec<u8> {
    [&u32::try_from(entries.len()).unwrap().to_be_bytes(), entries].concat()
}

fn frame(flags: u16, properties: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], &flags.to_be_bytes()[..], properties];
    let payload = payload.concat();
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[2, 0, 1], &len[..], &payload, &[0xce]].concat()
}

fn sanitized(mut frame: Vec<u8>) -> Vec<u8> {
    let len = sanitize(&mut frame);
    frame.truncate(len);
    frame
}

#[test]
fn readable_properties_stay_unchanged() {
    let headers = table(
        b"\x01at\x01\x01bb\x01\x01cB\x01\x01ds\x00\x01\x01eu\x00\x01\x01fI\x00\x00\x00\x01\
          \x01gi\x00\x00\x00\x01\x01hf\x00\x00\x00\x00\x01iD\x00\x00\x00\x00\x01\
          \x01jl\x00\x00\x00\x00\x00\x00\x00\x01\x01kS\x00\x00\x00\x01\xff\x01mV\x01nx\x00\x00\x00\x00",
    );
    let all = [
        b"\x04json\x00",
        &headers[..],
        b"\x02\x00\x03c-1\x00\x0210\x02id\x00\x00\x00\x00\x00\x00\x00\x01\x04type\x03ann\x00\x00",
    ]
    .concat();
    let sound = frame(0xfffc, &all);
    assert_eq!(sanitized(sound.clone()), sound);
    for cut in 0..all.len() {
        assert_eq!(sanitized(frame(0xfffc, &all[..cut])), frame(0, b""), "cut at {cut}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced() {
    for (text, expected) in [
        (&b"\xff\xfe"[..], &b"??"[..]),
        (b"a\xc3\x28b", b"a?(b"),
        (b"\xe2\x82", b"??"),
        ("å\u{10ffff}".as_bytes(), "å\u{10ffff}".as_bytes()),
        (b"\xed\xa0\x80x", b"???x"),
        (b"", b""),
    ] {
        let property = |text: &[u8]| frame(1 << 10, &[&[text.len() as u8], text].concat());
        assert_eq!(sanitized(property(text)), property(expected));
        let name =
            |text: &[u8]| frame(1 << 13, &table(&[&[text.len() as u8], text, b"V"].concat()));
        assert_eq!(sanitized(name(text)), name(expected));
    }
}

#[test]
fn nested_values_become_opaque() {
    for kind in [b"A", b"F"] {
        let nested = |kind: &[u8]| {
            let entry = [b"\x01n", kind, &table(b"\xff\xff\xff")[..]].concat();
            frame(1 << 13, &table(&entry))
        };
        assert_eq!(sanitized(nested(kind)), nested(b"x"));
    }
}

#[test]
fn unreadable_properties_are_dropped() {
    for (flags, properties) in [
        (1 << 10, &b"\x02id\x00"[..]),
        (1 << 10, b"\x03id"),
        (1 << 10 | 1, b"\x02id"),
        (1 << 10 | 2, b"\x02id"),
        (1 << 13, b"\x00\x00\x00\x03\x01a?"),
        (1 << 13, b"\x00\x00\x00\x04\x01aV"),
    ] {
        assert_eq!(sanitized(frame(flags, properties)), frame(0, b""), "{flags:b} {properties:?}");
    }
}
