//! Functions that block until they have their answer.

use crate::Answer;
use poet::poet;
use std::io;

#[poet]
fn plain() {}

#[poet]
fn by_pattern((a, _): (u8, u8), mut list: Vec<u8>, &b: &u8) -> Answer<usize> {
    list.push(a + b);
    Ok(list.len())
}

#[poet]
fn with_an_early_way_out(text: &str) -> io::Result<u8> {
    let number: u8 = text.parse().map_err(io::Error::other)?;
    if number == 0 {
        return Ok(1);
    }
    Ok(number)
}

#[poet]
fn through_a_unique_borrow(out: &mut u8) -> Answer<()> {
    *out += 1;
    Ok(())
}

#[poet]
fn borrowed<'a>(one: &'a mut [u8], _two: &u8) -> &'a mut u8 {
    &mut one[0]
}

#[poet(idempotent, retries = 1)]
fn again(text: String, page: (u8, u8)) -> Answer<String> {
    Ok(format!("{text}{}", page.0))
}

#[poet(fallback = spare)]
fn with_fallback(text: &str) -> Answer<usize> {
    Ok(text.len())
}

fn spare(_: &str) -> Answer<usize> {
    Ok(0)
}

#[poet(idempotent, fallback = spare)]
fn again_with_fallback(text: &str) -> Answer<usize> {
    Ok(text.len())
}

struct Store(String);

impl Store {
    #[poet]
    fn shared(&self) -> &str {
        &self.0
    }

    #[poet]
    fn unique(&mut self) -> &mut String {
        &mut self.0
    }

    #[poet]
    fn owned(self) -> String {
        self.0
    }

    #[poet(idempotent)]
    fn again(&self, add: &str) -> Answer<String> {
        Ok(format!("{}{add}", self.0))
    }
}

#[test]
fn blocking_functions_work() -> Answer<()> {
    crate::keep_nothing();
    plain();
    assert_eq!(by_pattern((1, 2), vec![3], &4)?, 2);
    assert_eq!(with_an_early_way_out("7").unwrap(), 7);
    assert_eq!(with_an_early_way_out("0").unwrap(), 1);
    assert!(with_an_early_way_out("x").is_err());
    let mut out = 1;
    through_a_unique_borrow(&mut out)?;
    assert_eq!(out, 2);
    *borrowed(&mut [1], &2) += 1;
    assert_eq!(again("page".to_owned(), (1, 2))?, "page1");
    assert_eq!(with_fallback("four")?, 4);
    assert_eq!(again_with_fallback("four")?, 4);
    let mut store = Store("a".to_owned());
    store.unique().push('b');
    assert_eq!(store.shared(), "ab");
    assert_eq!(store.again("c")?, "abc");
    assert_eq!(store.owned(), "ab");
    Ok(())
}
