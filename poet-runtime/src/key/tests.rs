use super::*;
use serde_json::json;
use std::collections::HashMap;

fn of(arguments: &Value) -> CacheKey {
    CacheKey::of_request("crm", "get", 1, arguments.as_object().expect("an object"))
}

fn all_differ<T: PartialEq + fmt::Debug>(keys: &[T]) {
    for (index, one) in keys.iter().enumerate() {
        for (other, key) in keys[..index].iter().enumerate() {
            assert_ne!(one, key, "{index} and {other}");
        }
    }
}

#[test]
fn the_order_of_keys_makes_no_difference_and_every_value_does() {
    let one: Value = serde_json::from_str(r#"{"a": {"x": 1, "y": [1, 2]}, "b": null}"#).unwrap();
    let same: Value = serde_json::from_str(r#"{"b": null, "a": {"y": [1, 2], "x": 1}}"#).unwrap();
    assert_eq!(of(&one), of(&same));
    let differing = [
        json!({ "id": 1 }),
        json!({ "id": -1 }),
        json!({ "id": "1" }),
        json!({ "id": 1.0 }),
        json!({ "id": 0.0 }),
        json!({ "id": -0.0 }),
        json!({ "id": [1] }),
        json!({ "id": [[1]] }),
        json!({ "id": [1, 2] }),
        json!({ "id": [2, 1] }),
        json!({ "id": [[1], 2] }),
        json!({ "id": [[1, 2]] }),
        json!({ "id": [] }),
        json!({ "id": {} }),
        json!({ "id": "" }),
        json!({ "id": true }),
        json!({ "id": false }),
        json!({ "id": null }),
        json!({ "id": { "1": null } }),
        json!({ "id": { "1": null, "2": null } }),
        json!({ "id": 9_007_199_254_740_993_i64 }),
        json!({ "id": 9_007_199_254_740_992_i64 }),
        json!({ "id": u64::MAX }),
        json!({ "id,": 1 }),
        json!({ "id": "a", "b": "c" }),
        json!({ "id": "ab", "": "c" }),
        json!({ "id": "c", "b": "a" }),
        json!({}),
    ];
    all_differ(&differing.each_ref().map(of));
}

#[test]
fn service_operation_and_identity_are_part_of_the_key() {
    let none = Map::new();
    let key_of = |service, operation, identity| CacheKey::of_request(service, operation, identity, &none);
    all_differ(&[
        key_of("crm", "get", 1),
        key_of("crm2", "get", 1),
        key_of("crm", "get2", 1),
        key_of("crm", "get", 2),
        key_of("crm\"\"get", "", 1),
        key_of("crmget", "", 1),
        key_of("", "crmget", 1),
    ]);
}

#[test]
fn what_json_would_write_alike_has_keys_of_its_own() {
    assert_ne!(CacheKey::of(&Some(f64::NAN)), CacheKey::of(&None::<f64>));
    assert_ne!(CacheKey::of(&Some(())), CacheKey::of(&None::<()>));
    assert_ne!(CacheKey::of(&Some(None::<u8>)), CacheKey::of(&None::<Option<u8>>));
    assert_ne!(CacheKey::of(&1_i64), CacheKey::of(&1.0_f64));
    assert_ne!(CacheKey::of(&1_i64), CacheKey::of("1"));
    assert_ne!(CacheKey::of(&f64::INFINITY), CacheKey::of(&f64::NAN));
    assert_ne!(CacheKey::of(&u128::MAX), CacheKey::of(&i128::MIN));
    assert_ne!(CacheKey::of(&('a', "bc")), CacheKey::of(&("a", "bc")));
    assert_ne!(CacheKey::of(&(1, (2, 3))), CacheKey::of(&((1, 2), 3)));
}

#[test]
fn a_number_is_the_same_in_every_width() {
    all_differ(&[CacheKey::of(&7_u8), CacheKey::of(&-7_i8)]);
    assert_eq!(CacheKey::of(&7_u8), CacheKey::of(&7_i128));
    assert_eq!(CacheKey::of(&-7_i8), CacheKey::of(&-7_i128));
    assert_eq!(CacheKey::of(&u64::MAX), CacheKey::of(&u128::from(u64::MAX)));
}

#[test]
fn a_map_that_is_in_no_order_has_one_key() {
    let forward: HashMap<_, _> = (0..100).map(|n| (n, n * n)).collect();
    let backward: HashMap<_, _> = (0..100).rev().map(|n| (n, n * n)).collect();
    assert_eq!(CacheKey::of(&forward), CacheKey::of(&backward));
    let mut other = backward;
    other.insert(3, 10);
    assert_ne!(CacheKey::of(&forward), CacheKey::of(&other));
}

#[test]
fn variants_and_skipped_fields_are_told_apart() {
    #[derive(serde::Serialize)]
    enum Shape {
        Point,
        Dot,
        Circle(u8),
        Disc(u8),
        Box { a: u8 },
    }
    all_differ(&[
        CacheKey::of(&Shape::Point),
        CacheKey::of(&Shape::Dot),
        CacheKey::of(&Shape::Circle(1)),
        CacheKey::of(&Shape::Disc(1)),
        CacheKey::of(&Shape::Box { a: 1 }),
    ]);
    #[derive(serde::Serialize)]
    struct Range {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u8>,
    }
    all_differ(&[CacheKey::of(&Range { from: Some(1), to: None }), CacheKey::of(&Range { from: None, to: Some(1) })]);
}

#[test]
fn what_cannot_be_serialised_has_no_key() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: ser::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("broken"))
        }
    }
    assert!(!CacheKey::of(&(1, Broken)).is_some());
    assert!(!CacheKey::of(&Broken).with(7).is_some());
    assert!(CacheKey::of(&1).is_some());
}

#[test]
fn the_size_of_a_value_grows_with_what_it_holds() {
    let small = digest(&json!({ "text": "x" })).unwrap().bytes;
    let large = digest(&json!({ "text": "x".repeat(1_000) })).unwrap().bytes;
    assert_eq!(large - small, 999);
}

proptest::proptest! {
    #[test]
    fn the_key_of_a_value_is_the_key_of_what_it_reads_back_as(
        text in ".{0,40}", number in proptest::prelude::any::<i64>(), list in proptest::collection::vec(0_u8.., 0..5)
    ) {
        let value = json!({ "text": text, "number": number, "list": list });
        let again: Value = serde_json::from_str(&value.to_string()).unwrap();
        proptest::prop_assert_eq!(of(&value), of(&again));
    }
}
