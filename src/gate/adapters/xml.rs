//! Elements of the lists of nginx-rtmp and Icecast.

use roxmltree::{Document, Node};

use super::call::{Reply, Unreadable};

/// Reads a reply.
pub fn parse<'a>(what: &'static str, reply: &'a Reply) -> Result<Document<'a>, Unreadable> {
    if reply.status != 200 {
        return Err(Unreadable::new(what, reply, "expected status 200"));
    }
    Document::parse(&reply.body).map_err(|error| Unreadable::new(what, reply, error))
}

/// Children with a name.
pub fn children<'a, 'input: 'a>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

/// The text of the first child with a name; empty if there is none.
pub fn text<'a>(node: Node<'a, '_>, name: &'static str) -> &'a str {
    let child = node.children().find(|child| child.has_tag_name(name));
    child.and_then(|child| child.text()).unwrap_or_default()
}
