//! From pictures to numbers, as Pillow and the image processor of `transformers` do it.

use pipeline::ml::mobilenet::config::Preparation;
use pipeline::ml::mobilenet::prepare;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::fixture::Sampled;
use crate::{folder, formula};

/// What the reference made of a picture.
#[derive(Deserialize)]
struct Prepared {
    width: u32,
    height: u32,
    /// Of the bytes that were cut out.
    sha256: String,
    /// The first of them.
    first: Vec<u8>,
    numbers: Sampled,
}

#[test]
fn a_picture_of_any_size_is_cut_out_byte_for_byte() {
    let how = Preparation::default();
    let all: Vec<Prepared> = folder::fixture("pictures");
    assert_eq!(all.len(), 7);
    for theirs in all {
        let Prepared { width, height, .. } = theirs;
        let picture = formula::picture(width, height);
        let ours = prepare::middle(&picture, &how).unwrap();
        assert_eq!(ours[..12], theirs.first, "{width}x{height}");
        assert_eq!(format!("{:x}", Sha256::digest(&ours)), theirs.sha256, "{width}x{height}");
        let numbers = Tensor::from_slice(&prepare::normal(&picture, &how).unwrap()).view([3, 224, 224]);
        assert!(theirs.numbers.difference(&numbers) < 1e-5, "{width}x{height}");
    }
}
