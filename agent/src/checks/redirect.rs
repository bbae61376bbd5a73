//! Where a redirect leads (RFC 9110 sections 10.2.2 and 15.4).

use proofmark_spec::{HttpMethod, Url};

/// Whether a status with a `Location` asks the client to go there by itself.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The method of the next request: as browsers and Go do, a POST turns into a GET unless the
/// status forbids it.
pub(super) fn next_method(status: u16, method: HttpMethod) -> HttpMethod {
    match (status, method) {
        (_, HttpMethod::Get | HttpMethod::Head) | (307 | 308, _) => method,
        (303, _) | (_, HttpMethod::Post) => HttpMethod::Get,
        _ => method,
    }
}

/// Resolves a `Location` against the URL it came from (RFC 3986 section 5.2).
pub(super) fn resolve(base: &Url, location: &str) -> Result<Url, String> {
    if location.contains("://") && !location.starts_with(['/', '?', '#']) {
        return Url::parse(location);
    }
    let scheme = base.scheme.as_str();
    if let Some(rest) = location.strip_prefix("//") {
        return Url::parse(&format!("{scheme}://{rest}"));
    }
    let (base_path, _) = split_query(&base.path_and_query);
    let (path, query) = split_query(location.split('#').next().unwrap_or_default());
    let path = match path {
        "" => base_path.to_string(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let parent = base_path.rfind('/').map_or("/", |at| &base_path[..=at]);
            without_dots(&format!("{parent}{path}"))
        }
    };
    Url::parse(&format!("{scheme}://{}{path}{query}", base.authority()))
}

/// The path and the query, the query with its `?`.
fn split_query(text: &str) -> (&str, &str) {
    text.split_at(text.find('?').unwrap_or(text.len()))
}

/// Takes out `.` and `..` (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let ends_in_dir = path.ends_with(['/']) || path.ends_with("/.") || path.ends_with("/..");
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut joined = format!("/{}", parts.join("/"));
    if ends_in_dir && !joined.ends_with('/') {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(location: &str, expect: &str) {
        let base = Url::parse("https://a.example:8443/b/c/d?q=1").expect("a URL");
        let got = resolve(&base, location).expect("resolves");
        assert_eq!(got.to_string(), expect, "{location}");
    }

    #[test]
    fn locations() {
        check("http://other.example/x", "http://other.example/x");
        check("//other.example/x", "https://other.example/x");
        check("/x?y=z", "https://a.example:8443/x?y=z");
        check("x", "https://a.example:8443/b/c/x");
        check("../x", "https://a.example:8443/b/x");
        check("../../../x", "https://a.example:8443/x");
        check("./", "https://a.example:8443/b/c/");
        check("..", "https://a.example:8443/b/");
        check("?n=2", "https://a.example:8443/b/c/d?n=2");
        check(
            "/login?next=https://a.example/",
            "https://a.example:8443/login?next=https://a.example/",
        );
        check("#top", "https://a.example:8443/b/c/d");
    }

    #[test]
    fn a_location_of_another_kind_is_refused() {
        let base = Url::parse("http://a.example/").expect("a URL");
        assert!(resolve(&base, "ftp://a.example/").is_err());
    }

    #[test]
    fn methods() {
        assert_eq!(next_method(302, HttpMethod::Post), HttpMethod::Get);
        assert_eq!(next_method(303, HttpMethod::Put), HttpMethod::Get);
        assert_eq!(next_method(302, HttpMethod::Put), HttpMethod::Put);
        assert_eq!(next_method(307, HttpMethod::Post), HttpMethod::Post);
        assert_eq!(next_method(303, HttpMethod::Head), HttpMethod::Head);
    }
}
