//! Tells the linker where programs find libtorch when they run: where it was built with, or beside the program.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if std::env::var_os("CARGO_FEATURE_ML").is_none() {
        return;
    }
    // A program that was moved, as in an image, brings it along.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/streamforge");
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    if let Ok(folder) = Path::new(&libtorch).join("lib").canonicalize() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
