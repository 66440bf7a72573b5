//! The grammar of filters, and what they take.

use super::filter::*;
use crate::error::ErrorKind;

type Headers<'a> = &'a [(&'a str, &'a [u8])];

fn filter(text: &str) -> Filter {
    Filter::parse(text).expect(text)
}

fn takes(text: &str, key: Option<&str>, headers: Headers<'_>) -> bool {
    let headers = headers.iter().copied();
    filter(text).matches(key.map(str::as_bytes), headers)
}

#[test]
fn a_key_is_equal_begins_with_is_there_or_is_not() {
    for (text, keys) in [
        (r#"{}"#, [true, true, true, true]),
        (r#"{"key": "eu-1"}"#, [false, false, true, false]),
        (r#"{"key": ""}"#, [false, true, false, false]),
        (r#"{"key": true}"#, [false, true, true, true]),
        (r#"{"key": false}"#, [true, false, false, false]),
        (r#"{"key_prefix": "eu-"}"#, [false, false, true, true]),
        (r#"{"key_prefix": ""}"#, [false, true, true, true]),
        (
            r#"{"key_prefix": "eu-", "not": {"key": "eu-1"}}"#,
            [false, false, false, true],
        ),
    ] {
        let found = [None, Some(""), Some("eu-1"), Some("eu-2")].map(|key| takes(text, key, &[]));
        assert_eq!(found, keys, "{text}");
    }
}

#[test]
fn of_the_headers_of_a_name_one_is_as_asked_for_and_none_is_there_where_that_is_asked_for() {
    let none: Headers<'_> = &[];
    let one: Headers<'_> = &[("other", b"eu"), ("region", b"eu-west")];
    let two: Headers<'_> = &[("region", b"us"), ("region", b"eu")];
    for (condition, wanted) in [
        (r#""eu""#, [false, false, true]),
        (r#"{"prefix": "eu"}"#, [false, true, true]),
        (r#"{"base64": "dXM="}"#, [false, false, true]),
        (r#"true"#, [false, true, true]),
        (r#"false"#, [true, false, false]),
    ] {
        let text = format!(r#"{{"headers": {{"region": {condition}}}}}"#);
        let found = [none, one, two].map(|headers| takes(&text, None, headers));
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn members_hold_all_together_and_lists_and_not_combine_them() {
    let headers: Headers<'_> = &[("a", b"1"), ("b", b"2")];
    for (text, wanted) in [
        (r#"{"headers": {"a": "1", "b": "2"}}"#, true),
        (r#"{"headers": {"a": "1", "b": "1"}}"#, false),
        (r#"{"key": "k", "headers": {"a": "1"}}"#, true),
        (r#"{"key": "x", "headers": {"a": "1"}}"#, false),
        (r#"{"any": [{"key": "x"}, {"headers": {"b": "2"}}]}"#, true),
        (r#"{"any": [{"key": "x"}, {"headers": {"b": "1"}}]}"#, false),
        (r#"{"all": [{"key": "k"}, {"headers": {"b": "2"}}]}"#, true),
        (r#"{"all": [{"key": "k"}, {"headers": {"b": "1"}}]}"#, false),
        (r#"{"not": {"key": "k"}}"#, false),
        (r#"{"not": {"not": {"key": "k"}}}"#, true),
        (r#"{"not": {}}"#, false),
        (
            r#"{"any": [{"key": "x"}, {}], "all": [{"key": "x"}]}"#,
            false,
        ),
    ] {
        assert_eq!(takes(text, Some("k"), headers), wanted, "{text}");
    }
}

#[test]
fn what_says_the_same_has_one_text_which_parses_to_itself() {
    for (given, stored) in [
        (" { } ", "{}"),
        (
            r#"{"not": {"key": "k"}, "headers": {"b": false, "a": {"prefix": "\u00e9\/"}},
                "key_prefix": "x"}"#,
            r#"{"key_prefix":"x","headers":{"a":{"prefix":"é/"},"b":false},"not":{"key":"k"}}"#,
        ),
        (
            r#"{"all": [{}, {"key": true}], "any": [{"key": "\n\"\\"}]}"#,
            r#"{"any":[{"key":"\u000a\"\\"}],"all":[{},{"key":true}]}"#,
        ),
        (r#"{"key": {"base64": "aGk="}}"#, r#"{"key":"hi"}"#),
        (
            r#"{"key_prefix": {"base64": "/wA="}}"#,
            r#"{"key_prefix":{"base64":"/wA="}}"#,
        ),
    ] {
        let parsed = filter(given);
        assert_eq!(parsed.as_str(), stored);
        assert_eq!(filter(stored), parsed);
        assert_eq!(parsed.is_empty(), stored == "{}");
    }
    assert!(
        !filter(r#"{"key_prefix": {"base64": "/wA="}}"#).matches(Some(b"\xFF"), [].into_iter())
    );
    assert!(
        filter(r#"{"key_prefix": {"base64": "/wA="}}"#)
            .matches(Some(b"\xFF\x00\x01"), [].into_iter())
    );
}

#[test]
fn each_error_names_the_place_what_was_found_and_what_was_expected() {
    for (text, told) in [
        ("", "filter is no JSON: at byte 0 it has its end"),
        (
            "{\"key\": \"a\"",
            "at byte 11 it has its end; expected ',' or '}'",
        ),
        (
            "[]",
            "filter is an empty list; expected an object with key, key_prefix, headers",
        ),
        ("null", "filter is null"),
        (
            r#"{"keys": "a"}"#,
            "filter.keys is no member; expected key, key_prefix",
        ),
        (
            r#"{"key": 7}"#,
            r#"filter.key is a number; expected text, {"base64": text}, true"#,
        ),
        (r#"{"key": {"prefix": "a"}}"#, "filter.key is an object"),
        (r#"{"key": "a", "key": "b"}"#, "names \"key\" a second time"),
        (
            r#"{"key_prefix": true}"#,
            "filter.key_prefix is true; expected text",
        ),
        (
            r#"{"key": {"base64": "a"}}"#,
            "filter.key.base64 is \"a\"; expected base64",
        ),
        (
            r#"{"key": {"base64": 1}}"#,
            "filter.key.base64 is a number; expected text",
        ),
        (r#"{"headers": {}}"#, "filter.headers is an empty object"),
        (r#"{"headers": ["a"]}"#, "filter.headers is a list"),
        (r#"{"headers": {"a": null}}"#, "filter.headers.a is null"),
        (
            r#"{"headers": {"a": {"prefix": 1}}}"#,
            "filter.headers.a.prefix is a number",
        ),
        (
            r#"{"headers": {"a": {"suffix": "b"}}}"#,
            "filter.headers.a is an object",
        ),
        (
            r#"{"any": []}"#,
            "filter.any is an empty list; expected a list of one filter at least",
        ),
        (r#"{"all": {}}"#, "filter.all is an empty object"),
        (
            r#"{"any": [{}, {"all": [{"key": 1}]}]}"#,
            "filter.any[1].all[0].key is a number",
        ),
        (
            r#"{"not": [{}]}"#,
            "filter.not is a list; expected an object",
        ),
    ] {
        let error = Filter::parse(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidFilter, "{text}");
        assert!(error.message().contains(told), "{text}: {error}");
    }
}

#[test]
fn p18_length_and_depth_are_bounded_as_given_and_as_stored() {
    let nested = |depth| format!("{}{{}}{}", "{\"not\":".repeat(depth), "}".repeat(depth));
    assert!(Filter::parse(&nested(FILTER_DEPTH_MAX - 1)).is_ok());
    let error = Filter::parse(&nested(FILTER_DEPTH_MAX)).expect_err("too deep");
    assert!(
        error.message().contains("not is inside of 16 others"),
        "{error}"
    );
    let deepest = format!("{}{{}}{}", "{\"any\":[".repeat(15), "]}".repeat(15));
    assert!(Filter::parse(&deepest).is_ok());
    let error = Filter::parse(&"[".repeat(4000)).expect_err("brackets");
    assert!(error.message().contains("too deep"), "{error}");
    let long = |len: usize| format!(r#"{{"key":"{}"}}"#, "k".repeat(len - 10));
    assert_eq!(
        filter(&long(FILTER_BYTES_MAX)).as_str().len(),
        FILTER_BYTES_MAX
    );
    let error = Filter::parse(&long(FILTER_BYTES_MAX + 1)).expect_err("too long");
    assert!(
        error
            .message()
            .contains("has 4097 bytes; expected at most 4096"),
        "{error}"
    );
    // Short in base64, and long as a text of control characters.
    let ones = format!(r#"{{"key": {{"base64": "{}"}}}}"#, "AQEB".repeat(400));
    let error = Filter::parse(&ones).expect_err("too long as it is stored");
    assert!(error.message().contains("as it is stored"), "{error}");
}
