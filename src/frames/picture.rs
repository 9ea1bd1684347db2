//! PNG and JPEG files as tensors.
//!
//! Pixels are on the 0…255 scale whatever the file's depth (16 bits: v / 257), transparency is
//! dropped, grey becomes three equal channels where the model takes three, and colour becomes
//! luma 0.299 R + 0.587 G + 0.114 B where it takes one. Then comes the size, then `mean` and
//! `std`. Images are untrusted: dimensions and memory are bounded before decoding.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use image::{DynamicImage, ImageReader, Limits};

use super::resize::resize;
use super::InputShape;
use crate::graph::{Dtype, Value};
use crate::spec::{ImageSpec, Layout};

const MAX_SIDE: u32 = 16384;
const MAX_ALLOCATION: u64 = 256 << 20;
const MAX_FILE: u64 = 256 << 20;

/// How images become one model's input.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    layout: Layout,
    width: usize,
    height: usize,
    resized: bool,
    mean: Vec<f32>,
    std: Vec<f32>,
    input: InputShape,
}

impl Pictures {
    /// Matches the spec's `image:` to the model's input.
    pub(super) fn new(spec: &ImageSpec, input: &InputShape) -> Result<Self> {
        let &[1, channels @ (1 | 3), height, width] = &input.shape[..] else {
            bail!(
                "images need a model that takes [1, 3, H, W] or [1, 1, H, W]; {}",
                input.describe()
            );
        };
        let layout = match (spec.layout, channels) {
            (None, 1) => Layout::Grey,
            (None, _) => Layout::Rgb,
            (Some(layout), _) => layout,
        };
        let given = if layout == Layout::Grey { 1 } else { 3 };
        ensure!(
            given == channels,
            "image.layout gives {given} channels; {}",
            input.describe()
        );
        if let Some((w, h)) = spec.size {
            ensure!(
                (w, h) == (width, height),
                "image.size is {w}x{h}, the model takes {width}x{height}"
            );
        }
        let each = |numbers: &[f32], key: &str, default: f32| -> Result<Vec<f32>> {
            let sound = |x: &f32| x.is_finite() && (key != "std" || *x != 0.0);
            ensure!(
                numbers.iter().all(sound),
                "image.{key} has a number that cannot be used: {numbers:?}"
            );
            match numbers.len() {
                0 => Ok(vec![default; channels]),
                1 => Ok(vec![numbers[0]; channels]),
                n if n == channels => Ok(numbers.to_vec()),
                n => bail!("image.{key} has {n} numbers, there are {channels} channels"),
            }
        };
        let (mean, std) = (each(&spec.mean, "mean", 0.0)?, each(&spec.std, "std", 1.0)?);
        let plain = mean.iter().all(|&m| m == 0.0) && std.iter().all(|&s| s == 1.0);
        match input.dtype {
            Dtype::F32 | Dtype::F64 => {}
            Dtype::U8 if plain => {}
            _ => bail!(
                "images become f32, f64, or u8 without mean and std; {}",
                input.describe()
            ),
        }
        Ok(Self {
            layout,
            width,
            height,
            resized: spec.size.is_some(),
            mean,
            std,
            input: input.clone(),
        })
    }

    /// Decodes one file.
    pub(super) fn read(&self, path: &Path) -> Result<Value> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        ensure!(bytes <= MAX_FILE, "image of {bytes} bytes");
        let mut reader = ImageReader::new(BufReader::new(file)).with_guessed_format()?;
        ensure!(reader.format().is_some(), "not a PNG or JPEG image");
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_ALLOCATION);
        reader.limits(limits);
        let image = reader.decode().context("cannot be decoded")?;
        self.convert(&image)
    }

    fn convert(&self, image: &DynamicImage) -> Result<Value> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        ensure!(width > 0 && height > 0, "image without pixels");
        ensure!(
            self.resized || (width, height) == (self.width, self.height),
            "image is {width}x{height}, the model takes {w}x{h} (image: {{size: {w}x{h}}} resizes)",
            w = self.width,
            h = self.height,
        );
        let pixels = Pixels::of(image)?;
        let mut bytes = vec![];
        for (i, (&mean, &std)) in self.mean.iter().zip(&self.std).enumerate() {
            let channel = match self.layout {
                Layout::Grey => None,
                Layout::Rgb => Some(i),
                Layout::Bgr => Some(2 - i),
            };
            let row = |y: usize| (0..width).map(|x| pixels.at(x, y, channel)).collect();
            for pixel in resize((width, height), (self.width, self.height), row) {
                let number = (pixel - mean) / std;
                match self.input.dtype {
                    Dtype::F64 => bytes.extend(f64::from(number).to_le_bytes()),
                    // The cast saturates; rounding matters after resizing only.
                    Dtype::U8 => bytes.push(number.round() as u8),
                    _ => bytes.extend(number.to_le_bytes()),
                }
            }
        }
        Ok(Value {
            dtype: self.input.dtype,
            shape: self.input.shape.clone(),
            bytes,
        })
    }
}

/// A decoded image's samples, as the decoder left them.
struct Pixels<'a> {
    samples: Samples<'a>,
    width: usize,
    channels: usize,
}

enum Samples<'a> {
    Bytes(&'a [u8]),
    Words(&'a [u16]),
}

impl<'a> Pixels<'a> {
    fn of(image: &'a DynamicImage) -> Result<Self> {
        use DynamicImage::{
            ImageLuma16, ImageLuma8, ImageLumaA16, ImageLumaA8, ImageRgb16, ImageRgb8, ImageRgba16,
            ImageRgba8,
        };
        let samples = match image {
            ImageLuma8(i) => Samples::Bytes(i.as_raw()),
            ImageLumaA8(i) => Samples::Bytes(i.as_raw()),
            ImageRgb8(i) => Samples::Bytes(i.as_raw()),
            ImageRgba8(i) => Samples::Bytes(i.as_raw()),
            ImageLuma16(i) => Samples::Words(i.as_raw()),
            ImageLumaA16(i) => Samples::Words(i.as_raw()),
            ImageRgb16(i) => Samples::Words(i.as_raw()),
            ImageRgba16(i) => Samples::Words(i.as_raw()),
            other => bail!("pixels of {:?} are not read", other.color()),
        };
        Ok(Self {
            samples,
            width: image.width() as usize,
            channels: usize::from(image.color().channel_count()),
        })
    }

    /// One channel of one pixel, or its luma, on the 0…255 scale.
    fn at(&self, x: usize, y: usize, channel: Option<usize>) -> f32 {
        let first = (y * self.width + x) * self.channels;
        let colour = self.channels >= 3;
        let value = match channel {
            Some(channel) => self.sample(first + if colour { channel } else { 0 }),
            None if colour => {
                // Whole thousandths: equal channels give exactly their own value.
                let [r, g, b] = [0, 1, 2].map(|c| self.sample(first + c));
                (299.0 * r + 587.0 * g + 114.0 * b) / 1000.0
            }
            None => self.sample(first),
        };
        match self.samples {
            Samples::Bytes(_) => value as f32,
            Samples::Words(_) => (value / 257.0) as f32,
        }
    }

    fn sample(&self, index: usize) -> f64 {
        match self.samples {
            Samples::Bytes(bytes) => f64::from(bytes[index]),
            Samples::Words(words) => f64::from(words[index]),
        }
    }
}
