//! Work that takes a while.

use super::Model;

/// See the module.
#[derive(Clone, Debug)]
pub struct Job {
    /// Tells jobs apart.
    pub id: u64,
    /// What is done.
    pub text: String,
    /// Whether it goes on in another context; else it ends with its own.
    pub lasts: bool,
}

impl Model {
    /// Notes work that is under way; gives its number.
    pub(crate) fn begin(&mut self, text: String) -> u64 {
        self.begin_job(text, false)
    }

    /// The same of work that goes on in other contexts.
    pub(crate) fn begin_lasting(&mut self, text: String) -> u64 {
        self.begin_job(text, true)
    }

    fn begin_job(&mut self, text: String, lasts: bool) -> u64 {
        let id = self.number();
        self.jobs.push(Job { id, text, lasts });
        id
    }

    /// What the app's end would break off.
    pub fn lasting(&self) -> Vec<String> {
        self.jobs.iter().filter(|job| job.lasts).map(|job| job.text.clone()).collect()
    }

    /// Forgets the work that ends with its context.
    pub fn end_jobs(&mut self) {
        self.jobs.retain(|job| job.lasts);
    }
}
