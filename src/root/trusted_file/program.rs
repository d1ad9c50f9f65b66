//! Programs that only root can have written, including a script's interpreter. The account that will execute
//! a program does the reading.

use std::fs::File;
use std::path::{Path, PathBuf};

use ground::script::read_interpreter;
use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::{Distrust, open_trusted};

/// Opens a program and checks it as [`open_trusted`] does, together with the interpreter in a script's first
/// line. Links to the interpreter are followed, because a virtual environment's Python is one; every
/// directory with such a link has to be root's. What a program loads at run time is not checked.
///
/// # Errors
/// Every [`Distrust`] of the program; of its interpreter, those that mean that others than root own it.
pub fn open_trusted_program(path: &Path) -> Result<(File, FileStat), Distrust> {
    let (file, stat) = open_trusted(path)?;
    match read_interpreter(&file).map(|interpreter| check_through_links(&interpreter)) {
        // If it is missing or not readable here, the exec will fail.
        None | Some(Ok(()) | Err(Distrust::Missing(_) | Distrust::Closed(..))) => Ok((file, stat)),
        Some(Err(distrust)) => Err(distrust),
    }
}

/// The number of links that Linux follows on a path, path_resolution(7).
const MAX_LINKS: usize = 40;

fn check_through_links(path: &Path) -> Result<(), Distrust> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match open_trusted(&path) {
            Err(Distrust::Link(link)) => path = follow_link(&path, &link)?,
            opened => return opened.map(drop),
        }
    }
    Err(Distrust::Link(path))
}

/// Replaces a link in the path with its target. No part of the path before it is a link, so a leading `..` in
/// the target means the directory above.
fn follow_link(path: &Path, link: &Path) -> Result<PathBuf, Distrust> {
    let target = std::fs::read_link(link).map_err(|error| {
        Distrust::Closed(link.to_owned(), Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    })?;
    let mut directory = link.parent().unwrap_or(Path::new("/"));
    let mut rest = target.as_path();
    while let Ok(below) = rest.strip_prefix("..") {
        directory = directory.parent().unwrap_or(directory);
        rest = below;
    }
    Ok(directory.join(rest).join(path.strip_prefix(link).unwrap_or(Path::new(""))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_link_is_replaced_by_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("lib/link");
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        for (target, expected) in [
            ("/usr/bin/python3", "/usr/bin/python3/rest".to_owned()),
            ("python3", format!("{}/lib/python3/rest", folder.path().display())),
            ("../bin", format!("{}/bin/rest", folder.path().display())),
        ] {
            symlink(target, &link).unwrap();
            let followed = follow_link(&link.join("rest"), &link);
            assert_eq!(followed, Ok(PathBuf::from(expected)));
            std::fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn an_interpreter_that_others_can_write_is_found_behind_links() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir_in("/root").unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("python"), "").unwrap();
        std::fs::create_dir(path("bin")).unwrap();
        symlink("../python", path("bin/python3")).unwrap();
        let script = format!("#!{} -I\n", path("bin/python3").display());
        std::fs::write(path("server"), script).unwrap();
        assert!(open_trusted_program(&path("server")).is_ok());
        let mode = |mode| std::fs::set_permissions(path("python"), PermissionsExt::from_mode(mode));
        mode(0o757).unwrap();
        let distrust = open_trusted_program(&path("server")).unwrap_err();
        assert_eq!(distrust, Distrust::Writable(path("python"), 0o757));
        std::fs::remove_file(path("python")).unwrap();
        assert!(open_trusted_program(&path("server")).is_ok());
        symlink("python3", path("bin/loop")).unwrap();
        std::fs::remove_file(path("bin/python3")).unwrap();
        symlink("loop", path("bin/python3")).unwrap();
        assert!(matches!(open_trusted_program(&path("server")), Err(Distrust::Link(_))));
    }
}
