//! Where a request may come from. A page that a browser shows can make a name of its own lead to
//! this machine (DNS rebinding) and then ask as if it were at home; the name stands in `Host`.

use std::net::IpAddr;

use actix_web::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use actix_web::http::uri::{Authority, Uri};

use crate::http::problem::{Code, Problem};

/// Refuses a `Host` that is a name other than `localhost` and the `allowed` ones: an address cannot
/// be made to lead elsewhere. An `Origin`, which browsers add, must be this machine, the same host,
/// or allowed.
pub(super) fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    if allowed.iter().any(|name| name == "*") {
        return Ok(());
    }
    let is_allowed = |name: &str| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    let host = text(headers, &HOST).and_then(|host| host_of(host.parse().ok()?));
    let good = |host: &String| is_local(host) || address(host).is_some() || is_allowed(host);
    if !host.as_ref().is_some_and(good) {
        let found = host.as_deref().unwrap_or("none");
        let detail = format!(
            "the header Host must be an address, localhost or one of http.allowed_hosts, found \
             {found}"
        );
        return Err(Problem::new(Code::HostNotAllowed, detail));
    }
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = text(headers, &ORIGIN).and_then(|origin| {
        let origin: Uri = origin.parse().ok()?;
        origin.scheme()?;
        host_of(origin.authority()?.clone())
    });
    let good = |origin: &String| is_local(origin) || Some(origin) == host.as_ref();
    if origin.as_ref().is_some_and(|origin| good(origin) || is_allowed(origin)) {
        return Ok(());
    }
    let detail = "pages of this origin may not call tools; http.allowed_hosts names those that may";
    Err(Problem::new(Code::HostNotAllowed, detail))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn host_of(authority: Authority) -> Option<String> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

fn is_local(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn passes(host: &str, origin: Option<&str>, allowed: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let allowed: Vec<_> = allowed.iter().map(|&name| name.to_owned()).collect();
        check(&headers, &allowed).is_ok()
    }

    #[test]
    fn addresses_and_this_machine_pass_and_other_names_must_be_allowed() {
        for good in
            ["127.0.0.1", "127.0.0.1:8420", "localhost:1", "LOCALHOST", "[::1]:8420", "10.1.2.3:80"]
        {
            assert!(passes(good, None, &[]), "{good}");
        }
        for bad in ["evil.example", "evil.example:8420", "localhost.evil.example", "", "a b"] {
            assert!(!passes(bad, None, &["pool.example"]), "{bad}");
        }
        assert!(passes("pool.example:443", None, &["Pool.Example"]));
        assert!(passes("anything.example", Some("null"), &["*"]));
        assert!(check(&HeaderMap::new(), &[]).is_err());
    }

    #[test]
    fn a_page_passes_from_this_machine_from_the_same_host_or_when_it_is_allowed() {
        let at_home = |origin| passes("127.0.0.1:8420", Some(origin), &["ui.example"]);
        for good in ["http://localhost:3000", "http://127.0.0.1", "https://ui.example"] {
            assert!(at_home(good), "{good}");
        }
        for bad in ["http://evil.example", "http://10.1.2.3", "null", "", "localhost", "/"] {
            assert!(!at_home(bad), "{bad}");
        }
        assert!(passes("10.1.2.3:80", Some("http://10.1.2.3"), &[]));
    }
}
