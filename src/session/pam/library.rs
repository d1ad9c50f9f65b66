//! libpam: the few functions of pam(3) that a session needs, and their types.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ptr::NonNull;

use ground::denial::Denial;
use nix::libc;

use super::Step;

/// The library, by the name that every Linux has for it.
const NAME: &CStr = c"libpam.so.0";

/// libpam's own state.
#[repr(C)]
pub struct Handle(c_void);

/// `struct pam_message`.
#[repr(C)]
pub struct Message {
    pub style: c_int,
    pub text: *const c_char,
}

/// `struct pam_response`.
#[repr(C)]
pub struct Response {
    pub text: *mut c_char,
    pub code: c_int,
}

/// `struct pam_conv`.
#[repr(C)]
pub struct Conversation {
    pub converse:
        extern "C" fn(c_int, *const *const Message, *mut *mut Response, *mut c_void) -> c_int,
    pub data: *mut c_void,
}

/// A function of libpam that takes its handle and flags, or at the end a status.
pub type Function = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;

/// The functions of libpam that are called here.
///
/// They are loaded, not linked: libpam is part of how a system is configured, so that a wheel may not need it, and cannot
/// bring it along. A system without it has no sessions, and is told so.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    pub start: unsafe extern "C" fn(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut Handle,
    ) -> c_int,
    pub end: Function,
    pub check_account: Function,
    pub set_credentials: Function,
    pub open_session: Function,
    pub close_session: Function,
    pub list_variables: unsafe extern "C" fn(*mut Handle) -> *mut *mut c_char,
    pub name_status: unsafe extern "C" fn(*mut Handle, c_int) -> *const c_char,
}

impl Library {
    /// Loads it as if it were linked: its names can be seen by modules that are not linked with it themselves.
    ///
    /// # Errors
    /// [`Denial::PamFailed`].
    pub fn load() -> Result<Self, Denial> {
        // SAFETY: dlopen(3) looks where the linker looks, and the library stays.
        let found = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        let library = NonNull::new(found).ok_or_else(cannot_load)?;
        // SAFETY: the types are those of pam(3).
        unsafe {
            Ok(Self {
                start: find(library, c"pam_start")?,
                end: find(library, c"pam_end")?,
                check_account: find(library, c"pam_acct_mgmt")?,
                set_credentials: find(library, c"pam_setcred")?,
                open_session: find(library, c"pam_open_session")?,
                close_session: find(library, c"pam_close_session")?,
                list_variables: find(library, c"pam_getenvlist")?,
                name_status: find(library, c"pam_strerror")?,
            })
        }
    }
}

/// Finds a function of the library.
///
/// # Safety
/// `F` is the type of a pointer to this function.
unsafe fn find<F: Copy>(library: NonNull<c_void>, name: &CStr) -> Result<F, Denial> {
    // SAFETY: the library stays open, and the type is the caller's promise. A pointer to a function is as large as one
    // to data.
    let found = unsafe {
        NonNull::new(libc::dlsym(library.as_ptr(), name.as_ptr()))
            .map(|address| mem::transmute_copy(&address))
    };
    found.ok_or_else(cannot_load)
}

/// What dlopen(3) or dlsym(3), which has just failed, says.
fn cannot_load() -> Denial {
    // SAFETY: after a failure dlerror(3) returns a text, or null where it has said it before. This program has one
    // thread when it begins a session.
    let said = unsafe { libc::dlerror().as_ref().map(|text| CStr::from_ptr(text)) };
    let said = said.unwrap_or_default().to_string_lossy();
    let where_it_is = "Debian: libpam0g; Fedora: pam-libs";
    Step::Begin.fail(format!("libpam cannot be loaded ({where_it_is}): {said}"))
}
