//! One setting of the configuration file changed, and everything else of the file left as somebody wrote it.

use super::table::{ANY, Kind, Setting};
use super::{Config, MAX};
use sprites_backend::reading;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use tempfile::NamedTempFile;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

/// What was typed, as a file writes it for a setting; nothing typed is as usual. The error is a sentence.
pub fn written(setting: &Setting, typed: &str) -> Result<Option<String>, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(None);
    }
    let value = match setting.kind {
        Kind::Text | Kind::Word(_) => Value::from(typed),
        Kind::Switch => match typed {
            "true" | "yes" | "on" => Value::from(true),
            "false" | "no" | "off" => Value::from(false),
            _ => return Err(format!("{} is true or false", setting.name)),
        },
        Kind::Whole(most) => match typed.parse::<i64>() {
            Ok(number) if number >= 0 && number.unsigned_abs() <= most => Value::from(number),
            _ if most == ANY => return Err(format!("{} is a whole number", setting.name)),
            _ => return Err(format!("{} is a whole number of at most {most}", setting.name)),
        },
        Kind::Texts => {
            Value::from(typed.split([',', ' ']).filter(|text| !text.is_empty()).collect::<Array>())
        }
    };
    Ok(Some(value.to_string()))
}

/// The text of a file with a setting changed, or as usual without a value. Refused are a file that cannot be read, and a value that is a mistake;
/// the error is a sentence.
pub fn edited(before: &str, setting: &Setting, value: Option<&str>) -> Result<String, String> {
    let mut document: DocumentMut = before.parse().map_err(|_| {
        "The configuration is left as it is, because it cannot be read; `sprites-tui config check` tells why."
            .to_owned()
    })?;
    let table = match setting.section {
        "" => document.as_table_mut(),
        section => {
            let item = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
            item.as_table_mut().ok_or_else(|| {
                format!("{section} is no table of its own in the configuration; change it in the file.")
            })?
        }
    };
    let value = value.map(|value| value.parse::<Value>().map_err(|error| error.to_string())).transpose()?;
    match value {
        None => drop(table.remove(setting.name)),
        Some(mut value) => match table.get_mut(setting.name).and_then(Item::as_value_mut) {
            Some(known) => {
                // What somebody wrote behind it stays there.
                *value.decor_mut() = known.decor().clone();
                *known = value;
            }
            None => drop(table.insert(setting.name, Item::Value(value))),
        },
    }
    let after = document.to_string();
    // The lines of those that were there already may be others now.
    let mistakes =
        |text: &str| Config::parse(text, "").mistakes.iter().map(|one| why(one)).collect::<Vec<_>>();
    let known = mistakes(before);
    match mistakes(&after).into_iter().find(|mistake| !known.contains(mistake)) {
        Some(mistake) => Err(mistake),
        None => Ok(after),
    }
}

/// Changes a setting in a file, which need not be there yet. What was there is replaced as a whole, or not at all.
pub fn change(path: &Path, setting: &Setting, value: Option<&str>) -> Result<(), String> {
    let failed = |error: io::Error| format!("{} is left as it is: {error}.", path.display());
    // Many keep such files elsewhere and link to them.
    let path = match fs::canonicalize(path) {
        Ok(real) => real,
        // A link to what is not there now is somebody's too.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            path.to_owned()
        }
        Err(error) => return Err(failed(error)),
    };
    let (before, permissions) = match fs::metadata(&path) {
        Ok(found) => (reading::small(&path, MAX).map_err(failed)?, Some(found.permissions())),
        Err(error) if error.kind() == ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(failed(error)),
    };
    let after = edited(&before, setting, value)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        fs::create_dir_all(folder)?;
        let mut fresh = NamedTempFile::new_in(folder)?;
        fresh.write_all(after.as_bytes())?;
        if let Some(permissions) = permissions {
            fresh.as_file().set_permissions(permissions)?;
        }
        fresh.as_file().sync_all()?;
        fresh.persist(&path).map_err(|error| error.error).map(drop)
    };
    write().map_err(failed)
}

/// A mistake without where it is, which is in no file yet.
fn why(mistake: &str) -> String {
    mistake.split_once(": ").map_or(mistake, |(_, why)| why).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::table::find;
    use super::*;

    fn set(before: &str, section: &str, name: &str, typed: &str) -> Result<String, String> {
        let setting = find(section, name).unwrap();
        written(setting, typed).and_then(|value| edited(before, setting, value.as_deref()))
    }

    #[test]
    fn one_setting_is_changed_and_the_rest_stays() {
        let file = "# mine\ntheme = \"dark\" # at night\n\n[server]\nidle = 60\n";
        assert_eq!(set(file, "", "theme", "light").unwrap(), file.replace("dark", "light"));
        assert_eq!(set(file, "server", "idle", "").unwrap(), file.replace("idle = 60\n", ""));
        assert_eq!(set(file, "server", "warm", "5").unwrap(), format!("{file}warm = 5\n"));
        assert_eq!(
            set(file, "network", "reachable", "10.7.0.0/16, 10.8.0.0/16").unwrap(),
            format!("{file}\n[network]\nreachable = [\"10.7.0.0/16\", \"10.8.0.0/16\"]\n")
        );
        assert_eq!(set("", "look", "ascii", "on").unwrap(), "[look]\nascii = true\n");
    }

    #[test]
    fn mistakes_are_refused() {
        for (section, name, typed, why) in [
            ("look", "ascii", "perhaps", "true or false"),
            ("server", "port", "70000", "at most 65535"),
            ("look", "graphs", "pies", "braille"),
            ("network", "reachable", "10.8.0.0", "192.168.7.0/24"),
            ("console", "prefix", "a", "a"),
            ("", "context", "moon", "no context"),
        ] {
            let refused = set("them = 1\n", section, name, typed).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("line"), "{refused}");
        }
        assert!(set("[keys\n", "", "theme", "dark").unwrap_err().contains("config check"));
    }

    #[test]
    fn a_file_keeps_its_place_and_its_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let theme = find("", "theme").unwrap();
        let path = dir.path().join("not/yet/config.toml");
        change(&path, theme, Some("\"dark\"")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let gone = dir.path().join("gone.toml");
        symlink(dir.path().join("elsewhere"), &gone).unwrap();
        assert!(change(&gone, theme, Some("\"dark\"")).is_err());
        assert!(fs::symlink_metadata(&gone).unwrap().is_symlink());
        let link = dir.path().join("config.toml");
        symlink(&path, &link).unwrap();
        change(&link, theme, Some("\"light\"")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theme = \"light\"\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
