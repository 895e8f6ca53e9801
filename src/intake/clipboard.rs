//! `clipboard`: the image, or the file of an image, that somebody copied on this machine.
//!
//! Nothing is begun before it is asked for. What a clipboard holds comes from whichever program copied it, and a program
//! that hangs never hands it over; so every look has a thread of its own and a deadline. A look that is given up keeps its
//! thread until that program answers or ends, and until then there is no second one.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arboard::{Error, ImageData};
use bytes::Bytes;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, RgbaImage};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::source::Source;
use super::spelling::shown;
use super::{Door, Intake, Picture};
use crate::failure::{Code, Failure, Result};

/// How long the program that copied something may take to hand it over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was copied.
#[derive(Debug)]
enum Copied {
    /// An image, encoded as PNG.
    Image(Vec<u8>),
    File(PathBuf),
}

/// The clipboard of this machine.
#[derive(Debug)]
pub(super) struct Clipboard {
    /// One look at a time.
    free: Arc<Semaphore>,
}

impl Default for Clipboard {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(1)) }
    }
}

impl Intake {
    /// Opens what was copied last.
    pub(super) async fn open_clipboard(&self, door: Door, deadline: Instant) -> Result<Picture> {
        self.check_clipboard(door)?;
        let max_pixels = self.settings.max_pixels;
        let file = match self.clipboard.look(deadline, move || copied(max_pixels)).await? {
            Copied::Image(bytes) => return self.picture("clipboard", bytes.into(), None, deadline).await,
            Copied::File(file) => file,
        };
        let note = format!("the clipboard holds the file {}", shown(&file));
        let Ok(named) = file.into_os_string().into_string() else {
            return Err(Failure::invalid("reading the clipboard: it holds a file whose name is not text"));
        };
        let (paths, largest) = (Arc::clone(self.paths(door)), self.settings.max_bytes as u64);
        let refusal = paths.refusal_of(&named);
        let bytes = self.workers.run(deadline, 0, move || paths.read(&named, largest)).await?;
        Ok(self.picture("clipboard", Bytes::from(bytes), refusal, deadline).await?.noting(note))
    }

    /// The person's own command needs nobody's leave.
    fn check_clipboard(&self, door: Door) -> Result<()> {
        let failure = match door {
            Door::CommandLine => return Ok(()),
            Door::Stdio if self.settings.clipboard => return Ok(()),
            Door::Stdio => Failure::invalid("reading the clipboard is not allowed"),
            Door::Http => {
                let failure =
                    Failure::invalid("`clipboard` is that of the server's own machine, and is not given over HTTP");
                return Err(failure.advise(self.paths(door).ways.advice()));
            }
        };
        let ways = self.paths(door).ways.advice();
        Err(failure.advise(format!(
            "{ways}; who runs visiongate can allow it with `clipboard = true` under `[intake]`; a file that is called \
             clipboard is `./clipboard`"
        )))
    }
}

impl Clipboard {
    /// Looks on a thread of its own, which is not waited for beyond the deadline.
    async fn look<T: Send + 'static>(
        &self,
        deadline: Instant,
        look: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unanswered = || {
            let failure =
                Failure::invalid("reading the clipboard: the program that copied something does not hand it over");
            failure.retryable().advise("copy the image again, or give its path")
        };
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let turn = timeout_at(deadline, Arc::clone(&self.free).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(unanswered)?;
        let (sender, receiver) = oneshot::channel();
        // A thread of the runtime would hold up its end.
        let thread = std::thread::Builder::new().name("clipboard".into()).spawn(move || {
            let answer = look();
            drop(turn);
            // Nobody is there to hear it when the look was given up.
            let _ = sender.send(answer);
        });
        let broken = |why: String| Failure::new(Code::Internal, format!("reading the clipboard: {why}"));
        thread.map_err(|error| broken(error.to_string()))?;
        let answer = timeout_at(deadline, receiver).await.map_err(|_| unanswered())?;
        answer.map_err(|_| broken("the look at it broke off".into()))?
    }
}

/// Programs that do not have what they are asked for say so in many ways, some by handing over something else. So
/// whatever goes wrong with one form of what was copied, the next form is asked for.
fn copied(max_pixels: u64) -> Result<Copied> {
    let mut clipboard = arboard::Clipboard::new().map_err(|error| out_of_reach(&error))?;
    // Finder copies a file together with its icon.
    if cfg!(target_os = "macos")
        && let Some(file) = copied_file(&mut clipboard)?
    {
        return Ok(Copied::File(file));
    }
    let broken = match clipboard.get_image() {
        Ok(image) => return encoded(image, max_pixels).map(Copied::Image),
        Err(Error::ClipboardOccupied) => {
            let failure = Failure::invalid("reading the clipboard: another program is using it").retryable();
            return Err(failure.advise("try again in a moment"));
        }
        Err(error) => matches!(error, Error::ConversionFailure),
    };
    if let Some(file) = copied_file(&mut clipboard)? {
        return Ok(Copied::File(file));
    }
    if broken {
        let failure =
            Failure::new(Code::ImageCorrupt, "reading the clipboard: it holds an image that cannot be decoded");
        return Err(failure.advise("save it to a file and give its path"));
    }
    Err(no_image(clipboard.get_text().ok().as_deref()))
}

fn copied_file(clipboard: &mut arboard::Clipboard) -> Result<Option<PathBuf>> {
    let mut files = clipboard.get().file_list().unwrap_or_default();
    if files.len() > 1 {
        let failure = Failure::invalid(format!("reading the clipboard: it holds {} files", files.len()));
        return Err(failure.advise("copy one image, or give the paths of several"));
    }
    Ok(files.pop())
}

fn out_of_reach(error: &Error) -> Failure {
    let why = match error {
        Error::Unknown { description } => description.clone(),
        error => error.to_string(),
    };
    Failure::invalid(format!("reading the clipboard: there is none that can be reached: {why}"))
        .advise("visiongate must run in the user's desktop session for this; give the image's path or URL instead")
}

/// The text is nobody's business: it may be a password.
fn no_image(text: Option<&str>) -> Failure {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Failure::invalid("reading the clipboard: it holds no image").advise("ask the user to copy the image");
    };
    let advice = match Source::parse(text) {
        Ok(Source::Url(_)) => "the text is an address: if it is that of the image, ask the user for it",
        Ok(Source::Path(path)) if looks_like_image(&path) => {
            "the text looks like the path of an image: ask the user for it"
        }
        _ => "ask the user to copy the image itself",
    };
    Failure::invalid("reading the clipboard: it holds text, and no image").advise(advice)
}

fn looks_like_image(path: &str) -> bool {
    const ENDINGS: [&str; 9] = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".pdf"];
    let lower = path.to_lowercase();
    !lower.contains('\n') && ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

fn encoded(image: ImageData<'_>, max_pixels: u64) -> Result<Vec<u8>> {
    let (width, height) = (image.width as u64, image.height as u64);
    if width.saturating_mul(height) > max_pixels {
        let message = format!("the copied image has {width}x{height} pixels, more than {max_pixels}");
        return Err(Failure::new(Code::ImageTooLarge, message).advise("copy a part of it, or give a file"));
    }
    let broken = || Failure::new(Code::ImageCorrupt, "reading the clipboard: its image makes no sense");
    let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else { return Err(broken()) };
    let pixels = RgbaImage::from_raw(width, height, image.bytes.into_owned()).ok_or_else(broken)?;
    let is_opaque = pixels.pixels().all(|pixel| pixel.0.last() == Some(&u8::MAX));
    let picture = DynamicImage::ImageRgba8(pixels);
    let picture = if is_opaque { DynamicImage::ImageRgb8(picture.into_rgb8()) } else { picture };
    let mut bytes = Cursor::new(Vec::new());
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    picture.write_with_encoder(encoder).map_err(|_| broken())?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_hangs_holds_up_nobody_for_long() {
        let clipboard = Clipboard::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hanging = clipboard.look(soon(), move || {
            let _ = held.recv();
            Ok(())
        });
        let failure = hanging.await.expect_err("a look that hangs");
        assert!(failure.retryable && failure.message.contains("does not hand it over"), "{failure}");
        // Nobody else gets a thread while that one is stuck.
        let second = clipboard.look(soon(), || Ok(())).await.expect_err("a second look");
        assert!(second.message.contains("does not hand it over"), "{second}");
        // From here on a thread has to be waited for, which a clock that is paused does not do.
        tokio::time::resume();
        drop(release);
        assert_eq!(clipboard.look(soon(), || Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_look_that_breaks_off_is_an_error_and_not_the_last() {
        let clipboard = Clipboard::default();
        let broken = clipboard.look(soon(), || -> Result<()> { panic!("on purpose") }).await;
        assert_eq!(broken.expect_err("a panic").code, Code::Internal);
        assert_eq!(clipboard.look(soon(), || Ok(7)).await, Ok(7));
    }

    #[test]
    fn copied_pixels_become_an_image_within_bounds() {
        let image = |width, height, bytes: Vec<u8>| ImageData { width, height, bytes: bytes.into() };
        let opaque = encoded(image(20, 10, vec![255; 800]), 200).expect("an image");
        let opaque = image::load_from_memory(&opaque).expect("a PNG");
        assert_eq!((opaque.width(), opaque.height(), opaque.color().has_alpha()), (20, 10, false));
        let clear = encoded(image(20, 10, vec![7; 800]), 200).expect("an image");
        assert!(image::load_from_memory(&clear).expect("a PNG").color().has_alpha());
        let code = |image| encoded(image, 200).expect_err("no image").code;
        assert_eq!(code(image(21, 10, vec![7; 840])), Code::ImageTooLarge);
        assert_eq!(code(image(usize::MAX, usize::MAX, vec![])), Code::ImageTooLarge);
        assert_eq!(code(image(20, 10, vec![7; 799])), Code::ImageCorrupt);
    }

    #[test]
    fn text_is_not_followed_and_not_repeated() {
        let check = |text: Option<&str>, part: &str| {
            let failure = no_image(text);
            let said = format!("{} {}", failure.message, failure.advice.clone().expect("advice"));
            assert!(said.contains(part), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        };
        check(None, "holds no image");
        check(Some(" \n"), "holds no image");
        check(Some("hunter2"), "holds text");
        check(Some("https://example.org/hunter2.png"), "is an address");
        check(Some("/home/hunter2/a.PNG"), "path of an image");
        check(Some("hunter2\n/a.png"), "copy the image itself");
    }
}
