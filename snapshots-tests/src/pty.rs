//! A program in a terminal of its own, its screen read back.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running program.
pub struct Pty {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Box<dyn Write + Send>,
    shared: Arc<(Mutex<Seen>, Condvar)>,
    /// Tells the reader to let go of the terminal.
    letting_go: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

struct Seen {
    parser: vt100::Parser,
    /// Everything that was printed.
    bytes: Vec<u8>,
    over: bool,
}

impl Pty {
    /// Starts a program in a terminal of that size.
    pub fn spawn(mut command: CommandBuilder, rows: u16, cols: u16) -> Self {
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal can be made");
        let child = pair.slave.spawn_command(command).expect("the program can be started");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("the terminal can be read");
        let writer = pair.master.take_writer().expect("the terminal can be written");
        let seen =
            Seen { parser: vt100::Parser::new(cells(rows), cells(cols), 0), bytes: Vec::new(), over: false };
        let shared = Arc::new((Mutex::new(seen), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let letting_go = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&letting_go);
        let fd = pair.master.as_raw_fd().expect("a terminal has a file descriptor");
        let handle = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                // SAFETY: the reader holds a duplicate of the terminal, and the terminal is dropped only after this thread has ended.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
                if poll(&mut fds, 50u8).unwrap_or(0) == 0 && !told.load(Ordering::SeqCst) {
                    continue;
                }
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let read = reader.read(&mut buffer).unwrap_or(0);
                let mut seen = theirs.0.lock().unwrap_or_else(PoisonError::into_inner);
                if read == 0 {
                    seen.over = true;
                } else {
                    seen.parser.process(&buffer[..read]);
                    seen.bytes.extend_from_slice(&buffer[..read]);
                }
                theirs.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self { child, master: Some(pair.master), writer, shared, letting_go, reader: Some(handle) }
    }

    /// Types bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.write_all(bytes.as_ref()).expect("the terminal takes input");
        self.writer.flush().expect("the terminal takes input");
    }

    /// Waits until the screen's text holds `text`.
    pub fn wait_for(&self, text: &str, deadline: Duration) {
        self.wait(deadline, text, |screen| screen.contents().contains(text));
    }

    /// Waits until the screen is as wanted; panics with the screen when it never is.
    pub fn wait(&self, deadline: Duration, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let give_up = Instant::now() + deadline;
        let mut seen = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !wanted(seen.parser.screen()) {
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !seen.over,
                "{what:?} never came; the screen is\n{}",
                seen.parser.screen().contents()
            );
            seen = self.shared.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many bytes were printed so far.
    pub fn printed(&self) -> usize {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).bytes.len()
    }

    /// Waits until these bytes are printed behind the first `from`.
    pub fn wait_printed(&self, from: usize, wanted: &[u8], deadline: Duration) {
        let give_up = Instant::now() + deadline;
        let mut seen = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while memchr::memmem::find(&seen.bytes[from..], wanted).is_none() {
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !seen.over,
                "{:?} was never printed; the screen is\n{}",
                String::from_utf8_lossy(wanted),
                seen.parser.screen().contents()
            );
            seen = self.shared.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The screen as it is now.
    pub fn screen(&self) -> vt100::Screen {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).parser.screen().clone()
    }

    /// Whether the terminal gives its programs whole lines, and shows what is typed.
    pub fn is_cooked(&self) -> bool {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        let fd = self.master.as_ref().and_then(|master| master.as_raw_fd()).expect("it is open");
        // SAFETY: the terminal is open as long as this is borrowed.
        let mode = tcgetattr(unsafe { BorrowedFd::borrow_raw(fd) }).expect("the terminal tells its mode");
        mode.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Everything printed so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone()
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .parser
            .screen_mut()
            .set_size(cells(rows), cells(cols));
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        self.master
            .as_ref()
            .expect("the terminal is open")
            .resize(size)
            .expect("the terminal can be resized");
    }

    /// Process id of the program.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().expect("it runs")).expect("a process id fits")
    }

    /// Closes the terminal under the program.
    pub fn vanish(&mut self) {
        self.letting_go.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
        if let Some(fd) = self.master.as_ref().and_then(|master| master.as_raw_fd()) {
            // The writer types an end of file as it goes, and would wait for a program that waits for its reader.
            // SAFETY: the terminal is dropped below.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it need not wait");
        }
        self.writer = Box::new(std::io::sink());
        drop(self.master.take());
    }

    /// Waits for the program's end; gives its exit code.
    pub fn end(&mut self, deadline: Duration) -> u32 {
        let give_up = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status.exit_code();
            }
            assert!(Instant::now() < give_up, "it does not end; the screen is\n{}", self.screen().contents());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything the program printed has been read.
    pub fn drained(&self, deadline: Duration) {
        let guard = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.shared.1.wait_timeout_while(guard, deadline, |seen| !seen.over));
    }
}

/// A screen has at least one cell.
fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap_or(NonZero::<u16>::MIN)
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.letting_go.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
