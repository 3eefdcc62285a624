//! Who may fetch a file, and until when.
