//! What it takes to bring a picture in: `cargo bench --bench pictures`.
//!
//! The greatest pictures that may come, of each kind, as they come from cameras: smooth surfaces with some grain. For
//! each: the time, and the memory at its peak, beside what the budget of `image_pixels_max` counts for its pixels.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program to be run and read by a person")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use duet::config::Config;
use duet::media::{Limits, Wanted, gate};
use image::RgbImage;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, one, upload, into] = &args[..]
        && one == "one"
    {
        return take(Path::new(upload), Path::new(into));
    }
    println!("{:<36} {:>9} {:>9} {:>9} {:>12}", "picture", "came", "kept", "time", "peak memory");
    let folder = tempfile::tempdir().unwrap();
    let upload = folder.path().join("upload");
    for (width, height) in [(4000, 3000), (7300, 5475)] {
        let pixels = width * height / 1_000_000;
        let picture = grainy(width, height);
        for (kind, write) in KINDS {
            write(&picture, &upload);
            run(&format!("{kind}, {pixels} million pixels"), &upload);
        }
    }
    write_gif(&(0..300).map(|turn| moved(640, 480, turn)).collect::<Vec<_>>(), &upload);
    run("GIF, 640 by 480, 300 frames", &upload);
    write_animated_webp(&(0..100).map(|turn| moved(480, 480, turn)).collect::<Vec<_>>(), &upload);
    run("WebP, 480 by 480, 100 frames", &upload);
    // Or any picture: `cargo bench --bench pictures -- FILE...`
    for path in args.iter().skip(1).filter(|arg| !arg.starts_with("--")) {
        run(path, Path::new(path));
    }
}

/// Each in a process of its own, so that its memory is its own.
fn run(what: &str, upload: &Path) {
    let into = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let told = Command::new(this).arg("one").arg(upload).arg(into.path()).output().unwrap();
    let came = std::fs::metadata(upload).unwrap().len() / 1000;
    print!("{what:<36} {came:>6} kB {}", String::from_utf8_lossy(&told.stdout));
}

fn take(upload: &Path, into: &Path) {
    let limits = Limits::new(&Config::default(), 100 * 1024 * 1024);
    let before = memory("VmRSS:");
    let begun = Instant::now();
    let taken = gate::take(upload, into, Wanted::Image, &limits);
    let (time, peak) = (begun.elapsed().as_millis(), memory("VmHWM:").saturating_sub(before) / 1000);
    match taken {
        Ok(taken) => {
            let kept = taken.sizes.iter().map(|stored| stored.bytes).sum::<u64>() / 1000;
            println!("{kept:>6} kB {time:>6} ms {peak:>9} MB");
        }
        Err(refused) => println!("refused: {refused:?}"),
    }
}

type Write = fn(&RgbImage, &Path);

const KINDS: [(&str, Write); 5] = [
    ("JPEG", |picture, upload| write_jpeg(picture, upload, 1)),
    ("JPEG that must be turned", |picture, upload| write_jpeg(picture, upload, 6)),
    ("PNG", |picture, upload| write_png(picture, upload, false)),
    ("PNG that shines through", |picture, upload| write_png(picture, upload, true)),
    ("WebP, lossless", write_webp),
];

/// In kilobytes; nothing where there is no such file.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn grainy(width: u32, height: u32) -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (state >> 29) as f32;
        let wave = |scale: f32| 120.0 + 100.0 * (x as f32 * scale).sin() * (y as f32 * scale * 1.3).cos();
        image::Rgb([wave(0.01) + grain, wave(0.013) + grain, wave(0.004) + grain].map(|colour| colour as u8))
    })
}

fn moved(width: u32, height: u32, turn: u32) -> RgbImage {
    let across = turn * 3 % width;
    RgbImage::from_fn(width, height, |x, y| {
        let inside = (x + width - across) % width < 120 && (100..300).contains(&y);
        image::Rgb(if inside { [x as u8, y as u8, 90] } else { [(x / 8) as u8 * 2, (y / 8) as u8 * 2, 120] })
    })
}

fn write_jpeg(picture: &RgbImage, upload: &Path, orientation: u8) {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    // One entry of Exif: how to turn it.
    let exif = [&b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    encoder.encode_image(picture).unwrap();
    std::fs::write(upload, bytes).unwrap();
}

fn write_png(picture: &RgbImage, upload: &Path, clear: bool) {
    let mut encoder = png::Encoder::new(std::fs::File::create(upload).unwrap(), picture.width(), picture.height());
    encoder.set_color(if clear { png::ColorType::Rgba } else { png::ColorType::Rgb });
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().unwrap();
    let mut rows = writer.stream_writer().unwrap();
    for pixel in picture.pixels() {
        let [red, green, blue] = pixel.0;
        let bytes = [red, green, blue, 200];
        std::io::Write::write_all(&mut rows, if clear { &bytes } else { &bytes[..3] }).unwrap();
    }
    rows.finish().unwrap();
}

fn write_webp(picture: &RgbImage, upload: &Path) {
    let encoder = image_webp::WebPEncoder::new(std::fs::File::create(upload).unwrap());
    encoder.encode(picture.as_raw(), picture.width(), picture.height(), image_webp::ColorType::Rgb8).unwrap();
}

fn write_gif(frames: &[RgbImage], upload: &Path) {
    let (width, height) = (frames[0].width() as u16, frames[0].height() as u16);
    let mut encoder = gif::Encoder::new(std::fs::File::create(upload).unwrap(), width, height, &[]).unwrap();
    for picture in frames {
        encoder.write_frame(&gif::Frame::from_rgb_speed(width, height, picture.as_raw(), 30)).unwrap();
    }
}

fn write_animated_webp(frames: &[RgbImage], upload: &Path) {
    let chunk = |name: &[u8; 4], content: &[u8]| [&name[..], &(content.len() as u32).to_le_bytes(), content].concat();
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let (width, height) = frames[0].dimensions();
    let head = [vec![2, 0, 0, 0], side(width), side(height)].concat();
    let mut body = [b"WEBP".to_vec(), chunk(b"VP8X", &head), chunk(b"ANIM", &[0; 6])].concat();
    for picture in frames {
        let mut coded = Vec::new();
        let encoder = image_webp::WebPEncoder::new(&mut coded);
        encoder.encode(picture.as_raw(), width, height, image_webp::ColorType::Rgb8).unwrap();
        let head = [vec![0; 6], side(width), side(height), vec![40, 0, 0, 0]].concat();
        body.extend(chunk(b"ANMF", &[&head, &coded[12..]].concat()));
    }
    std::fs::write(upload, chunk(b"RIFF", &body)).unwrap();
}
