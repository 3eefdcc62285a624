//! The media types under which files are served: what a browser shows or plays and cannot run.

/// The type of anything else: bytes to be saved.
pub(super) const BYTES: &str = "application/octet-stream";
pub(super) const JPEG: &str = "image/jpeg";
pub(super) const PNG: &str = "image/png";
pub(super) const GIF: &str = "image/gif";
pub(super) const OGG: &str = "audio/ogg";
pub(super) const MP4: &str = "audio/mp4";

/// Each type that is shown or played where it is opened, the name of a file without one, and the endings of its files,
/// the usual one first.
const SHOWN: &[(&str, &str, &[&str])] = &[
    (JPEG, "picture", &["jpg", "jpeg"]),
    (PNG, "picture", &["png"]),
    (GIF, "picture", &["gif"]),
    (OGG, "audio", &["ogg", "oga", "opus"]),
    (MP4, "audio", &["m4a", "mp4"]),
    ("audio/mpeg", "audio", &["mp3"]),
    ("audio/wav", "audio", &["wav"]),
    ("audio/flac", "audio", &["flac"]),
    ("audio/aac", "audio", &["aac"]),
    ("audio/amr", "audio", &["amr"]),
    ("video/mp4", "video", &["mp4", "m4v"]),
    ("video/webm", "video", &["webm"]),
    ("video/quicktime", "video", &["mov", "qt"]),
    ("video/x-matroska", "video", &["mkv"]),
    ("video/x-msvideo", "video", &["avi"]),
];

fn shown(name: &str) -> Option<&'static (&'static str, &'static str, &'static [&'static str])> {
    SHOWN.iter().find(|(known, ..)| *known == name)
}

/// The type under which a file is served whose row says this one: never another than those of the list.
pub(super) fn served(content_type: &str) -> &'static str {
    shown(content_type).map_or(BYTES, |(known, ..)| known)
}

/// The type of sound or video by its first bytes, whatever the client called it.
pub(super) fn of_sound_or_video(first: &[u8]) -> &'static str {
    let found = infer::get(first).map_or(BYTES, |found| found.mime_type());
    // Names that the library has and the registry of media types has not.
    let name = match found {
        "audio/m4a" => MP4,
        "audio/opus" => OGG,
        "audio/x-flac" => "audio/flac",
        "audio/x-wav" => "audio/wav",
        "video/x-m4v" => "video/mp4",
        other => other,
    };
    // Pictures are decoded and written anew, or refused before.
    if name.starts_with("image/") { BYTES } else { served(name) }
}

/// Whether a browser may show or play a file where it is opened. Anything else is to be saved.
pub fn is_shown(content_type: &str) -> bool {
    shown(content_type).is_some()
}

/// What a file is called when it is saved: as its owner calls it, with an ending of what it is.
pub fn file_name(name: Option<&str>, content_type: &str) -> String {
    let Some((_, usual, endings)) = shown(content_type) else { return name.unwrap_or("file").to_owned() };
    let name = name.unwrap_or(usual);
    match name.rsplit_once('.') {
        Some((_, ending)) if endings.iter().any(|known| ending.eq_ignore_ascii_case(known)) => name.to_owned(),
        Some((stem, _)) if !stem.is_empty() => format!("{stem}.{}", endings[0]),
        _ => format!("{name}.{}", endings[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_decides_over_what_it_is_called() {
        for (name, content_type, called) in [
            (Some("me.png"), JPEG, "me.jpg"),
            (Some("me.JPEG"), JPEG, "me.JPEG"),
            (Some("song.html"), "audio/mpeg", "song.mp3"),
            (Some(".hidden"), PNG, ".hidden.png"),
            (None, OGG, "audio.ogg"),
            (None, "video/webm", "video.webm"),
            (Some("menu.pdf"), BYTES, "menu.pdf"),
            (None, BYTES, "file"),
        ] {
            assert_eq!(file_name(name, content_type), called);
        }
    }

    #[test]
    fn nothing_that_runs_has_a_type() {
        for first in
            [&b"<html><script>"[..], b"<svg xmlns=''>", b"%PDF-1.7", b"PK\x03\x04", b"MZ", b"", b"\x89PNG\r\n\x1a\n"]
        {
            assert_eq!(of_sound_or_video(first), BYTES);
        }
        assert_eq!(served("text/html"), BYTES);
    }
}
