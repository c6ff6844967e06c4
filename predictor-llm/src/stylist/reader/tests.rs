use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use super::{Reader, Written};
use crate::{
    api::Listener,
    stylist::{
        item::{Fallback, Item},
        outfit::{NO_SUMMARY, Told},
    },
};

/// An outfit that was read, and how.
#[derive(Debug, PartialEq)]
struct Read {
    items: Vec<(String, String, String)>,
    summary: String,
    written: Written,
    made_do: Vec<Fallback>,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Told>>>);

impl Ear {
    fn reader(&self) -> Reader {
        let ear = self.clone();
        Reader::new(move |told| ear.0.lock().unwrap().push(told))
    }

    fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }
}

/// What comes of a text that comes in pieces of so many characters, read until it is enough.
fn in_pieces(text: &str, size: usize) -> Read {
    let ear = Ear::default();
    let mut reader = ear.reader();
    let chars: Vec<char> = text.chars().collect();
    for piece in chars.chunks(size) {
        if reader.hear(&piece.iter().collect::<String>()).is_break() {
            break;
        }
    }
    reader.finish();
    let written = reader.written();
    let (count, made_do) = reader.close();
    let (mut items, mut summary) = (Vec::new(), String::new());
    for (place, told) in ear.told().into_iter().enumerate() {
        match told {
            Told::Item { index, item: Item { emoji, category, description } } => {
                assert_eq!(index, place);
                items.push((emoji, category, description));
            }
            Told::Summary { summary: text } => summary = text,
        }
    }
    assert_eq!(items.len(), count);
    Read { items, summary, written, made_do }
}

/// The same in whatever pieces it comes.
fn read(text: &str) -> Read {
    let whole = in_pieces(text, usize::MAX);
    for size in [1, 2, 7] {
        assert_eq!(in_pieces(text, size), whole, "in pieces of {size}: {text:?}");
    }
    whole
}

fn item(emoji: &str, category: &str, description: &str) -> (String, String, String) {
    (emoji.to_owned(), category.to_owned(), description.to_owned())
}

fn jeans_and_top() -> Vec<(String, String, String)> {
    vec![item("👖", "Pants", "Slim-fit dark jeans"), item("👕", "Top", "White cotton tee")]
}

#[test]
fn the_line_form_is_items_and_a_summary() {
    let outfit = read("👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Plain and good.");
    assert_eq!((outfit.items, outfit.summary.as_str()), (jeans_and_top(), "Plain and good."));
    assert_eq!((outfit.written, outfit.made_do), (Written::Lines, vec![]));
}

#[test]
fn a_single_part_is_an_item_and_there_is_no_summary() {
    let outfit = read("👖 Pants @ Slim-fit dark jeans");
    assert_eq!(outfit.items, [item("👖", "Pants", "Slim-fit dark jeans")]);
    assert_eq!((outfit.summary.as_str(), outfit.made_do), (NO_SUMMARY, vec![Fallback::NoSummary]));
    assert_eq!(read("Something nice").items, [item("🔷", "Item", "Something nice")]);
}

#[test]
fn a_part_without_an_at_is_its_own_description() {
    let outfit = read("👖 Pants @ Slim-fit dark jeans | a brown belt | Fine.");
    assert_eq!(outfit.items[1], item("🔷", "Item", "a brown belt"));
    assert_eq!((outfit.summary.as_str(), outfit.made_do), ("Fine.", vec![Fallback::NoCategory]));
    let outfit = read("Jeans | A tee | Shoes | Fine.");
    assert_eq!((outfit.items.len(), outfit.summary.as_str()), (3, "Fine."));
}

#[test]
fn what_small_models_write_in_place_of_separators_separates_too() {
    for text in [
        "👖 Pants @ Slim-fit dark jeans\n👕 Top @ White cotton tee\nFine.",
        "👖 Pants @ Slim-fit dark jeans |\r\n👕 Top @ White cotton tee |\r\n\r\nFine.\r\n",
        "| 👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Fine. |",
        "1. 👖 Pants @ Slim-fit dark jeans\n2) 👕 Top @ White cotton tee\n\nSummary: Fine.",
        "- 👖 Pants @ Slim-fit dark jeans\n* 👕 Top @ White cotton tee\n\n**Summary:** Fine.",
        "```\n👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Fine.\n```",
        "```text\n👖 Pants @ Slim-fit dark jeans\n```\n```\n👕 Top @ White cotton tee\n---\nFine.\n```",
        "Sure! Here is an outfit:\n\n👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Fine.",
        "Sure, I like that.\n👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Fine.",
        "<think>🧢 Cap @ No | no</think>\n👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Fine.",
        "I think of a cap.\n</think>👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | Fine.",
        "\n\n  👖 Pants @ Slim-fit dark jeans  |  👕 Top @ White cotton tee  |  Fine.  \n\nLet me know if you like it. | 🧢 Cap @ x",
    ] {
        let outfit = read(text);
        assert_eq!((outfit.items, outfit.summary.as_str()), (jeans_and_top(), "Fine."), "{text:?}");
    }
}

#[test]
fn lines_without_any_form_are_items_and_the_last_one_is_the_summary() {
    let outfit = read("Blue jeans\nA white tee\nGood for the office");
    assert_eq!(outfit.items, [item("🔷", "Item", "Blue jeans"), item("🔷", "Item", "A white tee")]);
    assert_eq!(outfit.summary, "Good for the office");
    let outfit = read("Here you are:\n1. Blue jeans\n2. A white tee\nGood for the office");
    assert_eq!((outfit.items.len(), outfit.summary.as_str()), (2, "Good for the office"));
}

#[test]
fn a_bar_with_a_blank_beside_it_separates() {
    let outfit = read("👖 Pants @ Blue|white jeans|👕 Top @ Tee |👟 Shoes @ White| Fine.");
    assert_eq!(outfit.items.len(), 2);
    assert_eq!(outfit.items[0].2, "Blue|white jeans|👕 Top @ Tee");
    assert_eq!((outfit.items[1].1.as_str(), outfit.summary.as_str()), ("Shoes", "Fine."));
}

#[test]
fn a_last_part_that_is_an_item_is_no_summary() {
    let outfit = read("👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee");
    assert_eq!((outfit.items, outfit.summary.as_str()), (jeans_and_top(), NO_SUMMARY));
}

#[test]
fn an_item_that_was_told_is_not_told_again() {
    let outfit = read("👖 Pants @ Blue jeans | 👕 Top @ blue JEANS | 👕 Top @ White tee | Fine.");
    assert_eq!((outfit.items.len(), outfit.made_do), (2, vec![Fallback::Repeated]));
    let outfit = read(&"👖 Pants @ Blue jeans | ".repeat(1000));
    assert_eq!(outfit.items.len(), 1);
    assert!(outfit.made_do.len() < 20, "it is not read to its end: {:?}", outfit.made_do);
}

#[test]
fn an_endless_list_ends_after_five() {
    let endless: String = (0..1000).map(|number| format!("👖 Pants @ Jeans number {number} | ")).collect();
    let outfit = read(&endless);
    assert_eq!((outfit.items.len(), outfit.summary.as_str()), (5, NO_SUMMARY));
    assert_eq!(outfit.made_do, [Fallback::TooMany, Fallback::NoSummary]);
    let items: String =
        (0..9).map(|n| format!(r#"{{"emoji": "👖", "category": "c", "description": "d{n}"}},"#)).collect();
    let outfit = read(&format!(r#"{{"items": [{items}], "summary": "s"}}"#));
    assert_eq!((outfit.items.len(), outfit.summary.as_str()), (5, NO_SUMMARY));
    // Five, and a summary, are as they should be.
    let five: String = (0..5).map(|number| format!("👖 Pants @ Jeans number {number} | ")).collect();
    assert_eq!(read(&format!("{five}Fine.")).summary, "Fine.");
    assert!(read(&format!("👖 Pants @ {}", "a ".repeat(1_000_000))).made_do.contains(&Fallback::Shortened));
}

#[test]
fn nothing_that_can_be_used_is_nothing() {
    for text in [
        "",
        " \n ",
        "| | |",
        "---",
        "```\n```",
        "<think>👖 Pants @ Blue | a",
        "<thi",
        "{}",
        "[",
        r#"{"items": []}"#,
        "@ | @",
    ] {
        assert_eq!(read(text).items, [], "{text:?}");
    }
}

const JSON: &str = r#"{"items": [
    {"emoji": "👖", "category": "Pants", "description": "Slim-fit dark jeans"},
    {"emoji": "👕", "category": "Top", "description": "White cotton tee"}
], "summary": "Fine."}"#;

#[test]
fn the_json_form_is_items_and_a_summary() {
    for text in [
        JSON.to_owned(),
        format!("```json\n{JSON}\n```"),
        format!("Here it is:\n```\n{JSON}\n```\nDo you like it?"),
        format!("<think>{{\"items\": []}}</think>{JSON}"),
        JSON.replace("category", "name"),
        JSON.replace(r#""emoji": "👖", "category": "Pants""#, r#""category": "👖 Pants""#),
        JSON.replace("dark jeans", "dark\njeans"),
        r#"{"items": ["👖 Pants @ Slim-fit dark jeans", "👕 Top @ White cotton tee"], "summary": "Fine."}"#.to_owned(),
        JSON.replace(r#""category": "Top""#, r#""sizes": {"s": 1}, "category": "Top""#),
        format!("{JSON} {JSON}"),
    ] {
        let outfit = read(&text);
        assert_eq!((outfit.items, outfit.summary.as_str()), (jeans_and_top(), "Fine."), "{text}");
        assert_eq!((outfit.written, outfit.made_do), (Written::Json, vec![]), "{text}");
    }
}

#[test]
fn json_that_is_not_all_there_is_read_as_far_as_it_is() {
    let list = r#"[{"emoji": "👖", "category": "Pants", "description": "Slim-fit dark jeans"}]"#;
    let outfit = read(list);
    assert_eq!((outfit.items.len(), outfit.summary.as_str()), (1, NO_SUMMARY));
    let cut = JSON.split_at(JSON.find("White").unwrap()).0;
    assert_eq!((read(cut).items.len(), read(cut).summary.as_str()), (1, NO_SUMMARY));
    let one = read(r#"{"category": "Pants", "description": "Slim"}"#);
    assert_eq!(
        (one.items, one.made_do),
        (vec![item("🔷", "Pants", "Slim")], vec![Fallback::NoEmoji, Fallback::NoSummary])
    );
    let broken = read(&JSON.replace(r#""category": "Top","#, "category: 'Top',"));
    assert_eq!((broken.items.len(), broken.summary.as_str()), (1, NO_SUMMARY));
    assert!(broken.made_do.contains(&Fallback::Unreadable));
    let wrong = read(r#"{"items": [{"emoji": 1, "category": null, "description": ["x"]}, 3, null], "summary": 7}"#);
    assert_eq!((wrong.items, wrong.summary.as_str()), (vec![], NO_SUMMARY));
}

#[test]
fn braces_and_quotes_within_strings_close_nothing() {
    let outfit = read(
        r#"{"items": [{"emoji": "}", "category": "a \"b\" }", "description": "c ] \\"}], "summary": "{\"items\": []}"}"#,
    );
    assert_eq!(outfit.items, [item("🔷", "a \"b\" }", "c ] \\")]);
    assert_eq!(outfit.summary, "{\"items\": []}");
}

#[test]
fn an_item_is_told_as_soon_as_it_is_complete() {
    let ear = Ear::default();
    let mut reader = ear.reader();
    for (piece, told) in [
        ("👖 Pants @ Slim-fit", 0),
        (" jeans", 0),
        (" | ", 1),
        ("👕 Top @ Tee", 1),
        (" |\n", 2),
        ("Fine", 2),
        ("\n", 3),
    ] {
        let _ = reader.hear(piece);
        assert_eq!(ear.told().len(), told, "after {piece:?}");
    }
    let ear = Ear::default();
    let mut reader = ear.reader();
    let (first, rest) = JSON.split_at(JSON.find("},").unwrap());
    for (piece, told) in [(first, 0), ("}", 1), (&rest[1..rest.len() - 1], 2), ("}", 3)] {
        let _ = reader.hear(piece);
        assert_eq!(ear.told().len(), told, "after {piece:?}");
    }
}

#[test]
fn what_is_enough_is_said_to_be() {
    for text in [JSON.to_owned(), "👖 Pants @ Jeans | Fine.\n".to_owned(), "👖 P @ a |".repeat(99), "x".repeat(999_999)]
    {
        assert_eq!(Ear::default().reader().hear(&text), ControlFlow::Break(()), "{}", &text[..20]);
    }
    assert_eq!(Ear::default().reader().hear("👖 Pants @ Jeans | Fine."), ControlFlow::Continue(()));
}

#[test]
fn a_call_that_is_made_again_is_read_anew() {
    let ear = Ear::default();
    let mut reader = ear.reader();
    reader.begin();
    let _ = reader.hear("<think>I");
    reader.begin();
    let _ = reader.hear("👖 Pants @ Jeans | ");
    assert_eq!(ear.told().len(), 1);
}
