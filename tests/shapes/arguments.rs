//! Arguments of every kind reach the body as they were given.

use crate::Answer;
use poet::poet;
use std::collections::BTreeMap;

#[derive(Clone)]
struct Page {
    number: u32,
    size: u32,
}

struct Pair<A, B>(A, B);

/// Cannot be cloned.
struct Connection(u32);

#[poet]
async fn none() {}

#[poet]
async fn by_name(id: u32, name: &str) -> Answer<String> {
    Ok(format!("{name}{id}"))
}

#[poet]
async fn changed(mut list: Vec<u32>, mut id: u32) -> Answer<Vec<u32>> {
    id += 1;
    list.push(id);
    Ok(list)
}

#[poet]
async fn through_a_unique_borrow(list: &mut Vec<u32>, id: u32) -> Answer<()> {
    list.push(id);
    Ok(())
}

#[poet]
async fn taken_apart(
    (a, mut b): (u32, u32),
    [first, .., last]: [u32; 3],
    Page { number, size: _ }: Page,
    Pair(left, _): Pair<u32, String>,
    &(ref c, d): &(u32, u32),
    _: Connection,
) -> Answer<u32> {
    b += 1;
    Ok(a + b + first + last + number + left + c + d)
}

#[poet(idempotent)]
async fn taken_apart_again(
    (a, mut b): (u32, u32),
    Page { number, size }: Page,
    &c: &u32,
    whole @ [_, d]: [u32; 2],
    ref e: u32,
) -> Answer<u32> {
    b += 1;
    Ok(a + b + number + size + c + d + whole[0] + e)
}

#[poet]
async fn nested(((a, b), (c, d)): ((u32, u32), (u32, u32))) -> u32 {
    a + b + c + d
}

#[poet]
async fn by_a_reference_inside((a, ref mut b, ref c): (u32, u32, u32)) -> u32 {
    *b += 1;
    a + *b + *c
}

#[poet]
async fn not_cloned(connection: Connection) -> Answer<u32> {
    Ok(connection.0)
}

#[poet]
async fn called(call: impl Fn(&str) -> usize, text: &str) -> usize {
    call(text)
}

#[poet(idempotent)]
async fn called_again(call: impl Fn(&str) -> usize + Clone, text: &str) -> Answer<usize> {
    Ok(call(text))
}

#[poet]
async fn with_lints(#[expect(unused_variables, reason = "the lint is decided here")] unused: u32, used: u32) -> u32 {
    used
}

#[poet]
async fn in_some_configurations(#[cfg(not(test))] id: u32, #[cfg(test)] id: u8, #[cfg(test)] (a, _): (u8, u8)) -> u8 {
    id + a
}

#[poet]
async fn raw(r#type: u32) -> u32 {
    r#type
}

#[poet(idempotent)]
#[expect(clippy::too_many_arguments, reason = "more than a tuple has traits for")]
async fn thirteen(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: String,
) -> Answer<usize> {
    Ok(usize::from(a + b + c + d + e + f + g + h + i + j + k + l) + m.len())
}

#[poet]
async fn unsized_behind(text: Box<str>, all: &[u8], map: &BTreeMap<String, u8>, call: &dyn Fn(u8) -> u8) -> usize {
    text.len() + all.len() + map.len() + usize::from(call(1))
}

#[tokio::test]
async fn arguments_arrive_as_they_were_given() -> Answer<()> {
    crate::keep_nothing();
    none().await;
    assert_eq!(by_name(7, "x").await?, "x7");
    assert_eq!(changed(vec![1], 1).await?, [1, 2]);
    let mut list = vec![];
    through_a_unique_borrow(&mut list, 3).await?;
    assert_eq!(list, [3]);
    let page = Page { number: 100, size: 1000 };
    let sum = taken_apart((1, 1), [10, 0, 20], page.clone(), Pair(5, String::new()), &(2, 3), Connection(0)).await?;
    assert_eq!(sum, 143);
    assert_eq!(taken_apart_again((1, 1), page, &4, [5, 6], 7).await?, 1 + 2 + 1100 + 4 + 6 + 5 + 7);
    assert_eq!(nested(((1, 2), (3, 4))).await, 10);
    assert_eq!(by_a_reference_inside((1, 2, 3)).await, 7);
    assert_eq!(not_cloned(Connection(9)).await?, 9);
    assert_eq!(called(|text| text.len(), "four").await, 4);
    assert_eq!(called_again(str::len, "four").await?, 4);
    assert_eq!(with_lints(1, 2).await, 2);
    assert_eq!(in_some_configurations(1, (2, 3)).await, 3);
    assert_eq!(raw(4).await, 4);
    assert_eq!(thirteen(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "13".to_owned()).await?, 14);
    assert_eq!(unsized_behind("abc".into(), &[1], &BTreeMap::new(), &|x| x).await, 5);
    Ok(())
}
