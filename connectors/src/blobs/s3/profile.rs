//! Profiles of the AWS command line: `~/.aws/credentials` and `~/.aws/config`.
//!
//! <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>

use std::path::PathBuf;

use super::settings::Keys;
use super::trouble::Trouble;

/// What a profile says.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) keys: Option<Keys>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Reads the profile that `first` of the variables asks for, or the default one. A profile that is asked for and is not there is
/// an error.
pub(super) fn read(first: &impl Fn(&[&str]) -> Option<String>) -> Result<Profile, Trouble> {
    let named = first(&["AWS_PROFILE"]);
    let name = named.as_deref().unwrap_or("default");
    let home = first(&["HOME"]).map(PathBuf::from);
    let text = |variable: &str, file: &str| {
        let path = first(&[variable]).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(file)));
        path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    };
    let credentials = text("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let config = text("AWS_CONFIG_FILE", "config");
    let sections = [(credentials.as_str(), name.to_owned()), (config.as_str(), format!("profile {name}"))];
    let value = |key: &str| {
        let plain = (config.as_str(), name.to_owned());
        sections.iter().chain([&plain]).find_map(|(text, section)| setting(text, section, key))
    };
    let keys = match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Some(Keys { id, secret, token: value("aws_session_token") }),
        _ => None,
    };
    if keys.is_none() && named.is_some() {
        return Err(Trouble::Settings(format!(
            "AWS_PROFILE is `{name}`, and no file of profiles has its aws_access_key_id and aws_secret_access_key"
        )));
    }
    Ok(Profile { keys, region: value("region"), endpoint: value("endpoint_url") })
}

/// The value of `key` in `[section]`.
fn setting(text: &str, section: &str, key: &str) -> Option<String> {
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = name.split_whitespace().eq(section.split_whitespace());
        } else if is_inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let (credentials, config) = (folder.path().join("credentials"), folder.path().join("config"));
        std::fs::write(
            &credentials,
            "# keys\n[default]\naws_access_key_id = d\naws_secret_access_key = x\n\n[film]\naws_access_key_id=f\naws_secret_access_key=y=z\n",
        )
        .unwrap();
        std::fs::write(&config, "[default]\nregion = eu-west-1\n[profile film]\nregion=eu-north-1\n").unwrap();
        let with = |profile: Option<&str>| {
            read(&|names: &[&str]| match names[0] {
                "AWS_PROFILE" => profile.map(str::to_owned),
                "AWS_SHARED_CREDENTIALS_FILE" => Some(credentials.display().to_string()),
                "AWS_CONFIG_FILE" => Some(config.display().to_string()),
                _ => None,
            })
        };
        let film = with(Some("film")).ok().unwrap();
        assert_eq!(film.keys, Some(Keys { id: "f".into(), secret: "y=z".into(), token: None }));
        assert_eq!(film.region.as_deref(), Some("eu-north-1"));
        let plain = with(None).ok().unwrap();
        assert_eq!((plain.keys.unwrap().id.as_str(), plain.region.as_deref()), ("d", Some("eu-west-1")));
        assert!(with(Some("nobody")).err().unwrap().to_string().contains("`nobody`"));
    }
}
