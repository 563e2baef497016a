use super::*;
use crate::shelf::inventory::Item;

fn item(name: &str, sum: Says) -> Item {
    Item { name: name.to_owned(), bytes: 1_000, sha256: "ab".repeat(32), sum }
}

#[test]
fn a_sum_that_nobody_has_published_is_told() {
    let files = vec![item("config.json", Says::FirstUse), item("a.bin", Says::Server), item("b.bin", Says::Table)];
    let inventory = Inventory { model: "m".into(), revision: String::new(), from: String::new(), files };
    let said = arrived("m", "data/models/m", &Pulled { inventory, was_here: false });
    let sum = "ab".repeat(32);
    assert_eq!(
        said,
        format!(
            "m is in data/models/m, 3 kB\n  config.json: nobody has published its sum; taken at first use, of what came:\n    {sum}\n  \
             a.bin: nobody has published its sum; taken at first use, as its server announced it:\n    {sum}\n"
        )
    );
}

#[test]
fn a_verdict_names_what_is_wrong() {
    let file = |name: &str, fault: Option<&str>, has_sum| Checked {
        name: name.into(),
        sha256: None,
        fault: fault.map(str::to_owned),
        has_sum,
    };
    let said = verdict("m", &[file("a", None, true), file("b", Some("it is missing"), true), file("c", None, false)]);
    assert_eq!(said, "m is damaged\n  b: it is missing\n  c: there is no sum to hold it against\n");
    assert_eq!(verdict("m", &[file("a", None, true)]), "m is as it should be\n");
}
