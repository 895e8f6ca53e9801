//! What tests need to hold any provider, and any layer around one, to the same promises. Behind the feature `testkit`.

mod behaviour;
mod play;
mod scripted;
mod upstream;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::document::Document;
use crate::image::{Format, Image};
use crate::request::{
    CacheMode, CallCtx, Caller, Detail, Message, ModelId, Output, Part, Sampling, Task, VisionRequest,
};

pub use self::behaviour::{Expected, behaves};
pub use self::play::{Decide, Play, Then};
pub use self::scripted::{Scripted, Step, card};
pub use self::upstream::{Received, Upstream};

/// Circumstances with this much time.
#[must_use]
pub fn ctx(patience: Duration) -> CallCtx {
    CallCtx {
        request_id: "test".into(),
        caller: Caller::local(),
        deadline: Instant::now() + patience,
        cache: CacheMode::Use,
        retries: 2,
        last: false,
    }
}

/// A white PNG of this size, with one pixel that `mark` sets apart from others.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tests vouch for what they draw")]
#[expect(clippy::expect_used, reason = "encoding into memory cannot fail")]
pub fn image(width: u32, height: u32, mark: u8) -> Image {
    let mut pixels = image::RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    pixels.put_pixel(0, 0, image::Rgb([mark, 0, 0]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).expect("a PNG in memory");
    Image::vouched(Bytes::from(bytes.into_inner()), Format::Png, width, height)
}

/// A document of these bytes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tests vouch for what they write")]
pub fn document(bytes: &'static [u8]) -> Document {
    Document::vouched(Bytes::from_static(bytes))
}

/// A question about these images.
#[must_use]
pub fn about(images: Vec<Image>, prompt: &str) -> Message {
    Message::question(images.into_iter().map(Part::Image).collect(), prompt)
}

/// A plain question about one image.
#[must_use]
pub fn request(model: &str, task: Task) -> VisionRequest {
    VisionRequest {
        model: ModelId::from(model),
        task,
        system: None,
        messages: vec![about(vec![image(32, 32, 1)], "What is this?")],
        output: Output::Text,
        detail: Detail::Auto,
        sampling: Sampling::default(),
    }
}
