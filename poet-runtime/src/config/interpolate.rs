//! Puts environment variables into strings, after the file was parsed: a value can never become syntax.
//!
//! Understood are `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, and `$${` for a literal `${`; a `$` before
//! anything else is a `$`. As in a shell, an empty variable counts as unset for `:-` and `:?`.

/// Where variables come from.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The text with its variables put in, or every problem with them. No message contains a value.
pub(super) fn interpolate(text: &str, env: Environment<'_>) -> Result<String, Vec<String>> {
    let (mut done, mut problems, mut rest) = (String::new(), Vec::new(), text);
    while let Some(dollar) = rest.find("${") {
        if rest[..dollar].ends_with('$') {
            done.push_str(&rest[..dollar]);
            done.push('{');
            rest = &rest[dollar + 2..];
            continue;
        }
        done.push_str(&rest[..dollar]);
        rest = &rest[dollar + 2..];
        let Some(end) = rest.find('}') else {
            problems.push("`${` without `}`; write `$${` for a literal `${`".to_owned());
            return Err(problems);
        };
        if rest[..end].contains("${") {
            problems.push("a variable inside a variable is not understood; give it a plain default".to_owned());
            return Err(problems);
        }
        match variable(&rest[..end], env) {
            Ok(value) => done.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = &rest[end + 1..];
    }
    done.push_str(rest);
    if problems.is_empty() { Ok(done) } else { Err(problems) }
}

/// The value of what stands between the braces.
fn variable(inside: &str, env: Environment<'_>) -> Result<String, String> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, operation) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("no variable is named in `${…}`; write `$${` for a literal `${`".to_owned());
    }
    let value = env(name);
    let set = value.clone().filter(|value| !value.is_empty());
    match (operation, operation.get(..2)) {
        ("", _) => value.ok_or_else(|| {
            format!("the environment variable {name} is not set; set it, or write `${{{name}:-default}}`")
        }),
        (_, Some(":-")) => Ok(set.unwrap_or_else(|| operation[2..].to_owned())),
        (_, Some(":?")) => set.ok_or_else(|| match &operation[2..] {
            "" => format!("the environment variable {name} is not set"),
            message => format!("the environment variable {name} is not set: {message}"),
        }),
        _ => Err(format!(
            "what follows {name} is not understood; write `${{{name}}}`, `${{{name}:-default}}` or `${{{name}:?message}}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("crm.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "SLY" => Some("x\"\n[store]\npath = \"${HOST}\"".to_owned()),
            _ => None,
        }
    }

    fn put_in(text: &str) -> Result<String, Vec<String>> {
        interpolate(text, &env)
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        assert_eq!(put_in("https://${HOST}:${PORT:-8002}/mcp").unwrap(), "https://crm.example:8002/mcp");
        assert_eq!(put_in("${HOST:-other}${HOST:?needed}").unwrap(), "crm.examplecrm.example");
        assert_eq!(put_in("").unwrap(), "");
    }

    #[test]
    fn an_empty_variable_is_set_but_gives_way_to_a_default() {
        assert_eq!(put_in("<${EMPTY}>").unwrap(), "<>");
        assert_eq!(put_in("<${EMPTY:-default}>").unwrap(), "<default>");
        assert_eq!(put_in("<${UNSET:-}>").unwrap(), "<>");
        assert!(put_in("${EMPTY:?needed}").is_err());
    }

    #[test]
    fn a_dollar_is_a_dollar_where_no_brace_follows_and_an_escaped_brace_stays() {
        assert_eq!(put_in("$5 $HOST $$ 100$").unwrap(), "$5 $HOST $$ 100$");
        assert_eq!(put_in("$${HOST} ${HOST}").unwrap(), "${HOST} crm.example");
    }

    #[test]
    fn a_value_is_taken_as_it_is_and_never_read_again() {
        assert_eq!(put_in("${SLY}").unwrap(), env("SLY").unwrap());
    }

    #[test]
    fn every_missing_variable_is_named() {
        let problems = put_in("${A} ${B:?ask the administrator} ${C:?}").unwrap_err();
        assert_eq!(
            problems,
            [
                "the environment variable A is not set; set it, or write `${A:-default}`",
                "the environment variable B is not set: ask the administrator",
                "the environment variable C is not set",
            ]
        );
    }

    #[test]
    fn what_a_shell_would_do_and_this_does_not_is_refused() {
        for text in ["${A:-${B}}", "${A:+x}", "${A-x}", "${A", "${}", "${5}", "${ä}", "${A:ä}"] {
            assert_eq!(put_in(text).unwrap_err().len(), 1, "{text}");
        }
    }
}
