//! Decides which tool of which service a name stands for.
//!
//! Never by who came last: a name that two services offer is refused, because which of them is meant would depend on
//! which answered first. `service.tool` is read first, so that there is always a way to write what is meant.

use poet_runtime::config::did_you_mean;

/// What is known of one service: its name, and the names of its tools once it has been asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    pub(super) service: &'a str,
    pub(super) tools: Option<&'a [&'a str]>,
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant<'a> {
    /// A tool of that service.
    Tool { service: &'a str, tool: &'a str },
    /// A tool of that service, if it has it: it has not answered yet.
    Perhaps { service: &'a str, tool: &'a str },
    /// Any of these services has it.
    Several(Vec<&'a str>),
    /// Nothing that is known.
    Nothing,
}

/// Finds what was meant.
pub(super) fn meant<'a>(written: &'a str, offers: &[Offer<'a>]) -> Meant<'a> {
    let mut unasked = None;
    for offer in offers {
        let Some(tool) = written.strip_prefix(offer.service).and_then(|rest| rest.strip_prefix('.')) else { continue };
        match offer.tools {
            Some(tools) if tools.contains(&tool) => return Meant::Tool { service: offer.service, tool },
            Some(_) => {}
            None => unasked = Some(Meant::Perhaps { service: offer.service, tool }),
        }
    }
    let offering = offers.iter().filter(|offer| offer.tools.is_some_and(|tools| tools.contains(&written)));
    match offering.map(|offer| offer.service).collect::<Vec<_>>()[..] {
        [] => unasked.unwrap_or(Meant::Nothing),
        [service] => Meant::Tool { service, tool: written },
        ref several => Meant::Several(several.to_vec()),
    }
}

/// What to write instead of a name that two services offer.
pub(super) fn ambiguity(written: &str, services: &[&str]) -> String {
    let (named, qualified): (Vec<_>, Vec<_>) =
        services.iter().map(|service| (format!("`{service}`"), format!("`{service}.{written}`"))).unzip();
    format!("`{written}` is a tool of {}: write {}", named.join(" and "), qualified.join(" or "))
}

/// What to write instead of a name that nothing is known by.
pub(super) fn guess(written: &str, offers: &[Offer<'_>]) -> String {
    /// More than a person reads in a message.
    const LISTED: usize = 12;
    let tools = |offer: &Offer<'_>| {
        let service = offer.service.to_owned();
        offer.tools.unwrap_or_default().iter().map(move |tool| format!("{service}.{tool}")).collect::<Vec<_>>()
    };
    let names: Vec<String> = offers.iter().flat_map(tools).collect();
    let guess = did_you_mean(written, &names.iter().map(String::as_str).collect::<Vec<_>>());
    if names.len() <= LISTED || guess.starts_with("did you mean") {
        return guess;
    }
    format!("{} others are known", names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTION: Offer<'_> = Offer { service: "notion", tools: Some(&["search", "search_pages"]) };
    const HELPSCOUT: Offer<'_> = Offer { service: "helpscout", tools: Some(&["search", "create_conversation"]) };
    const SLACK: Offer<'_> = Offer { service: "slack", tools: None };
    const ALL: &[Offer<'_>] = &[NOTION, HELPSCOUT, SLACK];

    #[test]
    fn a_name_that_one_service_offers_needs_no_more() {
        let tool = Meant::Tool { service: "helpscout", tool: "create_conversation" };
        assert_eq!(meant("create_conversation", ALL), tool);
        assert_eq!(meant("helpscout.create_conversation", ALL), tool);
    }

    #[test]
    fn a_name_that_two_offer_stands_for_neither_in_whatever_order_they_come() {
        assert_eq!(meant("search", ALL), Meant::Several(vec!["notion", "helpscout"]));
        assert_eq!(meant("search", &[HELPSCOUT, NOTION]), Meant::Several(vec!["helpscout", "notion"]));
        assert_eq!(meant("notion.search", ALL), Meant::Tool { service: "notion", tool: "search" });
        assert_eq!(
            ambiguity("search", &["notion", "helpscout"]),
            "`search` is a tool of `notion` and `helpscout`: write `notion.search` or `helpscout.search`"
        );
    }

    #[test]
    fn a_service_that_has_not_answered_may_have_what_is_asked_of_it_by_name() {
        assert_eq!(meant("slack.send_message", ALL), Meant::Perhaps { service: "slack", tool: "send_message" });
        assert_eq!(meant("send_message", ALL), Meant::Nothing);
    }

    #[test]
    fn the_name_of_a_service_stands_before_a_dot_in_the_name_of_a_tool() {
        let dotted = Offer { service: "other", tools: Some(&["notion.search", "pages.list"]) };
        let offers = &[dotted, NOTION];
        assert_eq!(meant("notion.search", offers), Meant::Tool { service: "notion", tool: "search" });
        assert_eq!(meant("other.notion.search", offers), Meant::Tool { service: "other", tool: "notion.search" });
        assert_eq!(meant("pages.list", offers), Meant::Tool { service: "other", tool: "pages.list" });
    }

    #[test]
    fn a_slip_is_answered_with_what_can_be_written_as_it_stands() {
        assert_eq!(meant("serach_pages", ALL), Meant::Nothing);
        assert_eq!(guess("serach_pages", ALL), "did you mean `notion.search_pages`?");
        assert_eq!(guess("notion.serach_pages", ALL), "did you mean `notion.search_pages`?");
    }

    #[test]
    fn a_list_of_hundreds_is_not_part_of_a_message() {
        let many: Vec<String> = (0..245).map(|number| format!("tool_number_{number}")).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        let offers = [Offer { service: "hub", tools: Some(&names) }];
        assert_eq!(guess("colour", &offers), "245 others are known");
        assert_eq!(guess("tool_nubmer_7", &offers), "did you mean `hub.tool_number_7`?");
    }
}
