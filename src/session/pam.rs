//! A session of PAM's. Only this file calls libpam.

#![allow(unsafe_code)]

mod library;

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::time::Duration;

use ground::denial::Denial;
use ground::escape::{Lines, escape_control_characters};
use nix::libc;

use self::library::{Conversation, Function, Handle, Library, Message, Response};

/// How long the modules may take to open a session, and again to close it.
pub const LONGEST: Duration = Duration::from_secs(30);
/// How much of what modules say is kept, in bytes.
const MOST_WORDS: usize = 1024;

// Numbers of Linux-PAM, security/_pam_types.h.
const SUCCESS: c_int = 0;
const SYSTEM_ERROR: c_int = 4;
const CONVERSATION_ERROR: c_int = 19;
const ESTABLISH_CREDENTIALS: c_int = 0x2;
const DELETE_CREDENTIALS: c_int = 0x4;
const ERROR_MESSAGE: c_int = 3;
const INFORMATION: c_int = 4;

/// What modules have said to the user. It is all that [`converse`] can reach.
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// An account's session. Dropping it closes what was opened.
#[derive(Debug)]
pub struct Session {
    library: Library,
    handle: NonNull<Handle>,
    has_credentials: bool,
    is_open: bool,
}

impl Session {
    /// Begins a session of this service for this account. Nothing is opened yet.
    ///
    /// # Errors
    /// [`Denial::PamFailed`].
    pub fn begin(service: &CStr, user: &CStr) -> Result<Self, Denial> {
        let library = Library::load()?;
        let conversation = Conversation { converse, data: ptr::null_mut() };
        let mut handle = ptr::null_mut();
        let (service, user) = (service.as_ptr(), user.as_ptr());
        // SAFETY: texts and conversation outlive the call, and libpam copies them. It writes the handle, or
        // leaves it as it is.
        let status =
            unsafe { (library.start)(service, user, &raw const conversation, &raw mut handle) };
        let handle = NonNull::new(handle).filter(|_| status == SUCCESS);
        let handle = handle.ok_or_else(|| Step::Begin.fail(format!("libpam says {status}")))?;
        Ok(Self { library, handle, has_credentials: false, is_open: false })
    }

    /// Takes one step to the open session.
    ///
    /// # Errors
    /// [`Denial::PamFailed`], with what libpam and the modules say.
    pub fn take(&mut self, step: Step) -> Result<(), Denial> {
        let status = match step {
            Step::Begin => SUCCESS,
            Step::Account => self.call(self.library.check_account, 0),
            Step::Credentials => {
                self.has_credentials = true;
                self.call(self.library.set_credentials, ESTABLISH_CREDENTIALS)
            }
            Step::Open => self.call(self.library.open_session, 0),
        };
        if status != SUCCESS {
            return Err(step.fail(self.explain(status)));
        }
        self.is_open = step == Step::Open;
        Ok(())
    }

    /// The variables that modules have set, `NAME=value` each.
    #[must_use]
    pub fn list_variables(&self) -> Vec<CString> {
        let mut variables = Vec::new();
        // SAFETY: pam_getenvlist(3) returns null, or an array of texts that ends with null. It is ours to free,
        // and stays, since this process is about to execute another program.
        unsafe {
            let mut next = (self.library.list_variables)(self.handle.as_ptr());
            while let Some(text) = next.as_ref().filter(|text| !text.is_null()) {
                variables.push(CStr::from_ptr(*text).to_owned());
                next = next.add(1);
            }
        }
        variables
    }

    fn call(&self, function: Function, flags: c_int) -> c_int {
        // SAFETY: the handle is libpam's own, and has not been given to pam_end(3), which is called last, when
        // this value is dropped.
        unsafe { function(self.handle.as_ptr(), flags) }
    }

    /// libpam's words for a status, and what the modules have said.
    fn explain(&self, status: c_int) -> String {
        // SAFETY: pam_strerror(3) returns a text that is constant, for numbers that it does not know, too.
        let meaning =
            unsafe { CStr::from_ptr((self.library.name_status)(self.handle.as_ptr(), status)) };
        let mut words = meaning.to_bytes().to_vec();
        words.extend(SAID.lock().iter().flat_map(|said| said.iter()));
        escape_control_characters(&words, Lines::One)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut status = SUCCESS;
        if self.is_open {
            status = self.call(self.library.close_session, 0);
        }
        if self.has_credentials {
            self.call(self.library.set_credentials, DELETE_CREDENTIALS);
        }
        self.call(self.library.end, status);
    }
}

/// The steps to an open session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Modules are not asked yet.
    Begin,
    /// Whether the account may be used now.
    Account,
    /// What the account has beyond its ids, such as tickets.
    Credentials,
    /// The session.
    Open,
}

impl Step {
    /// That this step failed, and why. The reply has the step's name as in pam.conf(5) and pam(3).
    #[must_use]
    pub fn fail(self, reason: String) -> Denial {
        let step = match self {
            Self::Begin => "start",
            Self::Account => "account",
            Self::Credentials => "credentials",
            Self::Open => "session",
        };
        Denial::PamFailed { step: step.to_owned(), reason }
    }
}

/// Keeps what modules say, and answers nothing that they ask.
extern "C" fn converse(
    count: c_int,
    messages: *const *const Message,
    responses: *mut *mut Response,
    _: *mut c_void,
) -> c_int {
    let Ok(count) = usize::try_from(count) else { return CONVERSATION_ERROR };
    for place in 0..count {
        // SAFETY: modules give an array of `count` pointers to messages, as pam_conv(3) has it on Linux.
        let message = unsafe { (*messages.add(place)).as_ref() };
        match message {
            Some(Message { style: ERROR_MESSAGE | INFORMATION, text }) if !text.is_null() => {
                // SAFETY: the text of a message ends with NUL.
                let text = unsafe { CStr::from_ptr(*text) }.to_bytes();
                if let Ok(mut said) = SAID.lock() {
                    let room = MOST_WORDS.saturating_sub(said.len());
                    said.extend(b"; ".iter().chain(text).take(room));
                }
            }
            // Somebody would have to answer.
            _ => return CONVERSATION_ERROR,
        }
    }
    // SAFETY: the module frees the array, which has the size that it expects, with free(3). All zeros stand for
    // no text.
    unsafe {
        let answers = libc::calloc(count, size_of::<Response>()).cast::<Response>();
        if answers.is_null() {
            return SYSTEM_ERROR;
        }
        *responses = answers;
    }
    SUCCESS
}

/// Gives memory back that the modules have used and freed. A closer stays as long as its server does.
pub fn give_back_memory() {
    // SAFETY: malloc_trim(3) touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}
