//! What is mounted where, according to the kernel: asking it touches no file system, and so never blocks.

use std::fs;
use std::path::{Path, PathBuf};

/// A mounted file system, proc(5).
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    place: PathBuf,
    options: String,
    kind: String,
    source: String,
}

/// The nearest file system above a path, as words for a sentence: where it is mounted, from which server, and its
/// type. `None` for the root, and for a device of this machine.
#[must_use]
pub fn describe_mount(path: &Path) -> Option<String> {
    let Mount { place, kind, source, .. } = find_nearest(&read(), path)?;
    let is_served = place != Path::new("/") && !source.starts_with("/dev/");
    is_served.then(|| format!("{} is mounted from {source} ({kind})", place.display()))
}

/// The directory of the nearest file system above a path, if it is mounted with this option.
#[must_use]
pub fn find_mount_with(path: &Path, option: &str) -> Option<PathBuf> {
    let mount = find_nearest(&read(), path)?;
    mount.options.split(',').any(|word| word == option).then_some(mount.place)
}

fn read() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

fn find_nearest(mountinfo: &str, path: &Path) -> Option<Mount> {
    let above = mountinfo.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.place));
    // A later line hides an earlier one with the same directory.
    above.max_by_key(|mount| mount.place.as_os_str().len())
}

fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(4);
    let (place, options) = (unescape(fields.next()?).into(), fields.next()?.to_owned());
    let mut fields = after.split(' ').map(unescape);
    Some(Mount { place, options, kind: fields.next()?, source: fields.next()? })
}

/// The kernel writes a blank, and whatever else would take a line apart, as a backslash with three octal digits.
fn unescape(field: &str) -> String {
    let mut text = field.to_owned();
    for (escape, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escape, character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "1 0 8:1 / / rw,nosuid - ext4 d rw\n2 1 8:2 / /usr rw - ext4 d rw\n\
                          3 2 8:3 / /usr/bin rw,nosuid shared:1 - ext4 d rw\n\
                          4 1 0:9 / /srv/a\\040b rw - autofs systemd-1 rw\n\
                          5 4 0:9 / /srv/a\\040b rw - nfs4 files:/srv rw\n";

    #[test]
    fn the_nearest_file_system_decides_and_of_two_in_one_place_the_later() {
        let find = |path: &str| find_nearest(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(find("/usr/bin/sudo").place, Path::new("/usr/bin"));
        assert_eq!(find("/usr/bin/sudo").options, "rw,nosuid");
        assert_eq!(find("/usr/sbin/sudo").options, "rw");
        assert_eq!(find("/usrlocal").place, Path::new("/"));
        let Mount { place, kind, source, .. } = find("/srv/a b/zoe");
        assert_eq!(place, Path::new("/srv/a b"));
        assert_eq!((kind.as_str(), source.as_str()), ("nfs4", "files:/srv"));
    }
}
