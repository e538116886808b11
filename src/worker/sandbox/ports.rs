//! The ports of URLs.

use std::collections::BTreeSet;

/// The TCP ports of those of these texts that are http or https URLs.
pub fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<u16> {
    texts.into_iter().filter_map(of_url).collect()
}

/// The port to which a client of this URL connects; `None` when it is no http or https URL.
fn of_url(url: &str) -> Option<u16> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let default = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // An IPv6 address has colons of its own, and stands in brackets.
    let after_address = host.rsplit(']').next().unwrap_or_default();
    match after_address.rsplit_once(':') {
        None | Some((_, "")) => (!host.is_empty()).then_some(default),
        Some((_, port)) => port.parse().ok().filter(|port| *port > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_url_is_the_one_that_a_client_connects_to() {
        for (url, port) in [
            ("http://127.0.0.1:11434/v1", Some(11434)),
            ("https://api.example.com/v1", Some(443)),
            ("HTTP://example.com", Some(80)),
            ("http://user:secret@proxy:3128", Some(3128)),
            ("http://[::1]:8080/", Some(8080)),
            ("http://[::1]/", Some(80)),
            ("http://host:/x", Some(80)),
            ("https://host?next=http://other:99", Some(443)),
            ("http://host:0", None),
            ("http://host:99999", None),
            ("http://", None),
            ("ftp://host:21", None),
            ("127.0.0.1:80", None),
            ("", None),
        ] {
            assert_eq!(of_url(url), port, "{url}");
        }
    }

    #[test]
    fn each_port_counts_once() {
        let texts = ["http://a:1", "no url", "http://b:1", "https://c"];
        assert_eq!(of_texts(texts).into_iter().collect::<Vec<_>>(), [1, 443]);
    }
}
