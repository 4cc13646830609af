//! Fields of a form or a query, for requests that a client has a hand in.

use url::form_urlencoded;

/// Decoded fields.
pub struct Form(Vec<(String, String)>);

/// A field is missing, or is there more than once.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl Form {
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A field that must be there exactly once. A client adds fields of its own behind the server's
    /// (nginx-rtmp passes on the arguments of a URL unescaped), so a second one is an attempt to replace it.
    pub fn one(&self, name: &str) -> Result<&str, Ambiguous> {
        self.optional(name)?.ok_or(Ambiguous)
    }

    /// A field that may be missing.
    pub fn optional(&self, name: &str) -> Result<Option<&str>, Ambiguous> {
        let mut values = self.0.iter().filter(|(field, _)| field == name);
        let first = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() { Err(Ambiguous) } else { Ok(first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_given_twice_is_refused() {
        let form = Form::parse(b"call=publish&name=a%26b&x=&call=done");
        assert_eq!(form.one("name"), Ok("a&b"));
        assert_eq!(form.one("x"), Ok(""));
        assert_eq!(form.one("call"), Err(Ambiguous));
        assert_eq!(form.one("y"), Err(Ambiguous));
        assert_eq!(form.optional("y"), Ok(None));
    }
}
