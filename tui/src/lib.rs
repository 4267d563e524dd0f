//! The full-screen app, without its terminal: for tests and pictures.
