//! ONNX attributes by name, with their types checked.

use anyhow::{bail, ensure, Result};

use crate::graph::Attribute;

/// Sizes, axes and counts above this are no convolutional network's.
const MAX_INT: i64 = 1 << 24;

/// Attributes that tract computes sizes with.
const SIZES: [&str; 19] = [
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "output_padding",
    "output_shape",
    "group",
    "blocksize",
    "axis",
    "axes",
    "perm",
    "split",
    "batch_dims",
    "num_outputs",
    "num_groups",
    "hidden_size",
    "k",
    "size",
    "block_size",
];

/// The attributes of one node.
pub struct Attributes<'a>(pub &'a mut Vec<(String, Attribute)>);

impl Attributes<'_> {
    fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.iter().find(|a| a.0 == name).map(|a| &a.1)
    }

    /// An INT, or its default.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => bail!("attribute {name} is not an integer"),
        }
    }

    /// A FLOAT, or its default.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        match self.get(name) {
            None => Ok(default),
            Some(Attribute::Float(bits)) => Ok(f32::from_bits(*bits)),
            Some(_) => bail!("attribute {name} is not a float"),
        }
    }

    /// FLOATS, where given.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Floats(bits)) => Ok(Some(
                bits.iter().map(|&bits| f32::from_bits(bits)).collect(),
            )),
            Some(_) => bail!("attribute {name} is not a list of floats"),
        }
    }

    /// INTS, where given.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values.clone())),
            Some(_) => bail!("attribute {name} is not a list of integers"),
        }
    }

    /// A STRING, where given.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Text(text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            Some(_) => bail!("attribute {name} is not a text"),
        }
    }

    /// Gives an attribute this value, at its place where it is given already.
    pub fn set(&mut self, name: &str, value: Attribute) {
        match self.0.iter_mut().find(|a| a.0 == name) {
            Some(old) => old.1 = value,
            None => self.0.push((name.to_string(), value)),
        }
    }

    /// Removes attributes.
    pub fn remove(&mut self, names: &[&str]) {
        self.0.retain(|a| !names.contains(&&a.0[..]));
    }

    /// Checks that no attribute that sizes are computed with is absurd, and that none is given
    /// twice.
    pub fn check(&self) -> Result<()> {
        for (index, (name, value)) in self.0.iter().enumerate() {
            ensure!(
                self.0[..index].iter().all(|other| &other.0 != name),
                "attribute {name} is given twice"
            );
            let values = match value {
                Attribute::Int(value) => std::slice::from_ref(value),
                Attribute::Ints(values) => &values[..],
                _ => continue,
            };
            let absurd = values
                .iter()
                .find(|value| value.abs_diff(0) > MAX_INT as u64);
            if let (Some(absurd), true) = (absurd, SIZES.contains(&&name[..])) {
                bail!("attribute {name} is {absurd}, at most {MAX_INT} is supported");
            }
        }
        Ok(())
    }
}

/// An axis counted from the front.
pub fn axis(value: i64, rank: usize) -> Result<usize> {
    let from_front = if value < 0 {
        value + rank as i64
    } else {
        value
    };
    let found = usize::try_from(from_front).ok();
    match found.filter(|&axis| axis <= rank) {
        Some(axis) => Ok(axis),
        None => bail!("axis {value} of a tensor of {rank} axes"),
    }
}
