//! `config show`: each setting and where it comes from.

use serde_json::json;

use super::failure::Failure;
use super::show;
use crate::config::Config;

/// Prints the settings that hold; passwords are masked.
pub fn show(config: &Config, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return show::print_json(&json!({ "settings": config.settings, "stray_variables": config.stray_variables }));
    }
    let key_width = config.settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    let value_width = config.settings.iter().map(|setting| setting.shown.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for setting in &config.settings {
        let line =
            format!("{:key_width$}  {:value_width$}  {}", setting.key, show::plain(&setting.shown), setting.origin);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for variable in &config.stray_variables {
        text.push_str(&format!("# {variable} is in the environment, but there is no such setting\n"));
    }
    show::print(&text)
}
