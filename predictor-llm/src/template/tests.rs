use std::{collections::BTreeMap, fs};

use super::{DEFAULT, Template};
use crate::{
    args::Strategy,
    rows::{Input, sample},
};

fn names(template: &Template) -> Vec<&str> {
    template.inputs().iter().map(|input| input.name.as_ref()).collect()
}

/// The default with one of its parts exchanged.
fn with(task: &str, part: &str, text: &str) -> String {
    let mut file: toml::Table = toml::from_str(DEFAULT).unwrap();
    file[task][part] = text.into();
    let table = |task: &str| {
        let parts = file[task].as_table().unwrap().iter();
        parts.map(|(name, text)| format!("{name} = '''{}'''\n", text.as_str().unwrap())).collect::<String>()
    };
    ["pointwise", "listwise", "explain"].map(|task| format!("[{task}]\n{}", table(task))).concat()
}

fn refusal(text: &str) -> String {
    Template::read(text, Strategy::Pointwise).err().unwrap()
}

#[test]
fn the_inputs_are_what_the_parts_use_in_the_order_of_the_ranking_features() {
    let template = Template::read(DEFAULT, Strategy::Pointwise).unwrap();
    assert_eq!(names(&template)[..4], ["age", "month_sin", "month_cos", "product_type_name"]);
    assert_eq!(names(&template)[13..], ["garment_group_name", "prod_name", "detail_desc", "history"]);
    let text = with("pointwise", "candidate", "{{ product_type_name }}");
    let text = text.replace("{{ month }}", "now");
    let fewer = Template::read(&text, Strategy::Pointwise).unwrap();
    assert!(!names(&fewer).contains(&"index_name") && !names(&fewer).contains(&"month_sin"), "{:?}", names(&fewer));
}

#[test]
fn what_only_the_other_strategy_uses_is_not_asked_for() {
    let text = format!("[inputs]\nprice = \"FP32\"\n{}", with("listwise", "candidate", "{{ label }} {{ price }}"));
    assert!(!names(&Template::read(&text, Strategy::Pointwise).unwrap()).contains(&"price"));
    assert_eq!(names(&Template::read(&text, Strategy::Listwise).unwrap()).last(), Some(&"price"));
}

#[test]
fn what_is_equal_from_call_to_call_stands_first() {
    let template = Template::read(DEFAULT, Strategy::Pointwise).unwrap();
    let mut row = sample(template.inputs(), true);
    let one = template.pointwise(&row, false).unwrap();
    row.insert("prod_name".into(), "Jade".into());
    row.insert("product_type_name".into(), "Trousers".into());
    let other = template.pointwise(&row, false).unwrap();
    assert_eq!(one.system, other.system);
    let equal = one.user.bytes().zip(other.user.bytes()).take_while(|(a, b)| a == b).count();
    assert!(one.user[..equal].contains("Bought before") && other.user[equal..].contains("Jade"), "{other:?}");
    assert!(other.user.ends_with("Probability: 0.1234"), "{}", other.user);
    let json = template.pointwise(&row, true).unwrap().user;
    assert!(json.contains("JSON") && !json.contains("Probability: "), "{json}");
}

#[test]
fn candidates_that_are_shown_together_have_labels_in_their_order() {
    let template = Template::read(DEFAULT, Strategy::Listwise).unwrap();
    let mut rows = vec![sample(template.inputs(), true); 20];
    rows[19].insert("prod_name".into(), "Jade".into());
    let customer = template.customer(&rows[0]).unwrap();
    let prompt = template.listwise(&customer, rows.iter()).unwrap();
    assert!(prompt.user.contains("\nT. Jade: ") && prompt.user.contains("A to T"), "{}", prompt.user);
    let labelled = prompt.user.lines().filter(|line| line.get(1..3) == Some(". ")).count();
    assert_eq!(labelled, 20);
}

#[test]
fn a_template_that_can_not_be_used_names_part_and_name() {
    for (text, expected) in [
        (
            with("pointwise", "candidate", "{{ colour }}"),
            "pointwise.candidate: unknown name `colour`; known are month, age",
        ),
        (with("pointwise", "question", "{{ age }}"), "pointwise.question: unknown name `age`; known are json;"),
        (with("explain", "system", "{{ age }}"), "explain.system: unknown name `age`; known are none"),
        (with("explain", "candidate", "{{ label }}"), "explain.candidate: unknown name `label`"),
        (with("listwise", "customer", "{{ age"), "listwise.customer: syntax error"),
        (with("listwise", "customer", "{{ age|nope }}"), "listwise.customer: unknown filter"),
        (with("explain", "customer", "{{ 1 // 0 }}"), "explain.customer"),
        (format!("[inputs]\nprice = \"FLOAT\"\n{DEFAULT}"), "inputs.price: expected BYTES, FP32"),
        (format!("[inputs]\nage = \"FP32\"\n{DEFAULT}"), "inputs.age: known already"),
        (DEFAULT.replace("[explain]", "[explains]"), "explains"),
        (DEFAULT.replace("\nquestion", "\nquestions"), "questions"),
        ("[inputs]\n\nx".to_owned(), "line 3: "),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.contains(expected), "{refusal} should say {expected}");
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
    }
}

#[test]
fn a_file_is_named_where_it_can_not_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let refusal = || Template::new(Some(&path), Strategy::Pointwise).err().unwrap();
    assert!(refusal().starts_with("--template: ") && refusal().contains("mine.toml"), "{}", refusal());
    fs::write(&path, with("pointwise", "candidate", "{{ colour }}")).unwrap();
    assert!(refusal().contains("mine.toml: pointwise.candidate: unknown name `colour`"), "{}", refusal());
    fs::write(&path, DEFAULT).unwrap();
    let (mine, built_in) = (Template::new(Some(&path), Strategy::Pointwise), Template::new(None, Strategy::Pointwise));
    assert_eq!(mine.unwrap().digest(), built_in.unwrap().digest());
}

fn wish(values: [(&str, &str); 5]) -> crate::rows::Row {
    values.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn a_file_without_a_stylist_has_the_one_that_is_built_in() {
    let text = with("pointwise", "candidate", "{{ product_type_name }}");
    assert!(!text.contains("stylist"));
    let wish =
        wish([("gender", "women"), ("age", "34"), ("age_group", "26-35"), ("purchases", "Tee"), ("request", "beach")]);
    let prompt = |text: &str, json| Template::read(text, Strategy::Pointwise).unwrap().outfit(&wish, json).unwrap();
    assert_eq!(prompt(&text, true), prompt(DEFAULT, true));
    let (json, lines) = (prompt(DEFAULT, true).user, prompt(DEFAULT, false).user);
    assert!(json.contains("\"summary\"") && !json.contains(" @ "), "{json}");
    assert!(lines.contains(" @ ") && !lines.contains("\"summary\""), "{lines}");
    for told in ["a woman, 26-35 years old.\n", "Bought before, newest first: Tee\n", "Request: \"beach\"\nOutfit:"] {
        assert!(json.contains(told) && lines.contains(told), "{lines}");
    }
}

#[test]
fn a_stylist_of_ones_own_is_checked_as_a_whole_too() {
    let parts = |customer: &str, question: &str| {
        let text = with("pointwise", "question", "Q");
        format!("{text}[stylist]\nsystem = 'S'\ncustomer = '{customer}'\nquestion = '{question}'\n")
    };
    let own = Template::read(&parts("{{ gender }}/{{ age }}", "{{ request }}{{ json }}"), Strategy::Pointwise).unwrap();
    let wish = wish([("gender", "men"), ("age", "34"), ("age_group", ""), ("purchases", ""), ("request", "beach")]);
    assert_eq!(own.outfit(&wish, false).unwrap().user, "men/34\n\nbeachFalse");
    for (customer, question, expected) in [
        ("{{ request }}", "", "stylist.customer: unknown name `request`; known are gender, age, age_group, purchases"),
        ("", "{{ gender }}", "stylist.question: unknown name `gender`; known are request, json"),
        ("{{ prod_name }}", "", "stylist.customer: unknown name `prod_name`"),
        ("", "{{ 1 // 0 }}", "stylist.question"),
    ] {
        let refusal = refusal(&parts(customer, question));
        assert!(refusal.contains(expected), "{refusal} should say {expected}");
    }
}

#[test]
fn every_known_input_can_be_used() {
    let known = Input::known(&BTreeMap::new()).unwrap();
    let all = known.iter().map(|input| format!("{{{{ {} }}}}", input.name)).collect::<String>();
    let template = Template::read(&with("pointwise", "candidate", &all), Strategy::Pointwise).unwrap();
    assert_eq!(template.inputs().len(), 17);
}
