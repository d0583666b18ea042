//! What is meant by what was written about how a service is reached.

use super::read::{Field, Hints, Reader, Table};
use super::secret::Secret;
use super::service::{Endpoint, ServiceConfig, Transport, showable_url};
use super::signing;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const WEIGHT: RangeInclusive<u32> = 1..=1_000;
const NO_URL: &str = "`url` is missing; write where it is reached, or `endpoints` where there are several places";
const ENDPOINT_HINTS: Hints = &[
    ("auth_token", "there is no such key; it is said of the service: `auth_token`"),
    ("signing", "there is no such key; it is said of the service: `signing`"),
];

/// The keys that only some transports understand, and those they cannot do without.
pub(super) fn address(reader: &mut Reader<'_>, field: &Field<'_>, table: &mut Table<'_>, service: &mut ServiceConfig) {
    let (transport, single, list) = (table.take("transport"), table.take("url"), table.take("endpoints"));
    let (command, args) = (table.take("command"), table.take("args").map(Field::private));
    let env = table.take("env").map(Field::private);
    let (token, trusted) = (table.take("auth_token").map(Field::private), table.take("trusted"));
    let signed = table.take("signing").map(Field::private);

    let written = transport.as_ref().map(|field| reader.choice(field, &names(), &[]));
    let spoken = written.unwrap_or_else(|| {
        let is_program = command.is_some() && single.is_none() && list.is_none();
        Some(if is_program { Transport::Stdio } else { Transport::Http })
    });
    service.trusted = trusted.as_ref().and_then(|field| reader.flag(field)).unwrap_or_default();
    service.auth_token = token.as_ref().and_then(|field| secret(reader, field));
    service.signing = signed.as_ref().and_then(|field| signing::signing(reader, field));
    service.endpoints = list.as_ref().map(|field| endpoints(reader, field, spoken)).unwrap_or_default();
    if let Some(field) = &single {
        if list.is_some() {
            reader.refuse_key(field, "says the same as `endpoints`; keep one of the two");
        }
        service.endpoints.extend(url(reader, field, spoken).map(Endpoint::new));
    }
    service.command = command.as_ref().and_then(|field| reader.word(field));
    service.args = args.as_ref().map(|field| texts(reader, field)).unwrap_or_default();
    service.env = env.as_ref().map(|field| variables(reader, field)).unwrap_or_default();

    // What the other keys should be is not known where the transport is not.
    let Some(spoken) = spoken else { return };
    service.transport = spoken;
    let is_program = spoken == Transport::Stdio;
    let foreign: &[_] = if is_program { &[&single, &list, &token, &signed] } else { &[&command, &args, &env] };
    for field in foreign.iter().copied().flatten() {
        reader.refuse_key(field, &only_others(spoken));
    }
    let says = transport.is_some() || token.is_some() || signed.is_some() || trusted.is_some();
    if is_program && command.is_none() {
        reader.refuse_key(field, "`command` is missing; write the program to start");
    } else if !is_program && says && single.is_none() && list.is_none() && command.is_none() {
        reader.refuse_key(field, NO_URL);
    }
}

fn names() -> [(&'static str, Transport); Transport::ALL.len()] {
    Transport::ALL.map(|transport| (transport.as_str(), transport))
}

fn only_others(spoken: Transport) -> String {
    match spoken {
        Transport::Stdio => "`transport = \"stdio\"` does not understand this key".to_owned(),
        _ => "only `transport = \"stdio\"` understands this key".to_owned(),
    }
}

fn endpoints(reader: &mut Reader<'_>, field: &Field<'_>, spoken: Option<Transport>) -> Vec<Endpoint> {
    let Some(list) = reader.list(field) else {
        return Vec::new();
    };
    if list.is_empty() {
        reader.expected::<()>(field, "at least one endpoint");
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for field in &list {
        let Some(endpoint) = endpoint(reader, field, spoken) else { continue };
        if endpoints.iter().any(|other| other.url == endpoint.url) {
            reader.refuse(field, "is listed twice; give one of them the weight of both");
        }
        endpoints.push(endpoint);
    }
    endpoints
}

fn endpoint(reader: &mut Reader<'_>, field: &Field<'_>, spoken: Option<Transport>) -> Option<Endpoint> {
    let mut table = reader.table(field)?;
    let weight = table.take("weight").map_or(Some(1), |field| reader.count(&field, WEIGHT));
    let url = match table.take("url") {
        Some(field) => url(reader, &field, spoken),
        None => {
            reader.refuse(field, "`url` is missing");
            None
        }
    };
    reader.refuse_rest(&table, ENDPOINT_HINTS);
    Some(Endpoint { url: url?, weight: weight? })
}

/// An address that the transport can be spoken to at; any, where the transport is not known.
fn url(reader: &mut Reader<'_>, field: &Field<'_>, spoken: Option<Transport>) -> Option<String> {
    let url = reader.text(field)?;
    let scheme = scheme(&url);
    let is_web_socket = matches!(scheme, Some("ws" | "wss"));
    match spoken {
        Some(Transport::WebSocket) if scheme.is_some() => return Some(over_web_socket(url)),
        Some(Transport::Http | Transport::Sse) if is_web_socket => {}
        _ if scheme.is_some() => return Some(url),
        _ => {}
    }
    let found = if field.has_variables() {
        "the value of a variable".to_owned()
    } else {
        format!("\"{}\"", showable_url(&url).escape_debug())
    };
    let (example, instead) = match spoken {
        Some(Transport::WebSocket) => ("ws://localhost:8003", ""),
        _ if is_web_socket => ("http://localhost:8002/mcp", "; `transport = \"websocket\"` is reached at that"),
        _ => ("http://localhost:8002/mcp", ""),
    };
    reader.refuse(field, &format!("expected an address such as \"{example}\", found {found}{instead}"));
    None
}

/// The address with the scheme it is really reached under: as browsers do, who read `http` as `ws`.
fn over_web_socket(url: String) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
        _ => url,
    }
}

impl Transport {
    /// The transport of an address; `None` where it is not one.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::config::Transport;
    ///
    /// assert_eq!(Transport::of_address("https://crm.example/mcp"), Some(Transport::Http));
    /// assert_eq!(Transport::of_address("ws://localhost:8003"), Some(Transport::WebSocket));
    /// assert_eq!(Transport::of_address("localhost:8003"), None);
    /// ```
    #[must_use]
    pub fn of_address(url: &str) -> Option<Self> {
        let is_web_socket = scheme(url)?.starts_with("ws");
        Some(if is_web_socket { Self::WebSocket } else { Self::Http })
    }
}

/// The scheme of what is an address; `None` for anything else.
fn scheme(url: &str) -> Option<&'static str> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = ["http", "https", "ws", "wss"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
        _ => true,
    };
    let blank = |c: char| c.is_whitespace() || c.is_control();
    (!host.is_empty() && !host.starts_with(':') && port && !url.contains(blank)).then_some(scheme)
}

fn secret(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Secret> {
    let token = reader.word(field)?;
    if token.contains(|c: char| c.is_control() || !c.is_ascii()) {
        reader.refuse(field, "contains a character that no header may contain, perhaps a line break at its end");
        return None;
    }
    Some(Secret::from(token))
}

fn texts(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<String> {
    reader.list(field).unwrap_or_default().iter().filter_map(|field| reader.text(field)).collect()
}

fn variables(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, String> {
    let Some(table) = reader.table(field) else {
        return BTreeMap::new();
    };
    let mut variables = BTreeMap::new();
    for (name, field) in table.entries() {
        if name.is_empty() || name.contains(['=', '\0']) {
            reader.refuse_key(&field, "no environment variable can have this name");
        }
        if let Some(value) = reader.text(&field) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_known_scheme_and_a_host() {
        for (url, found) in [
            ("http://localhost:8002/mcp", Some("http")),
            ("HTTPS://user:pw@crm.example?x", Some("https")),
            ("ws://[::1]:80", Some("ws")),
            ("wss://a", Some("wss")),
            ("ftp://a", None),
            ("http://", None),
            ("http://:80/", None),
            ("http://a:99999", None),
            ("http://a b", None),
            ("localhost:8002", None),
        ] {
            assert_eq!(scheme(url), found, "{url}");
        }
    }

    #[test]
    fn a_web_socket_may_be_written_as_the_page_it_is_upgraded_from() {
        for (written, meant) in
            [("http://localhost:8003", "ws://localhost:8003"), ("HTTPS://a/x", "wss://a/x"), ("wss://a", "wss://a")]
        {
            assert_eq!(over_web_socket(written.to_owned()), meant);
        }
    }
}
